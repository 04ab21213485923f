/* worker_fixture.h - real workers on real job folders, and what their journals say. The program is
 * its own worker (run_role).
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "agent/lib/ipc_worker.h"
#include "agent/lib/jobdir.h"
#include "agent/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"
#include "tests/program.h"

static char dir[TMPDIR_BYTES];
static int64_t accepted_ms;            /* of the next job */
static const char *reboots_max = "15"; /* of the next worker */

static inline int setup(void **state)
{
    make_tmpdir(dir);
    accepted_ms = fl_now_ms();
    return 0;
}

static inline int teardown(void **state)
{
    return fl_dir_remove(dir, NULL);
}

static inline void job_path(char out[TMPDIR_BYTES + 64], const char *below)
{
    snprintf(out, TMPDIR_BYTES + 64, "%s/c1%s", dir, below);
}

static inline void make_job(const char *content)
{
    static char job_id[] = "aws.ssm.c1.mi-1", id[] = "c1", node[] = "mi-0123456789abcdef0";
    static char nonce[] = "00112233445566778899aabbccddeeff", region[] = "local";
    static char name[] = "Debian GNU/Linux", version[] = "12";
    const struct fl_job job = { .job_id = job_id,
                                .command_id = id,
                                .content = (char *)content,
                                .accepted_ms = accepted_ms,
                                .nonce = nonce,
                                .node_id = node,
                                .region = region,
                                .platform_name = name,
                                .platform_version = version,
                                .output_max_bytes = 1 << 20 };
    char path[TMPDIR_BYTES + 64];
    struct fl_err err = { 0 };

    job_path(path, "");
    fl_dir_remove(path, NULL);
    if (fl_jobdir_create(dir, &job, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static inline void make_document(const char *steps)
{
    char *content = NULL;

    assert_true(asprintf(&content,
                         "{\"DocumentContent\":{\"schemaVersion\":\"2.2\",\"mainSteps\":[%s]},"
                         "\"CommandId\":\"c1\"}",
                         steps) > 0);
    make_job(content);
    free(content);
}

static inline pid_t start_worker(const char *option)
{
    char path[TMPDIR_BYTES + 64];
    pid_t pid;

    job_path(path, "");
    pid = fork();
    if (pid == 0) {
        execl(this_program(), "worker", "--log-level", "error", "--reboots", reboots_max, path,
              option, NULL);
        _exit(127);
    }
    return pid;
}

static inline int wait_worker(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* To the end of the document, or until it waits for the next boot: true then. */
static inline bool run_to_boot(void)
{
    int status = wait_worker(start_worker(NULL));

    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FL_WORKER_EXIT_BOOT);
    return WEXITSTATUS(status) == FL_WORKER_EXIT_BOOT;
}

static inline void run_worker(void)
{
    assert_false(run_to_boot());
}

#define SHELL_WITH(name, more, script)                                           \
    "{\"action\":\"aws:runShellScript\",\"name\":\"" name "\",\"inputs\":{" more \
    "\"runCommand\":[\"" script "\"]}}"
#define SHELL(name, script) SHELL_WITH(name, "", script)

/* ---- what the journal says ---- */

#define MAX_STEPS 16

struct outcome {
    int starts, dones, ends, reboots;
    struct step {
        char key[64], status[24], *text[3]; /* output, stdout, stderr: JSON */
        int64_t index, code, bytes[2];
    } steps[MAX_STEPS];
    char status[24], error[512];
    int64_t n_results;
    uint64_t reboot_at; /* where its newest record begins */
    int64_t reboot_step;
    uint64_t ends_at[64]; /* where each record ends */
    int n_records;
};

static inline void take_step(struct outcome *o, const struct fl_jrec_step_done *done)
{
    char *const texts[3] = { done->output_json, done->stdout_json, done->stderr_json };
    struct step *s = &o->steps[o->dones++];

    snprintf(s->key, sizeof(s->key), "%s", done->key);
    snprintf(s->status, sizeof(s->status), "%s", done->status);
    s->index = done->index;
    s->code = done->code;
    s->bytes[0] = done->stdout_bytes;
    s->bytes[1] = done->stderr_bytes;
    for (int i = 0; i < 3; i++)
        s->text[i] = strdup(texts[i]);
}

static inline void read_outcome(struct outcome *o)
{
    char path[TMPDIR_BYTES + 64];
    struct fl_journal j;
    int fd, r = 1;

    memset(o, 0, sizeof(*o));
    job_path(path, "/journal");
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    fl_journal_init(&j, fd, fl_job_rows, 0);
    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
        const struct fl_jrec_doc_done *doc;
        const struct fl_jrec_reboot *reboot;
        struct fl_journal_record rec;

        r = fl_journal_read(&j, &arena, &rec);
        if (r != 1)
            break;
        assert_int_equal(o->ends, 0); /* nothing follows the end */
        o->ends_at[o->n_records++] = j.end;
        o->starts += rec.type == FL_JREC_STEP_START;
        if (rec.type == FL_JREC_STEP_DONE) {
            take_step(o, rec.in);
        } else if (rec.type == FL_JREC_DOC_DONE) {
            doc = rec.in;
            o->ends++;
            o->n_results = doc->n_results;
            snprintf(o->status, sizeof(o->status), "%s", doc->status);
            snprintf(o->error, sizeof(o->error), "%s", doc->error ? doc->error : "");
        } else if (rec.type == FL_JREC_REBOOT) {
            reboot = rec.in;
            o->reboots++;
            o->n_results = reboot->n_results;
            o->reboot_at = o->n_records > 1 ? o->ends_at[o->n_records - 2] : 0;
            o->reboot_step = reboot->index;
            snprintf(o->status, sizeof(o->status), "SuccessAndReboot");
        }
    }
    assert_int_equal(r, 0);
    fl_journal_done(&j);
}

static inline void free_outcome(struct outcome *o)
{
    for (int i = 0; i < o->dones; i++)
        for (int k = 0; k < 3; k++)
            free(o->steps[i].text[k]);
}

/* A role this program was started for, or -1: the tests are to be run. */
static inline int run_role(int argc, char **argv)
{
    if (argc > 1)
        return fl_worker_main(argc, argv);
    return -1;
}
