/* dial.h - outgoing connections as streams: name lookup, CONNECT through a proxy, TLS by OpenSSL.
 * Private to common/net.
 *
 * Not by curl, on purpose: whoever holds one WebSocket for months must not carry libcurl and the
 * twenty libraries behind it (2 MB of private memory) for a connection that is made once.
 */
#pragma once
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/net/proxy.h"
#include "common/net/stream.h"

struct fl_dialer; /* TLS settings, CA and proxy, one per loop */
struct fl_dial;   /* a connection being made */

/* `stream` is open and has no callbacks yet: set them before returning. Or it is NULL, and `r` and
 * `err` say why: the errnos of fl_http_done_fn (http.h). */
typedef void (*fl_dial_fn)(void *arg, struct fl_stream *stream, int r, const struct fl_err *err);

/* `ca_file` replaces the system's pool unless NULL; `proxy` (may be NULL) must outlive the dialer.
 */
int fl_dialer_new(struct fl_loop *loop, const char *ca_file, const struct fl_proxy_conf *proxy,
                  struct fl_dialer **ret_dialer, struct fl_err *err);

/* Streams and dials must be gone. */
struct fl_dialer *fl_dialer_free(struct fl_dialer *d);

/* Starts connecting to the host of an http, https, ws or wss URL; the callback comes from the loop,
 * at the latest after `timeout_ms`. */
int fl_dial_start(struct fl_dialer *d, const char *url, uint32_t timeout_ms, fl_dial_fn done,
                  void *arg, struct fl_dial **ret_dial, struct fl_err *err);

/* Gives up: no callback. NULL is fine. */
void fl_dial_cancel(struct fl_dial *dial);

/* Ends a stream at once, with on_close. */
void fl_dial_drop(struct fl_stream *s, const char *why);
