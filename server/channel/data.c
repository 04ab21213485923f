/* data.c - data channels: CreateDataChannel, the upgrade of either side, the token, and then the
 * socket of a session's relay (protocol 3 §3, §11).
 *
 * Both sides share path and role: what tells them apart is the token of the first message. An agent
 * has signed its upgrade, too; a client need not have.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"
#include "server/api/nodes.h"
#include "server/audit.h"
#include "server/auth/revoked.h"
#include "server/call.h"
#include "server/channel/channel_token.h"
#include "server/http/route.h"
#include "server/session/hub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OPEN_MS       10000
#define OPEN_BYTES    4096         /* OpenDataChannel */
#define MESSAGE_BYTES (256 * 1024) /* protocol 3 §11: 64 KiB and more */
#define EARLY_BYTES   (512 * 1024) /* that came with the first, before the store has answered */
#define QUEUE_BYTES   (8 * 1024 * 1024)
#define ARENA_BYTES   (256 * 1024) /* of a session's row */
#define SILENT_MS     60000        /* a peer not heard of for so long is pinged, */
#define DEAD_MS       120000       /* and dropped if it does not answer */
#define TICK_MS       1000
#define DRAIN_TICK_MS 50

enum { WS_GOING_AWAY = 1001, WS_POLICY = 1008, WS_TRY_AGAIN_LATER = 1013 };

enum state {
    OPENING, /* the first message has not come */
    LOADING, /* the store is asked for the session */
    RELAYED, /* its relay has it */
    REFUSED, /* closing, without ever having had a relay */
};

struct data;

struct conn {
    struct fl_end end;
    struct data *data;
    struct conn *prev, *next;
    struct fl_ws *ws; /* NULL: gone */
    enum state state;
    unsigned paused;            /* enum fl_pause */
    int64_t since_ms, heard_ms; /* monotonic */
    bool pinged;
    size_t pending; /* bytes sent that the relay thinks are not with the kernel */
    struct fl_msgs early;
    size_t early_bytes;
    bool ready; /* data_channel_ready is waited for */
    char id[FL_SESSION_ID_BYTES];
    char node_id[FL_NODE_ID_BYTES]; /* that has signed the upgrade, or "" */
    char address[46];
};

/* Of one loop thread. */
struct data {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_hub *hub;
    struct fl_timer *timer; /* runs while there are connections */
    struct fl_timer *drain_timer;
    struct conn *first;
    unsigned refs; /* store jobs on their way, and one for the owner */
    unsigned drain_ticks;
    bool draining, stopped;
};

static void data_unref(struct data *d)
{
    if (--d->refs == 0)
        free(d);
}

/* ---- a connection's end ---- */

static void conn_free(struct conn *c)
{
    struct fl_msg *m;

    *(c->prev ? &c->prev->next : &c->data->first) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    while ((m = TAILQ_FIRST(&c->early))) {
        TAILQ_REMOVE(&c->early, m, link);
        fl_msg_unref(m);
    }
    free(c);
}

static void set_paused(struct conn *c, enum fl_pause why, bool paused)
{
    c->paused = paused ? c->paused | why : c->paused & ~(unsigned)why;
    if (c->ws)
        fl_ws_pause(c->ws, c->paused);
}

/* One audit line a channel: who opened which session, or why not. */
static void record(const struct conn *c, const struct fl_session *s, int status, const char *error)
{
    const struct fl_plane_conf *conf = &c->data->plane->conf;
    char request_id[FL_UUID_BYTES], arn[256], node[128];
    const char *resources[1] = { arn };
    bool agent = c->end.side == FL_SIDE_AGENT;
    struct fl_audit_entry e = {
        .time_ms = fl_now_ms(),
        .request_id = request_id,
        .operation = "ssmmessages:OpenDataChannel",
        .caller = *c->node_id   ? node
                  : s && !agent ? s->owner
                                : NULL,
        .source_ip = c->address,
        .resources = resources,
        .n_resources = 1,
        .nobody = error && !*c->node_id && !s,
        .status = status,
        .error = error,
    };

    fl_uuid4(request_id);
    snprintf(arn, sizeof(arn), "arn:aws:ssm:%s:%s:session/%s", conf->region, conf->account, c->id);
    snprintf(node, sizeof(node), "arn:aws:ssm:%s:%s:managed-instance/%s", conf->region,
             conf->account, c->node_id);
    fl_audit_write(c->data->plane->audit, &e);
    fl_metrics_count(c->data->plane->metrics, error ? FL_CTR_DATA_REFUSED : FL_CTR_DATA_OPENS);
}

static void refuse(struct conn *c, const struct fl_session *s, int code, const char *error,
                   const char *why)
{
    c->state = REFUSED;
    fl_log_info("data channel refused", FL_S("session", c->id), FL_S("address", c->address),
                FL_S("why", why));
    record(c, s, code == WS_TRY_AGAIN_LATER ? 503 : 403, error);
    if (c->ws)
        fl_ws_close(c->ws, code, false);
}

/* ---- what the relay asks ---- */

static struct conn *conn_of(struct fl_end *end)
{
    return FL_CONTAINER_OF(end, struct conn, end);
}

static void end_send(struct fl_end *end, struct fl_msg *m, bool last)
{
    struct conn *c = conn_of(end);

    if (!c->ws)
        return;
    /* The relay sends no more than FL_HUB_WINDOW ahead: only memory can be missing. */
    if (fl_ws_send(c->ws, FL_WS_BINARY, m->data, m->len) < 0) {
        fl_ws_close(c->ws, WS_TRY_AGAIN_LATER, true);
        return;
    }
    c->pending += m->len;
    if (last)
        fl_ws_close(c->ws, 1000, false);
}

static void end_pause(struct fl_end *end, enum fl_pause why, bool paused)
{
    set_paused(conn_of(end), why, paused);
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
    conn_free(conn_of(end));
}

static const struct fl_end_ops end_ops = { end_send, end_pause, end_pong, end_close, end_released };

/* ---- the session ---- */

struct load {
    struct conn *conn;
    struct data *data;
    struct fl_session_info *info;
};

static int load_run(struct fl_tx *tx, void *arg)
{
    static const struct fl_identity nobody = { .kind = FL_ID_USER };
    struct load *l = arg;
    struct fl_call call;

    fl_call_init(&call, l->data->plane, &l->info->arena, &nobody, "", fl_now_ms());
    call.tx = tx;
    return fl_session_load(&call, l->conn->id, &l->info->session, NULL);
}

static void say_ready(struct conn *c)
{
    fl_autobuf struct fl_buf out = FL_BUF(1024);
    struct fl_frame f = { .schema_version = 1, .created_ms = (uint64_t)fl_now_ms() };
    char id[FL_UUID_BYTES];

    fl_uuid4(id);
    fl_uuid_parse(id, f.message_id);
    snprintf(f.type, sizeof(f.type), "%s", FL_DATA_READY);
    f.payload = FL_DATA_READY; /* not empty: some readers cannot bear it (protocol 3 §4) */
    f.payload_len = strlen(FL_DATA_READY);
    if (fl_frame_encode(&f, &out) == 0)
        fl_ws_send(c->ws, FL_WS_BINARY, out.data, out.len);
}

static void relay(struct conn *c, struct load *l)
{
    struct fl_session *s = &l->info->session;
    struct fl_msg *m;

    record(c, s, 101, NULL);
    fl_ws_trust(c->ws);
    fl_ws_set_max_message(c->ws, MESSAGE_BYTES);
    if (c->ready)
        say_ready(c);
    if (fl_end_attach(&c->end, l->info) < 0) {
        refuse(c, NULL, WS_TRY_AGAIN_LATER, "ServiceUnavailable", "out of memory");
        return;
    }
    l->info = NULL;
    c->state = RELAYED;
    while ((m = TAILQ_FIRST(&c->early))) {
        TAILQ_REMOVE(&c->early, m, link);
        fl_end_input(&c->end, m);
    }
    set_paused(c, FL_PAUSE_OWNER, false);
}

static void judge(struct conn *c, struct load *l, int r)
{
    const struct fl_session *s = &l->info->session;

    if (r < 0)
        refuse(c, NULL, WS_TRY_AGAIN_LATER, "ServiceUnavailable", "the store cannot be read");
    else if (r == 0)
        refuse(c, NULL, WS_POLICY, "AccessDeniedException", "there is no such session");
    else if (c->end.side == FL_SIDE_AGENT && strcmp(s->node_id, c->node_id) != 0)
        refuse(c, s, WS_POLICY, "AccessDeniedException", "the session is another node's");
    /* What was said while the client was on its way is still there for it. */
    else if (fl_session_over((enum fl_session_status)s->status) &&
             !(c->end.side == FL_SIDE_CLIENT && fl_hubs_has(c->data->plane->hubs, c->id)))
        refuse(c, s, WS_POLICY, "AccessDeniedException", FL_SESSION_OVER_TEXT);
    else
        relay(c, l);
}

static void load_done(void *arg, int r)
{
    struct load *l = arg;
    struct data *d = l->data;

    if (!d->stopped && !l->conn->ws)
        conn_free(l->conn);
    else if (!d->stopped)
        judge(l->conn, l, r);
    fl_session_info_free(l->info);
    free(l);
    data_unref(d);
}

static void load(struct conn *c)
{
    struct load *l = calloc(1, sizeof(*l));

    if (l)
        l->info = calloc(1, sizeof(*l->info));
    if (l && l->info) {
        l->conn = c;
        l->data = c->data;
        fl_arena_init(&l->info->arena, ARENA_BYTES);
        c->data->refs++;
        if (fl_store_submit(c->data->plane->store, FL_LANE_READ, load_run, load_done, l,
                            c->data->loop) == 0) {
            c->state = LOADING;
            set_paused(c, FL_PAUSE_OWNER, true);
            return;
        }
        c->data->refs--;
        fl_arena_done(&l->info->arena);
    }
    if (l)
        free(l->info);
    free(l);
    refuse(c, NULL, WS_TRY_AGAIN_LATER, "ThrottlingException", "the store has too much to do");
}

/* ---- the first message ---- */

/* 0 with the side, or why not. */
static int check_token(struct conn *c, const struct fl_msg_open_data *open)
{
    static const struct {
        enum fl_channel_token kind;
        enum fl_side side;
    } kinds[] = { { FL_TOKEN_DATA_AGENT, FL_SIDE_AGENT },
                  { FL_TOKEN_DATA_CLIENT, FL_SIDE_CLIENT } };
    const struct fl_plane *plane = c->data->plane;
    int r = -EBADMSG;

    for (size_t i = 0; i < FL_ARRAY_LEN(kinds) && r == -EBADMSG; i++) {
        /* A node's connection is an agent's, any other a client's: with the other's token it has
         * no business, and does not use it up. */
        if ((kinds[i].side == FL_SIDE_AGENT) != (*c->node_id != 0))
            continue;
        c->end.side = kinds[i].side;
        r = fl_channel_token_use(plane->seal_key, kinds[i].kind, open->token, c->id, fl_now_ms());
    }
    if (r == 0 && c->end.side == FL_SIDE_AGENT && open->instance_id &&
        strcmp(open->instance_id, c->node_id) != 0)
        r = -EACCES;
    /* Deregistered between the upgrade and this message. */
    if (r == 0 && c->end.side == FL_SIDE_AGENT && fl_revoked_has(plane->revoked, c->node_id))
        r = -EKEYREVOKED;
    return r;
}

static void on_first(struct conn *c, enum fl_ws_kind kind, const char *data, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * OPEN_BYTES);
    struct fl_msg_open_data open;
    int r = -EBADMSG;

    arena.secret = true;
    if (kind == FL_WS_TEXT && len <= OPEN_BYTES)
        r = fl_json_decode(&fl_shape_open_data, data, len, FL_DECODE_NOCASE | FL_DECODE_LAX, &arena,
                           &open, NULL);
    if (r < 0 || !open.token) {
        refuse(c, NULL, WS_POLICY, "BadRequest", "no valid OpenDataChannel");
        return;
    }
    r = check_token(c, &open);
    if (r < 0) {
        refuse(c, NULL, WS_POLICY, "AccessDeniedException",
               r == -ETIME         ? "token expired"
               : r == -EALREADY    ? "token used before"
               : r == -EACCES      ? "the token is not of this node"
               : r == -EKEYREVOKED ? "the node is deregistered"
                                   : "no valid token");
        return;
    }
    c->ready = open.require_ack;
    load(c);
}

/* ---- the socket's events ---- */

static void arm(struct data *d)
{
    if (!d->stopped && !fl_timer_active(d->timer))
        fl_timer_start(d->timer, TICK_MS);
}

static void ws_open(void *arg, struct fl_ws *ws)
{
    struct conn *c = arg;

    c->ws = ws;
    arm(c->data);
}

static void heard(struct conn *c)
{
    c->heard_ms = fl_mono_ms();
    c->pinged = false;
}

static void ws_pong(void *arg, struct fl_ws *ws)
{
    heard(arg);
}

static void ws_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    struct conn *c = arg;
    struct fl_msg *m;

    heard(c);
    if (c->state == REFUSED)
        return;
    if (c->state == OPENING) {
        on_first(c, kind, data, len);
        return;
    }
    m = kind == FL_WS_BINARY ? fl_msg_new(data, len) : NULL;
    if (m && c->state == RELAYED) {
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
    fl_ws_close(ws, WS_POLICY, false);
}

static void ws_drain(void *arg, struct fl_ws *ws)
{
    struct conn *c = arg;
    size_t pending = c->pending;

    if (pending == 0)
        return;
    c->pending = 0;
    fl_end_drained(&c->end, pending);
}

static void ws_closed(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct conn *c = arg;

    c->ws = NULL;
    if (c->state == RELAYED)
        fl_end_gone(&c->end); /* and it is freed when the relay has let it go, */
    else if (c->state != LOADING)
        conn_free(c); /* or when the store has answered */
}

static int upgrade(void *state, const struct fl_upgrade_in *in, struct fl_ws_events *ret_events,
                   void **ret_arg, struct fl_ws_limits *ret_limits)
{
    static const struct fl_ws_events events = {
        .on_open = ws_open,
        .on_message = ws_message,
        .on_pong = ws_pong,
        .on_drain = ws_drain,
        .on_close = ws_closed,
    };
    struct data *d = state;
    struct conn *c;

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
    c->since_ms = c->heard_ms = fl_mono_ms();
    TAILQ_INIT(&c->early);
    snprintf(c->id, sizeof(c->id), "%s", in->rest);
    snprintf(c->node_id, sizeof(c->node_id), "%s", in->who->node_id ? in->who->node_id : "");
    snprintf(c->address, sizeof(c->address), "%s", in->who->source_ip ? in->who->source_ip : "-");
    c->next = d->first;
    if (c->next)
        c->next->prev = c;
    d->first = c;
    *ret_events = events;
    *ret_arg = c;
    *ret_limits = (struct fl_ws_limits){ OPEN_BYTES, QUEUE_BYTES, 0 };
    return 0;
}

/* ---- CreateDataChannel ---- */

static int create_channel(struct fl_call *call, const struct fl_route_in *in,
                          struct fl_route_out *out, struct fl_err *err)
{
    fl_autofree char *token = NULL;
    struct fl_session s;
    const char *key;
    int r;

    if (!call->who->node_id)
        return fl_err_set(err, -EACCES, "AccessDenied", "only a node may open this channel");
    if (!fl_session_id_valid(in->rest))
        return fl_err_set(err, -EINVAL, "BadRequest", "this is no session id");
    r = fl_session_load(call, in->rest, &s, err);
    /* Whose session it is is nobody else's business. */
    if (r == 0 || (r > 0 && strcmp(s.node_id, call->who->node_id) != 0))
        return fl_err_set(err, -EINVAL, "BadRequest", "there is no such session of this node");
    if (r > 0 && fl_session_over((enum fl_session_status)s.status)) {
        /* The agent gives up its channel, and what it runs lives on: tell it by the other one. */
        key = fl_arena_printf(call->arena, "%s %s", s.node_id, s.id);
        if (key)
            fl_bus_publish(call->plane->bus, FL_SUBJECT_NODE_SESSION, key);
        return fl_err_set(err, -EINVAL, "BadRequest", FL_SESSION_OVER_TEXT);
    }
    if (r > 0)
        r = fl_channel_token_new(call->plane->seal_key, FL_TOKEN_DATA_AGENT, s.id, call->now_ms,
                                 &token);
    if (r == 0)
        r = fl_channel_token_xml("CreateDataChannelResponse", token, &out->body);
    if (r < 0)
        return fl_err_set(err, r, NULL, "data channel of %s: %s", in->rest, strerror(-r));
    out->status = 201;
    out->type = "application/xml";
    return 0;
}

/* ---- the route ---- */

/* Of a peer that is not read, pongs are not read either. */
static void check_silence(struct conn *c, int64_t now_ms)
{
    if (c->paused)
        heard(c);
    else if (now_ms - c->heard_ms > DEAD_MS)
        fl_ws_close(c->ws, 0, true);
    else if (now_ms - c->heard_ms > SILENT_MS && !c->pinged)
        c->pinged = fl_ws_ping(c->ws, "keepalive", strlen("keepalive")) == 0;
}

static void on_timer(void *arg)
{
    struct data *d = arg;
    int64_t now_ms = fl_mono_ms();

    for (struct conn *c = d->first, *next; c; c = next) {
        next = c->next;
        if (!c->ws)
            continue;
        if (c->state == OPENING && now_ms - c->since_ms > OPEN_MS)
            refuse(c, NULL, WS_POLICY, "RequestTimeout", "no OpenDataChannel came");
        else if (c->state == RELAYED)
            check_silence(c, now_ms);
    }
    if (d->first)
        arm(d);
}

static void on_drain_timer(void *arg)
{
    struct data *d = arg;
    size_t n = 0;

    for (struct conn *c = d->first; c; c = c->next)
        n += c->ws != NULL;
    n = d->drain_ticks > 0 ? (n + d->drain_ticks - 1) / d->drain_ticks : n;
    for (struct conn *c = d->first; c && n > 0; c = c->next)
        if (c->ws) {
            fl_ws_close(c->ws, WS_GOING_AWAY, false);
            n--;
        }
    if (d->drain_ticks > 0) {
        d->drain_ticks--;
        fl_timer_start(d->drain_timer, DRAIN_TICK_MS);
    }
}

static void data_drain(void *state, unsigned over_ms)
{
    struct data *d = state;

    d->draining = true;
    d->drain_ticks = over_ms / DRAIN_TICK_MS;
    fl_timer_start(d->drain_timer, 0);
}

/* All sockets are gone, and what was on its way between threads has come (front.c: last_turns). */
static void data_stop(void *state)
{
    struct data *d = state;

    d->stopped = true;
    d->timer = fl_timer_free(d->timer);
    d->drain_timer = fl_timer_free(d->drain_timer);
    fl_hub_stop(d->hub);
    d->hub = fl_hub_free(d->hub);
    while (d->first)
        conn_free(d->first);
    data_unref(d);
}

static int data_start(struct fl_plane *plane, struct fl_loop *loop, unsigned index,
                      void **ret_state, struct fl_err *err)
{
    struct data *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    *d = (struct data){ .plane = plane, .loop = loop, .refs = 1 };
    r = fl_hub_new(plane, loop, &d->hub, err);
    if (r < 0) {
        free(d);
        return r;
    }
    d->timer = fl_timer_new(loop, on_timer, d);
    d->drain_timer = fl_timer_new(loop, on_drain_timer, d);
    if (!d->timer || !d->drain_timer) {
        data_stop(d);
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
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
    .post = create_channel,
    .upgrade_action = "ssmmessages:OpenDataChannel",
    .upgrade_by_token = true,
    .upgrade = upgrade,
    .start = data_start,
    .drain = data_drain,
    .stop = data_stop,
};
