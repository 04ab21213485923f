/* server_lws.h - accepted sockets as streams, TLS or plain, by libwebsockets. Private to
 * common/net.
 *
 * lws is used in its "raw" role: TLS, polling, timers. HTTP and WebSocket framing are done above,
 * because its HTTP parser decodes and normalises the path (SigV4 needs it as sent: S3 keys contain
 * "//"), leaves chunked bodies undecoded, answers no "Expect: 100-continue", and because a
 * connection that is read raw cannot be handed to its WebSocket role.
 */
#pragma once
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/net/stream.h"

struct fl_lws; /* one per loop and listener */

/* `cert_file` (PEM chain) and `key_file`: both NULL for plain streams. -EINVAL names the bad file.
 */
int fl_lws_new(struct fl_loop *loop, const char *cert_file, const char *key_file,
               struct fl_lws **ret_lws, struct fl_err *err);

/* Takes another certificate and key for streams that come from now on; on failure the old ones
 * stay.
 */
int fl_lws_reload(struct fl_lws *lws, const char *cert_file, const char *key_file,
                  struct fl_err *err);

/* Drops every stream (on_close runs). The library's own memory is released as the loop goes on. */
struct fl_lws *fl_lws_free(struct fl_lws *lws);

/* Serves an accepted socket, which belongs to the stream from now on, also on failure. The TLS
 * handshake goes on by itself and has no time limit of its own: use fl_stream_timer. */
int fl_lws_adopt(struct fl_lws *lws, int fd, const struct fl_stream_ops *ops, void *arg,
                 struct fl_stream **ret_stream);
