/* post.c - see post.h. */
#include "common/net/post.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "common/aws/endpoint.h"
#include "common/base/buf.h"
#include "common/net/chunked.h"
#include "common/net/head.h"
#include "common/net/url.h"

#define REQUEST_MAX_BYTES (1u << 20)
#define HEAD_MAX_BYTES    (16 * 1024)
#define HOST_MAX_BYTES    512

/* How the end of the answer's body is found. */
enum body { BY_CLOSE, BY_LENGTH, CHUNKED };

struct fl_post {
    struct fl_dial *dial;     /* while connecting */
    struct fl_stream *stream; /* from then on */
    struct fl_timer *deadline;
    struct fl_buf request, in, answer;
    struct fl_arena arena;
    bool has_head, stays; /* the peer leaves the connection open */
    int status;
    const char *date;
    enum body how;
    size_t length;
    struct fl_chunked chunked;
    fl_post_done_fn fn; /* NULL: called, or not to be */
    void *arg;
    struct fl_err err;
};

static void post_free(struct fl_post *p)
{
    fl_timer_free(p->deadline);
    fl_buf_done(&p->request);
    fl_buf_done(&p->in);
    fl_buf_done(&p->answer);
    fl_arena_done(&p->arena);
    free(p);
}

/* The last thing done with it by whoever calls this, if there is no stream; else that follows. */
static void end(struct fl_post *p, int r)
{
    fl_post_done_fn fn = p->fn;

    p->fn = NULL;
    if (fn && r == 0 && fl_buf_append(&p->answer, "", 1) < 0)
        r = fl_err_set(&p->err, -EMSGSIZE, NULL, "the answer is too long");
    p->stays = p->stays && r == 0;
    if (fn)
        fn(p->arg, &(struct fl_post_answer){ .r = r,
                                             .status = p->status,
                                             .date = p->date,
                                             .body = r == 0 ? p->answer.data : "",
                                             .len = r == 0 ? p->answer.len - 1 : 0,
                                             .err = &p->err });
    if (p->stream)
        fl_stream_abort(p->stream); /* its on_close frees */
    else
        post_free(p);
}

static void on_deadline(void *arg)
{
    struct fl_post *p = arg;

    if (p->dial) {
        fl_dial_cancel(p->dial);
        p->dial = NULL;
    }
    end(p, fl_err_set(&p->err, -ETIMEDOUT, NULL, "no answer in time"));
}

/* ---- the answer ---- */

static int read_head(struct fl_post *p, size_t len)
{
    const char *length, *encoding;
    struct fl_head head;
    char *text = fl_arena_memdup(&p->arena, p->in.data, len), *rest;
    int r = text ? fl_head_parse_response(text, len, &p->arena, &head) : -ENOMEM;

    if (r < 0)
        return fl_err_set(&p->err, -EPROTO, NULL, "the answer is not well-formed HTTP");
    fl_buf_consume(&p->in, len);
    if (head.status >= 100 && head.status < 200)
        return 0; /* not the answer yet */
    p->has_head = true;
    p->status = head.status;
    p->date = fl_head_get(&head, "Date");
    length = fl_head_get(&head, "Content-Length");
    encoding = fl_head_get(&head, "Transfer-Encoding");
    p->how = BY_CLOSE;
    p->stays = head.minor >= 1 && !fl_head_has_token(fl_head_get(&head, "Connection"), "close");
    if (head.status == 204 || head.status == 304) {
        p->how = BY_LENGTH;
    } else if (encoding) {
        if (strcasecmp(encoding, "chunked") != 0)
            return fl_err_set(&p->err, -EPROTO, NULL, "the answer's encoding is unknown");
        p->how = CHUNKED;
        fl_chunked_init(&p->chunked);
    } else if (length) {
        p->how = BY_LENGTH;
        p->length = strtoul(length, &rest, 10);
        if (length[strspn(length, "0123456789")] || !*length || *rest ||
            p->length > p->answer.max_bytes)
            return fl_err_set(&p->err, -EMSGSIZE, NULL, "the answer is too long");
    }
    return 0;
}

/* 1: it is whole; 0: more is to come. */
static int read_body(struct fl_post *p)
{
    size_t used = p->in.len;
    int r = 0;

    if (p->how == CHUNKED) {
        r = fl_chunked_feed(&p->chunked, p->in.data, p->in.len, &p->answer, &used);
    } else {
        if (p->how == BY_LENGTH)
            used = FL_MIN(used, p->length - p->answer.len);
        r = fl_buf_append(&p->answer, p->in.data, used);
        if (r == 0 && p->how == BY_LENGTH)
            r = p->answer.len == p->length;
    }
    fl_buf_consume(&p->in, used);
    return r < 0 ? fl_err_set(&p->err, r, NULL, "the answer's body is malformed or too long") : r;
}

static int read_answer(struct fl_post *p)
{
    size_t len;
    int r;

    while (!p->has_head) {
        len = fl_head_length(p->in.data, p->in.len, 0);
        if (len == 0)
            return p->in.len > HEAD_MAX_BYTES
                       ? fl_err_set(&p->err, -EMSGSIZE, NULL, "the answer's head is too long")
                       : 0;
        r = read_head(p, len);
        if (r < 0)
            return r;
    }
    return read_body(p);
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct fl_post *p = arg;
    int r;

    if (!p->fn)
        return;
    r = fl_buf_append(&p->in, data, len);
    if (r < 0)
        fl_err_set(&p->err, r, NULL, "the answer is too long");
    else
        r = read_answer(p);
    if (r != 0)
        end(p, r < 0 ? r : 0);
}

static void on_close(void *arg, const char *why)
{
    struct fl_post *p = arg;
    bool whole = p->has_head && p->how == BY_CLOSE;

    p->stream = NULL;
    end(p, whole ? 0 : fl_err_set(&p->err, -ECONNRESET, NULL, "%s", why));
}

static const struct fl_stream_ops stream_ops = { .on_data = on_data, .on_close = on_close };

static void on_connected(void *arg, struct fl_stream *stream, int r, const struct fl_err *err)
{
    struct fl_post *p = arg;

    p->dial = NULL;
    if (r < 0) {
        p->err = *err;
        end(p, r);
        return;
    }
    p->stream = stream;
    fl_stream_set_ops(stream, &stream_ops, p);
    if (fl_stream_send(stream, p->request.data, p->request.len) < 0)
        fl_stream_abort(stream);
    fl_buf_done(&p->request);
}

/* ---- the request ---- */

static bool is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

static int make_request(struct fl_post *p, const char *url, const struct fl_http_header *headers,
                        size_t n_headers, const void *body, size_t len, struct fl_err *err)
{
    const char *target = strstr(url, "://");
    char host[HOST_MAX_BYTES];
    int r = fl_url_authority(url, true, host, sizeof(host));

    if (r < 0 || !target || !is_clean(url))
        return fl_err_set(err, -EINVAL, NULL, "not a usable URL");
    target += 3;
    target += strcspn(target, "/?#");
    r = fl_buf_printf(&p->request, "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n",
                      *target == '/' ? "" : "/", target, host, len);
    for (size_t i = 0; i < n_headers && r == 0; i++) {
        if (!is_clean(headers[i].name) || !is_clean(headers[i].value))
            return fl_err_set(err, -EINVAL, NULL, "a control character in a header");
        r = fl_buf_printf(&p->request, "%s: %s\r\n", headers[i].name, headers[i].value);
    }
    if (r == 0)
        r = fl_buf_puts(&p->request, "\r\n");
    return r < 0 ? r : fl_buf_append(&p->request, body, len);
}

int fl_post_start(struct fl_dialer *dialer, struct fl_loop *loop, const char *url,
                  const struct fl_http_header *headers, size_t n_headers, const void *body,
                  size_t len, uint32_t timeout_ms, size_t max_answer_bytes, fl_post_done_fn fn,
                  void *arg, struct fl_post **ret_post, struct fl_err *err)
{
    struct fl_post *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return fl_err_nomem(err);
    p->fn = fn;
    p->arg = arg;
    fl_buf_init(&p->request, REQUEST_MAX_BYTES);
    p->request.secret = true;
    fl_buf_init(&p->in, HEAD_MAX_BYTES + max_answer_bytes + 65536);
    fl_buf_init(&p->answer, max_answer_bytes + 1);
    fl_arena_init(&p->arena, 4 * HEAD_MAX_BYTES);
    p->deadline = fl_timer_new(loop, on_deadline, p);
    r = p->deadline ? make_request(p, url, headers, n_headers, body, len, err) : -ENOMEM;
    if (r == 0)
        r = fl_dial_start(dialer, url, timeout_ms, on_connected, p, &p->dial, err);
    if (r < 0) {
        post_free(p);
        return r;
    }
    fl_timer_start(p->deadline, timeout_ms);
    *ret_post = p;
    return 0;
}

struct fl_post *fl_post_cancel(struct fl_post *p)
{
    if (!p)
        return NULL;
    p->fn = NULL;
    if (p->dial) {
        fl_dial_cancel(p->dial);
        p->dial = NULL;
    }
    fl_timer_stop(p->deadline);
    if (p->stream)
        fl_stream_abort(p->stream);
    else
        post_free(p);
    return NULL;
}

struct fl_stream *fl_post_take_stream(struct fl_post *p)
{
    return p->stays && p->how != BY_CLOSE && p->in.len == 0 ? FL_TAKE(p->stream) : NULL;
}
