/* guard.c - see guard.h. */
#include "agent/worker/guard.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/jobdir.h"
#include "agent/lib/policy.h"

#define MEMORY_MAX_BYTES (36u << 20) /* the policy's text, and the parameters */

struct fl_step_guard {
    struct fl_arena arena;
    struct fl_node_policy *policy;
    struct fl_job_policy found;
    const char *document_name;
    char *parameters;
};

int fl_step_guard_new(int job_dir_fd, const char *document_name, const char *document,
                      const char *parameters, struct fl_step_guard **ret_guard, struct fl_err *err)
{
    struct fl_step_guard *g = calloc(1, sizeof(*g));
    int r;

    if (!g)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    fl_arena_init(&g->arena, MEMORY_MAX_BYTES);
    g->document_name = document_name;
    r = fl_jobdir_get_policy(job_dir_fd, &g->arena, &g->found, err);
    if (r == 0) {
        *ret_guard = fl_step_guard_free(g);
        return 0;
    }
    if (r == 1)
        r = fl_node_policy_parse(g->found.text, strlen(g->found.text), &g->policy, err);
    if (r == 0)
        r = fl_doc_parameters(document, parameters, &g->arena, &g->parameters, err);
    if (r < 0) {
        fl_step_guard_free(g);
        return r;
    }
    *ret_guard = g;
    return 0;
}

struct fl_step_guard *fl_step_guard_free(struct fl_step_guard *g)
{
    if (!g)
        return NULL;
    fl_node_policy_free(g->policy);
    fl_arena_done(&g->arena);
    free(g);
    return NULL;
}

bool fl_step_guard_allows(const struct fl_step_guard *g, const struct fl_doc_step *step,
                          struct fl_arena *arena, char **ret_text)
{
    struct fl_node_policy_verdict verdict;

    if (!g)
        return true;
    fl_node_policy_decide(
        g->policy,
        &(struct fl_node_policy_subject){ .document = g->document_name,
                                          .document_sha256 = g->found.document_sha256,
                                          .parameters = g->parameters,
                                          .action = step->action,
                                          .inputs = step->inputs,
                                          .signed_by = g->found.signed_by,
                                          .run_as = g->found.run_as,
                                          .time_ms = g->found.time_ms },
        &verdict);
    if (!verdict.allowed)
        *ret_text =
            fl_arena_printf(arena, "fairlead: refused by the policy of this node: %s", verdict.why);
    return verdict.allowed;
}
