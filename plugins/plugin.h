/* plugin.h - what a document action is, and what its host gives it.
 *
 * A plugin is a folder, one const struct and one line in registry.c. The host (agent/worker)
 * decodes the step's inputs through the plugin's table, allocates its state, keeps its output
 * within bounds, runs its timeout and writes the journal. All on the worker's loop.
 */
#pragma once
#include <sys/types.h>
#include "common/base/child.h"
#include "common/codec/codec.h"
#include "plugins/call.h"
#include "plugins/status.h"

struct fl_step; /* one run of a plugin; the host's */

struct fl_plugin {
    const char *name;             /* "aws:runShellScript" */
    const char *summary;          /* one line for people */
    const struct fl_shape *input; /* its name stands in the official error texts; NULL: it takes
                                   * whatever there is, and looks at none of it */
    size_t state_size;            /* zeroed memory of fl_step_state */

    /* Starts and returns at once. `input` is of the shape above and lives as long as the step. A
     * non-zero return ends the step as Failed with `err` in stderr; no other call follows. */
    int (*start)(struct fl_step *step, const void *input, struct fl_err *err);

    /* End now (fl_step_ending tells why): the plugin answers with fl_step_done, soon. May be called
     * once, at any time between start and fl_step_done. */
    void (*cancel)(struct fl_step *step);

    /* Frees what the state holds. Called once after fl_step_done or a failed start. May be NULL. */
    void (*release)(struct fl_step *step);
};

/* NULL-terminated; every action that is compiled in. */
extern const struct fl_plugin *const fl_plugins[];
/* One of these, or a program of that name in the folder of users' plugins; NULL: there is none. */
const struct fl_plugin *fl_plugin_find(const char *name);

/* ---- what a plugin may call ---- */

struct fl_step_context {
    const char *command_id, *node_id, *region, *platform_name, *platform_version;
    const char *aws_profile, *aws_credentials_file; /* NULL: not shared */
    const char *dir;                                /* the step's own folder, 0700; exists */
    const char *data;            /* what outlives documents is below it; the agent's, 0700 */
    const char *downloads;       /* the document's download folder; may not exist */
    unsigned depth;              /* documents around this step's own */
    bool has_settings;           /* the document gives the step settings that are not null */
    const struct fl_strmap *env; /* variables that scripts get from the document's parameters */
};

enum fl_step_stream { FL_STEP_STDOUT, FL_STEP_STDERR };
enum fl_step_ending { FL_STEP_NOT_ENDING, FL_STEP_CANCELLING, FL_STEP_TIMING_OUT };

const struct fl_step_context *fl_step_context(const struct fl_step *step);
const struct fl_plugin *fl_step_plugin(const struct fl_step *step);
/* The inputs of this run as compact JSON, in fresh memory; NULL without memory. */
char *fl_step_inputs(const struct fl_step *step);
struct fl_loop *fl_step_loop(const struct fl_step *step);
void *fl_step_state(const struct fl_step *step);
enum fl_step_ending fl_step_ending(const struct fl_step *step);

/* Output of the step: any bytes, any amount; the host keeps what fits. Never fails, never waits. */
void fl_step_write(struct fl_step *step, enum fl_step_stream stream, const void *data, size_t len);
void fl_step_puts(struct fl_step *step, enum fl_step_stream stream, const char *text);

/* The step runs as the process group that `leader` leads: noted in the journal, so that what is
 * left of it is ended should this worker die. */
void fl_step_note_group(struct fl_step *step, pid_t leader);

/* SIGKILL to what is left of that group, even when its leader has ended; never to a stranger that
 * got the number since. */
void fl_step_kill_group(struct fl_step *step);

/* Starts one of the agent's own programs with no rights: no user of the machine, no capability, no
 * network, no file but these descriptors. The rest as fl_child_spawn. */
int fl_step_spawn_confined(struct fl_step *step, const char *program, const struct fl_child_fd *fds,
                           size_t n_fds, fl_child_fn fn, void *arg, struct fl_child **ret_child,
                           struct fl_err *err);

/* Whom programs without rights run as: a user that owns nothing (where the agent is an ordinary
 * user, that one). */
int fl_step_unprivileged(struct fl_step *step, uid_t *ret_uid, gid_t *ret_gid, struct fl_err *err);

/* After so many ms, cancel is called with FL_STEP_TIMING_OUT. Without it a step has no limit. */
void fl_step_set_timeout(struct fl_step *step, uint64_t ms);

/* The step is over. Exactly once; nothing of the step may be used afterwards except in release. */
void fl_step_done(struct fl_step *step, enum fl_status status, int code);
