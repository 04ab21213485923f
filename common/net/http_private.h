/* http_private.h - between the http_*.c files: one curl multi handle on the loop, and what an HTTP
 * call and a raw connection have in common. Private to common/net.
 */
#pragma once
#include <curl/curl.h>
#include <sys/queue.h>
#include "common/net/http.h"

struct fl_transfer;

typedef void (*fl_transfer_fn)(struct fl_transfer *t, CURLcode result);

struct fl_http {
    CURLM *multi;
    struct fl_loop *loop;
    struct fl_timer *timer; /* curl's */
    const struct fl_proxy_conf *proxy;
    char *ca_file;
    char *user_agent;
    LIST_HEAD(, fl_transfer) transfers;
    unsigned busy; /* callbacks of users that are running */
    bool dead;     /* freed meanwhile */
};

/* Embedded in whatever uses curl's connection. */
struct fl_transfer {
    LIST_ENTRY(fl_transfer) link;
    struct fl_http *http;
    CURL *easy;
    fl_transfer_fn done; /* once; may free the transfer */
    char where[300];     /* host:port of the URL */
    bool listed;         /* in http->transfers: not over yet */
    bool added;          /* in http->multi */
    bool proxied;
    char proxy[272]; /* host:port */
    char curl_says[CURL_ERROR_SIZE];
};

/* Makes an easy handle with everything that holds for all of them: URL, TLS, CA, proxy, timeout. */
int fl_transfer_init(struct fl_transfer *t, struct fl_http *http, const char *url,
                     uint32_t timeout_ms, fl_transfer_fn done, struct fl_err *err);
int fl_transfer_start(struct fl_transfer *t, struct fl_err *err);

/* Without callback; also right for one that was never started. */
void fl_transfer_done(struct fl_transfer *t);

/* The errno and the words for a result. CURLE_OK: 0, except where the proxy answered in the peer's
 * place. */
int fl_transfer_error(const struct fl_transfer *t, CURLcode result, struct fl_err *err);
