/* session.c - see session.h. */
#include "cli/session.h"
#include <errno.h>
#include <string.h>
#include "cli/session_hello.h"
#include "common/aws/crypto.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/net/ws.h"
#include "common/session/reliable.h"

#define CONNECT_MS  15000
#define START_MS    60000            /* until the node has answered */
#define RESUME_MS   (10 * 60 * 1000) /* so long a lost connection is tried again */
#define PING_MS     15000
#define SILENT_MS   40000 /* without a word, not even a pong: the connection is dead */
#define MAX_MESSAGE (FL_DATA_MAX_PAYLOAD_BYTES + 65536) /* handshakes are one message */
#define MAX_HELD    (1 << 20)
#define MAX_QUEUE   (2 << 20)
#define OPEN_BYTES  16384
#define GRANT_BYTES (1 << 20)
#define CODE_NORMAL 1000

struct fl_session {
    struct fl_cli *cli;
    struct fl_session_events events;
    void *arg;
    char *id, *node, *token, *url;
    char client_id[FL_UUID_BYTES];
    struct fl_ws *ws;
    struct fl_reliable *reliable;
    struct fl_timer *resend; /* when `reliable` wants the time */
    struct fl_timer *pulse;  /* pings, silence, and how long it may take to begin */
    struct fl_timer *again;  /* the next try after a loss, or the end */
    struct fl_backoff backoff;
    struct resume *resume;          /* ResumeSession is under way */
    struct fl_session_hello *hello; /* NULL until the node begins a handshake */
    struct fl_session_info info;
    int64_t begun_ms, lost_ms, heard_ms;
    bool lost, ready, hold;
    bool told_code; /* the command's exit code, the last word of its node */
    bool paused;    /* `ws` is */
    bool closed;    /* the plane said so; the end comes when everything was handed out */
    bool ended;     /* on_end is due, or was */
    int end_r;
    char end_text[FL_ERR_TEXT_BYTES];
};

/* A call that may outlive the session. */
struct resume {
    struct fl_session *session; /* NULL: it is gone */
};

static int connect_ws(struct fl_session *s, struct fl_err *err);

/* ---- the end ---- */

/* on_end comes from the loop, so that nobody frees what still runs. */
static void FL_PRINTF(3, 4) end(struct fl_session *s, int r, const char *fmt, ...)
{
    va_list ap;

    if (s->ended)
        return;
    s->ended = true;
    s->end_r = r;
    va_start(ap, fmt);
    vsnprintf(s->end_text, sizeof(s->end_text), fmt, ap);
    va_end(ap);
    fl_timer_stop(s->pulse);
    fl_timer_start(s->again, 0);
}

/* What is handed out late is kept, up to a limit; then nothing more is read. */
static void check_pause(struct fl_session *s)
{
    bool pause = s->hold && fl_reliable_held(s->reliable) > MAX_HELD;

    if (pause == s->paused || !s->ws)
        return;
    s->paused = pause;
    s->heard_ms = fl_mono_ms();
    fl_ws_pause(s->ws, pause);
}

static void check_closed(struct fl_session *s)
{
    char text[FL_ERR_TEXT_BYTES];

    if (!s->closed || s->ended || s->hold || fl_reliable_held(s->reliable) > 0)
        return;
    memcpy(text, s->end_text, sizeof(text));
    end(s, 0, "%s", text);
}

/* It is over, and the plane's word of that went to a connection that was lost. Nothing is missed
 * of a command whose exit code came: that stands behind all of its output. */
static void end_unheard(struct fl_session *s)
{
    if (!s->told_code) {
        end(s, -ESTALE, "the session ended while it was not connected");
        return;
    }
    s->closed = true;
    check_closed(s);
}

static void tell(const struct fl_session *s, const char *text)
{
    if (s->events.on_note && *text)
        s->events.on_note(s->arg, text);
}

/* ---- messages ---- */

static void set_resend(struct fl_session *s)
{
    int64_t now = fl_mono_ms(), at = fl_reliable_tick(s->reliable, fl_now_ms(), now);

    if (at == INT64_MAX)
        fl_timer_stop(s->resend);
    else
        fl_timer_start(s->resend, (uint64_t)FL_MAX(at - now, 1));
}

static void on_resend(void *arg)
{
    set_resend(arg);
}

/* After whatever may have delivered something. */
static void settle(struct fl_session *s, int r)
{
    if (r < 0)
        end(s, r, "the node sent what cannot be understood");
    check_pause(s);
    check_closed(s);
    if (!s->ended && !fl_timer_active(s->resend))
        set_resend(s);
}

static int on_send(void *arg, const void *frame, size_t len)
{
    struct fl_session *s = arg;

    return s->ws ? fl_ws_send(s->ws, FL_WS_BINARY, frame, len) : -EPIPE;
}

static int putv(struct fl_session *s, uint32_t type, const struct iovec *iov, size_t n_iov)
{
    int r;

    if (s->ended)
        return -EPIPE;
    r = fl_reliable_writev(s->reliable, type, iov, n_iov, fl_now_ms(), fl_mono_ms());
    if (r == 0 && !fl_timer_active(s->resend))
        set_resend(s);
    return r;
}

static int put(struct fl_session *s, uint32_t type, const void *data, size_t len)
{
    const struct iovec iov = { (void *)data, len };

    return putv(s, type, &iov, 1);
}

static void begin(struct fl_session *s)
{
    s->ready = true;
    if (s->events.on_ready)
        s->events.on_ready(s->arg, &s->info);
}

static int on_hello_send(void *arg, uint32_t type, const void *data, size_t len)
{
    return put(arg, type, data, len);
}

/* What comes behind the message that is delivered now is encrypted already. */
static void on_agreed(void *arg, const struct fl_session_agreed *agreed)
{
    struct fl_session *s = arg;

    fl_reliable_set_max_payload(s->reliable, agreed->max_payload);
    fl_reliable_set_seal(s->reliable, agreed->seal);
    s->info = agreed->info;
    tell(s, agreed->text);
    begin(s);
}

static void on_hello_failed(void *arg, int r, const char *why)
{
    end(arg, r, "%s", why);
}

static const struct fl_session_hello_events hello_events = {
    .send = on_hello_send,
    .on_agreed = on_agreed,
    .on_failed = on_hello_failed,
};

static int take_hello(struct fl_session *s, uint32_t type, const char *data, size_t len)
{
    int r = 0;

    if (s->ready)
        return 0;
    if (!s->hello)
        r = fl_session_hello_new(s->cli, s->id, s->node, &hello_events, s, &s->hello);
    if (r == 0)
        fl_session_hello_input(s->hello, type, data, len);
    return r;
}

static int take_output(struct fl_session *s, uint32_t type, const char *data, size_t len)
{
    if (s->hold)
        return -EAGAIN;
    /* A shell of an official node begins without a word before (protocol 3 §6). */
    if (!s->ready && !s->hello)
        begin(s);
    if (s->ready && s->events.on_output)
        s->events.on_output(s->arg, type, data, len);
    return 0;
}

static int on_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct fl_session *s = arg;
    uint32_t flag;
    int code;

    switch ((enum fl_data_type)type) {
    case FL_DATA_TYPE_OUTPUT:
    case FL_DATA_TYPE_STDERR:
        return take_output(s, type, data, len);
    case FL_DATA_TYPE_HANDSHAKE_REQUEST:
    case FL_DATA_TYPE_CHALLENGE_REQUEST:
    case FL_DATA_TYPE_HANDSHAKE_COMPLETE:
        return take_hello(s, type, data, len);
    case FL_DATA_TYPE_EXIT_CODE:
        if (fl_data_exit_code_decode(data, len, &code) < 0)
            break;
        s->told_code = true;
        if (s->events.on_exit_code)
            s->events.on_exit_code(s->arg, code);
        break;
    case FL_DATA_TYPE_FLAG:
        if (fl_data_flag_decode(data, len, &flag) == 0 && s->events.on_flag)
            s->events.on_flag(s->arg, flag);
        break;
    default: /* nothing that a client acts on */
        break;
    }
    return 0;
}

static void on_other(void *arg, const struct fl_frame *frame)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * MAX_MESSAGE);
    struct fl_msg_channel_closed m = { 0 };
    struct fl_session *s = arg;

    if (strcmp(frame->type, FL_MSG_CHANNEL_CLOSED) != 0 || s->closed || s->ended)
        return;
    fl_json_decode(&fl_shape_channel_closed, frame->payload, frame->payload_len, FL_DECODE_NOCASE,
                   &arena, &m, NULL);
    snprintf(s->end_text, sizeof(s->end_text), "%s", m.output ? m.output : "");
    s->closed = true;
}

static void on_reliable_room(void *arg)
{
    struct fl_session *s = arg;

    if (s->events.on_room)
        s->events.on_room(s->arg);
}

static const struct fl_reliable_events reliable_events = {
    .send = on_send,
    .deliver = on_deliver,
    .other = on_other,
    .on_room = on_reliable_room,
};

/* ---- a lost connection ---- */

static void try_again(struct fl_session *s)
{
    fl_timer_start(s->again, fl_backoff_next_ms(&s->backoff, fl_random_u32()));
}

static void lost(struct fl_session *s, const char *why)
{
    int64_t now = fl_mono_ms();

    s->ws = NULL;
    s->paused = false;
    fl_reliable_set_connected(s->reliable, false);
    if (s->ended)
        return;
    if (s->closed) {
        settle(s, 0);
        return;
    }
    if (!s->lost) {
        s->lost = true;
        s->lost_ms = now;
        if (s->ready) {
            char text[FL_ERR_TEXT_BYTES];

            snprintf(text, sizeof(text), "connection lost (%s), connecting again", why);
            tell(s, text);
        }
    }
    if (now - s->lost_ms > (s->ready ? RESUME_MS : START_MS))
        end(s, -ETIMEDOUT, "the connection to the session could not be made again: %s", why);
    else
        try_again(s);
}

static char *replaced(char *old, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return old;
    free(old);
    return copy;
}

static void take_grant(struct fl_session *s, const char *text)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = GRANT_BYTES, .secret = true };
    struct fl_session_grant g = { 0 };
    struct fl_err err = { 0 };

    if (fl_json_decode(&fl_session_grant_shape, text, strlen(text), FL_DECODE_LAX, &arena, &g,
                       &err) < 0) {
        try_again(s);
        return;
    }
    if (!g.token || !*g.token) {
        end_unheard(s);
        return;
    }
    fl_wipe(s->token, strlen(s->token));
    s->token = replaced(s->token, g.token);
    if (g.url && *g.url)
        s->url = replaced(s->url, g.url);
    if (connect_ws(s, &err) < 0)
        lost(s, fl_err_text(&err));
}

static void on_resumed(void *arg, int r, const char *text, const struct fl_err *err)
{
    struct resume *call = arg;
    struct fl_session *s = call->session;

    free(call);
    if (!s)
        return;
    s->resume = NULL;
    if (s->ended)
        return;
    if (r == 0)
        take_grant(s, text);
    else if (fl_api_refused(r, err, "DoesNotExistException"))
        end_unheard(s);
    else
        lost(s, fl_err_text(err));
}

static void resume(struct fl_session *s)
{
    const struct fl_session_ref ref = { s->id };
    struct fl_err err = { 0 };
    int r;

    if (!s->cli->keys.access_key_id) {
        end(s, -ENOKEY,
            "the connection is lost, and there are no credentials to take the session up");
        return;
    }
    s->resume = calloc(1, sizeof(*s->resume));
    if (!s->resume) {
        end(s, -ENOMEM, "out of memory");
        return;
    }
    s->resume->session = s;
    r = fl_api_start(s->cli, &fl_op_session_resume, &ref, on_resumed, s->resume, &err);
    if (r < 0) {
        free(s->resume);
        s->resume = NULL;
        end(s, r, "%s", fl_err_text(&err));
    }
}

static void on_again(void *arg)
{
    struct fl_session *s = arg;

    if (!s->ended) {
        resume(s);
        return;
    }
    if (s->ws)
        fl_ws_close(s->ws, CODE_NORMAL, false);
    s->events.on_end(s->arg, s->end_r, s->end_text);
}

/* ---- the connection ---- */

static void set_pulse(struct fl_session *s)
{
    fl_timer_start(s->pulse, PING_MS);
}

static void on_pulse(void *arg)
{
    struct fl_session *s = arg;
    int64_t now = fl_mono_ms();

    set_pulse(s);
    if (!s->ready && now - s->begun_ms > START_MS)
        end(s, -ETIMEDOUT, "the node has not answered for %d s", START_MS / 1000);
    else if (s->paused)
        fl_ws_pong(s->ws); /* its pings are not read either */
    else if (s->ws && now - s->heard_ms > SILENT_MS)
        fl_ws_close(s->ws, 0, true);
    else if (s->ws)
        fl_ws_ping(s->ws, "keepalive", strlen("keepalive"));
}

static void on_open(void *arg, struct fl_ws *ws)
{
    struct fl_session *s = arg;
    struct fl_msg_open_data open = { .schema_version = (char *)"1.0",
                                     .token = s->token,
                                     .client_id = s->client_id,
                                     .client_version = (char *)FL_SESSION_CLIENT_VERSION };
    struct fl_buf text = { .max_bytes = OPEN_BYTES, .secret = true };
    char request_id[FL_UUID_BYTES];

    fl_uuid4(request_id);
    open.request_id = request_id;
    s->heard_ms = fl_mono_ms();
    if (fl_json_encode(&fl_shape_open_data, &open, &text) < 0 ||
        fl_ws_send(ws, FL_WS_TEXT, text.data, text.len) < 0) {
        fl_ws_close(ws, 0, true);
    } else {
        fl_reliable_set_connected(s->reliable, true);
        settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
    }
    fl_buf_done(&text);
}

static void on_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    struct fl_session *s = arg;

    (void)ws;
    s->heard_ms = fl_mono_ms();
    if (kind != FL_WS_BINARY || s->ended)
        return;
    if (s->lost) {
        s->lost = false;
        fl_backoff_reset(&s->backoff);
        if (s->ready)
            tell(s, "connected again");
    }
    settle(s, fl_reliable_input(s->reliable, data, len, fl_now_ms(), s->heard_ms));
}

static void on_pong(void *arg, struct fl_ws *ws)
{
    struct fl_session *s = arg;

    (void)ws;
    s->heard_ms = fl_mono_ms();
}

static void on_drain(void *arg, struct fl_ws *ws)
{
    struct fl_session *s = arg;

    (void)ws;
    if (!s->ended)
        settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}

static void on_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct fl_session *s = arg;

    (void)ws;
    (void)code;
    if (!s) /* the session went first */
        return;
    if (http_status == 401 || http_status == 403 || http_status == 404) {
        s->ws = NULL;
        end(s, -EACCES, "the session's connection was refused: %s", why);
        return;
    }
    lost(s, why);
}

static const struct fl_ws_events ws_events = {
    .on_open = on_open,
    .on_message = on_message,
    .on_pong = on_pong,
    .on_drain = on_drain,
    .on_close = on_close,
};

static int connect_ws(struct fl_session *s, struct fl_err *err)
{
    static const struct fl_ws_limits limits = { .max_message_bytes = MAX_MESSAGE,
                                                .max_queue_bytes = MAX_QUEUE };
    struct fl_ws_client *client = fl_cli_ws(s->cli, err);

    if (!client)
        return -ENOMEM;
    return fl_ws_connect(client, s->url, NULL, 0, CONNECT_MS, &limits, &ws_events, s, &s->ws, err);
}

/* ---- public ---- */

int fl_session_new(struct fl_cli *cli, const struct fl_session_grant *grant,
                   const struct fl_session_events *events, void *arg,
                   struct fl_session **ret_session, struct fl_err *err)
{
    static const struct fl_reliable_conf conf = { 0 };
    struct fl_loop *loop = fl_cli_loop(cli, err);
    struct fl_session *s = loop ? calloc(1, sizeof(*s)) : NULL;
    int r;

    if (!s)
        return -ENOMEM;
    s->cli = cli;
    s->events = *events;
    s->arg = arg;
    s->backoff = (struct fl_backoff){ .base_ms = 200, .cap_ms = 10000 };
    s->begun_ms = fl_mono_ms();
    fl_uuid4(s->client_id);
    s->id = strdup(grant->id);
    s->node = grant->node ? strdup(grant->node) : NULL;
    s->token = strdup(grant->token);
    s->url = strdup(grant->url);
    s->resend = fl_timer_new(loop, on_resend, s);
    s->pulse = fl_timer_new(loop, on_pulse, s);
    s->again = fl_timer_new(loop, on_again, s);
    r = fl_reliable_new(&conf, &reliable_events, s, &s->reliable);
    if (r < 0 || !s->id || (grant->node && !s->node) || !s->token || !s->url || !s->resend ||
        !s->pulse || !s->again)
        r = -ENOMEM;
    else
        r = connect_ws(s, err);
    if (r < 0) {
        fl_session_free(s);
        return r;
    }
    set_pulse(s);
    *ret_session = s;
    return 0;
}

struct fl_session *fl_session_free(struct fl_session *s)
{
    if (!s)
        return NULL;
    if (s->resume)
        s->resume->session = NULL;
    if (s->ws) {
        fl_ws_set_arg(s->ws, NULL); /* from here on only on_close comes */
        fl_ws_close(s->ws, CODE_NORMAL, !s->ended);
    }
    fl_timer_free(s->resend);
    fl_timer_free(s->pulse);
    fl_timer_free(s->again);
    fl_reliable_free(s->reliable);
    fl_session_hello_free(s->hello);
    free(s->id);
    free(s->node);
    if (s->token)
        fl_free_secret(s->token, strlen(s->token));
    free(s->url);
    free(s);
    return NULL;
}

const char *fl_session_id(const struct fl_session *s)
{
    return s->id;
}

size_t fl_session_room(const struct fl_session *s)
{
    return s->ready && !s->ended ? fl_reliable_room(s->reliable) : 0;
}

int fl_session_write(struct fl_session *s, const void *data, size_t len)
{
    return put(s, FL_DATA_TYPE_OUTPUT, data, len);
}

int fl_session_writev(struct fl_session *s, const struct iovec *iov, size_t n_iov)
{
    return putv(s, FL_DATA_TYPE_OUTPUT, iov, n_iov);
}

void fl_session_size(struct fl_session *s, uint32_t cols, uint32_t rows)
{
    const struct fl_msg_size size = { cols, rows };
    fl_autobuf struct fl_buf text = FL_BUF(256);

    if (fl_json_encode(&fl_shape_size, &size, &text) == 0)
        put(s, FL_DATA_TYPE_SIZE, text.data, text.len);
}

void fl_session_flag(struct fl_session *s, uint32_t flag)
{
    uint8_t bytes[4];

    fl_data_flag_encode(flag, bytes);
    put(s, FL_DATA_TYPE_FLAG, bytes, sizeof(bytes));
}

bool fl_session_settled(const struct fl_session *s)
{
    return fl_reliable_idle(s->reliable);
}

void fl_session_hold(struct fl_session *s, bool hold)
{
    if (s->hold == hold)
        return;
    s->hold = hold;
    if (!hold && !s->ended)
        settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}
