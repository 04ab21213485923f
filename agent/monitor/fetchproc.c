/* fetchproc.c - see fetchproc.h. */
#include "agent/monitor/fetchproc.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/lib/ipc_worker.h"
#include "agent/lib/role.h"
#include "common/aws/endpoint.h"
#include "common/base/log.h"

#define WORKER_IDLE_MS   10000
#define MAX_MEMORY_BYTES 65536

struct fl_fetchproc {
    struct fl_loop *loop;
    const struct fl_paths *paths;
    const struct fl_agent_config *config;
    size_t max;
    struct fl_child *children[];
};

int fl_fetchproc_new(struct fl_loop *loop, const struct fl_paths *paths,
                     const struct fl_agent_config *config, size_t max,
                     struct fl_fetchproc **ret_pool)
{
    struct fl_fetchproc *pool = calloc(1, sizeof(*pool) + max * sizeof(pool->children[0]));

    if (!pool)
        return -ENOMEM;
    pool->loop = loop;
    pool->paths = paths;
    pool->config = config;
    pool->max = max;
    *ret_pool = pool;
    return 0;
}

struct fl_fetchproc *fl_fetchproc_free(struct fl_fetchproc *pool)
{
    for (size_t i = 0; pool && i < pool->max; i++)
        fl_child_free(pool->children[i]);
    free(pool);
    return NULL;
}

static void on_ended(void *arg, int status)
{
    struct fl_child **place = arg;

    *place = fl_child_free(*place);
}

int fl_fetchproc_start(struct fl_fetchproc *pool, int *ret_fd, struct fl_err *err)
{
    for (size_t i = 0; i < pool->max; i++)
        if (!pool->children[i])
            return fl_role_spawn_fetch(pool->loop, pool->paths, pool->config->net_user,
                                       pool->config->ca_file, on_ended, &pool->children[i],
                                       &pool->children[i], ret_fd, err);
    return fl_err_set(err, -EBUSY, NULL, "%zu fetch processes run already", pool->max);
}

/* ---- for a worker ---- */

/* Buckets as host names: AWS's way, which elsewhere needs DNS that not every store has. */
static bool wants_virtual_hosts(const struct fl_agent_config *c)
{
    bool elsewhere = c->s3_endpoint && *c->s3_endpoint;

    return strcmp(c->s3_addressing, "virtual") == 0 ||
           (strcmp(c->s3_addressing, "auto") == 0 && !elsewhere);
}

/* The services that calls of plugins may name without a URL. */
static int find_endpoints(const struct fl_fetchproc *pool, const struct fl_net_start *net,
                          struct fl_arena *arena, struct fl_fetch_conf *conf, struct fl_err *err)
{
    const struct fl_agent_config *c = pool->config;
    const struct {
        const char *service, *override;
    } services[] = {
        { "ssm", net->ssm_url },
        { "s3", c->s3_endpoint },
        { "logs", c->logs_endpoint },
    };
    int r = 0;

    conf->endpoints = fl_arena_calloc(arena, FL_ARRAY_LEN(services), sizeof(*conf->endpoints));
    for (size_t i = 0; conf->endpoints && i < FL_ARRAY_LEN(services) && r == 0; i++) {
        struct fl_fetch_endpoint *e = &conf->endpoints[conf->n_endpoints];
        fl_autofree char *url = NULL;
        r = fl_endpoint_url(services[i].service, net->region, c->service_domain,
                            services[i].override, &url, err);
        if (r < 0)
            break;
        e->service = fl_arena_strdup(arena, services[i].service);
        e->url = fl_arena_strdup(arena, url);
        e->fixed = services[i].override && *services[i].override;
        e->virtual_hosts = strcmp(services[i].service, "s3") == 0 && wants_virtual_hosts(c);
        r = e->service && e->url ? 0 : -ENOMEM;
        conf->n_endpoints++;
    }
    return conf->endpoints ? r : -ENOMEM;
}

/* Into the socket before anybody else writes to it: it is empty and takes it all at once. */
static int configure(struct fl_fetchproc *pool, int fd, const struct fl_fetch_conf *conf)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct fl_ipc *ipc;
    int r;

    if (copy < 0)
        return -errno;
    r = fl_ipc_new(pool->loop, copy, fl_fetch_rows, fl_n_fetch_rows, NULL, NULL, &ipc);
    if (r < 0)
        return r;
    r = fl_ipc_send(ipc, FL_FETCH_CONF, 0, conf, NULL, 0);
    if (r == 0 && fl_ipc_queued(ipc) > 0)
        r = -EAGAIN;
    fl_ipc_free(ipc);
    return r;
}

int fl_fetchproc_start_for_worker(struct fl_fetchproc *pool, const struct fl_net_start *net,
                                  const struct fl_net_creds *creds, int64_t offset_ms, int *ret_fd,
                                  struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(MAX_MEMORY_BYTES);
    struct fl_fetch_conf conf = {
        .ca_file = net->ca_file,
        .proxy_http = net->proxy_http,
        .proxy_https = net->proxy_https,
        .no_proxy = net->no_proxy,
        .user_agent = fl_arena_printf(&arena, "%s/%s", net->agent_name, net->agent_version),
        .log_level = net->log_level,
        .log_format = net->log_format,
        .idle_ms = WORKER_IDLE_MS,
        .region = net->region,
        .access_key_id = creds->access_key_id,
        .secret_access_key = creds->secret_access_key,
        .session_token = creds->session_token,
        .expires_ms = creds->expires_ms,
        .offset_ms = offset_ms,
        .service_domain = pool->config->service_domain,
    };
    fl_autofd int fd = -1;
    int r = find_endpoints(pool, net, &arena, &conf, err);

    if (r == 0)
        r = fl_fetchproc_start(pool, &fd, err);
    if (r == 0) {
        r = configure(pool, fd, &conf);
        if (r < 0)
            fl_err_set(err, r, NULL, "cannot configure the fetch process: %s", strerror(-r));
    }
    if (r == 0)
        *ret_fd = FL_TAKE_FD(fd);
    return r;
}

int fl_fetch_source_give(const struct fl_fetch_source *source, struct fl_ipc *ipc, uint16_t type,
                         uint32_t id, const char *what, const char *whose)
{
    struct fl_err why = { 0 };
    fl_autofd int fd = -1;
    int r = source->start(source->arg, &fd, &why);

    if (r < 0)
        fl_log_warn("no fetch process to give", FL_S(what, whose),
                    FL_S("error", fl_err_text(&why)));
    return fl_ipc_send(ipc, type, id, &(struct fl_worker_fetch){ .ok = r == 0, .error = why.text },
                       &fd, r == 0);
}
