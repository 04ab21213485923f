/* swarm_http.c - see swarm.h: HTTP/1.1 calls over connections made as the agent makes its own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/net/head.h"
#include "tests/bench/swarm.h"

#define MAX_REQUEST_BYTES (1 << 20)
#define MAX_ANSWER_BYTES  (4 << 20)
#define USER_AGENT        "amazon-ssm-agent/3.3.987.0"

struct sw_http {
    struct sw *sw;
    uint32_t idle_ms, timeout_ms;
    struct fl_dial *dial;
    struct fl_stream *stream;
    struct fl_timer *timer; /* of the call, or of the idle connection */
    struct fl_buf request, answer;
    size_t head_len, body_len; /* of the answer, once known */
    int status;
    bool busy, reused;
    char date[64];
    sw_http_fn done;
    void *arg;
};

/* ---- requests ---- */

static int sign(const struct sw *sw, const struct sw_call *call, const char *date,
                char **ret_authorization, const char *hash)
{
    struct fl_http_header headers[5];
    size_t n = 0;
    const char *type = call->target ? "application/x-amz-json-1.1" : "application/json";
    struct fl_sigv4_request req = { .method = "POST",
                                    .path = call->path,
                                    .query = "",
                                    .headers = headers,
                                    .body_sha256 = hash,
                                    .service = call->service };

    headers[n++] = (struct fl_http_header){ "content-type", type };
    headers[n++] = (struct fl_http_header){ "host", sw->authority };
    headers[n++] = (struct fl_http_header){ "x-amz-date", date };
    if (call->creds && call->creds->session_token)
        headers[n++] =
            (struct fl_http_header){ "x-amz-security-token", call->creds->session_token };
    if (call->target)
        headers[n++] = (struct fl_http_header){ "x-amz-target", call->target };
    req.n_headers = n;
    if (call->rsa)
        return fl_sigv4_sign_rsa(&req, call->rsa, call->node_id, sw->region, date,
                                 ret_authorization, NULL);
    return fl_sigv4_sign(&req, call->creds, sw->region, date, ret_authorization, NULL);
}

static int write_request(const struct sw *sw, const struct sw_call *call, struct fl_buf *out)
{
    char hash[FL_SHA256_HEX_BYTES], date[FL_COMPACT_BYTES];
    fl_autofree char *authorization = NULL;
    int r = 0;

    fl_sha256_hex(call->body, strlen(call->body), hash);
    fl_time_compact(fl_now_ms(), date);
    if (call->creds || call->rsa)
        r = sign(sw, call, date, &authorization, hash);
    if (r < 0)
        return r;
    r = fl_buf_printf(out,
                      "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: " USER_AGENT
                      "\r\nAccept: */*\r\nContent-Type: %s\r\nX-Amz-Date: %s\r\n",
                      call->path, sw->authority,
                      call->target ? "application/x-amz-json-1.1" : "application/json", date);
    if (r == 0 && call->creds && call->creds->session_token)
        r = fl_buf_printf(out, "X-Amz-Security-Token: %s\r\n", call->creds->session_token);
    if (r == 0 && call->target)
        r = fl_buf_printf(out, "X-Amz-Target: %s\r\n", call->target);
    if (r == 0 && call->rsa)
        r = fl_buf_printf(out, "X-Amz-Content-Sha256: %s\r\n", hash);
    if (r == 0 && authorization)
        r = fl_buf_printf(out, "Authorization: %s\r\n", authorization);
    return r < 0 ? r
                 : fl_buf_printf(out, "Content-Length: %zu\r\n\r\n%s", strlen(call->body),
                                 call->body);
}

/* ---- the connection ---- */

static void ignore_data(void *arg, uint8_t *data, size_t len)
{
}

static void ignore_close(void *arg, const char *why)
{
}

/* Closes in order, unseen. */
static void let_go(struct sw_http *h)
{
    static const struct fl_stream_ops ops = { .on_data = ignore_data, .on_close = ignore_close };

    if (!h->stream)
        return;
    fl_stream_set_ops(h->stream, &ops, NULL);
    fl_stream_finish(FL_TAKE(h->stream));
}

static void finish(struct sw_http *h, int r)
{
    fl_autobuf struct fl_buf answer = h->answer;
    struct sw_answer a = { .r = r, .status = h->status, .body = "", .date = h->date };

    fl_buf_init(&h->answer, MAX_ANSWER_BYTES);
    if (r == 0 && h->body_len) {
        a.body = answer.data + h->head_len;
        a.body_len = h->body_len;
    }
    h->busy = false;
    h->reused = true;
    fl_timer_start(h->timer, h->idle_ms);
    h->done(h->arg, &a);
}

static int read_head(struct sw_http *h)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(128 * 1024);
    struct fl_head head;
    char *text = fl_arena_memdup(&arena, h->answer.data, h->head_len);
    const char *length, *date;

    if (!text || fl_head_parse_response(text, h->head_len, &arena, &head) < 0)
        return -EPROTO;
    length = fl_head_get(&head, "Content-Length");
    date = fl_head_get(&head, "Date");
    h->status = head.status;
    h->body_len = length ? strtoul(length, NULL, 10) : 0;
    snprintf(h->date, sizeof(h->date), "%s", date ? date : "");
    return 0;
}

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct sw_http *h = arg;
    int r = fl_buf_append(&h->answer, data, len);

    if (r == 0 && h->busy && !h->head_len) {
        h->head_len = fl_head_length(h->answer.data, h->answer.len, 0);
        if (h->head_len)
            r = read_head(h);
    }
    if (r < 0 || !h->busy) {
        let_go(h); /* nobody asked for this */
        if (h->busy)
            finish(h, -EPROTO);
        return;
    }
    if (h->head_len && h->answer.len >= h->head_len + h->body_len)
        finish(h, 0);
}

static int dial(struct sw_http *h);

static void on_close(void *arg, const char *why)
{
    struct sw_http *h = arg;

    h->stream = NULL;
    if (!h->busy)
        return;
    /* The peer closed an idle connection while we were sending: once more, as curl does. */
    if (h->reused && h->answer.len == 0) {
        h->reused = false;
        if (dial(h) == 0)
            return;
    }
    finish(h, -EIO);
}

static const struct fl_stream_ops stream_ops = { .on_data = on_data, .on_close = on_close };

static void on_dialed(void *arg, struct fl_stream *stream, int r, const struct fl_err *err)
{
    struct sw_http *h = arg;

    h->dial = NULL;
    if (r < 0) {
        finish(h, r);
        return;
    }
    h->sw->stats.connections++;
    h->stream = stream;
    fl_stream_set_ops(stream, &stream_ops, h);
    if (fl_stream_send(stream, h->request.data, h->request.len) < 0)
        fl_stream_abort(stream);
}

static int dial(struct sw_http *h)
{
    return fl_dial_start(h->sw->dialer, h->sw->url, h->timeout_ms, on_dialed, h, &h->dial, NULL);
}

static void on_timer(void *arg)
{
    struct sw_http *h = arg;

    if (!h->busy) {
        let_go(h);
        h->reused = false;
        return;
    }
    fl_dial_cancel(FL_TAKE(h->dial));
    let_go(h);
    finish(h, -ETIMEDOUT);
}

struct sw_http *sw_http_new(struct sw *sw, uint32_t idle_ms)
{
    struct sw_http *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->sw = sw;
    h->idle_ms = idle_ms;
    h->timer = fl_timer_new(sw->loop, on_timer, h);
    fl_buf_init(&h->request, MAX_REQUEST_BYTES);
    fl_buf_init(&h->answer, MAX_ANSWER_BYTES);
    if (!h->timer) {
        free(h);
        return NULL;
    }
    return h;
}

struct sw_http *sw_http_free(struct sw_http *h)
{
    if (!h)
        return NULL;
    fl_dial_cancel(h->dial);
    let_go(h);
    fl_timer_free(h->timer);
    fl_buf_done(&h->request);
    fl_buf_done(&h->answer);
    free(h);
    return NULL;
}

bool sw_http_busy(const struct sw_http *h)
{
    return h->busy;
}

int sw_http_call(struct sw_http *h, const struct sw_call *call, sw_http_fn done, void *arg)
{
    int r;

    if (h->busy)
        return -EBUSY;
    fl_buf_done(&h->request);
    r = write_request(h->sw, call, &h->request);
    if (r < 0)
        return r;
    h->timeout_ms = call->timeout_ms;
    h->done = done;
    h->arg = arg;
    h->head_len = h->body_len = 0;
    h->status = 0;
    h->sw->stats.calls++;
    if (h->stream)
        r = fl_stream_send(h->stream, h->request.data, h->request.len);
    if (!h->stream || r < 0) {
        let_go(h);
        h->reused = false;
        r = dial(h);
    }
    if (r < 0)
        return r;
    h->busy = true;
    fl_timer_start(h->timer, call->timeout_ms);
    return 0;
}
