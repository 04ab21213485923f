/* exit.c - see exit.h. */
#include "plugins/exit.h"
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define PREFIX "failed to run commands: "

/* Exit codes that are no plain failure. 137 is what a shell gives for a killed child; the official
 * agent reads it as a timeout even when the script chose it. */
static const struct {
    int code;
    enum fl_status status;
} special[] = {
    { 0, FL_STATUS_SUCCESS },
    { 194, FL_STATUS_SUCCESS_AND_REBOOT },
    { 137, FL_STATUS_TIMED_OUT },
};

static void lower(char *s)
{
    for (; *s; s++)
        *s = (char)tolower((unsigned char)*s);
}

static void map_signal(int wait_status, struct fl_exit *e)
{
    char name[64];

    snprintf(name, sizeof(name), "%s", strsignal(WTERMSIG(wait_status)));
    lower(name);
    e->status = FL_STATUS_FAILED;
    e->code = -1;
    snprintf(e->text, sizeof(e->text), PREFIX "signal: %s%s", name,
             WCOREDUMP(wait_status) ? " (core dumped)" : "");
}

void fl_exit_map(int wait_status, enum fl_step_ending ending, struct fl_exit *ret_exit)
{
    struct fl_exit e = { .status = FL_STATUS_FAILED };
    bool killed = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) == SIGKILL
                                           : WEXITSTATUS(wait_status) == 137;

    /* A script that ended by itself just before it would have been killed keeps its own result. */
    if (ending != FL_STEP_NOT_ENDING && killed) {
        e.status = ending == FL_STEP_CANCELLING ? FL_STATUS_CANCELLED : FL_STATUS_TIMED_OUT;
        e.code = 137;
    } else if (WIFSIGNALED(wait_status)) {
        map_signal(wait_status, &e);
    } else {
        e.code = WEXITSTATUS(wait_status);
        snprintf(e.text, sizeof(e.text), PREFIX "exit status %d", e.code);
        for (size_t i = 0; i < FL_ARRAY_LEN(special); i++)
            if (special[i].code == e.code) {
                e.status = special[i].status;
                e.text[0] = '\0';
            }
    }
    *ret_exit = e;
}

void fl_exit_spawn_error(const char *path, int error, char *out, size_t out_size)
{
    char why[128];

    snprintf(why, sizeof(why), "%s", strerror(error));
    lower(why);
    snprintf(out, out_size, PREFIX "fork/exec %s: %s", path, why);
}
