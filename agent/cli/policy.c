/* policy.c - `fairlead-agent policy check [FILE]`: whether a policy is good, and with
 * --document-file, whether that document would run here, decided as for a job.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "agent/cli/cli.h"
#include "agent/lib/config.h"
#include "agent/lib/jobdir.h"
#include "agent/lib/judge.h"
#include "agent/lib/policy.h"
#include "agent/lib/text.h"
#include "agent/lib/vault.h"
#include "agent/monitor/policyfile.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/json_load.h"

#define ARENA_MAX_BYTES (1u << 20)

struct check {
    const struct fl_cli *cli;
    const struct fl_paths *paths;
    struct fl_arena arena;
    struct fl_agent_config config;
    const char *path; /* of the policy */
    int fd;
    struct fl_loop *loop;
    int status;
};

static int open_policy(struct check *c, struct fl_err *err)
{
    int r = fl_agent_config_load(c->paths->config, &c->arena, &c->config, err);

    if (r < 0)
        return r;
    if (c->cli->n_words > 1) {
        /* Not in its place yet: whose it is does not matter. */
        c->path = c->cli->words[1];
        c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
        return c->fd < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", c->path, strerror(errno)) : 0;
    }
    c->path = c->config.policy_file[0] ? c->config.policy_file : c->paths->policy;
    c->fd = fl_policyfile_open_path(c->path, err);
    return c->fd < 0 ? c->fd : 0;
}

static int check_text(struct check *c, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    struct fl_node_policy *policy = NULL;
    struct fl_err why = { 0 };
    const char *name;
    size_t len, i = 0;
    int r = fl_fd_read_all(c->fd, FL_POLICY_MAX_BYTES, &text, &len);

    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", c->path, strerror(-r));
    r = fl_node_policy_parse(text, len, &policy, &why);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", c->path, fl_err_text(&why));
    printf("%s: good, %zu rule%s, default %s\n", c->path, fl_node_policy_n_rules(policy),
           fl_node_policy_n_rules(policy) == 1 ? "" : "s",
           fl_node_policy_default_allows(policy) ? "allow" : "deny");
    if (fl_node_policy_default_allows(policy))
        puts("note: what no rule denies is allowed");
    while ((name = fl_node_policy_next_trusting(policy, &i)))
        printf("note: rule \"%s\" leaves the content of documents to the control plane (no "
               "documentHashes, inputs or signedBy)\n",
               name);
    fl_node_policy_free(policy);
    return lseek(c->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

/* ---- a document ---- */

/* What a plane would send. */
static int make_content(struct check *c, char **ret_content, struct fl_err *err)
{
    const char *parameters = c->cli->parameters ? c->cli->parameters : "{}";
    fl_autofree char *text = NULL;
    json_t *document, *given, *content;
    int r = fl_file_read(c->cli->document_file, FL_JOB_MAX_CONTENT_BYTES, &text, NULL, err);

    if (r < 0)
        return r;
    document = fl_json_load_text(text, 0, NULL);
    given = fl_json_load_text(parameters, 0, NULL);
    content = document && given
                  ? json_pack("{s:O,s:O}", "DocumentContent", document, "Parameters", given)
                  : NULL;
    *ret_content = content ? json_dumps(content, JSON_COMPACT) : NULL;
    if (!document || !given)
        r = fl_err_set(err, -EINVAL, NULL, "%s: not JSON",
                       document ? "--parameters" : c->cli->document_file);
    json_decref(document);
    json_decref(given);
    json_decref(content);
    return r < 0 || *ret_content ? r : fl_err_nomem(err);
}

/* A job file as a job folder has it, in memory. */
static int make_job(struct check *c, int *ret_fd, struct fl_err *err)
{
    fl_autofree char *content = NULL;
    struct fl_journal journal fl_autojournal = { .fd = -1 };
    struct fl_registration reg = { 0 };
    char nonce[FL_JOB_NONCE_DIGITS + 1];
    int fd, r = make_content(c, &content, err);

    if (r < 0)
        return r;
    (void)fl_vault_load(c->paths->state, false, &c->arena, &reg, NULL);
    fl_random_hex(nonce, FL_JOB_NONCE_DIGITS);
    fd = memfd_create("job", MFD_CLOEXEC);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "cannot make a file in memory: %s", strerror(errno));
    fl_journal_init(&journal, fd, fl_job_rows, 0);
    r = fl_journal_append(&journal, FL_JREC_JOB,
                          &(struct fl_job){ .job_id = fl_text("check"),
                                            .command_id = fl_text("check"),
                                            .document_name = fl_text(c->cli->document),
                                            .content = content,
                                            .nonce = nonce,
                                            .node_id = reg.node_id },
                          err);
    *ret_fd = r < 0 ? -1 : FL_TAKE_FD(journal.fd);
    return r;
}

static void on_judged(void *arg, const struct fl_judgement *j, const char *why)
{
    struct check *c = arg;
    const char *fault = !j ? why : j->error ? j->error : j->broken;

    c->status = j && j->allowed ? 0 : 1;
    if (fault)
        printf("refused: %s\n", fault);
    else
        printf("%s: %s\n", j->allowed ? "allowed" : "refused", j->why);
    if (j && j->document_sha256)
        printf("document hash: %s\n", j->document_sha256);
    if (j && j->signed_by)
        printf("signed by: %s\n", j->signed_by);
    fl_loop_stop(c->loop);
}

static int check_document(struct check *c, struct fl_err *err)
{
    struct fl_judge *judge = NULL;
    fl_autofd int job_fd = -1;
    char run_as[64];
    int r = make_job(c, &job_fd, err);

    if (r == 0)
        r = fl_loop_new(&c->loop);
    fl_judge_run_as(run_as, sizeof(run_as));
    if (r == 0)
        r = fl_judge_start(c->loop, c->paths, c->config.net_user, run_as, FL_JUDGE_JOB, c->fd,
                           job_fd, on_judged, c, &judge, err);
    if (r == 0)
        fl_loop_run(c->loop);
    fl_judge_free(judge);
    c->loop = fl_loop_free(c->loop);
    return r;
}

int fl_cli_policy(const struct fl_cli *cli, const struct fl_paths *paths)
{
    struct check c = { .cli = cli, .paths = paths, .fd = -1 };
    struct fl_err err = { 0 };
    int r;

    fl_arena_init(&c.arena, ARENA_MAX_BYTES);
    r = open_policy(&c, &err);
    if (r == 0)
        r = check_text(&c, &err);
    if (r == 0 && cli->document_file)
        r = check_document(&c, &err);
    if (r < 0)
        fprintf(stderr, "fairlead-agent: %s\n", fl_err_text(&err));
    if (c.fd >= 0)
        close(c.fd);
    fl_arena_done(&c.arena);
    return r < 0 ? 1 : c.status;
}
