/* health.c - health pages and metrics. */
#include "server/http/health.h"

#include <string.h>
#include "common/base/clock.h"
#include "server/auth/match.h"
#include "server/command/status.h"

#define PAGE_MAX_BYTES (4 * 1024 * 1024)
#define READY_MS       1000
#define COUNTED_MS     10000 /* counting reads every command of the last 30 days */
#define TEXT           "text/plain; charset=utf-8"

/* A request that waits for the store. */
struct waiting {
    struct fl_exchange_ctx *ctx;
    struct fl_server_req *req; /* NULL when the client has gone; the request's tag points here */
    void (*then)(struct fl_exchange_ctx *ctx, struct fl_server_req *req, bool ok);
};

static void reply_text(struct fl_server_req *req, int status, const char *text)
{
    fl_server_reply(req, status, TEXT, NULL, 0, text, strlen(text));
}

static void healthz(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    reply_text(req, 200, "ok\n");
}

/* ---- waiting for the store ---- */

static void store_done(void *arg, int r)
{
    struct waiting *w = arg;

    w->ctx->open--;
    w->then(w->ctx, w->req, r == 0);
    free(w);
}

/* Runs `job` on the store (its arg is the struct waiting), then `then` here; `req` is NULL there if
 * the client has gone meanwhile. */
static void ask_store(struct fl_exchange_ctx *ctx, struct fl_server_req *req, enum fl_lane lane,
                      fl_store_job_fn job,
                      void (*then)(struct fl_exchange_ctx *ctx, struct fl_server_req *req, bool ok))
{
    struct waiting *w = calloc(1, sizeof(*w));

    if (w) {
        *w = (struct waiting){ .ctx = ctx, .req = req, .then = then };
        fl_server_req_set_tag(req, &w->req);
        if (fl_store_submit(ctx->plane->store, lane, job, store_done, w, ctx->loop) == 0) {
            ctx->open++;
            return;
        }
        fl_server_req_set_tag(req, NULL);
        free(w);
    }
    then(ctx, req, false);
}

/* ---- /readyz ---- */

static int ready_job(struct fl_tx *tx, void *arg)
{
    char now[FL_ISO_BYTES];
    int r;

    fl_time_iso(fl_now_ms(), false, now);
    r = fl_sql_exec(tx, FL_SQL_meta_put, NULL, FL_T("ping"), FL_T(now));
    return r < 0 ? r : 0;
}

static void reply_ready(struct fl_server_req *req, bool ready)
{
    reply_text(req, ready ? 200 : 503, ready ? "ready\n" : "the store cannot be written\n");
}

static void ready_then(struct fl_exchange_ctx *ctx, struct fl_server_req *req, bool ok)
{
    ctx->ready = ok;
    ctx->ready_until_ms = fl_mono_ms() + READY_MS;
    if (req)
        reply_ready(req, ok);
}

static void readyz(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    if (fl_mono_ms() < ctx->ready_until_ms)
        reply_ready(req, ctx->ready);
    else
        ask_store(ctx, req, FL_LANE_WRITE, ready_job, ready_then);
}

/* ---- /metrics ---- */

static bool may_see_metrics(const struct fl_plane *plane, const char *peer)
{
    const struct fl_strs *from = &plane->conf.metrics_from;

    for (size_t i = 0; i < from->n; i++)
        if (fl_cidr_match(from->v[i], peer))
            return true;
    return false;
}

static int count_job(struct fl_tx *tx, void *arg)
{
    const struct waiting *w = arg;
    struct fl_metrics *m = w->ctx->plane->metrics;
    int64_t n[FL_CMD__N] = { 0 };
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(tx, FL_SQL_metrics_commands, &c, NULL);

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        int64_t state = fl_sql_int(c, 0);

        if (state >= 0 && state < FL_CMD__N)
            n[state] = fl_sql_int(c, 1);
    }
    for (unsigned i = 0; r == 0 && i < FL_CMD__N; i++)
        fl_metrics_commands(m, i, n[i]);
    return r;
}

/* A page without fresh counts is better than none when the store is in trouble. */
static void reply_metrics(struct fl_exchange_ctx *ctx, struct fl_server_req *req, bool ok)
{
    fl_autobuf struct fl_buf page = { 0 };

    if (ok)
        ctx->counted_until_ms = fl_mono_ms() + COUNTED_MS;
    if (!req)
        return;
    fl_buf_init(&page, PAGE_MAX_BYTES);
    if (fl_metrics_render(ctx->plane->metrics, ctx->plane, &page) < 0)
        reply_text(req, 500, "the page is too large\n");
    else
        fl_server_reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0, page.data,
                        page.len);
}

static void metrics(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    if (!may_see_metrics(ctx->plane, fl_server_req_peer(req)))
        reply_text(req, 403, "metrics are not for this address (MetricsFrom in server.json)\n");
    else if (fl_mono_ms() < ctx->counted_until_ms)
        reply_metrics(ctx, req, false);
    else
        ask_store(ctx, req, FL_LANE_READ, count_job, reply_metrics);
}

static const struct {
    const char *path;
    void (*answer)(struct fl_exchange_ctx *ctx, struct fl_server_req *req);
} pages[] = {
    { "/healthz", healthz },
    { "/readyz", readyz },
    { "/metrics", metrics },
};

bool fl_health_has(const char *path)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(pages); i++)
        if (strcmp(path, pages[i].path) == 0)
            return true;
    return false;
}

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
