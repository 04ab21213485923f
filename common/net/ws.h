/* ws.h - WebSocket connections, either side, on the loop.
 *
 * Messages are reassembled up to a limit and delivered whole. Sending queues; the queue has a
 * limit. That a text message is UTF-8 is for its reader to check. TLS (wss) and plain (ws) alike.
 * Client: fl_ws_connect below. Server: upgraded through server.h.
 */
#pragma once
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/net/http.h"
#include "common/net/proxy.h"

struct fl_ws;
struct fl_stream;
struct fl_ws_client; /* one per loop: CA, proxy, TLS context */

enum fl_ws_kind { FL_WS_TEXT, FL_WS_BINARY };

/* Why a connection is closed (RFC 6455 §7.4.1). */
enum {
    FL_WS_NORMAL = 1000,
    FL_WS_GOING_AWAY = 1001,
    FL_WS_BAD_DATA = 1003,
    FL_WS_POLICY = 1008,
    FL_WS_FAILED = 1011,
    FL_WS_TRY_AGAIN_LATER = 1013,
};

/* Callbacks run on the loop. After on_close the object is gone: forget the pointer. A callback may
 * call fl_ws_send and fl_ws_close. NULL members are skipped. */
struct fl_ws_events {
    void (*on_open)(void *arg, struct fl_ws *ws); /* client: the handshake is done */
    void (*on_message)(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len);
    void (*on_pong)(void *arg, struct fl_ws *ws);
    /* All queued bytes have been handed to the kernel. */
    void (*on_drain)(void *arg, struct fl_ws *ws);
    /* `code`: WebSocket close code of the peer, 1006 without one. `http_status`: client only, the
     * status that refused the upgrade, else 0. `why`: words for a log. */
    void (*on_close)(void *arg, struct fl_ws *ws, int code, int http_status, const char *why);
};

#define FL_WS_BURST_S 5

struct fl_ws_limits {
    size_t max_message_bytes; /* a longer message closes with 1009; 0: 1 MiB */
    size_t max_queue_bytes;   /* fl_ws_send fails with -ENOBUFS beyond; 0: 1 MiB */
    unsigned max_per_s; /* messages, pings and pongs that are read, on the average of FL_WS_BURST_S;
                           the rest stays with the peer. 0: no limit */
};

struct fl_ws_client_conf {
    const char *ca_file;               /* as in struct fl_http_conf */
    const struct fl_proxy_conf *proxy; /* as in struct fl_http_conf; CONNECT with basic auth */
};

int fl_ws_client_new(struct fl_loop *loop, const struct fl_ws_client_conf *conf,
                     struct fl_ws_client **ret_client, struct fl_err *err);

/* Connections still open are dropped; each gets its on_close first. Not from inside a callback of
 * one of them. */
struct fl_ws_client *fl_ws_client_free(struct fl_ws_client *client);

/* What it makes its connections with, for calls beside them (post.h). */
struct fl_dialer *fl_ws_client_dialer(struct fl_ws_client *client);

/* Starts connecting to ws:// or wss://; `headers` (copied) are added to the upgrade request, the
 * Host header is the URL's authority as written. No subprotocol, no extension, no Origin is
 * offered. `timeout_ms` bounds everything up to on_open. Ends in on_open or on_close, later than
 * the return. */
int fl_ws_connect(struct fl_ws_client *client, const char *url,
                  const struct fl_http_header *headers, size_t n_headers, uint32_t timeout_ms,
                  const struct fl_ws_limits *limits, const struct fl_ws_events *events, void *arg,
                  struct fl_ws **ret_ws, struct fl_err *err);

/* The same on a connection to that host which is open already (fl_post_take_stream), and is taken
 * in any case; NULL: on one of its own. It spares two round trips; but who answered a call on it
 * may hang up on an upgrade. */
int fl_ws_connect_on(struct fl_ws_client *client, struct fl_stream *stream, const char *url,
                     const struct fl_http_header *headers, size_t n_headers, uint32_t timeout_ms,
                     const struct fl_ws_limits *limits, const struct fl_ws_events *events,
                     void *arg, struct fl_ws **ret_ws, struct fl_err *err);

/* Queues a whole message (copied). 0, -ENOBUFS over the queue limit, -EPIPE when closing, -ENOMEM.
 */
int fl_ws_send(struct fl_ws *ws, enum fl_ws_kind kind, const void *data, size_t len);

/* Queues a ping with up to 125 bytes of payload. Pings of the peer are answered by themselves. */
int fl_ws_ping(struct fl_ws *ws, const void *payload, size_t len);

/* Queues a pong nobody asked for: to a peer that counts pongs, and whose pings are not read because
 * it is paused. */
int fl_ws_pong(struct fl_ws *ws);

/* Reads nothing more, or goes on. What is read already is still delivered: up to a record of TLS
 * (17 KiB). A peer that hangs up is seen late, its pings and its answer to our close not at all
 * until then; closing ends the pause. */
void fl_ws_pause(struct fl_ws *ws, bool paused);

/* Messages may be so long from the next one on. */
void fl_ws_set_max_message(struct fl_ws *ws, size_t max_message_bytes);

/* Server: the peer is known now, its connection is no guest any more (server.h). */
void fl_ws_trust(struct fl_ws *ws);

/* Starts the close handshake after what is queued; on_close follows (within 5 s even if the peer is
 * silent). `abort` drops the connection without ceremony. */
void fl_ws_close(struct fl_ws *ws, int code, bool abort);

size_t fl_ws_queued(const struct fl_ws *ws);

/* When bytes of the peer came last, of whatever message; monotonic. 0: not open yet. */
int64_t fl_ws_heard_ms(const struct fl_ws *ws);

void fl_ws_set_arg(struct fl_ws *ws, void *arg);
