/* health.h - the pages for machines that watch the plane: /healthz, /readyz, /metrics (GET, no
 * login).
 *
 * /healthz  200 while the process answers at all
 * /readyz   200 if the store can be written, else 503; asked of the disk at most once a second
 * /metrics  Prometheus text; only for the addresses of the plane's MetricsFrom setting
 */
#pragma once
#include "server/http/exchange.h"

/* One of these pages? */
bool fl_health_has(const char *path);

/* True if the request was one of these pages: it is answered, or will be. */
bool fl_health_answer(struct fl_exchange_ctx *ctx, struct fl_server_req *req);
