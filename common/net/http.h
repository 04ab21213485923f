/* http.h - HTTP client on the loop (curl multi).
 *
 * One `struct fl_http` per loop keeps the connection cache, CA and proxy settings. Requests run
 * concurrently; each ends in exactly one callback, also on fl_http_free (with -ECANCELED).
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/net/proxy.h"

struct fl_http;
struct fl_http_call;

struct fl_http_conf {
    const char *ca_file; /* PEM file that replaces the system's pool; NULL: the system's pool */
    const struct fl_proxy_conf *proxy; /* NULL: no proxy; must outlive the object */
    const char *user_agent;
};

struct fl_http_header {
    const char *name;
    const char *value;
};

struct fl_http_request {
    const char *method; /* "GET", "POST", … */
    const char *url;    /* http:// or https://; TLS >= 1.2, certificate and name always verified */
    const struct fl_http_header *headers; /* copied */
    size_t n_headers;
    const void *body; /* copied; sent with Content-Length; NULL and 0 for none */
    size_t body_len;
    uint32_t timeout_ms;       /* whole call; 0: 60 s */
    size_t max_response_bytes; /* 0: 1 MiB; a longer body fails the call with -EMSGSIZE */
};

struct fl_http_response {
    int status;       /* HTTP status; 0 when the call failed before one arrived */
    const char *body; /* NUL-terminated, valid during the callback */
    size_t body_len;
    const char *date; /* Date header or NULL */
};

/* `r` is 0 when an answer of any status arrived, else -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH
 * (name or route, or the proxy has none), -EPROTO (TLS or HTTP fault; unknown CA), -EACCES (the
 * proxy forbids it or wants other credentials: 403, 407),
 * -EMSGSIZE, -ECANCELED, -EIO; `err` then says it in words that name the host, the proxy or the CA
 * file. */
typedef void (*fl_http_done_fn)(void *arg, int r, const struct fl_http_response *resp,
                                const struct fl_err *err);

int fl_http_new(struct fl_loop *loop, const struct fl_http_conf *conf, struct fl_http **ret_http,
                struct fl_err *err);
struct fl_http *fl_http_free(struct fl_http *http);

/* Starts a call. The callback never runs before this returns. Redirects are not followed. */
int fl_http_start(struct fl_http *http, const struct fl_http_request *req, fl_http_done_fn done,
                  void *arg, struct fl_http_call **ret_call, struct fl_err *err);

/* Ends a call without its callback. NULL is fine. */
void fl_http_cancel(struct fl_http_call *call);
