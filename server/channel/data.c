/* data.c - data channels: the sockets of either side, between upgrade and close, and their clocks;
 * what is said on them is their session's relay's (protocol 3 §11).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/wire/datachannel.h"
#include "server/channel/data_priv.h"

#define OPEN_MS       10000
#define EARLY_BYTES   (512 * 1024) /* that came with the first, before the store has answered */
#define QUEUE_BYTES   (8 * 1024 * 1024)
#define SILENT_MS     60000  /* a peer not heard of for so long is pinged, */
#define DEAD_MS       120000 /* and dropped if it does not answer */
#define TICK_MS       1000
#define STALL_MS      3000 /* a tick that comes so late: what was not heard was not read */
#define DRAIN_TICK_MS 50

void fl_data_loop_unref(struct fl_data_loop *d)
{
    if (--d->refs == 0)
        free(d);
}

/* ---- a connection's end ---- */

void fl_data_conn_free(struct fl_data_conn *c)
{
    struct fl_msg *m;

    LIST_REMOVE(c, entry);
    while ((m = TAILQ_FIRST(&c->early))) {
        TAILQ_REMOVE(&c->early, m, link);
        fl_msg_unref(m);
    }
    free(c);
}

void fl_data_conn_pause(struct fl_data_conn *c, enum fl_pause why, bool paused)
{
    c->paused = paused ? c->paused | why : c->paused & ~(unsigned)why;
    if (c->ws)
        fl_ws_pause(c->ws, c->paused);
}

/* ---- what the relay asks ---- */

static struct fl_data_conn *conn_of(struct fl_end *end)
{
    return FL_CONTAINER_OF(end, struct fl_data_conn, end);
}

static void end_send(struct fl_end *end, struct fl_msg *m, bool last)
{
    struct fl_data_conn *c = conn_of(end);

    if (!c->ws)
        return;
    /* The relay sends no more than FL_HUB_WINDOW ahead: only memory can be missing. */
    if (fl_ws_send(c->ws, FL_WS_BINARY, m->data, m->len) < 0) {
        fl_ws_close(c->ws, FL_WS_TRY_AGAIN_LATER, true);
        return;
    }
    c->pending += m->len;
    if (last)
        fl_ws_close(c->ws, 1000, false);
}

static void end_pause(struct fl_end *end, enum fl_pause why, bool paused)
{
    fl_data_conn_pause(conn_of(end), why, paused);
}

static void end_pong(struct fl_end *end)
{
    if (conn_of(end)->ws)
        fl_ws_pong(conn_of(end)->ws);
}

static void end_close(struct fl_end *end, int code)
{
    if (conn_of(end)->ws)
        fl_ws_close(conn_of(end)->ws, code, false);
}

static void end_released(struct fl_end *end)
{
    fl_data_conn_free(conn_of(end));
}

static const struct fl_end_ops end_ops = { end_send, end_pause, end_pong, end_close, end_released };

/* ---- the socket's events ---- */

static void arm(struct fl_data_loop *d)
{
    if (d->stopped || fl_timer_active(d->timer))
        return;
    d->ticked_ms = fl_mono_ms();
    fl_timer_start(d->timer, TICK_MS);
}

static void ws_open(void *arg, struct fl_ws *ws)
{
    struct fl_data_conn *c = arg;

    c->ws = ws;
    arm(c->data);
}

static void ws_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    struct fl_data_conn *c = arg;
    struct fl_msg *m;

    if (c->state == FL_DATA_REFUSED)
        return;
    if (c->state == FL_DATA_OPENING) {
        fl_data_first(c, kind, data, len);
        return;
    }
    m = kind == FL_WS_BINARY ? fl_msg_new(data, len) : NULL;
    if (m && c->state == FL_DATA_RELAYED) {
        fl_end_input(&c->end, m);
        return;
    }
    if (m && c->early_bytes + len <= EARLY_BYTES) {
        c->early_bytes += len;
        TAILQ_INSERT_TAIL(&c->early, m, link);
        return;
    }
    fl_msg_unref(m);
    fl_metrics_count(c->data->plane->metrics, FL_CTR_BAD_FRAMES);
    fl_ws_close(ws, FL_WS_POLICY, false);
}

static void ws_drain(void *arg, struct fl_ws *ws)
{
    struct fl_data_conn *c = arg;
    size_t pending = c->pending;

    if (pending == 0)
        return;
    c->pending = 0;
    fl_end_drained(&c->end, pending);
}

static void ws_closed(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct fl_data_conn *c = arg;

    c->ws = NULL;
    if (c->state == FL_DATA_RELAYED)
        fl_end_gone(&c->end); /* and it is freed when the relay has let it go, */
    else if (c->state != FL_DATA_LOADING)
        fl_data_conn_free(c); /* or when the store has answered */
}

static int upgrade(void *state, const struct fl_upgrade_in *in, struct fl_ws_events *ret_events,
                   void **ret_arg, struct fl_ws_limits *ret_limits)
{
    static const struct fl_ws_events events = {
        .on_open = ws_open,
        .on_message = ws_message,
        .on_drain = ws_drain,
        .on_close = ws_closed,
    };
    struct fl_data_loop *d = state;
    struct fl_data_conn *c;

    if (d->draining)
        return 503;
    if (!fl_session_id_valid(in->rest))
        return 404;
    c = calloc(1, sizeof(*c));
    if (!c)
        return 503;
    c->data = d;
    c->end.ops = &end_ops;
    c->end.hub = d->hub;
    c->since_ms = fl_mono_ms();
    TAILQ_INIT(&c->early);
    snprintf(c->id, sizeof(c->id), "%s", in->rest);
    snprintf(c->node_id, sizeof(c->node_id), "%s", in->who->node_id ? in->who->node_id : "");
    snprintf(c->address, sizeof(c->address), "%s", in->who->source_ip ? in->who->source_ip : "-");
    LIST_INSERT_HEAD(&d->conns, c, entry);
    *ret_events = events;
    *ret_arg = c;
    *ret_limits = (struct fl_ws_limits){ FL_DATA_OPEN_BYTES, QUEUE_BYTES, 0 };
    return 0;
}

/* ---- the route ---- */

static void check_silence(struct fl_data_conn *c, int64_t now_ms)
{
    int64_t limit_ms = c->beats ? c->data->plane->conf.session_lost_ms : DEAD_MS;
    int64_t heard_ms = FL_MAX(fl_ws_heard_ms(c->ws), c->deaf_ms);

    if (now_ms - heard_ms > limit_ms) {
        c->end.silent = true;
        fl_ws_close(c->ws, 0, true);
    } else if (now_ms - FL_MAX(heard_ms, c->pinged_ms) > SILENT_MS &&
               fl_ws_ping(c->ws, "keepalive", strlen("keepalive")) == 0) {
        c->pinged_ms = now_ms;
    }
}

static void on_timer(void *arg)
{
    struct fl_data_loop *d = arg;
    int64_t now_ms = fl_mono_ms();
    bool stalled = now_ms - d->ticked_ms > STALL_MS;

    for (struct fl_data_conn *c = LIST_FIRST(&d->conns), *next; c; c = next) {
        next = LIST_NEXT(c, entry);
        if (!c->ws)
            continue;
        if (stalled || c->paused)
            c->deaf_ms = now_ms;
        if (c->state == FL_DATA_OPENING && now_ms - c->since_ms > OPEN_MS)
            fl_data_refuse(c, NULL, FL_WS_POLICY, "RequestTimeout", "no OpenDataChannel came");
        else if (c->state == FL_DATA_RELAYED)
            check_silence(c, now_ms);
    }
    if (!LIST_EMPTY(&d->conns))
        arm(d);
}

static void on_drain_timer(void *arg)
{
    struct fl_data_loop *d = arg;
    struct fl_data_conn *c;
    size_t n = 0;

    LIST_FOREACH (c, &d->conns, entry)
        n += c->ws != NULL;
    n = d->drain_ticks > 0 ? (n + d->drain_ticks - 1) / d->drain_ticks : n;
    LIST_FOREACH (c, &d->conns, entry)
        if (c->ws && n > 0) {
            fl_ws_close(c->ws, FL_WS_GOING_AWAY, false);
            n--;
        }
    if (d->drain_ticks > 0) {
        d->drain_ticks--;
        fl_timer_start(d->drain_timer, DRAIN_TICK_MS);
    }
}

static void data_drain(void *state, unsigned over_ms)
{
    struct fl_data_loop *d = state;

    d->draining = true;
    d->drain_ticks = over_ms / DRAIN_TICK_MS;
    fl_timer_start(d->drain_timer, 0);
}

/* All sockets are gone, and what was on its way between threads has come (front.c: last_turns). */
static void data_stop(void *state)
{
    struct fl_data_loop *d = state;

    d->stopped = true;
    d->timer = fl_timer_free(d->timer);
    d->drain_timer = fl_timer_free(d->drain_timer);
    fl_hub_stop(d->hub);
    d->hub = fl_hub_free(d->hub);
    while (!LIST_EMPTY(&d->conns))
        fl_data_conn_free(LIST_FIRST(&d->conns));
    fl_data_loop_unref(d);
}

static int data_start(struct fl_plane *plane, struct fl_loop *loop, unsigned index,
                      void **ret_state, struct fl_err *err)
{
    struct fl_data_loop *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return fl_err_nomem(err);
    *d = (struct fl_data_loop){ .plane = plane, .loop = loop, .refs = 1 };
    LIST_INIT(&d->conns);
    r = fl_hub_new(plane, loop, &d->hub, err);
    if (r < 0) {
        free(d);
        return r;
    }
    d->timer = fl_timer_new(loop, on_timer, d);
    d->drain_timer = fl_timer_new(loop, on_drain_timer, d);
    if (!d->timer || !d->drain_timer) {
        data_stop(d);
        return fl_err_nomem(err);
    }
    *ret_state = d;
    return 0;
}

const struct fl_route fl_route_data_channel = {
    .prefix = "/v1/data-channel/",
    .service = "ssmmessages",
    .resource = "data-channel",
    .post_action = "ssmmessages:CreateDataChannel",
    .post_lane = FL_LANE_READ,
    .post = fl_data_create,
    .upgrade_action = "ssmmessages:OpenDataChannel",
    .upgrade_by_token = true,
    .upgrade = upgrade,
    .start = data_start,
    .drain = data_drain,
    .stop = data_stop,
};
