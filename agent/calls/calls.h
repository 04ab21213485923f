/* calls.h - the worker's calls over the network: requests of plugins/call.h, through fetch
 * processes that the monitor starts.
 *
 * A monitor that is away, has no process to give or no credentials yet is waited for, as long as
 * the call may last.
 */
#pragma once
#include "common/ipc/ipc.h"
#include "plugins/call.h"

struct fl_calls;

/* Asks the monitor for a fetch process (FL_WORKER_NEED_FETCH). Non-zero: no monitor is there;
 * fl_calls_monitor tells when it is again. */
typedef int (*fl_calls_need_fn)(void *arg);

int fl_calls_new(struct fl_loop *loop, fl_calls_need_fn need, void *arg,
                 struct fl_calls **ret_calls);
/* Calls under way end without a callback. */
struct fl_calls *fl_calls_free(struct fl_calls *c);

/* A monitor is there (again). */
void fl_calls_monitor(struct fl_calls *c);
/* FL_WORKER_FETCH came. */
void fl_calls_take(struct fl_calls *c, const struct fl_ipc_msg *msg);

struct fl_calls_service {
    const char *name; /* as it is signed for */
    const char *target_prefix;
    bool repeats; /* all its operations may come twice: what broke off is made again, as what is
                     throttled is (protocol 1 §4.4) */
};
extern const struct fl_calls_service fl_calls_service_ssm, fl_calls_service_logs;

/* As fl_step_call, fl_step_ssm (of any service) and fl_step_call_cancel. Ids are never 0. */
int fl_calls_start(struct fl_calls *c, const struct fl_step_request *request,
                   fl_step_answer_fn done, void *arg, uint32_t *ret_id, struct fl_err *err);
int fl_calls_operation(struct fl_calls *c, const struct fl_calls_service *service,
                       const char *operation, const struct fl_shape *in_shape, const void *in,
                       const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                       uint32_t *ret_id, struct fl_err *err);
void fl_calls_cancel(struct fl_calls *c, uint32_t id);
