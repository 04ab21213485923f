/* session_link.c - a session's connection to the plane: OpenDataChannel, pings, and ResumeSession
 * when it was lost. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/session_hello.h"
#include "cli/session_priv.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"

#define CONNECT_MS  15000
#define START_MS    60000            /* until the node has answered */
#define RESUME_MS   (10 * 60 * 1000) /* so long a lost connection is tried again */
#define PING_MS     15000
#define SILENT_MS   40000 /* without a word, not even a pong: the connection is dead */
#define MAX_QUEUE   (2 << 20)
#define OPEN_BYTES  16384
#define GRANT_BYTES (1 << 20)

/* ---- a lost connection ---- */

/* It is over, and the plane's word of that went to a connection that was lost. Nothing is missed
 * of a command whose exit code came: that stands behind all of its output. */
static void end_unheard(struct fl_session *s)
{
    if (!s->told_code) {
        fl_session_end(s, -ESTALE, "the session ended while it was not connected");
        return;
    }
    s->closed = true;
    fl_session_settle(s, 0);
}

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
        fl_session_settle(s, 0);
        return;
    }
    if (!s->lost) {
        s->lost = true;
        s->lost_ms = now;
        if (s->ready) {
            char text[FL_ERR_TEXT_BYTES];

            snprintf(text, sizeof(text), "connection lost (%s), connecting again", why);
            fl_session_tell(s, text);
        }
    }
    if (now - s->lost_ms > (s->ready ? RESUME_MS : START_MS))
        fl_session_end(s, -ETIMEDOUT, "the connection to the session could not be made again: %s",
                       why);
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
    if (fl_session_connect(s, &err) < 0)
        lost(s, fl_err_text(&err));
}

static void on_resumed(void *arg, int r, const char *text, const struct fl_err *err)
{
    struct fl_session_resume *call = arg;
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

void fl_session_resume(struct fl_session *s)
{
    const struct fl_session_ref ref = { s->id };
    struct fl_err err = { 0 };
    int r;

    if (!s->cli->keys.access_key_id) {
        fl_session_end(
            s, -ENOKEY,
            "the connection is lost, and there are no credentials to take the session up");
        return;
    }
    s->resume = calloc(1, sizeof(*s->resume));
    if (!s->resume) {
        fl_session_end(s, -ENOMEM, "out of memory");
        return;
    }
    s->resume->session = s;
    r = fl_api_start(s->cli, &fl_op_session_resume, &ref, on_resumed, s->resume, &err);
    if (r < 0) {
        free(s->resume);
        s->resume = NULL;
        fl_session_end(s, r, "%s", fl_err_text(&err));
    }
}

/* ---- the connection ---- */

void fl_session_set_pulse(struct fl_session *s)
{
    fl_timer_start(s->pulse, PING_MS);
}

void fl_session_on_pulse(void *arg)
{
    struct fl_session *s = arg;
    int64_t now = fl_mono_ms();

    fl_session_set_pulse(s);
    if (!s->ready && now - s->begun_ms > START_MS)
        fl_session_end(s, -ETIMEDOUT, "the node has not answered for %d s", START_MS / 1000);
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
        fl_session_settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
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
            fl_session_tell(s, "connected again");
    }
    fl_session_settle(s, fl_reliable_input(s->reliable, data, len, fl_now_ms(), s->heard_ms));
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
        fl_session_settle(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
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
        fl_session_end(s, -EACCES, "the session's connection was refused: %s", why);
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

int fl_session_connect(struct fl_session *s, struct fl_err *err)
{
    static const struct fl_ws_limits limits = { .max_message_bytes = FL_SESSION_MAX_MESSAGE,
                                                .max_queue_bytes = MAX_QUEUE };
    struct fl_ws_client *client = fl_cli_ws(s->cli, err);

    if (!client)
        return -ENOMEM;
    return fl_ws_connect(client, s->url, NULL, 0, CONNECT_MS, &limits, &ws_events, s, &s->ws, err);
}
