/* post.h - one small HTTP/1.1 call over a dialer: a body out, a bounded answer in, and the end of
 * the connection unless somebody takes it.
 *
 * For processes that hold a WebSocket and make a call or two beside it; what else HTTP can do (many
 * calls, redirects, files) is http.h's, whose library is ten times the size of such a process.
 */
#pragma once
#include "common/net/dial.h"
#include "common/net/http.h"

struct fl_post;

/* 0 with the answer's status, Date header (NULL: none) and body (a NUL behind it), or a negative
 * errno (those of fl_http_done_fn) with `err`. All of it dies with the callback, and so does the
 * object. */
struct fl_post_answer {
    int r;
    int status;
    const char *date;
    const char *body;
    size_t len;
    const struct fl_err *err;
};
typedef void (*fl_post_done_fn)(void *arg, const struct fl_post_answer *answer);

/* Starts a call to an http or https URL. `headers` (copied) go out as they are, in their order;
 * Host and Content-Length are made here. `fn` runs once, from the loop, at the latest after
 * `timeout_ms`. 0; -EINVAL for a URL or header that is none; -ENOMEM. */
int fl_post_start(struct fl_dialer *dialer, struct fl_loop *loop, const char *url,
                  const struct fl_http_header *headers, size_t n_headers, const void *body,
                  size_t len, uint32_t timeout_ms, size_t max_answer_bytes, fl_post_done_fn fn,
                  void *arg, struct fl_post **ret_post, struct fl_err *err);

/* No callback any more. NULL is fine. */
struct fl_post *fl_post_cancel(struct fl_post *p);

/* From the callback of an answer: the connection, if the peer leaves it open. It is the caller's,
 * who sets its callbacks before returning. NULL: there is none to be had. */
struct fl_stream *fl_post_take_stream(struct fl_post *p);
