/* step.h - the host of one step: runs a plugin over the step's inputs, keeps its output, its
 * timeout and its state. The plugin's side of it is plugins/plugin.h.
 *
 * Inputs that are an array run the plugin once an element: outputs are joined, the first non-zero
 * code and the worst status count (protocol 4 §2.1).
 */
#pragma once
#include "agent/lib/leftover.h"
#include "agent/worker/output.h"
#include "agent/worker/step_calls.h"
#include "plugins/plugin.h"

struct fl_step_guard;

struct fl_step_host {
    void (*on_group)(void *group_arg, const struct fl_group *group); /* to the journal */
    void *group_arg;
    void (*on_done)(void *arg); /* the step is over; the step may be freed inside */
    void *arg;
    struct fl_calls *calls;            /* NULL: no network */
    const struct fl_step_guard *guard; /* of nested documents' steps; NULL: no policy */
    const struct fl_paths *paths;
    const char *net_user; /* of programs without rights */
};

/* `inputs_json` and `context` are copied or outlive the step; `dir_fd` is the folder context->dir
 * and stays the caller's. */
int fl_step_new(struct fl_loop *loop, const struct fl_plugin *plugin, const char *inputs_json,
                const struct fl_step_context *context, int dir_fd, int64_t output_max_bytes,
                const struct fl_step_host *host, struct fl_step **ret_step);
struct fl_step *fl_step_free(struct fl_step *step);

/* Before it begins: each attempt ends as timed out after so many ms (0: none of our own), and a
 * step that failed or timed out is tried again until it had so many attempts (0 as 1). Outputs of
 * the attempts are joined like those of a list. A script that ends the document by 168 or 169 is
 * not tried again. 0 or -ENOMEM. */
int fl_step_limit(struct fl_step *step, uint64_t timeout_ms, uint32_t max_attempts);

/* Begins; on_done never runs before this returns. */
void fl_step_begin(struct fl_step *step);

/* The document is cancelled. */
void fl_step_cancel(struct fl_step *step);

enum fl_status fl_step_status(const struct fl_step *step);
int fl_step_code(const struct fl_step *step);
struct fl_output *fl_step_stream(struct fl_step *step, enum fl_step_stream which);
