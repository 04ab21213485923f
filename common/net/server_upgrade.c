/* server_upgrade.c - a request that asks for a WebSocket (RFC 6455 §4.2). */
#include "common/net/server_http_priv.h"

#include <stdio.h>
#include <string.h>
#include "common/net/ws_private.h"

#define UPGRADE_BODY_BYTES 1024

static void ws_cancel(void *maker)
{
    /* A server's connection is open from the start. */
}

static void ws_ended(void *maker)
{
    struct fl_conn *c = maker;

    c->server->stats.websockets--;
    fl_conn_free(c);
}

static void ws_trust(void *maker)
{
    struct fl_conn *c = maker;

    fl_guest_leave(c->server, &c->guest);
}

static const struct fl_ws_maker ws_maker = { .cancel = ws_cancel,
                                             .ended = ws_ended,
                                             .trust = ws_trust };

bool fl_wants_websocket(const struct fl_head *head)
{
    return fl_head_has_token(fl_head_get(head, "Connection"), "upgrade") &&
           fl_head_has_token(fl_head_get(head, "Upgrade"), "websocket");
}

/* 24 characters of base64: the key's 16 bytes (RFC 6455 §4.1) */
static bool is_ws_key(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    return key && strlen(key) == 24 && strspn(key, alphabet) == 22 && !strcmp(key + 22, "==");
}

static void refuse_upgrade(struct fl_conn *c, int status, const char *type, const char *body)
{
    const struct fl_http_header version = { "Sec-WebSocket-Version", "13" };
    struct fl_answer a = {
        .status = status,
        .content_type = type,
        .headers = &version,
        .n_headers = status == 426,
        .body = body,
        .body_len = strlen(body),
    };

    fl_conn_drop_req(c);
    fl_conn_answer(c, &a);
    fl_conn_leave(c);
}

static void accept_upgrade(struct fl_conn *c, struct fl_ws *ws)
{
    char accept[FL_WS_ACCEPT_BYTES], text[256];
    fl_autobuf struct fl_buf rest = c->in;
    int n;

    fl_ws_accept_key(fl_head_get(&c->req->head, "Sec-WebSocket-Key"), accept);
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    fl_conn_drop_req(c);
    fl_buf_init(&c->in, 0);
    c->state = CONN_UPGRADED;
    c->server->stats.websockets++;
    fl_stream_timer(c->stream, 0);
    if (fl_stream_send(c->stream, text, (size_t)n) < 0)
        fl_stream_abort(c->stream);
    fl_ws_begin(ws, c->stream, (uint8_t *)rest.data, rest.len);
}

void fl_conn_upgrade(struct fl_conn *c)
{
    const struct fl_server_events *on = &c->server->events;
    const char *version = fl_head_get(&c->req->head, "Sec-WebSocket-Version");
    const char *type = "text/plain";
    char body[UPGRADE_BODY_BYTES] = "";
    struct fl_ws_events events = { 0 };
    struct fl_ws_limits limits = { 0 };
    void *arg = NULL;
    struct fl_ws *ws;
    int status;

    if (!version || strcmp(version, "13")) {
        refuse_upgrade(c, 426, type, "WebSocket version 13 is required\n");
        return;
    }
    if (!is_ws_key(fl_head_get(&c->req->head, "Sec-WebSocket-Key")) || c->req->head.minor < 1 ||
        strcmp(c->req->head.method, "GET")) {
        refuse_upgrade(c, 400, type, "malformed WebSocket upgrade\n");
        return;
    }
    status = on->on_upgrade(c->server->arg, c->req, &events, &arg, &limits, body, &type);
    if (status) {
        refuse_upgrade(c, status, type, body);
        return;
    }
    ws = fl_ws_new(true, &limits, &events, arg, &ws_maker, c);
    if (!ws) {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_MEMORY]);
        return;
    }
    c->server->stats.requests++;
    accept_upgrade(c, ws);
}
