/* call.c - one call of the fetch process: signed, sent, led on by redirects, its body taken from
 * and its answer put into the files that came with it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "agent/fetch/fetch.h"
#include "agent/lib/role.h"
#include "agent/lib/service.h"
#include "agent/lib/sign.h"
#include "agent/lib/text.h"
#include "common/aws/digest.h"
#include "common/aws/endpoint.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define MAX_CALLS          64
#define MAX_RESPONSE_BYTES (3u << 20) /* an answer must fit a frame */
#define MAX_ERROR_BYTES    65536      /* of an answer that is not put into the file */
#define MAX_TIMEOUT_MS     (6 * 3600 * 1000)
#define MAX_REDIRECTS      20
/* Credentials that end sooner may have ended when the call arrives. */
#define MIN_LIFE_MS        5000

struct fl_fetch_task {
    LIST_ENTRY(fl_fetch_task) entry;
    struct fl_fetch *fetch;
    uint32_t id;
    struct fl_arena arena; /* of `in` and all that belongs to the call */
    struct fl_fetch_call in;
    const char *url;
    int64_t deadline_ms; /* monotonic; of all tries together */
    int redirects;
    bool elsewhere; /* led to another host: the password and its like stay behind */
    bool repeated;  /* with the right time */
    int body_fd, to_fd;
    int64_t written;
    struct fl_digest *hash;
    struct fl_http_call *http;
};

/* Refusals of a signature's credentials, not of what was asked. */
static const char *const credential_refusals[] = {
    "ExpiredToken",         "ExpiredTokenException", "UnrecognizedClientException",
    "InvalidClientTokenId", "InvalidAccessKeyId",
};

static void free_task(struct fl_fetch_task *t)
{
    struct fl_fetch *f = t->fetch;

    LIST_REMOVE(t, entry);
    fl_http_cancel(t->http);
    fl_digest_free(t->hash);
    if (t->body_fd >= 0)
        close(t->body_fd);
    if (t->to_fd >= 0)
        close(t->to_fd);
    fl_arena_done(&t->arena);
    free(t);
    if (--f->n_tasks == 0)
        fl_timer_start(f->idle, (uint64_t)f->conf.idle_ms);
}

static void answer(struct fl_fetch_task *t, const struct fl_fetch_answer *a)
{
    struct fl_ipc *ipc = t->fetch->ipc;

    if (fl_ipc_send(ipc, FL_FETCH_ANSWER, t->id, a, NULL, 0) < 0)
        fl_ipc_send(ipc, FL_FETCH_ANSWER, t->id,
                    &(struct fl_fetch_answer){ .error = -EMSGSIZE,
                                               .error_text = fl_text("answer is too large") },
                    NULL, 0);
    free_task(t);
}

static void answer_failed(struct fl_fetch_task *t, int error, const struct fl_err *why)
{
    struct fl_err words = *why;

    if (words.code == 0)
        fl_err_set(&words, error, NULL, "%s", strerror(-error));
    fl_role_ca_rename(&words, t->fetch->conf.ca_file);
    answer(t, &(struct fl_fetch_answer){ .error = error, .error_text = words.text });
}

/* ---- files ---- */

static ssize_t read_body(void *arg, uint64_t offset, void *out, size_t size)
{
    struct fl_fetch_task *t = arg;
    ssize_t n;

    do
        n = pread(t->body_fd, out, size, t->in.body_offset + (int64_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int write_answer(void *arg, const void *data, size_t len)
{
    struct fl_fetch_task *t = arg;
    int r;

    if ((int64_t)len > t->in.to_max_bytes - t->written)
        return -EMSGSIZE;
    r = fl_fd_write_all(t->to_fd, data, len);
    if (r < 0)
        return r;
    t->written += (int64_t)len;
    fl_digest_add(t->hash, data, len);
    return 0;
}

/* ---- sending ---- */

static const struct fl_fetch_endpoint *find_endpoint(const struct fl_fetch_task *t)
{
    const struct fl_fetch_conf *conf = &t->fetch->conf;

    for (size_t i = 0; t->in.service && i < conf->n_endpoints; i++)
        if (strcmp(conf->endpoints[i].service, t->in.service) == 0)
            return &conf->endpoints[i];
    return NULL;
}

/* Can the bucket be a host name? With a dot in it AWS's certificates do not fit it. */
static bool fits_host(const char *bucket, const char *base)
{
    const char *chars = strncasecmp(base, "https:", 6) == 0
                            ? "abcdefghijklmnopqrstuvwxyz0123456789-"
                            : "abcdefghijklmnopqrstuvwxyz0123456789-.";
    size_t len = strlen(bucket);

    return len <= 63 && strspn(bucket, chars) == len && isalnum((unsigned char)bucket[0]) &&
           isalnum((unsigned char)bucket[len - 1]);
}

static bool bucket_valid(const char *bucket)
{
    size_t len = strlen(bucket);

    return len >= 1 && len <= 255 && strcmp(bucket, ".") != 0 && strcmp(bucket, "..") != 0 &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               len;
}

static int find_url(struct fl_fetch_task *t, struct fl_err *err)
{
    const struct fl_fetch_conf *conf = &t->fetch->conf;
    const struct fl_fetch_endpoint *e = find_endpoint(t);
    const char *path = t->in.path_query ? t->in.path_query : "/";
    const char *base, *host;
    fl_autofree char *regional = NULL;
    int r = 0;

    t->url = t->in.url;
    if (t->url)
        return 0;
    if (!e)
        return fl_err_set(err, -EINVAL, NULL, "no endpoint is known for service %s",
                          t->in.service ? t->in.service : "(none)");
    if (t->in.bucket && !bucket_valid(t->in.bucket))
        return fl_err_set(err, -EINVAL, NULL, "'%.100s' is not a bucket's name", t->in.bucket);
    if (!e->fixed && t->in.region && conf->region && strcmp(t->in.region, conf->region) != 0)
        r = fl_endpoint_url(e->service, t->in.region, conf->service_domain, NULL, &regional, err);
    if (r < 0)
        return r;
    base = regional ? regional : e->url;
    host = strstr(base, "://");
    if (!t->in.bucket || !host)
        t->url = fl_arena_printf(&t->arena, "%s%s", base, path);
    else if (e->virtual_hosts && fits_host(t->in.bucket, base))
        t->url = fl_arena_printf(&t->arena, "%.*s://%s.%s%s", (int)(host - base), base,
                                 t->in.bucket, host + 3, path);
    else
        t->url = fl_arena_printf(&t->arena, "%s/%s%s", base, t->in.bucket, path);
    return t->url ? 0 : -ENOMEM;
}

static int sign(struct fl_fetch_task *t, struct fl_fetch_header **ret_headers, size_t *ret_n,
                struct fl_err *err)
{
    const struct fl_fetch *f = t->fetch;
    const struct fl_fetch_conf *conf = &f->conf;
    const struct fl_aws_creds creds = { conf->access_key_id, conf->secret_access_key,
                                        conf->session_token };
    int64_t now_ms = fl_boot_ms() + f->offset_ms;
    char hash[FL_SHA256_HEX_BYTES] = FL_SIGN_UNSIGNED;
    const char *region = t->in.region ? t->in.region : conf->region;
    int r;

    if (!creds.access_key_id || !creds.secret_access_key || !region)
        return fl_err_set(err, -EKEYEXPIRED, NULL, "this node has no credentials yet");
    if (conf->expires_ms && now_ms > conf->expires_ms - MIN_LIFE_MS)
        return fl_err_set(err, -EKEYEXPIRED, NULL, "this node's credentials have expired");
    if (t->body_fd < 0)
        fl_sha256_hex(t->in.body ? t->in.body : "", t->in.body_len, hash);
    else if (!t->in.body_sha256 && strcmp(t->in.service, "s3") != 0)
        return fl_err_set(err, -EINVAL, NULL, "a file is sent to %s with its hash only",
                          t->in.service);
    r = fl_sign_call(&(struct fl_sign_in){ .method = t->in.method,
                                           .url = t->url,
                                           .service = t->in.service,
                                           .region = region,
                                           .body_sha256 = t->body_fd >= 0 && t->in.body_sha256
                                                              ? t->in.body_sha256
                                                              : hash,
                                           .creds = &creds,
                                           .now_ms = now_ms,
                                           .headers = t->in.headers,
                                           .n_headers = t->in.n_headers },
                     &t->arena, ret_headers, ret_n);
    return r < 0 ? fl_err_set(err, r, NULL, "the call cannot be signed: %s", strerror(-r)) : 0;
}

static void on_done(void *arg, int r, const struct fl_http_response *resp,
                    const struct fl_err *err);

/* Starts a try; t->url is set. */
static int send(struct fl_fetch_task *t, struct fl_err *err)
{
    struct fl_http_header headers[FL_SIGN_MAX_HEADERS];
    struct fl_fetch_header *out = t->in.headers;
    size_t n_out = t->in.n_headers, n = 0;
    int64_t left_ms = t->deadline_ms - fl_mono_ms();
    struct fl_http_request req = {
        .method = t->in.method,
        .url = t->url,
        .headers = headers,
        .body = t->in.body,
        .body_len = t->body_fd >= 0 ? (size_t)t->in.body_bytes : t->in.body_len,
        .read = t->body_fd >= 0 ? read_body : NULL,
        .write = t->to_fd >= 0 ? write_answer : NULL,
        .stream_arg = t,
        .auth = t->elsewhere ? FL_HTTP_AUTH_NONE : (enum fl_http_auth)t->in.auth,
        .user = t->in.user,
        .password = t->in.password,
        .timeout_ms = (uint32_t)FL_MAX(left_ms, 1),
        .max_response_bytes = MAX_ERROR_BYTES,
    };
    int r = t->in.service ? sign(t, &out, &n_out, err) : 0;

    if (r < 0)
        return r;
    if (t->to_fd < 0)
        req.max_response_bytes =
            t->in.max_response_bytes > 0
                ? (size_t)FL_MIN(t->in.max_response_bytes, (int64_t)MAX_RESPONSE_BYTES)
                : 0;
    for (size_t i = 0; i < n_out; i++)
        if (!t->elsewhere || strcasecmp(out[i].name, "Authorization") != 0)
            headers[n++] = (struct fl_http_header){ out[i].name, out[i].value };
    req.n_headers = n;
    return fl_http_start(t->fetch->http, &req, on_done, t, &t->http, err);
}

/* ---- the answer ---- */

static bool is_https(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0;
}

/* Goes where the answer points to. 1 if so, 0 if the answer is the last word, or an error. */
static int follow(struct fl_fetch_task *t, const struct fl_http_response *resp, struct fl_err *err)
{
    char from[300], to[300];

    if (resp->status < 300 || resp->status > 399 || !resp->redirect_url ||
        t->in.max_redirects <= 0 || t->in.service ||
        (strcmp(t->in.method, "GET") != 0 && strcmp(t->in.method, "HEAD") != 0))
        return 0;
    if (fl_url_authority(t->url, true, from, sizeof(from)) < 0 ||
        fl_url_authority(resp->redirect_url, true, to, sizeof(to)) < 0)
        return fl_err_set(err, -EPROTO, NULL, "redirected to what is no URL of a host");
    if (++t->redirects > FL_MIN(t->in.max_redirects, MAX_REDIRECTS))
        return fl_err_set(err, -ELOOP, NULL, "%s: redirected too often", from);
    if (is_https(t->url) && !is_https(resp->redirect_url) && !t->in.insecure_redirects)
        return fl_err_set(err, -EPROTO, NULL, "%s: redirected from https to http, %s", from, to);
    t->elsewhere |=
        strcasecmp(from, to) != 0 || (is_https(t->url) && !is_https(resp->redirect_url));
    t->url = fl_arena_strdup(&t->arena, resp->redirect_url);
    if (!t->url)
        return -ENOMEM;
    return send(t, err) < 0 ? err->code : 1;
}

/* An answer that refuses the signature. 1 if the call was sent again, 0 if the answer stands. */
static int judge_refusal(struct fl_fetch_task *t, const struct fl_http_response *resp,
                         struct fl_err *err)
{
    char *name = NULL, *text = NULL;

    if (!t->in.service || resp->status < 400 || resp->status > 403)
        return 0;
    fl_service_error(resp->body, &t->arena, &name, &text);
    name = name ? name : fl_text("");
    for (size_t i = 0; i < FL_ARRAY_LEN(credential_refusals); i++)
        if (strcmp(name, credential_refusals[i]) == 0)
            return fl_err_set(err, -EKEYEXPIRED, NULL,
                              "the service refuses this node's credentials: %s", name);
    if (t->repeated || !fl_sign_learn_time(resp->status, name, resp->date, &t->fetch->offset_ms))
        return 0;
    t->repeated = true;
    return send(t, err) < 0 ? err->code : 1;
}

static void answer_response(struct fl_fetch_task *t, const struct fl_http_response *resp)
{
    struct fl_fetch_header headers[FL_HTTP_KEPT_HEADERS];
    char hash[FL_SHA256_HEX_BYTES];
    struct fl_fetch_answer a = {
        .status = resp->status,
        .body = fl_text(resp->body),
        .body_len = resp->body_len,
        .headers = headers,
        .n_headers = resp->n_headers,
        .written = t->written,
        .date = fl_text(resp->date),
    };

    for (size_t i = 0; i < resp->n_headers; i++)
        headers[i] = (struct fl_fetch_header){ fl_text(resp->headers[i].name),
                                               fl_text(resp->headers[i].value) };
    if (t->hash) {
        fl_digest_end_hex(t->hash, hash);
        a.sha256 = hash;
    }
    answer(t, &a);
}

static void on_done(void *arg, int r, const struct fl_http_response *resp, const struct fl_err *err)
{
    struct fl_fetch_task *t = arg;
    struct fl_err why = { 0 };

    t->http = NULL;
    if (err)
        why = *err;
    if (r == 0)
        r = follow(t, resp, &why);
    if (r == 0)
        r = judge_refusal(t, resp, &why);
    if (r < 0)
        answer_failed(t, r, &why);
    else if (r == 0)
        answer_response(t, resp);
}

/* ---- begin and end ---- */

/* The call outlives its message by a round through its packed form. */
static int copy_call(struct fl_fetch_task *t, const struct fl_fetch_call *in)
{
    fl_autobuf struct fl_buf packed = FL_BUF(FL_IPC_MAX_FRAME_BYTES);
    int r = fl_pack_encode(&fl_shape_fetch_call, in, &packed);

    return r < 0 ? r
                 : fl_pack_decode(&fl_shape_fetch_call, packed.data, packed.len, &t->arena, &t->in);
}

static bool makes_sense(const struct fl_fetch_call *in, size_t n_fds)
{
    return in->method && (in->url || in->service) && in->n_headers <= FL_SIGN_MAX_HEADERS &&
           n_fds == (size_t)in->body_file + in->to_file && in->body_offset >= 0 &&
           in->body_bytes >= 0 && in->to_max_bytes >= 0 && in->auth >= FL_HTTP_AUTH_NONE &&
           in->auth <= FL_HTTP_AUTH_DIGEST;
}

int fl_fetch_begin(struct fl_fetch *f, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_call *in = msg->in;
    struct fl_err why = { 0 };
    struct fl_fetch_task *t;
    int r;

    if (!f->http || !makes_sense(in, msg->n_fds))
        return fl_err_set(err, -EPROTO, NULL, "a call that makes no sense");
    t = calloc(1, sizeof(*t));
    if (!t)
        return fl_err_nomem(err);
    t->fetch = f;
    t->id = msg->id;
    t->body_fd = in->body_file ? FL_TAKE_FD(msg->fds[0]) : -1;
    t->to_fd = in->to_file ? FL_TAKE_FD(msg->fds[in->body_file]) : -1;
    t->deadline_ms =
        fl_mono_ms() + FL_MIN(FL_MAX(in->timeout_ms, (int64_t)1), (int64_t)MAX_TIMEOUT_MS);
    fl_arena_init(&t->arena, 2 * FL_IPC_MAX_FRAME_BYTES);
    LIST_INSERT_HEAD(&f->tasks, t, entry);
    fl_timer_stop(f->idle);
    r = f->n_tasks++ < MAX_CALLS ? 0 : fl_err_set(&why, -EBUSY, NULL, "too many calls at once");
    if (r == 0)
        r = copy_call(t, in);
    if (r == 0 && t->to_fd >= 0) {
        t->hash = fl_digest_new(FL_DIGEST_SHA256);
        r = t->hash ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = find_url(t, &why);
    if (r == 0)
        r = send(t, &why);
    if (r < 0)
        answer_failed(t, r, &why);
    return 0;
}

void fl_fetch_cancel(struct fl_fetch *f, uint32_t id)
{
    struct fl_fetch_task *t;

    LIST_FOREACH (t, &f->tasks, entry)
        if (t->id == id) {
            free_task(t);
            return;
        }
}
