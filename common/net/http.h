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

/* Names in the error of a call: the peer's certificate is not trusted; the connection was closed
 * before the answer was complete, so that the request may have been taken. */
#define FL_HTTP_UNTRUSTED "UntrustedCertificate"
#define FL_HTTP_CLOSED    "ConnectionClosed"

struct fl_http_conf {
    const char *ca_file; /* PEM file that replaces the system's pool; NULL: the system's pool */
    const struct fl_proxy_conf *proxy; /* NULL: no proxy; must outlive the object */
    const char *user_agent;
};

struct fl_http_header {
    const char *name;
    const char *value;
};

enum fl_http_auth { FL_HTTP_AUTH_NONE, FL_HTTP_AUTH_BASIC, FL_HTTP_AUTH_DIGEST };

/* Bytes of a body that is sent: up to `size` of them from `offset` on, which may go back to 0. How
 * many, or a negative errno that ends the call. */
typedef ssize_t (*fl_http_read_fn)(void *arg, uint64_t offset, void *out, size_t size);
/* Bytes of an answer as they come. 0, or a negative errno that ends the call. */
typedef int (*fl_http_write_fn)(void *arg, const void *data, size_t len);

struct fl_http_request {
    const char *method; /* "GET", "POST", … */
    const char *url;    /* http:// or https://; TLS >= 1.2, certificate and name always verified */
    const struct fl_http_header *headers; /* copied */
    size_t n_headers;
    const void *body; /* copied; sent with Content-Length; NULL and 0 for none */
    size_t body_len;
    fl_http_read_fn read; /* not NULL: gives the body_len bytes of the body in place of `body` */
    /* Not NULL: gets the body of an answer of status 2xx, of any length. Other answers stay in
     * memory, cut at the limit. A stream that stands still for a minute is given up. */
    fl_http_write_fn write;
    void *stream_arg; /* of both */
    enum fl_http_auth auth;
    const char *user, *password;
    uint32_t timeout_ms;       /* whole call; 0: 60 s */
    size_t max_response_bytes; /* 0: 1 MiB; a longer body fails the call with -EMSGSIZE */
    /* On a connection of its own: where a kept one turns out to be closed, curl sends the request
     * again without a word, and the first may have been taken. */
    bool once;
};

/* Headers of an answer that are handed on, those it has. */
#define FL_HTTP_KEPT_HEADERS 7
extern const char *const fl_http_kept_headers[FL_HTTP_KEPT_HEADERS];

struct fl_http_response {
    int status;       /* HTTP status; 0 when the call failed before one arrived */
    const char *body; /* NUL-terminated, valid during the callback */
    size_t body_len;
    const char *date; /* Date header or NULL */
    struct fl_http_header headers[FL_HTTP_KEPT_HEADERS];
    size_t n_headers;
    const char *redirect_url; /* where a 3xx points to, absolute; NULL for none */
};

/* `r` is 0 when an answer of any status arrived, else -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH
 * (name or route, or the proxy has none), -EPROTO (TLS or HTTP fault; unknown CA), -EACCES (the
 * proxy forbids it or wants other credentials: 403, 407),
 * -EMSGSIZE, -ECANCELED, -EIO, or what a stream's callback returned; `err` then says it in words
 * that name the host, the proxy or the CA file. */
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
