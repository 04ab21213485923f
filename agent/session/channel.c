/* channel.c - the data channel (protocol 3 §3): CreateDataChannel, WebSocket, OpenDataChannel, kept
 * alive by pings, opened again when it is lost. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/service.h"
#include "agent/lib/sign.h"
#include "agent/lib/text.h"
#include "agent/session/session.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/net/post.h"

#define CREATE_TIMEOUT_MS  15000
#define CONNECT_TIMEOUT_MS 15000
#define AGAIN_MS           50  /* after a loss: at most so long */
#define RETRY_BASE_MS      200 /* a try that failed: 100-199 ms, doubled */
#define RETRY_CAP_MS       5000
#define TRIES              5
#define OUR_PATIENCE_MS    300000 /* with a plane of ours: it may be started again meanwhile */
#define CLOSE_MS           1000
#define TRIM_MS            2000 /* after opening: what that needed is given back */
#define MAX_ANSWER_BYTES   65536
#define MAX_MESSAGE_BYTES  (256u << 10)
#define MAX_QUEUE_BYTES    (256u << 10) /* what lies here delays what follows */
#define MAX_TEXT_BYTES     8192
#define MAX_HEADERS        8
#define TERMINATED         "Session is already terminated"
#define QUERY              "?role=publish_subscribe"

/* protocol 3 §3; with a plane of ours both soon see that the other is gone. What is first heard
 * waits for the plane's store. */
static const struct pulse {
    uint32_t ping_ms, first_ms, quiet_ms;
} pulses[] = { { 54000, 114000, 60000 }, { FL_DATA_BEAT_MS, 20000, FL_DATA_QUIET_MS } };

enum phase { IDLE, WAITING, CREATING, CONNECTING, OPEN, CLOSED };

struct fl_data {
    struct fl_sess *s;
    enum phase phase;
    bool opened; /* once at least */
    bool up;     /* `ws` is, and waits for s->kept */
    bool shared; /* `ws` is on the connection of the call before it */
    bool apart;  /* that failed once: each has its own */
    struct fl_post *post;
    struct fl_ws *ws;
    char *token;
    struct fl_timer *retry, *ping, *quiet, *closing, *trim;
    struct fl_backoff backoff;
    unsigned tries;
    int64_t lost_ms;       /* monotonic: since when there is none */
    struct fl_arena arena; /* of one try */
    void (*closed)(struct fl_sess *s);
};

static void drop_token(struct fl_data *d)
{
    if (d->token)
        explicit_bzero(d->token, strlen(d->token));
    free(d->token);
    d->token = NULL;
}

static void fresh_arena(struct fl_data *d)
{
    fl_arena_done(&d->arena);
    fl_arena_init(&d->arena, 65536);
    d->arena.secret = true;
}

/* ---- again ---- */

static void give_up(struct fl_data *d, const char *why)
{
    char text[FL_ERR_TEXT_BYTES + 64];

    d->phase = CLOSED;
    snprintf(text, sizeof(text), "fairlead: the data channel cannot be opened: %s", why);
    fl_log_warn("session has no data channel", FL_S("session", d->s->start.session_id),
                FL_S("error", why));
    fl_sess_end(d->s, FL_SESSION_FAILED, text);
}

static void try_later(struct fl_data *d, const char *why)
{
    bool over =
        fl_sess_is_ours(d->s) ? fl_mono_ms() - d->lost_ms > OUR_PATIENCE_MS : ++d->tries > TRIES;

    fl_log_debug("data channel not opened", FL_S("session", d->s->start.session_id),
                 FL_S("error", why));
    if (over) {
        give_up(d, why);
        return;
    }
    d->phase = WAITING;
    fl_timer_start(d->retry, fl_backoff_next_ms(&d->backoff, fl_random_u32()));
}

/* ---- the socket ---- */

static const struct pulse *pulse_of(const struct fl_data *d)
{
    return &pulses[fl_sess_is_ours(d->s)];
}

static void on_ping_time(void *arg)
{
    struct fl_data *d = arg;

    fl_ws_ping(d->ws, "keepalive", 9);
    fl_timer_start(d->ping, pulse_of(d)->ping_ms);
}

static void on_quiet(void *arg)
{
    struct fl_data *d = arg;
    int64_t left_ms = fl_ws_heard_ms(d->ws) + pulse_of(d)->quiet_ms - fl_mono_ms();

    if (left_ms > 0)
        fl_timer_start(d->quiet, (uint64_t)left_ms);
    else
        fl_ws_close(d->ws, FL_WS_GOING_AWAY, true);
}

static void on_trim(void *arg)
{
    malloc_trim(0);
}

static int send_open(struct fl_data *d)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_TEXT_BYTES);
    struct fl_msg_extras extras = { .beats = true };
    char request_id[FL_UUID_BYTES];
    int r;

    text.secret = true;
    fl_uuid4(request_id);
    r = fl_json_encode(
        &fl_shape_open_data,
        &(struct fl_msg_open_data){ .schema_version = fl_text("1.0"),
                                    .request_id = request_id,
                                    .token = d->token,
                                    .instance_id = d->s->start.node_id,
                                    .client_id = fl_text(""),
                                    .extras = fl_sess_is_ours(d->s) ? &extras : NULL },
        &text);
    return r < 0 ? r : fl_ws_send(d->ws, FL_WS_TEXT, text.data, text.len);
}

static void open_channel(struct fl_data *d)
{
    bool first = !d->opened;
    int r = send_open(d);

    drop_token(d);
    fresh_arena(d);
    if (r < 0) {
        fl_ws_close(d->ws, FL_WS_FAILED, true);
        return;
    }
    d->phase = OPEN;
    d->opened = true;
    d->tries = 0;
    fl_backoff_reset(&d->backoff);
    fl_timer_start(d->ping, pulse_of(d)->ping_ms);
    fl_timer_start(d->quiet, pulse_of(d)->first_ms);
    fl_timer_start(d->trim, TRIM_MS);
    fl_sess_connected(d->s, first);
}

static void on_ws_open(void *arg, struct fl_ws *ws)
{
    struct fl_data *d = arg;

    d->up = !d->s->kept;
    if (!d->up)
        open_channel(d);
}

static void on_ws_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                          size_t len)
{
    struct fl_data *d = arg;

    if (d->phase == OPEN && kind == FL_WS_BINARY)
        fl_sess_frame(d->s, data, len);
}

static void on_ws_drain(void *arg, struct fl_ws *ws)
{
    struct fl_data *d = arg;

    if (d->phase == OPEN)
        fl_sess_drained(d->s);
}

static void tell_closed(struct fl_data *d)
{
    void (*closed)(struct fl_sess * s) = d->closed;

    d->closed = NULL;
    fl_timer_stop(d->closing);
    if (closed)
        closed(d->s);
}

static void on_ws_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct fl_data *d = arg;
    bool was_open = d->phase == OPEN;
    char text[256];

    d->ws = NULL;
    d->up = false;
    drop_token(d);
    fl_timer_stop(d->ping);
    fl_timer_stop(d->quiet);
    if (d->s->phase == FL_SESS_ENDED)
        d->phase = CLOSED;
    if (d->phase == CLOSED) {
        tell_closed(d);
        return;
    }
    snprintf(text, sizeof(text), "%s", why && *why ? why : "connection lost");
    if (!was_open) {
        d->apart |= d->shared;
        try_later(d, text);
        return;
    }
    fl_log_debug("data channel lost", FL_S("session", d->s->start.session_id), FL_S("why", why));
    d->lost_ms = fl_mono_ms();
    d->phase = WAITING;
    fl_timer_start(d->retry, fl_random_between(0, AGAIN_MS));
    fl_sess_lost(d->s);
}

static const struct fl_ws_events ws_events = {
    .on_open = on_ws_open,
    .on_message = on_ws_message,
    .on_drain = on_ws_drain,
    .on_close = on_ws_close,
};

/* ---- calls ---- */

/* All headers but Host, which whoever sends them writes. Strings are of the arena. */
static int sign(struct fl_data *d, const char *method, const char *url, const char *sha256,
                struct fl_http_header out[MAX_HEADERS], size_t *ret_n)
{
    const struct fl_aws_creds creds = { d->s->creds.access_key_id, d->s->creds.secret_access_key,
                                        d->s->creds.session_token };
    struct fl_fetch_header type = { fl_text("Content-Type"), fl_text("application/json") };
    struct fl_fetch_header *headers = NULL;
    size_t n = 0, kept = 0;
    int r = fl_sign_call(&(struct fl_sign_in){ .method = method,
                                               .url = url,
                                               .service = "ssmmessages",
                                               .region = d->s->start.mgs_region,
                                               .body_sha256 = sha256,
                                               .creds = &creds,
                                               .now_ms = fl_sess_now_ms(d->s),
                                               .headers = &type,
                                               .n_headers = strcmp(method, "POST") == 0 },
                         &d->arena, &headers, &n);

    for (size_t i = 0; r == 0 && i < n && kept < MAX_HEADERS; i++)
        if (strcmp(headers[i].name, "Host") != 0)
            out[kept++] = (struct fl_http_header){ headers[i].name, headers[i].value };
    *ret_n = kept;
    return r;
}

/* http and https become ws and wss, or stay. */
static char *url_of(struct fl_data *d, const char *scheme, const char *query)
{
    const char *base = d->s->start.mgs_url;

    return fl_arena_printf(&d->arena, "%s%s/v1/data-channel/%s%s", scheme,
                           base + (strncmp(base, "http", 4) == 0 ? 4 : 0), d->s->start.session_id,
                           query);
}

/* On the connection of the call that brought the token, if it can be had. */
static void connect_ws(struct fl_data *d, struct fl_post *call)
{
    static const struct fl_ws_limits limits = { .max_message_bytes = MAX_MESSAGE_BYTES,
                                                .max_queue_bytes = MAX_QUEUE_BYTES };
    struct fl_http_header headers[MAX_HEADERS];
    char hash[FL_SHA256_HEX_BYTES];
    struct fl_err err = { 0 };
    struct fl_stream *stream;
    char *http_url, *ws_url;
    size_t n;
    int r;

    fresh_arena(d);
    fl_sha256_hex("", 0, hash);
    http_url = url_of(d, "http", QUERY);
    ws_url = url_of(d, "ws", QUERY);
    d->phase = CONNECTING;
    r = http_url && ws_url ? sign(d, "GET", http_url, hash, headers, &n) : -ENOMEM;
    stream = r == 0 && !d->apart ? fl_post_take_stream(call) : NULL;
    d->shared = stream != NULL;
    if (r == 0)
        r = fl_ws_connect_on(d->s->ws_client, stream, ws_url, headers, n, CONNECT_TIMEOUT_MS,
                             &limits, &ws_events, d, &d->ws, &err);
    if (r < 0) {
        drop_token(d);
        try_later(d, err.text[0] ? err.text : strerror(-r));
    }
}

static bool is_refusal(const char *name)
{
    static const char *const names[] = { "ExpiredToken", "ExpiredTokenException",
                                         "InvalidClientTokenId", "UnrecognizedClientException" };

    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static void on_refused(struct fl_data *d, const struct fl_post_answer *answer)
{
    char text[FL_ERR_TEXT_BYTES], *name = NULL, *words = NULL;

    if (strstr(answer->body, TERMINATED)) {
        d->phase = CLOSED;
        fl_sess_end(d->s, FL_SESSION_SUCCESS, "");
        return;
    }
    fl_service_error(answer->body, &d->arena, &name, &words);
    name = name ? name : fl_text("");
    snprintf(text, sizeof(text), "CreateDataChannel: HTTP %d %s %s", answer->status, name,
             words ? words : "");
    fl_sign_learn_time(answer->status, name, answer->date, &d->s->creds.offset_ms);
    if (is_refusal(name))
        fl_ipc_send(d->s->holder, FL_SESS_NEED_CREDS, 0, NULL, NULL, 0);
    try_later(d, text);
}

static void on_created(void *arg, const struct fl_post_answer *answer)
{
    struct fl_data *d = arg;
    struct fl_post *call = d->post;

    d->post = NULL;
    if (answer->r < 0)
        try_later(d, fl_err_text(answer->err));
    else if (answer->status != 201)
        on_refused(d, answer);
    else if (fl_channel_token_parse(answer->body, answer->len, &d->token) < 0)
        try_later(d, "CreateDataChannel: the answer has no token");
    else
        connect_ws(d, call);
}

static void create(void *arg)
{
    fl_autobuf struct fl_buf body = FL_BUF(1024);
    struct fl_data *d = arg;
    struct fl_http_header headers[MAX_HEADERS];
    char request_id[FL_UUID_BYTES], hash[FL_SHA256_HEX_BYTES];
    struct fl_err err = { 0 };
    char *url;
    size_t n;
    int r;

    fresh_arena(d);
    fl_uuid4(request_id);
    d->phase = CREATING;
    r = fl_json_encode(&fl_shape_create_data,
                       &(struct fl_msg_create_data){ .schema_version = fl_text("1.0"),
                                                     .request_id = request_id,
                                                     .client_id = fl_text("") },
                       &body);
    url = url_of(d, "http", "");
    if (r == 0) {
        fl_sha256_hex(body.data, body.len, hash);
        r = url ? sign(d, "POST", url, hash, headers, &n) : -ENOMEM;
    }
    if (r == 0)
        r = fl_post_start(fl_ws_client_dialer(d->s->ws_client), d->s->loop, url, headers, n,
                          body.data, body.len, CREATE_TIMEOUT_MS, MAX_ANSWER_BYTES, on_created, d,
                          &d->post, &err);
    if (r < 0)
        try_later(d, err.text[0] ? err.text : strerror(-r));
}

/* ---- life ---- */

static void on_closing_over(void *arg)
{
    struct fl_data *d = arg;

    if (d->ws)
        fl_ws_close(d->ws, FL_WS_NORMAL, true);
    else
        tell_closed(d);
}

int fl_data_new(struct fl_sess *s, struct fl_data **ret_data, struct fl_err *err)
{
    struct fl_data *d = calloc(1, sizeof(*d));

    if (!d)
        return fl_err_nomem(err);
    d->s = s;
    d->backoff = (struct fl_backoff){ .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS };
    fl_arena_init(&d->arena, 65536);
    d->retry = fl_timer_new(s->loop, create, d);
    d->ping = fl_timer_new(s->loop, on_ping_time, d);
    d->quiet = fl_timer_new(s->loop, on_quiet, d);
    d->closing = fl_timer_new(s->loop, on_closing_over, d);
    d->trim = fl_timer_new(s->loop, on_trim, d);
    if (!d->retry || !d->ping || !d->quiet || !d->closing || !d->trim) {
        fl_data_free(d);
        return fl_err_nomem(err);
    }
    *ret_data = d;
    return 0;
}

void fl_data_stop(struct fl_data *d)
{
    if (!d)
        return;
    d->post = fl_post_cancel(d->post);
    fl_timer_stop(d->retry);
}

struct fl_data *fl_data_free(struct fl_data *d)
{
    if (!d)
        return NULL;
    fl_timer_free(d->retry);
    fl_timer_free(d->ping);
    fl_timer_free(d->quiet);
    fl_timer_free(d->closing);
    fl_timer_free(d->trim);
    drop_token(d);
    fl_arena_done(&d->arena);
    free(d);
    return NULL;
}

void fl_data_start(struct fl_data *d)
{
    if (d->phase != IDLE)
        return;
    d->lost_ms = fl_mono_ms();
    create(d);
}

void fl_data_fresh_creds(struct fl_data *d)
{
    if (d->phase == WAITING)
        fl_timer_start(d->retry, fl_random_between(0, AGAIN_MS));
}

void fl_data_kept(struct fl_data *d)
{
    if (!d->up || d->phase != CONNECTING)
        return;
    d->up = false;
    open_channel(d);
}

int fl_data_send(struct fl_data *d, const void *frame, size_t len)
{
    return d->phase == OPEN ? fl_ws_send(d->ws, FL_WS_BINARY, frame, len) : -ENOTCONN;
}

void fl_data_close(struct fl_data *d, void (*done)(struct fl_sess *s))
{
    d->closed = done;
    d->phase = CLOSED;
    fl_data_stop(d);
    if (d->ws)
        fl_ws_close(d->ws, FL_WS_NORMAL, false);
    fl_timer_start(d->closing, d->ws ? CLOSE_MS : 0);
}
