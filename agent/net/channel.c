/* channel.c - the control channel (protocol 2 §1): CreateControlChannel, WebSocket,
 * OpenControlChannel, kept alive by pings, opened again for ever. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/text.h"
#include "agent/net/dispatch.h"
#include "agent/net/net.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"

/* Longer than the official agent's 15 s (protocol 2 §1.2): when all nodes come at once it may be
 * our turn late, and giving up only adds to the crowd. */
#define CREATE_TIMEOUT_MS  30000
#define CONNECT_TIMEOUT_MS 30000
#define PING_MS            54000 /* protocol 2 §1.5 */
#define FIRST_PONG_MS      114000
#define PONG_MS            60000
#define FIRST_RETRY_MS     10000 /* after a loss: at most so long; all may have lost theirs */
#define RETRY_BASE_MS      4000
#define RETRY_CAP_MS       20000  /* within a minute of the service's return all are back, */
#define REFUSED_CAP_MS     300000 /* but who is not let in has nothing to wait for */
#define STEADY_MS          30000  /* open for so long, a loss is not held against the channel */
#define STOP_MS            3000
#define TRIM_MS            15000      /* after opening: what the start needed is given back */
#define MAX_MESSAGE_BYTES  (3u << 20) /* a job must fit a frame to the monitor */
#define MAX_QUEUE_BYTES    (4u << 20)
#define MAX_PAYLOAD_BYTES  (1u << 20) /* of a message of ours */
#define QUERY              "role=subscribe&stream=input"

enum phase { CLOSED, WAITING, CREATING, CONNECTING, OPEN, STOPPING };

struct fl_channel {
    struct fl_net *net;
    enum phase phase;
    char *path; /* /v1/control-channel/<node id> */
    char *token;
    struct fl_ws *ws;
    struct fl_timer *retry;
    struct fl_timer *ping;
    struct fl_timer *pong_deadline;
    struct fl_timer *trim;
    struct fl_backoff backoff;
    int64_t opened_ms; /* monotonic */
    bool refused;      /* the last try failed for its credentials */
    bool deaf;         /* closed by us for want of a pong */
    struct fl_dispatch dispatch;
    void (*stopped)(struct fl_net *net);
};

/* ---- sending ---- */

static int send_frame(struct fl_channel *c, const char *type, const char *message_id,
                      const char *payload, size_t len)
{
    fl_autobuf struct fl_buf out = FL_BUF(MAX_PAYLOAD_BYTES + FL_FRAME_HEADER_BYTES);
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = (uint64_t)fl_net_now_ms(c->net),
                          .payload = payload,
                          .payload_len = len };
    char fresh[FL_UUID_BYTES];
    int r;

    if (c->phase != OPEN)
        return -ENOTCONN;
    if (!message_id) {
        fl_uuid4(fresh);
        message_id = fresh;
    }
    snprintf(f.type, sizeof(f.type), "%s", type);
    r = fl_uuid_parse(message_id, f.message_id);
    if (r == 0)
        r = fl_frame_encode(&f, &out);
    return r < 0 ? r : fl_ws_send(c->ws, FL_WS_BINARY, out.data, out.len);
}

static void out_send(void *arg, const char *type, const char *payload, size_t len)
{
    send_frame(arg, type, NULL, payload, len);
}

static int out_job(void *arg, const struct fl_net_job *job)
{
    struct fl_channel *c = arg;

    return fl_ipc_send(c->net->monitor, FL_NET_JOB, 0, job, NULL, 0);
}

static void out_acked(void *arg, const char *message_id)
{
    struct fl_channel *c = arg;

    fl_ipc_send(c->net->monitor, FL_NET_REPLY_ACKED, 0,
                &(struct fl_net_reply_acked){ fl_text(message_id) }, NULL, 0);
}

static int out_session(void *arg, const struct fl_net_session *session)
{
    struct fl_channel *c = arg;

    return fl_ipc_send(c->net->monitor, FL_NET_SESSION, 0, session, NULL, 0);
}

static void out_session_close(void *arg, const char *session_id)
{
    struct fl_channel *c = arg;

    fl_ipc_send(c->net->monitor, FL_NET_SESSION_CLOSE, 0,
                &(struct fl_net_session_close){ fl_text(session_id) }, NULL, 0);
}

static void out_task_acked(void *arg, const char *message_id)
{
    struct fl_channel *c = arg;

    fl_ipc_send(c->net->monitor, FL_NET_TASK_ACKED, 0,
                &(struct fl_net_reply_acked){ fl_text(message_id) }, NULL, 0);
}

static void out_audit(void *arg, const char *event, const char *subject, const char *detail)
{
    struct fl_channel *c = arg;

    fl_net_audit(c->net, event, subject, detail);
}

static const struct fl_dispatch_out dispatch_out = {
    .send = out_send,
    .job = out_job,
    .acked = out_acked,
    .session = out_session,
    .session_close = out_session_close,
    .task_acked = out_task_acked,
    .audit = out_audit,
};

void fl_channel_ack(struct fl_channel *c, const struct fl_net_job_ack *ack)
{
    fl_dispatch_ack(&c->dispatch, ack);
}

void fl_channel_reply(struct fl_channel *c, const struct fl_net_job_reply *reply)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_PAYLOAD_BYTES);
    int r;

    /* What cannot be sent now the monitor sends again: it keeps every reply until it is acked. */
    r = fl_json_encode(&fl_shape_job_reply,
                       &(struct fl_msg_job_reply){ .schema_version = 1,
                                                   .job_id = reply->job_id,
                                                   .content = reply->content,
                                                   .topic = reply->topic },
                       &text);
    if (r == 0)
        r = send_frame(c, FL_MSG_AGENT_JOB_REPLY, reply->message_id, text.data, text.len);
    if (r < 0 && r != -ENOTCONN)
        fl_log_warn("reply not sent", FL_S("job", reply->job_id), FL_S("error", strerror(-r)));
}

/* The monitor sends it again until it is acknowledged. */
void fl_channel_task_complete(struct fl_channel *c, const struct fl_net_task_complete *complete)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_PAYLOAD_BYTES);
    char empty[] = "";
    int r = fl_json_encode(&fl_shape_task_complete,
                           &(struct fl_msg_task_complete){
                               .schema_version = 1,
                               .task_id = complete->session_id,
                               .topic = fl_text(FL_MSG_AGENT_TASK_COMPLETE),
                               .final_status = complete->status,
                               .account_id = empty,
                               .instance_id = c->net->start.node_id,
                               .output = complete->output ? complete->output : empty,
                               .s3_bucket = complete->bucket ? complete->bucket : empty,
                               .s3_suffix = complete->key ? complete->key : empty,
                               .log_group = complete->log_group ? complete->log_group : empty,
                               .log_stream = complete->log_group ? complete->session_id : empty,
                               .retry_number = complete->time },
                           &text);

    if (r == 0)
        r = send_frame(c, FL_MSG_AGENT_TASK_COMPLETE, complete->message_id, text.data, text.len);
    if (r < 0 && r != -ENOTCONN)
        fl_log_warn("end of a session not sent", FL_S("session", complete->session_id),
                    FL_S("error", strerror(-r)));
}

/* ---- opening and losing ---- */

static void open_again(struct fl_channel *c, uint32_t delay_ms)
{
    c->phase = WAITING;
    fl_timer_start(c->retry, delay_ms);
}

/* `status`: of the service's HTTP answer, 0 without one. */
static void on_failure(struct fl_channel *c, int status, const char *why)
{
    fl_net_set_error(c->net, "control channel not opened", why, true);
    c->refused = c->net->state.creds_refused;
    c->backoff.cap_ms = status >= 400 && status < 500 ? REFUSED_CAP_MS : RETRY_CAP_MS;
    open_again(c, fl_backoff_next_ms(&c->backoff, fl_random_u32()));
}

static void on_ping_time(void *arg)
{
    struct fl_channel *c = arg;

    fl_ws_ping(c->ws, "keepalive", 9);
    fl_timer_start(c->ping, PING_MS);
}

static void on_no_pong(void *arg)
{
    struct fl_channel *c = arg;

    c->deaf = true;
    fl_ws_close(c->ws, FL_WS_GOING_AWAY, true);
}

static void on_trim(void *arg)
{
    malloc_trim(0);
}

static int send_open(struct fl_channel *c)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_PAYLOAD_BYTES);
    char request_id[FL_UUID_BYTES];
    struct fl_msg_open_channel open = { .schema_version = fl_text("1.0"),
                                        .request_id = request_id,
                                        .token = c->token,
                                        .agent_version = c->net->start.agent_version,
                                        .platform_type = fl_text("linux") };
    int r;

    fl_uuid4(request_id);
    r = fl_json_encode(&fl_shape_open_channel, &open, &text);
    return r < 0 ? r : fl_ws_send(c->ws, FL_WS_TEXT, text.data, text.len);
}

static void drop_token(struct fl_channel *c)
{
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(FL_TAKE(c->token));
}

static void on_ws_open(void *arg, struct fl_ws *ws)
{
    struct fl_channel *c = arg;
    int r = send_open(c);

    drop_token(c);
    if (r < 0) {
        fl_ws_close(ws, FL_WS_FAILED, true);
        return;
    }
    c->phase = OPEN;
    c->opened_ms = fl_mono_ms();
    fl_timer_start(c->ping, PING_MS);
    fl_timer_start(c->pong_deadline, FIRST_PONG_MS);
    fl_timer_start(c->trim, TRIM_MS);
    fl_net_set_online(c->net, true);
    fl_health_channel_open(c->net->health);
}

static void on_ws_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                          size_t len)
{
    struct fl_channel *c = arg;

    /* Text and binary are read alike (protocol 2 §1.5). */
    if (c->phase == OPEN)
        fl_dispatch_message(&c->dispatch, data, len);
}

static void on_ws_pong(void *arg, struct fl_ws *ws)
{
    struct fl_channel *c = arg;

    fl_timer_start(c->pong_deadline, PONG_MS);
}

static void on_ws_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct fl_channel *c = arg;
    bool was_open = c->phase == OPEN;
    char text[256];

    c->ws = NULL;
    drop_token(c);
    fl_timer_stop(c->ping);
    fl_timer_stop(c->pong_deadline);
    fl_timer_stop(c->trim);
    if (c->phase == STOPPING) {
        c->phase = CLOSED;
        fl_timer_stop(c->retry);
        c->stopped(c->net);
        return;
    }
    if (c->deaf)
        why = "the service stopped answering";
    if (code == FL_CLOSE_CLONED)
        why = "another machine connects with this node's identity: register this one again";
    c->deaf = false;
    if (http_status)
        snprintf(text, sizeof(text), "HTTP %d %s", http_status, why ? why : "");
    else if (was_open && code != 1006)
        snprintf(text, sizeof(text), "closed with code %d %s", code, why ? why : "");
    else
        snprintf(text, sizeof(text), "%s", why && *why ? why : "connection lost");
    if (!was_open) {
        on_failure(c, http_status, text);
        return;
    }
    fl_net_set_error(c->net, "control channel lost", text, true);
    if (fl_mono_ms() - c->opened_ms >= STEADY_MS)
        fl_backoff_reset(&c->backoff);
    /* The first loss is answered soon; a channel that keeps closing is not hammered. */
    if (c->backoff.tries == 0) {
        c->backoff.tries = 1;
        open_again(c, fl_random_between(0, FIRST_RETRY_MS));
    } else {
        open_again(c, fl_backoff_next_ms(&c->backoff, fl_random_u32()));
    }
}

static const struct fl_ws_events ws_events = {
    .on_open = on_ws_open,
    .on_message = on_ws_message,
    .on_pong = on_ws_pong,
    .on_close = on_ws_close,
};

/* Authorization of the upgrade; fresh memory. `headers` has places for 4; the first is Host, which
 * the WebSocket client writes by itself. */
static int sign_upgrade(struct fl_channel *c, const char *date, const char *host,
                        struct fl_http_header *headers, size_t *ret_n, char **ret_authorization)
{
    const struct fl_net_creds *creds = &c->net->creds;
    char empty_hash[FL_SHA256_HEX_BYTES];
    size_t n = 0;

    fl_sha256_hex("", 0, empty_hash);
    headers[n++] = (struct fl_http_header){ "Host", host };
    headers[n++] = (struct fl_http_header){ "X-Amz-Date", date };
    if (creds->session_token && *creds->session_token)
        headers[n++] = (struct fl_http_header){ "X-Amz-Security-Token", creds->session_token };
    *ret_n = n;
    return fl_sigv4_sign(&(struct fl_sigv4_request){ .method = "GET",
                                                     .path = c->path,
                                                     .query = QUERY,
                                                     .headers = headers,
                                                     .n_headers = n,
                                                     .body_sha256 = empty_hash,
                                                     .service = "ssmmessages" },
                         &(struct fl_aws_creds){ creds->access_key_id, creds->secret_access_key,
                                                 creds->session_token },
                         c->net->start.mgs_region, date, ret_authorization, NULL);
}

static int connect_ws(struct fl_channel *c, struct fl_err *err)
{
    static const struct fl_ws_limits limits = { .max_message_bytes = MAX_MESSAGE_BYTES,
                                                .max_queue_bytes = MAX_QUEUE_BYTES };
    const char *base = c->net->start.mgs_url;
    fl_autofree char *authorization = NULL;
    fl_autofree char *url = NULL;
    struct fl_http_header headers[4];
    char date[FL_COMPACT_BYTES], host[512];
    size_t n;
    int r;

    /* https -> wss, http -> ws */
    if (strncmp(base, "http", 4) != 0 || asprintf(&url, "ws%s%s?" QUERY, base + 4, c->path) < 0) {
        url = NULL;
        return fl_err_set(err, -EINVAL, NULL, "%s: not a usable URL", base);
    }
    r = fl_url_authority(base, true, host, sizeof(host));
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: not a usable URL", base);
    fl_time_compact(fl_net_now_ms(c->net), date);
    r = sign_upgrade(c, date, host, headers, &n, &authorization);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot sign: %s", strerror(-r));
    headers[n++] = (struct fl_http_header){ "Authorization", authorization };
    return fl_ws_connect(c->net->ws_client, url, headers + 1, n - 1, CONNECT_TIMEOUT_MS, &limits,
                         &ws_events, c, &c->ws, err);
}

static void on_created(struct fl_net *net, const struct fl_api_result *result)
{
    struct fl_channel *c = net->channel;
    struct fl_err err = { 0 };
    int r;

    if (c->phase != CREATING)
        return;
    if (result->status != 201) {
        fl_err_set(&err, 0, NULL, "%s: %s", result->name,
                   result->status == 200 ? "HTTP 200 where 201 is due" : result->text);
        on_failure(c, result->status, err.text);
        return;
    }
    r = fl_channel_token_parse(result->body, strlen(result->body), &c->token);
    if (r < 0) {
        on_failure(c, 0, "the service's answer has no token");
        return;
    }
    c->phase = CONNECTING;
    r = connect_ws(c, &err);
    if (r < 0) {
        drop_token(c);
        on_failure(c, 0, fl_err_text(&err));
    }
}

static void create(void *arg)
{
    fl_autobuf struct fl_buf body = FL_BUF(1024);
    struct fl_channel *c = arg;
    char request_id[FL_UUID_BYTES];
    const struct fl_msg_create_channel msg = { .schema_version = fl_text("1.0"),
                                               .request_id = request_id };
    int r;

    if (c->phase == STOPPING) {
        c->phase = CLOSED;
        c->stopped(c->net);
        return;
    }
    fl_uuid4(request_id);
    c->phase = CREATING;
    r = fl_json_encode(&fl_shape_create_channel, &msg, &body);
    if (r == 0)
        r = fl_api_start(c->net,
                         &(struct fl_api_call){ .service = "ssmmessages",
                                                .path = c->path,
                                                .body = body.data,
                                                .timeout_ms = CREATE_TIMEOUT_MS },
                         on_created);
    if (r < 0)
        on_failure(c, 0, strerror(-r));
}

/* ---- life ---- */

int fl_channel_new(struct fl_net *net, struct fl_channel **ret_channel, struct fl_err *err)
{
    struct fl_channel *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->net = net;
    c->backoff = (struct fl_backoff){ .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS };
    c->retry = fl_timer_new(net->loop, create, c);
    c->ping = fl_timer_new(net->loop, on_ping_time, c);
    c->pong_deadline = fl_timer_new(net->loop, on_no_pong, c);
    c->trim = fl_timer_new(net->loop, on_trim, c);
    if (asprintf(&c->path, "/v1/control-channel/%s", net->start.node_id) < 0)
        c->path = NULL;
    if (!c->retry || !c->ping || !c->pong_deadline || !c->trim || !c->path) {
        fl_channel_free(c);
        return fl_err_nomem(err);
    }
    c->dispatch = (struct fl_dispatch){ .node_id = net->start.node_id,
                                        .agent_version = net->start.agent_version,
                                        .out = &dispatch_out,
                                        .arg = c };
    *ret_channel = c;
    return 0;
}

struct fl_channel *fl_channel_free(struct fl_channel *c)
{
    if (!c)
        return NULL;
    fl_timer_free(c->retry);
    fl_timer_free(c->ping);
    fl_timer_free(c->pong_deadline);
    fl_timer_free(c->trim);
    drop_token(c);
    free(c->path);
    free(c);
    return NULL;
}

void fl_channel_start(struct fl_channel *c)
{
    if (c->phase == CLOSED && !c->stopped)
        open_again(c, 0);
}

void fl_channel_fresh_creds(struct fl_channel *c)
{
    if (c->phase == WAITING && c->refused) {
        c->refused = false;
        fl_timer_start(c->retry, fl_random_between(0, 1000));
    }
}

bool fl_channel_is_open(const struct fl_channel *c)
{
    return c->phase == OPEN;
}

void fl_channel_stop(struct fl_channel *c, void (*done)(struct fl_net *net))
{
    c->stopped = done;
    c->phase = STOPPING;
    if (c->ws)
        fl_ws_close(c->ws, FL_WS_NORMAL, false);
    /* The end of patience, or at once if there is nothing to close. */
    fl_timer_start(c->retry, c->ws ? STOP_MS : 0);
}
