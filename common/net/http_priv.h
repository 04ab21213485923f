/* http_priv.h - between http.c (the calls) and http_error.c (what became of them). */
#pragma once
#include <curl/curl.h>
#include <sys/queue.h>
#include "common/net/http.h"

struct fl_http {
    CURLM *multi;
    struct fl_loop *loop;
    struct fl_timer *timer; /* curl's */
    const struct fl_proxy_conf *proxy;
    char *ca_file;
    const char *ca_dir; /* without ca_file; NULL: curl's own way */
    char *user_agent;
    LIST_HEAD(, fl_http_call) calls;
    unsigned busy; /* callbacks of users that are running */
    bool dead;     /* freed meanwhile */
};

struct fl_http_call {
    LIST_ENTRY(fl_http_call) link;
    struct fl_http *http;
    CURL *easy;
    struct curl_slist *headers;
    struct fl_buf answer;
    fl_http_done_fn done;
    void *arg;
    bool listed;    /* in http->calls: not over yet */
    bool added;     /* in http->multi */
    bool reporting; /* its callback is running */
    bool proxied;
    fl_http_read_fn read;
    fl_http_write_fn write;
    void *stream_arg;
    uint64_t sent, body_len; /* of a body that is read */
    int stream_error;        /* what a stream's callback returned */
    char where[300];         /* host:port of the URL */
    char proxy[272];         /* host:port */
    char curl_says[CURL_ERROR_SIZE];
};

/* The errno and the words for a result. CURLE_OK: 0, except where the proxy answered in the peer's
 * place. */
int fl_http_call_error(const struct fl_http_call *call, CURLcode result, struct fl_err *err);
