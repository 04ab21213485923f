/* data_open.c - a data channel's beginning: CreateDataChannel gives an agent its token, the first
 * message brings one, and the session that it names is looked up (protocol 3 §3).
 *
 * Both sides share path and role: what tells them apart is the token. An agent has signed its
 * upgrade, too; a client need not have.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/auth/revoked.h"
#include "server/channel/channel_token.h"
#include "server/channel/data_priv.h"
#include "server/session/relay.h"

#define MESSAGE_BYTES (256 * 1024) /* protocol 3 §11: 64 KiB and more */
#define ARENA_BYTES   (256 * 1024) /* of a session's row */
#define FRAME_BYTES   (64 * 1024)

/* ---- CreateDataChannel ---- */

int fl_data_create(struct fl_call *call, const struct fl_route_in *in, struct fl_route_out *out,
                   struct fl_err *err)
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

/* ---- what is noted ---- */

/* One audit line a channel: who opened which session, or why not. */
static void record(const struct fl_data_conn *c, const struct fl_session *s, int status,
                   const char *error)
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

void fl_data_refuse(struct fl_data_conn *c, const struct fl_session *s, int code, const char *error,
                    const char *why)
{
    c->state = FL_DATA_REFUSED;
    fl_log_info("data channel refused", FL_S("session", c->id), FL_S("address", c->address),
                FL_S("why", why));
    record(c, s, code == FL_WS_TRY_AGAIN_LATER ? 503 : 403, error);
    if (c->ws)
        fl_ws_close(c->ws, code, false);
}

/* ---- the session ---- */

struct load {
    struct fl_data_conn *conn;
    struct fl_data_loop *data;
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

static void say(struct fl_data_conn *c, const char *type, const char *payload, size_t len)
{
    fl_autobuf struct fl_buf out = FL_BUF(FRAME_BYTES);
    struct fl_frame f = { .schema_version = 1, .created_ms = (uint64_t)fl_now_ms() };
    char id[FL_UUID_BYTES];

    fl_uuid4(id);
    fl_uuid_parse(id, f.message_id);
    snprintf(f.type, sizeof(f.type), "%s", type);
    f.payload = payload;
    f.payload_len = len;
    if (fl_frame_encode(&f, &out) == 0)
        fl_ws_send(c->ws, FL_WS_BINARY, out.data, out.len);
}

static void say_ready(struct fl_data_conn *c)
{
    /* not empty: some readers cannot bear it (protocol 3 §4) */
    say(c, FL_DATA_READY, FL_DATA_READY, strlen(FL_DATA_READY));
}

/* An agent that refuses a session is done with it before the client has made its connection. */
static void say_closed(struct fl_data_conn *c, const struct fl_session *s)
{
    fl_autobuf struct fl_buf json = FL_BUF(FRAME_BYTES / 2);

    if (fl_relay_closed_payload(s->id, s->node_id, s->details, fl_now_ms(), &json) == 0)
        say(c, FL_MSG_CHANNEL_CLOSED, json.data, json.len);
}

static void relay(struct fl_data_conn *c, struct load *l)
{
    struct fl_session *s = &l->info->session;
    struct fl_msg *m;

    record(c, s, 101, NULL);
    fl_ws_trust(c->ws);
    fl_ws_set_max_message(c->ws, MESSAGE_BYTES);
    if (c->ready)
        say_ready(c);
    if (fl_end_attach(&c->end, l->info) < 0) {
        fl_data_refuse(c, NULL, FL_WS_TRY_AGAIN_LATER, "ServiceUnavailable", "out of memory");
        return;
    }
    l->info = NULL;
    c->state = FL_DATA_RELAYED;
    while ((m = TAILQ_FIRST(&c->early))) {
        TAILQ_REMOVE(&c->early, m, link);
        fl_end_input(&c->end, m);
    }
    fl_data_conn_pause(c, FL_PAUSE_OWNER, false);
}

static void judge(struct fl_data_conn *c, struct load *l, int r)
{
    const struct fl_session *s = &l->info->session;

    if (r < 0)
        fl_data_refuse(c, NULL, FL_WS_TRY_AGAIN_LATER, "ServiceUnavailable",
                       "the store cannot be read");
    else if (r == 0)
        fl_data_refuse(c, NULL, FL_WS_POLICY, "AccessDeniedException", "there is no such session");
    else if (c->end.side == FL_SIDE_AGENT && strcmp(s->node_id, c->node_id) != 0)
        fl_data_refuse(c, s, FL_WS_POLICY, "AccessDeniedException",
                       "the session is another node's");
    /* What was said while the client was on its way is still there for it. */
    else if (fl_session_over((enum fl_session_status)s->status) &&
             !(c->end.side == FL_SIDE_CLIENT && fl_hubs_has(c->data->plane->hubs, c->id))) {
        if (c->end.side == FL_SIDE_CLIENT)
            say_closed(c, s);
        fl_data_refuse(c, s, FL_WS_POLICY, "AccessDeniedException", FL_SESSION_OVER_TEXT);
    } else
        relay(c, l);
}

static void load_done(void *arg, int r)
{
    struct load *l = arg;
    struct fl_data_loop *d = l->data;

    if (!d->stopped && !l->conn->ws)
        fl_data_conn_free(l->conn);
    else if (!d->stopped)
        judge(l->conn, l, r);
    fl_session_info_free(l->info);
    free(l);
    fl_data_loop_unref(d);
}

static void load(struct fl_data_conn *c)
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
            c->state = FL_DATA_LOADING;
            fl_data_conn_pause(c, FL_PAUSE_OWNER, true);
            return;
        }
        c->data->refs--;
        fl_arena_done(&l->info->arena);
    }
    if (l)
        free(l->info);
    free(l);
    fl_data_refuse(c, NULL, FL_WS_TRY_AGAIN_LATER, "ThrottlingException",
                   "the store has too much to do");
}

/* ---- the first message ---- */

/* 0 with the side, or why not. */
static int check_token(struct fl_data_conn *c, const struct fl_msg_open_data *open)
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

void fl_data_first(struct fl_data_conn *c, enum fl_ws_kind kind, const char *data, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_DATA_OPEN_BYTES);
    struct fl_msg_open_data open;
    int r = -EBADMSG;

    arena.secret = true;
    if (kind == FL_WS_TEXT && len <= FL_DATA_OPEN_BYTES)
        r = fl_json_decode(&fl_shape_open_data, data, len, FL_DECODE_NOCASE | FL_DECODE_LAX, &arena,
                           &open, NULL);
    if (r < 0 || !open.token) {
        fl_data_refuse(c, NULL, FL_WS_POLICY, "BadRequest", "no valid OpenDataChannel");
        return;
    }
    r = check_token(c, &open);
    if (r < 0) {
        fl_data_refuse(c, NULL, FL_WS_POLICY, "AccessDeniedException",
                       r == -ETIME         ? "token expired"
                       : r == -EALREADY    ? "token used before"
                       : r == -EACCES      ? "the token is not of this node"
                       : r == -EKEYREVOKED ? "the node is deregistered"
                                           : "no valid token");
        return;
    }
    c->ready = open.require_ack;
    c->beats = c->end.side == FL_SIDE_AGENT && open.extras && open.extras->beats;
    load(c);
}
