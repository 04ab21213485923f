/* http_stream.h - outgoing connections as streams: names, proxies and TLS by curl. Private to
 * common/net.
 *
 * curl connects ("connect only": name lookup, CONNECT through a proxy, TLS, certificate), after which
 * the bytes are ours.
 */
#pragma once
#include "common/net/http.h"
#include "common/net/stream.h"

struct fl_http_connect; /* a connection being made */

/* `stream` is open, and has no callbacks yet: set them before returning. Or it is NULL, and `r` and
 * `err` say why, as in fl_http_done_fn. */
typedef void (*fl_http_connect_fn)(void *arg, struct fl_stream *stream, int r,
                                   const struct fl_err *err);

/* Starts connecting to the host of an http:// or https:// URL. The callback never runs before this
 * returns; also on fl_http_free, with -ECANCELED. Streams must be gone before fl_http_free. */
int fl_http_connect(struct fl_http *http, const char *url, uint32_t timeout_ms,
                    fl_http_connect_fn done, void *arg, struct fl_http_connect **ret_connect,
                    struct fl_err *err);

/* Gives up: no callback. NULL is fine. */
void fl_http_connect_cancel(struct fl_http_connect *connect);

/* Ends a stream at once, with on_close. */
void fl_http_stream_drop(struct fl_stream *s, const char *why);
