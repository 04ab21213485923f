/* session.c - see session.h. */
#include "cli/session.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/session_hello.h"
#include "cli/session_priv.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"

#define MAX_HELD (1 << 20)

/* ---- the end ---- */

void fl_session_end(struct fl_session *s, int r, const char *fmt, ...)
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

/* What is still kept without a hold lies behind something that is missing, and whoever could send
 * that is gone. */
static void check_closed(struct fl_session *s)
{
    char text[FL_ERR_TEXT_BYTES];

    if (!s->closed || s->ended || s->hold)
        return;
    memcpy(text, s->end_text, sizeof(text));
    fl_session_end(s, 0, "%s", text);
}

void fl_session_tell(const struct fl_session *s, const char *text)
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

void fl_session_settle(struct fl_session *s, int r)
{
    if (r < 0)
        fl_session_end(s, r, "the node sent what cannot be understood");
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
    /* With a hole in it, what follows would mean something else. A size is said again. */
    if (r < 0 && type != FL_DATA_TYPE_SIZE)
        fl_session_end(s, r, "what was to be sent to the node is lost: %s", strerror(-r));
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
    fl_session_tell(s, agreed->text);
    begin(s);
}

static void on_hello_failed(void *arg, int r, const char *why)
{
    fl_session_end(arg, r, "%s", why);
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
        if (fl_data_reason_decode(data, len, s->reason) == 0)
            break;
        if (fl_data_flag_decode(data, len, &flag) == 0 && s->events.on_flag)
            s->events.on_flag(s->arg, flag, flag == FL_DATA_FLAG_CONNECT_ERROR ? s->reason : "");
        s->reason[0] = '\0';
        break;
    default: /* nothing that a client acts on */
        break;
    }
    return 0;
}

static void on_other(void *arg, const struct fl_frame *frame)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_SESSION_MAX_MESSAGE);
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

/* The next try after a loss, or the end. */
static void on_again(void *arg)
{
    struct fl_session *s = arg;

    if (!s->ended) {
        fl_session_resume(s);
        return;
    }
    if (s->ws)
        fl_ws_close(s->ws, FL_WS_NORMAL, false);
    s->events.on_end(s->arg, s->end_r, s->end_text);
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
    s->pulse = fl_timer_new(loop, fl_session_on_pulse, s);
    s->again = fl_timer_new(loop, on_again, s);
    r = fl_reliable_new(&conf, &reliable_events, s, &s->reliable);
    if (r < 0 || !s->id || (grant->node && !s->node) || !s->token || !s->url || !s->resend ||
        !s->pulse || !s->again)
        r = -ENOMEM;
    else
        r = fl_session_connect(s, err);
    if (r < 0) {
        fl_session_free(s);
        return r;
    }
    fl_session_set_pulse(s);
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
        fl_ws_close(s->ws, FL_WS_NORMAL, !s->ended);
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

const char *fl_session_words(const char *text)
{
    static const char name[] = "fairlead: ";

    return strncmp(text, name, strlen(name)) == 0 ? text + strlen(name) : text;
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

void fl_session_leave(struct fl_session *s)
{
    if (s->ready && s->info.kind == FL_SESSION_PORT && s->info.end_flag)
        fl_session_flag(s, FL_DATA_FLAG_TERMINATE);
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
        fl_session_settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}
