/* http.c - see http.h: curl's multi handle driven by the loop. */
#include "common/net/http_priv.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/net/ca_pool.h"
#include "common/net/tls_suites.h"

#define DEFAULT_TIMEOUT_MS (60 * 1000)
#define DEFAULT_MAX_BYTES  (1024 * 1024)
#define STALL_S            60

const char *const fl_http_kept_headers[FL_HTTP_KEPT_HEADERS] = {
    "Content-Type",     "Content-Length",      "ETag", "Last-Modified",
    "x-amzn-RequestId", "x-amz-bucket-region", "Link",
};

struct watch {
    struct fl_http *http;
    struct fl_io *io;
    curl_socket_t fd;
};

/* ---- the end of a call ---- */

static void call_free(struct fl_http_call *call)
{
    if (call->listed)
        LIST_REMOVE(call, link);
    if (call->added)
        curl_multi_remove_handle(call->http->multi, call->easy);
    if (call->easy)
        curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    fl_buf_done(&call->answer);
    free(call);
}

/* Unlisted first, so that whatever its callback does meets it no more. */
static void finish(struct fl_http_call *call, CURLcode result)
{
    struct fl_http_response resp = { .body = "" };
    struct curl_header *header = NULL;
    struct fl_err err = { 0 };
    int r = fl_http_call_error(call, result, &err);
    char *redirect = NULL;
    long status = 0;

    LIST_REMOVE(call, link);
    call->listed = false;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    resp.status = (int)status;
    if (r == 0 && call->answer.data) {
        resp.body = call->answer.data;
        resp.body_len = call->answer.len;
    }
    /* curl's struct is overwritten by the next header, the value it points to is not. */
    if (curl_easy_header(call->easy, "Date", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        resp.date = header->value;
    for (size_t i = 0; i < FL_HTTP_KEPT_HEADERS; i++)
        if (curl_easy_header(call->easy, fl_http_kept_headers[i], 0, CURLH_HEADER, -1, &header) ==
            CURLHE_OK)
            resp.headers[resp.n_headers++] =
                (struct fl_http_header){ fl_http_kept_headers[i], header->value };
    curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &redirect);
    resp.redirect_url = redirect;
    call->reporting = true;
    call->done(call->arg, r, &resp, &err);
    call_free(call);
}

/* ---- the loop ---- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void init_global(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static struct fl_http_call *call_of(CURL *easy)
{
    char *p = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &p);
    return (struct fl_http_call *)p;
}

static void release(struct fl_http *http)
{
    curl_multi_cleanup(http->multi);
    fl_timer_free(http->timer);
    free(http->ca_file);
    free(http->user_agent);
    free(http);
}

/* Tells the users of finished calls. One of them may free the whole object. */
static void report(struct fl_http *http)
{
    CURLMsg *m;
    int left;

    http->busy++;
    while (!http->dead && (m = curl_multi_info_read(http->multi, &left))) {
        if (m->msg == CURLMSG_DONE)
            finish(call_of(m->easy_handle), m->data.result);
    }
    if (!--http->busy && http->dead)
        release(http);
}

static void on_timer(void *arg)
{
    struct fl_http *http = arg;
    int running;

    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    report(http);
}

static void on_socket(void *arg, unsigned events)
{
    struct watch *w = arg;
    struct fl_http *http = w->http;
    int running, mask = 0;

    if (events & FL_IO_READ)
        mask |= CURL_CSELECT_IN;
    if (events & FL_IO_WRITE)
        mask |= CURL_CSELECT_OUT;
    curl_multi_socket_action(http->multi, w->fd, mask, &running);
    report(http);
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct fl_http *http = arg;

    if (timeout_ms < 0)
        fl_timer_stop(http->timer);
    else
        fl_timer_start(http->timer, (uint64_t)timeout_ms);
    return 0;
}

static struct watch *new_watch(struct fl_http *http, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    w->http = http;
    w->fd = fd;
    w->io = fl_io_new(http->loop, fd, on_socket, w);
    if (!w->io) {
        free(w);
        return NULL;
    }
    curl_multi_assign(http->multi, fd, w);
    return w;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct fl_http *http = arg;
    struct watch *w = socket_arg;
    unsigned events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (w) {
            fl_io_free(w->io);
            free(w);
        }
        curl_multi_assign(http->multi, fd, NULL);
        return 0;
    }
    if (!w && !(w = new_watch(http, fd)))
        return -1;
    if (what & CURL_POLL_IN)
        events |= FL_IO_READ;
    if (what & CURL_POLL_OUT)
        events |= FL_IO_WRITE;
    return fl_io_set(w->io, events) < 0 ? -1 : 0;
}

/* ---- making a call ---- */

/* "host:port" of a URL, for texts; never its credentials. */
static int describe_url(struct fl_http_call *call, const char *url, struct fl_err *err)
{
    CURLU *u = curl_url();
    char *host = NULL, *port = NULL, *scheme = NULL;
    int r = -EINVAL;

    if (!u)
        return -ENOMEM;
    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
        (!strcasecmp(scheme, "http") || !strcasecmp(scheme, "https"))) {
        snprintf(call->where, sizeof(call->where), "%s:%s", host, port);
        r = 0;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return r < 0 ? fl_err_set(err, r, NULL, "not an http:// or https:// URL with a host") : 0;
}

static int set_proxy(struct fl_http_call *call, const char *url, struct fl_err *err)
{
    static const struct fl_proxy_conf none;
    struct fl_proxy p = { 0 };
    int r = fl_proxy_pick(call->http->proxy ? call->http->proxy : &none, url, &p, err);

    if (r < 0)
        return r;
    /* Empty strings, or curl looks into the environment on its own. */
    curl_easy_setopt(call->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(call->easy, CURLOPT_NOPROXY, "");
    if (!r)
        return 0;
    call->proxied = true;
    snprintf(call->proxy, sizeof(call->proxy), strchr(p.host, ':') ? "[%s]:%u" : "%s:%u", p.host,
             p.port);
    curl_easy_setopt(call->easy, CURLOPT_PROXY, call->proxy);
    curl_easy_setopt(call->easy, CURLOPT_PROXYTYPE, CURLPROXY_HTTP);
    curl_easy_setopt(call->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (p.user[0]) {
        curl_easy_setopt(call->easy, CURLOPT_PROXYUSERNAME, p.user);
        curl_easy_setopt(call->easy, CURLOPT_PROXYPASSWORD, p.password);
        curl_easy_setopt(call->easy, CURLOPT_PROXYAUTH, CURLAUTH_BASIC);
    }
    explicit_bzero(&p, sizeof(p));
    return 0;
}

/* Everything that holds for all calls: URL, TLS, CA, proxy, timeout. */
static int prepare(struct fl_http_call *call, const char *url, uint32_t timeout_ms,
                   struct fl_err *err)
{
    const struct fl_http *http = call->http;
    int r;

    r = describe_url(call, url, err);
    if (r < 0)
        return r;
    call->easy = curl_easy_init();
    if (!call->easy)
        return -ENOMEM;
    r = set_proxy(call, url, err);
    if (r < 0)
        return r;
    curl_easy_setopt(call->easy, CURLOPT_URL, url);
    curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->curl_says);
    curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(call->easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(call->easy, CURLOPT_PATH_AS_IS, 1L); /* the path is signed as given */
    curl_easy_setopt(call->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(call->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(call->easy, CURLOPT_SSL_CIPHER_LIST, FL_TLS12_CIPHERS);
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
    if (http->user_agent)
        curl_easy_setopt(call->easy, CURLOPT_USERAGENT, http->user_agent);
    if (http->ca_file || http->ca_dir) {
        curl_easy_setopt(call->easy, CURLOPT_CAINFO, http->ca_file);
        curl_easy_setopt(call->easy, CURLOPT_CAPATH, http->ca_dir);
    }
    return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct fl_http_call *call = arg;
    size_t len = size * n;
    long status = 0;

    /* Anything but all of it ends the transfer with CURLE_WRITE_ERROR. */
    if (!call->write)
        return fl_buf_append(&call->answer, data, len) < 0 ? 0 : len;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
        call->stream_error = call->write(call->stream_arg, data, len);
        return call->stream_error ? 0 : len;
    }
    (void)fl_buf_append(&call->answer, data,
                        FL_MIN(len, call->answer.max_bytes - call->answer.len));
    return len;
}

static size_t on_send(char *out, size_t size, size_t n, void *arg)
{
    struct fl_http_call *call = arg;
    size_t want = (size_t)FL_MIN((uint64_t)size * n, call->body_len - call->sent);
    ssize_t got = want ? call->read(call->stream_arg, call->sent, out, want) : 0;

    if (got == 0 && want)
        got = -EIO; /* shorter than was said */
    if (got < 0) {
        call->stream_error = (int)got;
        return CURL_READFUNC_ABORT;
    }
    call->sent += (uint64_t)got;
    return (size_t)got;
}

/* The server wants the body once more, for a password or on a fresh connection. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct fl_http_call *call = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->body_len)
        return CURL_SEEKFUNC_FAIL;
    call->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
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
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return r;
}

static int set_body(struct fl_http_call *call, const struct fl_http_request *req)
{
    CURL *easy = call->easy;
    bool plain = !strcmp(req->method, "GET") || !strcmp(req->method, "HEAD");

    if (req->read) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
    } else if (req->body_len || !plain) {
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

static int set_auth(struct fl_http_call *call, const struct fl_http_request *req)
{
    static const long kinds[] = {
        [FL_HTTP_AUTH_BASIC] = (long)CURLAUTH_BASIC, [FL_HTTP_AUTH_DIGEST] = (long)CURLAUTH_DIGEST
    };

    if (req->auth == FL_HTTP_AUTH_NONE)
        return 0;
    curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, kinds[req->auth]);
    if (curl_easy_setopt(call->easy, CURLOPT_USERNAME, req->user ? req->user : "") != CURLE_OK ||
        curl_easy_setopt(call->easy, CURLOPT_PASSWORD, req->password ? req->password : "") !=
            CURLE_OK)
        return -ENOMEM;
    return 0;
}

static int begin(struct fl_http_call *call, struct fl_err *err)
{
    CURLMcode m;

    if (call->http->dead)
        return fl_err_set(err, -ECANCELED, NULL, "%s: shutting down", call->where);
    m = curl_multi_add_handle(call->http->multi, call->easy);
    if (m != CURLM_OK)
        return fl_err_set(err, -EIO, NULL, "%s: %s", call->where, curl_multi_strerror(m));
    LIST_INSERT_HEAD(&call->http->calls, call, link);
    call->listed = call->added = true;
    return 0;
}

/* ---- public ---- */

/* NULL: curl's own way. Unlike OpenSSL, which WebSockets are opened with, libcurl does not look at
 * the variables. */
static void choose_ca(struct fl_http *http, const char *ca_file)
{
    const char *file = getenv("SSL_CERT_FILE"), *dir = getenv("SSL_CERT_DIR");

    if (ca_file || (file && access(file, R_OK) == 0))
        http->ca_file = strdup(ca_file ? ca_file : file);
    if (!ca_file)
        http->ca_dir = dir ? dir : fl_ca_pool_dir();
}

int fl_http_new(struct fl_loop *loop, const struct fl_http_conf *conf, struct fl_http **ret_http,
                struct fl_err *err)
{
    struct fl_http *http;

    if (conf->ca_file && access(conf->ca_file, R_OK) < 0)
        return fl_err_set(err, -errno, NULL, "CA file %s: %s", conf->ca_file, strerror(errno));
    pthread_once(&global_once, init_global);
    http = calloc(1, sizeof(*http));
    if (!http)
        return -ENOMEM;
    LIST_INIT(&http->calls);
    http->loop = loop;
    http->proxy = conf->proxy;
    choose_ca(http, conf->ca_file);
    http->user_agent = conf->user_agent ? strdup(conf->user_agent) : NULL;
    http->timer = fl_timer_new(loop, on_timer, http);
    http->multi = curl_multi_init();
    if (!http->timer || !http->multi || (conf->ca_file && !http->ca_file) ||
        (conf->user_agent && !http->user_agent)) {
        release(http);
        return -ENOMEM;
    }
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    *ret_http = http;
    return 0;
}

struct fl_http *fl_http_free(struct fl_http *http)
{
    struct fl_http_call *call;

    if (!http || http->dead)
        return NULL;
    http->busy++;
    http->dead = true;
    while ((call = LIST_FIRST(&http->calls)))
        finish(call, CURLE_ABORTED_BY_CALLBACK);
    if (!--http->busy)
        release(http);
    return NULL;
}

int fl_http_start(struct fl_http *http, const struct fl_http_request *req, fl_http_done_fn done,
                  void *arg, struct fl_http_call **ret_call, struct fl_err *err)
{
    struct fl_http_call *call = calloc(1, sizeof(*call));
    int r;

    if (!call)
        return -ENOMEM;
    call->http = http;
    call->done = done;
    call->arg = arg;
    call->answer.secret = true; /* keys and tokens come this way */
    fl_buf_init(&call->answer,
                req->max_response_bytes ? req->max_response_bytes : DEFAULT_MAX_BYTES);
    call->read = req->read;
    call->write = req->write;
    call->stream_arg = req->stream_arg;
    call->body_len = req->body_len;
    r = prepare(call, req->url, req->timeout_ms ? req->timeout_ms : DEFAULT_TIMEOUT_MS, err);
    if (r == 0)
        r = set_headers(call, req);
    if (r == 0)
        r = set_body(call, req);
    if (r == 0)
        r = set_auth(call, req);
    if (r == 0 && req->once)
        curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    if (r == 0 && req->write) {
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    }
    if (r == 0)
        r = begin(call, err);
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
