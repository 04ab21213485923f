/* git_run.c - see git_run.h. */
#include "plugins/download_content/git_run.h"
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "plugins/environment.h"

#define TIMEOUT_MS       (3600 * 1000)
#define MAX_MEMORY_BYTES (2ull << 30)
#define MAX_FILE_BYTES   (1ull << 30) /* it writes an index of the pack */

static void on_over(void *arg, int wait_status)
{
    struct fl_git_run *g = arg;
    struct fl_err err = { 0 };

    g->process = fl_process_free(g->process);
    fl_timer_stop(g->deadline);
    while (g->complaint_len > 0 && g->complaint[g->complaint_len - 1] == '\n')
        g->complaint_len--;
    if (g->error.code)
        err = g->error;
    else if (!WIFEXITED(wait_status))
        fl_err_set(&err, -EIO, NULL, "git was ended by signal %d: %.*s", WTERMSIG(wait_status),
                   (int)g->complaint_len, g->complaint);
    else if (WEXITSTATUS(wait_status) != 0)
        fl_err_set(&err, -EIO, NULL, "git ended with status %d: %.*s", WEXITSTATUS(wait_status),
                   (int)g->complaint_len, g->complaint);
    g->over(g->arg, err.code ? &err : NULL);
}

static void on_deadline(void *arg)
{
    struct fl_git_run *g = arg;

    fl_err_set(&g->error, -ETIMEDOUT, NULL, "git did not end in an hour");
    fl_git_run_kill(g);
}

static void on_output(void *arg, enum fl_step_stream stream, const void *data, size_t len)
{
    struct fl_git_run *g = arg;

    if (g->error.code)
        return;
    if (stream == FL_STEP_STDERR) {
        size_t n = FL_MIN(len, sizeof(g->complaint) - g->complaint_len);

        memcpy(g->complaint + g->complaint_len, data, n);
        g->complaint_len += n;
    } else if (g->output(g->arg, data, len, &g->error) < 0) {
        fl_git_run_kill(g);
    }
}

int fl_git_run_init(struct fl_git_run *g, struct fl_step *step, fl_git_output_fn output,
                    fl_git_over_fn over, void *arg, struct fl_err *err)
{
    *g = (struct fl_git_run){ .step = step, .output = output, .over = over, .arg = arg };
    g->deadline = fl_timer_new(fl_step_loop(step), on_deadline, g);
    return g->deadline ? 0 : fl_err_nomem(err);
}

void fl_git_run_done(struct fl_git_run *g)
{
    g->process = fl_process_free(g->process);
    g->deadline = fl_timer_free(g->deadline);
}

int fl_git_run_find(struct fl_git_run *g, struct fl_err *err)
{
    fl_env_find_program((const char *const[]){ "git", NULL }, "", g->program, sizeof(g->program));
    return *g->program ? 0
                       : fl_err_set(err, -ENOENT, NULL,
                                    "fairlead: content from Git needs the program git, which this "
                                    "node does not have");
}

int fl_git_run_start(struct fl_git_run *g, const char *folder, const char *const *args,
                     const void *input, size_t input_len, struct fl_err *err)
{
    static const char *const always[] = {
        "git",
        "-c",
        "protocol.allow=never",
        "-c",
        "pack.threads=1",
        "-c",
        "core.packedGitWindowSize=16m",
        "-c",
        "core.packedGitLimit=256m",
        "-c",
        "core.bigFileThreshold=64m",
    };
    static const char *const env[] = {
        "PATH=/usr/bin:/bin",
        "HOME=.",
        "LC_ALL=C",
        "GIT_DIR=.",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_TERMINAL_PROMPT=0",
        "GIT_ATTR_NOSYSTEM=1",
        "GIT_NO_LAZY_FETCH=1",
        NULL,
    };
    static const struct fl_child_limit limits[] = {
        { RLIMIT_AS, MAX_MEMORY_BYTES },
        { RLIMIT_FSIZE, MAX_FILE_BYTES },
    };
    const char *argv[FL_ARRAY_LEN(always) + 8] = { 0 };
    size_t n = 0;
    int r;

    memcpy(argv, always, sizeof(always));
    for (n = FL_ARRAY_LEN(always); *args; args++)
        argv[n++] = *args;
    g->complaint_len = 0;
    r = fl_process_start(g->step,
                         &(struct fl_process_spec){ .path = g->program,
                                                    .argv = (char *const *)(uintptr_t)argv,
                                                    .envp = (char *const *)(uintptr_t)env,
                                                    .cwd = folder,
                                                    .input = input,
                                                    .input_len = input_len,
                                                    .confine = true,
                                                    .limits = limits,
                                                    .n_limits = FL_ARRAY_LEN(limits),
                                                    .output = on_output,
                                                    .over = on_over,
                                                    .arg = g },
                         &g->process, err);
    if (r == 0)
        fl_timer_start(g->deadline, TIMEOUT_MS);
    return r;
}

bool fl_git_run_kill(struct fl_git_run *g)
{
    if (!g->process)
        return false;
    fl_process_kill(g->process);
    return true;
}
