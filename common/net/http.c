/* http.c - see http.h: calls. */
#include "common/net/http.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/net/http_private.h"

#define DEFAULT_TIMEOUT_MS (60 * 1000)
#define DEFAULT_MAX_BYTES  (1024 * 1024)

struct fl_http_call {
    struct fl_transfer base;
    struct curl_slist *headers;
    struct fl_buf answer;
    fl_http_done_fn done;
    void *arg;
    bool reporting; /* its callback is running */
};

static void call_free(struct fl_http_call *call)
{
    fl_transfer_done(&call->base);
    curl_slist_free_all(call->headers);
    fl_buf_done(&call->answer);
    free(call);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct fl_http_call *call = arg;

    /* Anything but all of it ends the transfer with CURLE_WRITE_ERROR. */
    return fl_buf_append(&call->answer, data, size * n) < 0 ? 0 : size * n;
}

static void on_done(struct fl_transfer *t, CURLcode result)
{
    struct fl_http_call *call = (struct fl_http_call *)t;
    struct fl_http_response resp = { .body = "" };
    struct curl_header *date = NULL;
    struct fl_err err = { 0 };
    int r = fl_transfer_error(t, result, &err);
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    resp.status = (int)status;
    if (r == 0 && call->answer.data) {
        resp.body = call->answer.data;
        resp.body_len = call->answer.len;
    }
    if (curl_easy_header(t->easy, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK)
        resp.date = date->value;
    call->reporting = true;
    call->done(call->arg, r, &resp, &err);
    call_free(call);
}

static int add_header(struct fl_http_call *call, const char *name, const char *value)
{
    fl_autofree char *line = NULL;
    struct curl_slist *more;

    if (name[strcspn(name, "\r\n")] || (value && value[strcspn(value, "\r\n")]))
        return -EINVAL;
    /* curl's own notation: "Name;" sends an empty header, "Name:" keeps curl from sending one. */
    if (asprintf(&line, value && !*value ? "%s;%s" : "%s: %s", name, value ? value : "") < 0) {
        line = NULL;
        return -ENOMEM;
    }
    more = curl_slist_append(call->headers, line);
    if (!more)
        return -ENOMEM;
    call->headers = more;
    return 0;
}

static int set_headers(struct fl_http_call *call, const struct fl_http_request *req)
{
    bool has_type = false;
    int r = add_header(call, "Expect", NULL);

    for (size_t i = 0; i < req->n_headers && r == 0; i++) {
        has_type |= !strcasecmp(req->headers[i].name, "Content-Type");
        r = add_header(call, req->headers[i].name, req->headers[i].value);
    }
    if (r == 0 && !has_type)
        r = add_header(call, "Content-Type", NULL); /* not curl's idea of a form */
    if (r == 0)
        curl_easy_setopt(call->base.easy, CURLOPT_HTTPHEADER, call->headers);
    return r;
}

static int set_body(struct fl_http_call *call, const struct fl_http_request *req)
{
    CURL *easy = call->base.easy;
    bool plain = !strcmp(req->method, "GET") || !strcmp(req->method, "HEAD");

    if (req->body_len || !plain) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        if (curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
                             req->body_len ? (const char *)req->body : "") != CURLE_OK)
            return -ENOMEM;
    } else if (!strcmp(req->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    return 0;
}

int fl_http_start(struct fl_http *http, const struct fl_http_request *req, fl_http_done_fn done,
                  void *arg, struct fl_http_call **ret_call, struct fl_err *err)
{
    struct fl_http_call *call = calloc(1, sizeof(*call));
    int r;

    if (!call)
        return -ENOMEM;
    call->done = done;
    call->arg = arg;
    fl_buf_init(&call->answer,
                req->max_response_bytes ? req->max_response_bytes : DEFAULT_MAX_BYTES);
    r = fl_transfer_init(&call->base, http, req->url,
                         req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS, on_done, err);
    if (r == 0)
        r = set_headers(call, req);
    if (r == 0)
        r = set_body(call, req);
    if (r == 0)
        r = fl_transfer_start(&call->base, err);
    if (r < 0) {
        call_free(call);
        return r;
    }
    if (ret_call)
        *ret_call = call;
    return 0;
}

void fl_http_cancel(struct fl_http_call *call)
{
    if (call && !call->reporting)
        call_free(call);
}
