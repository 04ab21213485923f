/* control.c - control channels: their connections, keeping alive, closing.
 *
 * Source of the protocol: protocol 2 §1 and §3.
 */
#include "server/channel/control_priv.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "server/api/nodes.h"
#include "server/channel/clones.h"
#include "server/channel/channel_token.h"
#include "server/session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS         1000
#define STALL_MS        3000 /* a tick that comes so late: what was not heard was not read */
#define SLOW_TICKS      6    /* looks within the silence that is allowed */
#define DRAIN_TICK_MS   50
#define TRIM_OPENS      500   /* handshakes that leave holes worth giving back, */
#define TRIM_MS         15000 /* once the fleet has come and its API calls are closed */
#define FRAME_MAX_BYTES (4 * 1024 * 1024)

void fl_ctl_ref(struct fl_control *ctl)
{
    ctl->refs++;
}

void fl_ctl_unref(struct fl_control *ctl)
{
    if (--ctl->refs > 0)
        return;
    fl_counts_done(&ctl->open);
    free(ctl);
}

struct fl_ctl_channel *fl_ctl_find(struct fl_control *ctl, const char *node_id, uint64_t gen)
{
    const int64_t *slot = fl_counts_get(&ctl->open, node_id);
    struct fl_ctl_channel *ch = slot ? (struct fl_ctl_channel *)(intptr_t)*slot : NULL;

    if (ch && (gen == 0 || ch->gen == gen))
        return ch;
    if (gen > 0 && ctl->n_retiring > 0)
        LIST_FOREACH (ch, &ctl->channels, entry)
            if (ch->gen == gen && !ch->dead)
                return ch;
    return NULL;
}

/* It holds no place any more: neither the node's, nor that of one with jobs on the wire. */
static void leave(struct fl_ctl_channel *ch)
{
    const int64_t *slot = fl_counts_get(&ch->ctl->open, ch->node_id);

    if (slot && (struct fl_ctl_channel *)(intptr_t)*slot == ch)
        fl_counts_remove(&ch->ctl->open, ch->node_id);
    if (ch->present)
        fl_presence_drop(ch->ctl->plane->presence, ch->node_id);
    ch->present = false;
    if (ch->retiring)
        ch->ctl->n_retiring--;
    ch->retiring = false;
}

void fl_ctl_drop(struct fl_ctl_channel *ch, int code)
{
    if (ch->dead)
        return;
    ch->dead = true;
    leave(ch);
    fl_ws_close(ch->ws, code, false);
}

void fl_ctl_later(struct fl_ctl_channel *ch, int r)
{
    if (!fl_store_trouble(r)) {
        fl_ctl_drop(ch, FL_WS_TRY_AGAIN_LATER);
        return;
    }
    ch->again_ms = fl_mono_ms() + FL_CTL_AGAIN_MS;
    fl_ctl_arm(ch->ctl);
}

void fl_ctl_arm(struct fl_control *ctl)
{
    if (ctl->stopped || fl_timer_active(ctl->timer))
        return;
    ctl->ticked_ms = fl_mono_ms();
    fl_timer_start(ctl->timer, TICK_MS);
}

void fl_ctl_ping(struct fl_ctl_channel *ch)
{
    if (fl_ws_ping(ch->ws, "keepalive", strlen("keepalive")) == 0)
        ch->pings++;
}

int fl_ctl_send(struct fl_ctl_channel *ch, const char *type, const void *payload, size_t len,
                uint8_t ret_id[16])
{
    struct fl_frame frame = { .schema_version = 1,
                              .created_ms = (uint64_t)fl_now_ms(),
                              .payload = payload,
                              .payload_len = len };
    fl_autobuf struct fl_buf out = FL_BUF(FRAME_MAX_BYTES);
    char id[FL_UUID_BYTES];
    int r;

    fl_uuid4(id);
    fl_uuid_parse(id, frame.message_id);
    snprintf(frame.type, sizeof(frame.type), "%s", type);
    r = fl_frame_encode(&frame, &out);
    if (r < 0)
        return r;
    if (ret_id)
        memcpy(ret_id, frame.message_id, sizeof(frame.message_id));
    return fl_ws_send(ch->ws, FL_WS_BINARY, out.data, out.len);
}

/* ---- memory ---- */

/* A handshake needs twice what a connection keeps, so a fleet that comes at once leaves the heap
 * full of holes: a third of the process, for good. malloc keeps them; nobody else would ever ask.
 */
static void trim_work(void *arg)
{
    malloc_trim(0);
}

static void trim_done(void *arg)
{
    fl_ctl_unref(arg);
}

static void on_trim_timer(void *arg)
{
    struct fl_control *ctl = arg;

    if (ctl->opens - ctl->opens_then > TRIM_OPENS / 5) {
        ctl->opens_then = ctl->opens;
        fl_timer_start(ctl->trim_timer, TRIM_MS);
        return;
    }
    ctl->opens = 0;
    fl_ctl_ref(ctl);
    if (fl_loop_work(ctl->loop, trim_work, trim_done, ctl) < 0)
        fl_ctl_unref(ctl);
}

void fl_ctl_count_open(struct fl_control *ctl)
{
    if (++ctl->opens < TRIM_OPENS || fl_timer_active(ctl->trim_timer))
        return;
    ctl->opens_then = ctl->opens;
    fl_timer_start(ctl->trim_timer, TRIM_MS);
}

/* ---- frames ---- */
static const struct {
    const char *type;
    void (*fn)(struct fl_ctl_channel *ch, const struct fl_frame *frame);
} handlers[] = {
    { FL_MSG_AGENT_JOB_ACK, fl_ctl_on_ack },
    { FL_MSG_AGENT_JOB_REPLY, fl_ctl_on_reply },
    { FL_MSG_AGENT_TASK_COMPLETE, fl_ctl_on_task_complete },
};

static void on_frame(struct fl_ctl_channel *ch, const char *data, size_t len)
{
    struct fl_frame frame;

    if (fl_frame_decode(data, len, &frame, NULL) < 0) {
        fl_metrics_count(ch->ctl->plane->metrics, FL_CTR_BAD_FRAMES);
        return;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(handlers); i++)
        if (strcmp(handlers[i].type, frame.type) == 0) {
            handlers[i].fn(ch, &frame);
            return;
        }
    /* Telemetry and what later agents may say is dropped without a word (protocol 2 §1.7). */
}

/* ---- the socket's events ---- */
static void ws_open(void *arg, struct fl_ws *ws)
{
    struct fl_ctl_channel *ch = arg;

    ch->ws = ws;
    fl_ctl_arm(ch->ctl);
}

static void ws_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    struct fl_ctl_channel *ch = arg;

    if (ch->dead)
        return;
    ch->heard_ms = fl_mono_ms();
    ch->pinged = false;
    if (ch->gen == 0)
        fl_ctl_on_open(ch, kind, data, len);
    else
        on_frame(ch, data, len);
}

static void ws_pong(void *arg, struct fl_ws *ws)
{
    struct fl_ctl_channel *ch = arg;

    ch->heard_ms = fl_mono_ms();
    ch->pinged = false;
    if (ch->pings > 0)
        ch->pings--;
    if (!ch->retiring || ch->alive || ch->pings > 0)
        return;
    ch->alive = true;
    fl_clones_seen(ch->ctl->plane, ch->node_id, FL_CLONE_CHANNELS, ch->address, ch->other);
    fl_ctl_check_retiring(ch, ch->heard_ms);
}

static void ws_closed(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct fl_ctl_channel *ch = arg;
    struct fl_control *ctl = ch->ctl;
    struct fl_ctl_channel *newest;

    leave(ch);
    newest = fl_ctl_find(ctl, ch->node_id, 0);
    if (newest)
        fl_ctl_let_go(newest);
    LIST_REMOVE(ch, entry);
    ctl->n_channels--;
    free(ch->jobs);
    free(ch);
}

static int upgrade(void *state, const struct fl_upgrade_in *in, struct fl_ws_events *ret_events,
                   void **ret_arg, struct fl_ws_limits *ret_limits)
{
    static const struct fl_ws_events events = {
        .on_open = ws_open,
        .on_message = ws_message,
        .on_pong = ws_pong,
        .on_close = ws_closed,
    };
    struct fl_control *ctl = state;
    struct fl_ctl_channel *ch;

    if (ctl->draining)
        return 503;
    if (!in->who->node_id || strcmp(in->who->node_id, in->rest) != 0 ||
        strlen(in->rest) >= sizeof(ch->node_id))
        return 403;
    ch = calloc(1, sizeof(*ch));
    if (!ch)
        return 503;
    ch->ctl = ctl;
    ch->since_ms = ch->heard_ms = fl_mono_ms();
    memcpy(ch->node_id, in->rest, strlen(in->rest) + 1);
    snprintf(ch->address, sizeof(ch->address), "%s", in->who->source_ip ? in->who->source_ip : "-");
    LIST_INSERT_HEAD(&ctl->channels, ch, entry);
    ctl->n_channels++;
    *ret_events = events;
    *ret_arg = ch;
    *ret_limits = (struct fl_ws_limits){ FL_CTL_MAX_MESSAGE, FL_CTL_MAX_QUEUE, FL_CTL_MAX_PER_S };
    return 0;
}

/* ---- CreateControlChannel ---- */
static int create_channel(struct fl_call *call, const struct fl_route_in *in,
                          struct fl_route_out *out, struct fl_err *err)
{
    fl_autofree char *token = NULL;
    int r;

    if (!call->who->node_id || strcmp(call->who->node_id, in->rest) != 0)
        return fl_err_set(err, -EACCES, "AccessDenied",
                          "only the node itself may open its channel");
    if (!fl_clones_may_open(call->plane->clones, in->rest, fl_mono_ms()) &&
        fl_presence_connected(call->plane->presence, in->rest))
        return fl_err_set(err, -EAGAIN, "ThrottlingException",
                          "another machine connects with the identity of %s: register this one "
                          "again",
                          in->rest);
    r = fl_node_exists(call, in->rest, err);
    if (r == 0)
        return fl_err_set(err, -EINVAL, "BadRequest", "node %s is not registered", in->rest);
    if (r > 0)
        r = fl_channel_token_new(call->plane->seal_key, FL_TOKEN_CONTROL, in->rest, call->now_ms,
                                 &token);
    if (r == 0)
        r = fl_channel_token_xml("CreateControlChannelResponse", token, &out->body);
    if (r < 0)
        return fl_err_set(err, r, NULL, "control channel of %s: %s", in->rest, strerror(-r));
    out->status = 201;
    out->type = "application/xml";
    return 0;
}

/* ---- the clock ---- */
static void on_timer(void *arg)
{
    struct fl_control *ctl = arg;
    int64_t now = fl_mono_ms();
    bool busy = fl_ctl_submit_waiting(ctl), stalled = now - ctl->ticked_ms > STALL_MS;

    for (struct fl_ctl_channel *ch = LIST_FIRST(&ctl->channels), *next; ch; ch = next) {
        next = LIST_NEXT(ch, entry);
        if (ch->dead)
            continue;
        if (ch->gen == 0) {
            busy = true;
            if (ch->ws && now - ch->since_ms > FL_CTL_OPEN_MS)
                fl_ctl_drop(ch, FL_WS_POLICY);
            continue;
        }
        if (ch->retiring) {
            busy = fl_ctl_check_retiring(ch, now) || busy;
            continue;
        }
        if (stalled)
            ch->deaf_ms = now;
        if (ch->starts_ms && !fl_ctl_check_starts(ch, now))
            ch->starts_ms = 0;
        if (ch->dead)
            continue;
        if (ch->held)
            fl_ctl_let_go(ch);
        if (ch->again_ms && now >= ch->again_ms) {
            ch->again_ms = 0;
            fl_ctl_fetch(ch, true);
            fl_ctl_tell_sessions(ch, NULL);
        }
        busy = busy || ch->held || ch->again_ms || ch->starts_ms;
        if (ch->n_jobs > 0)
            busy = fl_ctl_check_jobs(ch, now) || busy;
    }
    if (busy)
        fl_ctl_arm(ctl);
}

/* A peer that vanished without a word would count as connected for ever. */
static void on_slow_timer(void *arg)
{
    struct fl_control *ctl = arg;
    int64_t now = fl_mono_ms();

    for (struct fl_ctl_channel *ch = LIST_FIRST(&ctl->channels), *next; ch; ch = next) {
        next = LIST_NEXT(ch, entry);
        if (ch->dead || ch->retiring || !ch->ws || now - ch->heard_ms < ctl->silent_ms / 3 * 2)
            continue;
        if (now - ch->heard_ms > ctl->silent_ms && ch->pinged) {
            fl_ctl_drop(ch, FL_WS_GOING_AWAY);
        } else if (!ch->pinged) {
            ch->pinged = true;
            fl_ctl_ping(ch);
        }
    }
    fl_timer_start(ctl->slow_timer, (uint64_t)ctl->silent_ms / SLOW_TICKS);
}

static void on_drain_timer(void *arg)
{
    struct fl_control *ctl = arg;
    struct fl_ctl_channel *each;
    size_t alive = 0;
    size_t n;

    LIST_FOREACH (each, &ctl->channels, entry)
        alive += !each->dead && each->ws;
    n = ctl->drain_ticks > 0 ? (alive + ctl->drain_ticks - 1) / ctl->drain_ticks : alive;
    for (struct fl_ctl_channel *ch = LIST_FIRST(&ctl->channels), *next; ch && n > 0; ch = next) {
        next = LIST_NEXT(ch, entry);
        if (ch->dead || !ch->ws)
            continue;
        fl_ctl_drop(ch, FL_WS_GOING_AWAY);
        n--;
    }
    if (ctl->drain_ticks > 0) {
        ctl->drain_ticks--;
        fl_timer_start(ctl->drain_timer, DRAIN_TICK_MS);
    }
}

/* ---- the bus ---- */
static void on_node_work(void *arg, const char *node_id)
{
    struct fl_ctl_channel *ch = fl_ctl_find(arg, node_id, 0);

    if (ch)
        fl_ctl_fetch(ch, false);
}

static void on_node_drop(void *arg, const char *node_id)
{
    struct fl_control *ctl = arg;

    for (struct fl_ctl_channel *ch = LIST_FIRST(&ctl->channels), *next; ch; ch = next) {
        next = LIST_NEXT(ch, entry);
        if (ch->gen > 0 && strcmp(ch->node_id, node_id) == 0)
            fl_ctl_drop(ch, FL_WS_POLICY);
    }
}

/* Another thread has a newer channel of the node. */
static void on_node_open(void *arg, const char *key)
{
    struct fl_ctl_channel *ch;
    char node_id[64], address[46];
    uint64_t gen;

    if (sscanf(key, "%63s %" SCNu64 " %45s", node_id, &gen, address) != 3)
        return;
    ch = fl_ctl_find(arg, node_id, 0);
    if (ch && ch->gen < gen)
        fl_ctl_retire(ch, address);
}

/* ---- the route ---- */
static void control_stop(void *state)
{
    struct fl_control *ctl = state;

    ctl->stopped = true;
    ctl->timer = fl_timer_free(ctl->timer);
    ctl->slow_timer = fl_timer_free(ctl->slow_timer);
    ctl->drain_timer = fl_timer_free(ctl->drain_timer);
    ctl->trim_timer = fl_timer_free(ctl->trim_timer);
    fl_ctl_free_waiting(ctl);
    fl_ctl_unref(ctl);
}

static int control_start(struct fl_plane *plane, struct fl_loop *loop, unsigned index,
                         void **ret_state, struct fl_err *err)
{
    struct fl_control *ctl = calloc(1, sizeof(*ctl));
    const struct {
        const char *subject;
        fl_bus_fn fn;
    } subjects[] = {
        { FL_SUBJECT_NODE_WORK, on_node_work },
        { FL_SUBJECT_NODE_DROP, on_node_drop },
        { FL_SUBJECT_NODE_OPEN, on_node_open },
        { FL_SUBJECT_NODE_SESSION, fl_ctl_on_node_session },
    };
    int r = 0;

    if (!ctl)
        return fl_err_nomem(err);
    LIST_INIT(&ctl->channels);
    ctl->plane = plane;
    ctl->loop = loop;
    ctl->silent_ms = (plane->conf.silent_s ? plane->conf.silent_s : FL_CTL_SILENT_S) * 1000;
    ctl->refs = 1;
    ctl->waiting_tail = &ctl->waiting;
    ctl->timer = fl_timer_new(loop, on_timer, ctl);
    ctl->slow_timer = fl_timer_new(loop, on_slow_timer, ctl);
    ctl->drain_timer = fl_timer_new(loop, on_drain_timer, ctl);
    ctl->trim_timer = fl_timer_new(loop, on_trim_timer, ctl);
    if (!ctl->timer || !ctl->slow_timer || !ctl->drain_timer || !ctl->trim_timer)
        r = -ENOMEM;
    for (size_t i = 0; i < FL_ARRAY_LEN(subjects) && r == 0; i++)
        r = fl_bus_subscribe(plane->bus, subjects[i].subject, loop, subjects[i].fn, ctl);
    if (r < 0) {
        control_stop(ctl);
        return fl_err_set(err, r, NULL, "control channels: %s", strerror(-r));
    }
    fl_timer_start(ctl->slow_timer, (uint64_t)ctl->silent_ms / SLOW_TICKS);
    *ret_state = ctl;
    return 0;
}

static void control_drain(void *state, unsigned over_ms)
{
    struct fl_control *ctl = state;

    ctl->draining = true;
    ctl->drain_ticks = over_ms / DRAIN_TICK_MS;
    fl_timer_start(ctl->drain_timer, 0);
}

const struct fl_route fl_route_control_channel = {
    .prefix = "/v1/control-channel/",
    .service = "ssmmessages",
    .resource = "control-channel",
    .post_action = "ssmmessages:CreateControlChannel",
    .post_lane = FL_LANE_READ,
    .post = create_channel,
    .upgrade_action = "ssmmessages:OpenControlChannel",
    .upgrade = upgrade,
    .start = control_start,
    .drain = control_drain,
    .stop = control_stop,
};
