/* ws_private.h - how a struct fl_ws comes to life, for the two that make them: server_http.c after
 * an upgrade and ws_client.c. Private to common/net.
 */
#pragma once
#include "common/net/stream.h"
#include "common/net/ws.h"

/* base64(SHA-1(key + GUID)) of RFC 6455 §4.2.2: 28 characters */
#define FL_WS_ACCEPT_BYTES 29

struct fl_ws_maker {
    void (*cancel)(void *maker); /* give up connecting; fl_ws_end must follow, later */
    void (*ended)(void *maker);  /* after on_close; the struct fl_ws is gone */
    void (*trust)(void *maker);  /* NULL: there is nothing to trust */
};

/* `limits` may be NULL or hold zeroes: 1 MiB each. */
struct fl_ws *fl_ws_new(bool server, const struct fl_ws_limits *limits,
                        const struct fl_ws_events *events, void *arg, const struct fl_ws_maker *how,
                        void *maker);

/* The upgrade is done: takes over the stream, runs on_open, reads what came with the upgrade. */
void fl_ws_begin(struct fl_ws *ws, struct fl_stream *stream, uint8_t *data, size_t len);

/* Ends a connection that never began: on_close, `ended`, free. */
void fl_ws_end(struct fl_ws *ws, int http_status, const char *why);

void fl_ws_accept_key(const char *key, char out[FL_WS_ACCEPT_BYTES]);
