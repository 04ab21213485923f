/* guard.c - see guard.h. */
#include "agent/worker/guard.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/jobdir.h"
#include "agent/lib/policy.h"
#include "common/doc/signed.h"

#define MEMORY_MAX_BYTES (36u << 20) /* the policy's text, and the parameters */

struct fl_step_guard {
    struct fl_arena arena;
    const struct fl_step_guard *outer; /* whose policy this is; NULL: its own */
    struct fl_node_policy *policy;
    struct fl_job_policy found;
    struct fl_node_policy_subject subject; /* what is the same for every step */
    char sha256[FL_SHA256_HEX_BYTES];      /* of a nested document */
};

/* What the document says of its steps; names and parameters of the one around it say nothing. */
static int describe(struct fl_step_guard *g, const char *name, const char *document,
                    const char *parameters, struct fl_err *err)
{
    char *effective = NULL;
    int r = fl_doc_parameters(document, parameters, &g->arena, &effective, err);

    if (r < 0)
        return r;
    g->subject.document = fl_arena_strdup(&g->arena, name ? name : "");
    g->subject.parameters = effective;
    return g->subject.document ? 0 : fl_err_nomem(err);
}

int fl_step_guard_new(int job_dir_fd, const char *document_name, const char *document,
                      const char *parameters, struct fl_step_guard **ret_guard, struct fl_err *err)
{
    struct fl_step_guard *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return fl_err_nomem(err);
    fl_arena_init(&g->arena, MEMORY_MAX_BYTES);
    r = fl_jobdir_get_policy(job_dir_fd, &g->arena, &g->found, err);
    if (r == 0) {
        *ret_guard = fl_step_guard_free(g);
        return 0;
    }
    if (r == 1)
        r = fl_node_policy_parse(g->found.text, strlen(g->found.text), &g->policy, err);
    if (r == 0)
        r = describe(g, document_name, document, parameters, err);
    if (r < 0) {
        fl_step_guard_free(g);
        return r;
    }
    g->subject.document_sha256 = g->found.document_sha256;
    g->subject.signed_by = g->found.signed_by;
    g->subject.run_as = g->found.run_as;
    g->subject.time_ms = g->found.time_ms;
    *ret_guard = g;
    return 0;
}

int fl_step_guard_nest(const struct fl_step_guard *outer, const char *name, const char *document,
                       const char *parameters, struct fl_step_guard **ret_guard, struct fl_err *err)
{
    struct fl_step_guard *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return fl_err_nomem(err);
    fl_arena_init(&g->arena, MEMORY_MAX_BYTES);
    g->outer = outer;
    g->policy = outer->policy;
    r = describe(g, name, document, parameters, err);
    if (r == 0 && fl_document_sha256(document, g->sha256) < 0)
        r = fl_err_nomem(err);
    if (r < 0) {
        fl_step_guard_free(g);
        return r;
    }
    g->subject.document_sha256 = g->sha256;
    g->subject.run_as = outer->subject.run_as;
    g->subject.time_ms = outer->subject.time_ms;
    *ret_guard = g;
    return 0;
}

struct fl_step_guard *fl_step_guard_free(struct fl_step_guard *g)
{
    if (!g)
        return NULL;
    if (!g->outer)
        fl_node_policy_free(g->policy);
    fl_arena_done(&g->arena);
    free(g);
    return NULL;
}

bool fl_step_guard_allows(const struct fl_step_guard *g, const struct fl_doc_step *step,
                          struct fl_arena *arena, char **ret_text)
{
    struct fl_node_policy_subject subject;
    struct fl_node_policy_verdict verdict;

    if (!g)
        return true;
    subject = g->subject;
    subject.action = step->action;
    subject.inputs = step->inputs;
    fl_node_policy_decide(g->policy, &subject, &verdict);
    if (!verdict.allowed)
        *ret_text =
            fl_arena_printf(arena, "fairlead: refused by the policy of this node: %s", verdict.why);
    return verdict.allowed;
}
