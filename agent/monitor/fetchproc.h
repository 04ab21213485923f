/* fetchproc.h - fetch processes, from the monitor's side: for net, which configures its own, and
 * for workers, which get theirs with the node's credentials in it and never see those.
 */
#pragma once
#include "agent/lib/config.h"
#include "agent/lib/ipc_net.h"
#include "agent/lib/paths.h"

struct fl_fetchproc;
struct fl_ipc;

/* A fetch process for a worker or a holder: the socket to it, configured
 * (fl_fetchproc_start_for_worker). */
struct fl_fetch_source {
    int (*start)(void *arg, int *ret_fd, struct fl_err *err);
    void *arg;
};

/* Answers one who needs a fetch process, by struct fl_worker_fetch of that type. `what` and `whose`
 * are for the log. As fl_ipc_send. */
int fl_fetch_source_give(const struct fl_fetch_source *source, struct fl_ipc *ipc, uint16_t type,
                         uint32_t id, const char *what, const char *whose);

/* At most `max` live at once: without a limit a net gone bad could have us fork for ever. `paths`
 * and `config` outlive the object. */
int fl_fetchproc_new(struct fl_loop *loop, const struct fl_paths *paths,
                     const struct fl_agent_config *config, size_t max,
                     struct fl_fetchproc **ret_pool);
struct fl_fetchproc *fl_fetchproc_free(struct fl_fetchproc *pool);

/* A fresh process; its socket is the caller's. -EBUSY with `max` of them. */
int fl_fetchproc_start(struct fl_fetchproc *pool, int *ret_fd, struct fl_err *err);

/* The same, and told how to reach the node's services: region, proxies and CA as net has them,
 * `creds` (access_key_id NULL: none yet) and the service's time less fl_boot_ms(). */
int fl_fetchproc_start_for_worker(struct fl_fetchproc *pool, const struct fl_net_start *net,
                                  const struct fl_net_creds *creds, int64_t offset_ms, int *ret_fd,
                                  struct fl_err *err);
