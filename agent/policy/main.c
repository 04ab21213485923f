/* main.c - fairlead-agent-policy: decides about one job or session, says so on standard output,
 * ends.
 *
 * What the network sent is parsed here first, by a process that may do nothing else: it has its
 * parent's descriptors (judge.h) and gets no other, no capability, a user of no rights.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "agent/lib/begun.h"
#include "agent/lib/sandbox.h"
#include "agent/lib/text.h"
#include "agent/policy/decide.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define MEMORY_MAX_BYTES (64u << 20)
#define CPU_MAX_S        10

/* An answer that does not fit is none, and none is a no. */
static int say(const struct fl_judgement *judgement)
{
    fl_autobuf struct fl_buf out = FL_BUF(FL_JUDGEMENT_MAX_BYTES);
    int r;

    r = fl_json_encode(&fl_shape_judgement, judgement, &out);
    if (r == 0)
        r = fl_fd_write_all(STDOUT_FILENO, out.data, out.len);
    return r < 0 ? 1 : 0;
}

static int confine(struct fl_err *err)
{
    char hash[FL_SHA256_HEX_BYTES];

    /* What libraries open, they open now: the time zone, OpenSSL's configuration. */
    tzset();
    fl_sha256_hex("", 0, hash);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, 0 }) < 0 ||
        setrlimit(RLIMIT_CPU, &(struct rlimit){ CPU_MAX_S, CPU_MAX_S }) < 0)
        return fl_err_set(err, -errno, NULL, "cannot set limits: %s", strerror(errno));
    return fl_sandbox_enter(err);
}

static int judge_job(const struct fl_node_policy *policy, const char *run_as,
                     struct fl_arena *arena, struct fl_judgement *out, struct fl_err *err)
{
    struct fl_job job;
    int r = fl_jobdir_read(FL_JUDGE_JOB_FD, arena, &job, err);

    if (r == 0)
        fl_decide_job(policy, &job, run_as, fl_now_ms(), arena, out);
    return r;
}

static int judge_session(const struct fl_node_policy *policy, const char *run_as,
                         struct fl_arena *arena, struct fl_judgement *out, struct fl_err *err)
{
    struct fl_session session;
    int r = fl_sessiondir_read(FL_JUDGE_JOB_FD, arena, &session, err);

    if (r == 0)
        fl_decide_session(policy, &session, run_as, fl_now_ms(), arena, out);
    return r;
}

static int judge(const char *run_as, bool session, struct fl_arena *arena, struct fl_judgement *out,
                 struct fl_err *err)
{
    fl_autofree char *text = NULL;
    struct fl_node_policy *policy = NULL;
    size_t len = 0;
    int r = fl_fd_read_all(FL_JUDGE_POLICY_FD, FL_POLICY_MAX_BYTES, &text, &len);

    if (r < 0)
        return fl_err_set(err, r, NULL, "policy: %s", strerror(-r));
    r = fl_node_policy_parse(text, len, &policy, err);
    if (r == 0)
        r = (session ? judge_session : judge_job)(policy, run_as, arena, out, err);
    fl_node_policy_free(policy);
    return r;
}

int main(int argc, char **argv)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(MEMORY_MAX_BYTES);
    struct fl_judgement out = { 0 };
    struct fl_err err = { 0 };
    bool session = argc == 4 && strcmp(argv[3], "--session") == 0;
    int r;

    if (!fl_begun("fairlead-agent-policy", argc == 3 + session && strcmp(argv[1], "--run-as") == 0))
        return 2;
    r = confine(&err);
    if (r == 0)
        r = judge(argv[2], session, &arena, &out, &err);
    if (r < 0)
        out = (struct fl_judgement){ .error = fl_text(fl_err_text(&err)) };
    return say(&out);
}
