/* ws_client.c - see ws.h: outgoing connections, up to the upgrade. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include "common/aws/crypto.h"
#include "common/base/rand.h"
#include "common/net/dial.h"
#include "common/net/head.h"
#include "common/net/ws_private.h"

#define ANSWER_MAX_BYTES    (16 * 1024) /* the head of the server's answer */
#define ANSWER_ARENA_BYTES  (4 * ANSWER_MAX_BYTES)
#define REQUEST_MAX_BYTES   (64 * 1024)
#define KEY_BYTES           16
#define SWITCHING_PROTOCOLS 101

/* A connection, from the call until its struct fl_ws is gone. */
struct dial {
    LIST_ENTRY(dial) link;
    struct fl_ws_client *client;
    struct fl_ws *ws;
    struct fl_dial *connect;   /* while connecting */
    struct fl_stream *stream;  /* from then on */
    struct fl_timer *deadline; /* until it is open */
    struct fl_buf request, answer;
    char *key; /* Sec-WebSocket-Key */
    int http_status;
    char why[FL_ERR_TEXT_BYTES];
};

struct fl_ws_client {
    struct fl_loop *loop;
    struct fl_dialer *dialer;
    LIST_HEAD(, dial) dials;
};

/* ---- the upgrade request ---- */

static bool is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

static int make_request(struct dial *d, const char *authority, const struct fl_http_header *headers,
                        size_t n_headers, struct fl_err *err)
{
    int authority_len = (int)strcspn(authority, "/?#");
    const char *target = authority + authority_len;
    uint8_t nonce[KEY_BYTES];
    int r;

    fl_random_bytes(nonce, sizeof(nonce));
    d->key = fl_base64_encode(nonce, sizeof(nonce));
    if (!d->key)
        return -ENOMEM;
    r = fl_buf_printf(&d->request,
                      "GET %s%.*s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: %s\r\n",
                      *target == '/' ? "" : "/", (int)strcspn(target, "#"), target, authority_len,
                      authority, d->key);
    for (size_t i = 0; i < n_headers && r == 0; i++) {
        if (!is_clean(headers[i].name) || !is_clean(headers[i].value))
            return fl_err_set(err, -EINVAL, NULL, "a control character in a header");
        r = fl_buf_printf(&d->request, "%s: %s\r\n", headers[i].name, headers[i].value);
    }
    if (r == 0)
        r = fl_buf_puts(&d->request, "\r\n");
    return r;
}

/* The part of a ws:// or wss:// URL behind the scheme, or NULL. */
static const char *check_url(const char *url)
{
    const char *rest = NULL;

    if (!strncasecmp(url, "ws://", 5))
        rest = url + 5;
    else if (!strncasecmp(url, "wss://", 6))
        rest = url + 6;
    if (!rest || !is_clean(url) || strchr(url, ' ') ||
        memchr(rest, '@', strcspn(rest, "/?#"))) /* credentials would end up in the Host header */
        return NULL;
    return rest;
}

/* ---- the end of a dial ---- */

static void dial_free(struct dial *d)
{
    LIST_REMOVE(d, link);
    fl_dial_cancel(d->connect);
    fl_timer_free(d->deadline);
    fl_buf_done(&d->request);
    fl_buf_done(&d->answer);
    free(d->key);
    free(d);
}

static void ws_ended(void *maker)
{
    dial_free(maker);
}

static void ws_cancel(void *maker)
{
    struct dial *d = maker;

    snprintf(d->why, sizeof(d->why), "canceled");
    fl_timer_start(d->deadline, 0);
}

static const struct fl_ws_maker ws_maker = { .cancel = ws_cancel, .ended = ws_ended };

static void on_deadline(void *arg)
{
    struct dial *d = arg;

    if (!d->why[0])
        snprintf(d->why, sizeof(d->why), "no answer in time");
    if (d->stream) {
        fl_stream_abort(d->stream); /* its on_close ends the rest */
        return;
    }
    fl_ws_end(d->ws, 0, d->why);
}

/* ---- the answer ---- */

/* NULL, or what is wrong with a 101. */
static const char *check_answer(const struct dial *d, const struct fl_head *head)
{
    const char *accept = fl_head_get(head, "Sec-WebSocket-Accept");
    char want[FL_WS_ACCEPT_BYTES];

    fl_ws_accept_key(d->key, want);
    if (!fl_head_has_token(fl_head_get(head, "Upgrade"), "websocket") ||
        !fl_head_has_token(fl_head_get(head, "Connection"), "upgrade"))
        return "the server switched to something else than WebSocket";
    if (!accept || strcmp(accept, want))
        return "the server's Sec-WebSocket-Accept is wrong";
    if (fl_head_get(head, "Sec-WebSocket-Extensions") ||
        fl_head_get(head, "Sec-WebSocket-Protocol"))
        return "the server chose an extension or protocol that was not offered";
    return NULL;
}

/* The head of the answer is whole. 0, or -1 with d->why filled. */
static int read_answer(struct dial *d, size_t len)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = ANSWER_ARENA_BYTES };
    fl_autofree char *text = strndup(d->answer.data, len);
    struct fl_head head = { 0 };
    const char *wrong = "the server's answer is not well-formed HTTP";

    if (text && fl_head_parse_response(text, len, &arena, &head) == 0) {
        if (head.status == SWITCHING_PROTOCOLS) {
            wrong = check_answer(d, &head);
        } else {
            d->http_status = head.status;
            snprintf(d->why, sizeof(d->why), "the server refused the upgrade with status %d",
                     head.status);
            return -1;
        }
    }
    if (!wrong)
        return 0;
    snprintf(d->why, sizeof(d->why), "%s", wrong);
    return -1;
}

static void begin(struct dial *d, size_t head_len)
{
    fl_autobuf struct fl_buf answer = d->answer;

    fl_buf_init(&d->answer, 0);
    d->deadline = fl_timer_free(d->deadline);
    fl_ws_begin(d->ws, d->stream, (uint8_t *)answer.data + head_len, answer.len - head_len);
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct dial *d = arg;
    size_t searched = d->answer.len, head_len;

    if (fl_buf_append(&d->answer, data, len) < 0) {
        snprintf(d->why, sizeof(d->why), "the server's answer is too long");
        fl_stream_abort(d->stream);
        return;
    }
    head_len = fl_head_length(d->answer.data, d->answer.len, searched);
    if (!head_len)
        return;
    if (read_answer(d, head_len) < 0)
        fl_stream_abort(d->stream);
    else
        begin(d, head_len);
}

static void on_close(void *arg, const char *why)
{
    struct dial *d = arg;

    d->stream = NULL;
    fl_ws_end(d->ws, d->http_status, d->why[0] ? d->why : why);
}

static const struct fl_stream_ops stream_ops = { .on_data = on_data, .on_close = on_close };

static void ask(struct dial *d, struct fl_stream *stream)
{
    d->stream = stream;
    fl_stream_set_ops(stream, &stream_ops, d);
    if (fl_stream_send(stream, d->request.data, d->request.len) < 0)
        fl_stream_abort(stream);
    fl_buf_done(&d->request);
}

static void on_connected(void *arg, struct fl_stream *stream, int r, const struct fl_err *err)
{
    struct dial *d = arg;

    d->connect = NULL;
    if (r < 0)
        fl_ws_end(d->ws, 0, d->why[0] ? d->why : fl_err_text(err));
    else
        ask(d, stream);
}

/* ---- a connection that nobody wants any more ---- */

static void ignore_close(void *arg, const char *why)
{
}

static void throw_away(struct fl_stream *stream)
{
    static const struct fl_stream_ops nobody = { .on_close = ignore_close };

    if (!stream)
        return;
    fl_stream_set_ops(stream, &nobody, NULL);
    fl_stream_abort(stream);
}

/* ---- public ---- */

int fl_ws_client_new(struct fl_loop *loop, const struct fl_ws_client_conf *conf,
                     struct fl_ws_client **ret_client, struct fl_err *err)
{
    struct fl_ws_client *client = calloc(1, sizeof(*client));
    int r;

    if (!client)
        return -ENOMEM;
    client->loop = loop;
    LIST_INIT(&client->dials);
    r = fl_dialer_new(loop, conf->ca_file, conf->proxy, &client->dialer, err);
    if (r < 0) {
        free(client);
        return r;
    }
    *ret_client = client;
    return 0;
}

struct fl_ws_client *fl_ws_client_free(struct fl_ws_client *client)
{
    struct dial *d;

    if (!client)
        return NULL;
    while ((d = LIST_FIRST(&client->dials))) {
        if (d->stream)
            fl_dial_drop(d->stream, "shutting down");
        else
            fl_ws_end(d->ws, 0, "shutting down");
    }
    fl_dialer_free(client->dialer);
    free(client);
    return NULL;
}

struct fl_dialer *fl_ws_client_dialer(struct fl_ws_client *client)
{
    return client->dialer;
}

int fl_ws_connect(struct fl_ws_client *client, const char *url,
                  const struct fl_http_header *headers, size_t n_headers, uint32_t timeout_ms,
                  const struct fl_ws_limits *limits, const struct fl_ws_events *events, void *arg,
                  struct fl_ws **ret_ws, struct fl_err *err)
{
    return fl_ws_connect_on(client, NULL, url, headers, n_headers, timeout_ms, limits, events, arg,
                            ret_ws, err);
}

int fl_ws_connect_on(struct fl_ws_client *client, struct fl_stream *stream, const char *url,
                     const struct fl_http_header *headers, size_t n_headers, uint32_t timeout_ms,
                     const struct fl_ws_limits *limits, const struct fl_ws_events *events,
                     void *arg, struct fl_ws **ret_ws, struct fl_err *err)
{
    const char *authority = check_url(url);
    struct dial *d = authority ? calloc(1, sizeof(*d)) : NULL;
    int r;

    if (!d) {
        throw_away(stream);
        return authority ? -ENOMEM
                         : fl_err_set(err, -EINVAL, NULL, "not a ws:// or wss:// URL with a host");
    }
    d->client = client;
    LIST_INSERT_HEAD(&client->dials, d, link);
    fl_buf_init(&d->request, REQUEST_MAX_BYTES);
    fl_buf_init(&d->answer, ANSWER_MAX_BYTES + REQUEST_MAX_BYTES);
    d->ws = fl_ws_new(false, limits, events, arg, &ws_maker, d);
    d->deadline = fl_timer_new(client->loop, on_deadline, d);
    r = d->ws && d->deadline ? make_request(d, authority, headers, n_headers, err) : -ENOMEM;
    if (r == 0 && stream)
        ask(d, stream);
    else if (r == 0)
        r = fl_dial_start(client->dialer, url, timeout_ms, on_connected, d, &d->connect, err);
    if (r < 0) {
        throw_away(stream);
        free(d->ws);
        dial_free(d);
        return r;
    }
    fl_timer_start(d->deadline, timeout_ms);
    *ret_ws = d->ws;
    return 0;
}
