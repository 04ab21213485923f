/* health.c - health pages and metrics. */
#include "server/http/health.h"

#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "server/auth/policy.h"

#define PAGE_MAX_BYTES (4 * 1024 * 1024)
#define READY_MS       1000
#define TEXT           "text/plain; charset=utf-8"

struct ready {
    struct fl_exchange_ctx *ctx;
    struct fl_server_req *req; /* NULL when the client has gone; the request's tag points here */
};

static void reply_text(struct fl_server_req *req, int status, const char *text)
{
    fl_server_reply(req, status, TEXT, NULL, 0, text, strlen(text));
}

static void healthz(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    reply_text(req, 200, "ok\n");
}

static void reply_ready(struct fl_server_req *req, bool ready)
{
    reply_text(req, ready ? 200 : 503, ready ? "ready\n" : "the store cannot be written\n");
}

static int ready_job(struct fl_tx *tx, void *arg)
{
    char now[FL_ISO_BYTES];
    int r;

    fl_time_iso(fl_now_ms(), false, now);
    r = fl_sql_exec(tx, FL_SQL_meta_put, NULL, FL_T("ping"), FL_T(now));
    return r < 0 ? r : 0;
}

static void ready_done(void *arg, int r)
{
    struct ready *x = arg;

    x->ctx->open--;
    x->ctx->ready = r == 0;
    x->ctx->ready_until_ms = fl_mono_ms() + READY_MS;
    if (x->req)
        reply_ready(x->req, r == 0);
    free(x);
}

static void readyz(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    struct ready *x;

    if (fl_mono_ms() < ctx->ready_until_ms) {
        reply_ready(req, ctx->ready);
        return;
    }
    x = calloc(1, sizeof(*x));
    if (!x) {
        reply_ready(req, false);
        return;
    }
    *x = (struct ready){ .ctx = ctx, .req = req };
    fl_server_req_set_tag(req, &x->req);
    if (fl_store_submit(ctx->plane->store, FL_LANE_WRITE, ready_job, ready_done, x, ctx->loop) < 0) {
        reply_ready(FL_TAKE(x->req), false);
        free(x);
        return;
    }
    ctx->open++;
}

static bool may_see_metrics(const struct fl_plane *plane, const char *peer)
{
    const struct fl_strs *from = &plane->conf.metrics_from;

    for (size_t i = 0; i < from->n; i++)
        if (fl_cidr_match(from->v[i], peer))
            return true;
    return false;
}

static void metrics(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    fl_autobuf struct fl_buf page = { 0 };

    fl_buf_init(&page, PAGE_MAX_BYTES);
    if (!may_see_metrics(ctx->plane, fl_server_req_peer(req)))
        reply_text(req, 403, "metrics are not for this address (MetricsFrom in server.json)\n");
    else if (fl_metrics_render(ctx->plane->metrics, ctx->plane, &page) < 0)
        reply_text(req, 500, "the page is too large\n");
    else
        fl_server_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0, page.data,
                        page.len);
}

static const struct {
    const char *path;
    void (*answer)(struct fl_exchange_ctx *ctx, struct fl_server_req *req);
} pages[] = {
    { "/healthz", healthz },
    { "/readyz", readyz },
    { "/metrics", metrics },
};

bool fl_health_answer(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    const char *method = fl_server_req_method(req);

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return false;
    for (size_t i = 0; i < FL_ARRAY_LEN(pages); i++) {
        if (strcmp(fl_server_req_path(req), pages[i].path) == 0) {
            pages[i].answer(ctx, req);
            return true;
        }
    }
    return false;
}
