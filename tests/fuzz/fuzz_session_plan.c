/* Content of interactive_shell: any bytes. A plan has what its type needs, or words say why not. */
#include <stdlib.h>
#include <string.h>
#include "agent/holder/split.h"
#include "agent/lib/session_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(8 << 20);
    fl_autofree char *text = malloc(size + 1);
    struct fl_session_plan plan;
    struct fl_err err = { 0 };
    struct fl_ssm_refs *refs = size % 2 ? fl_ssm_refs_new() : NULL;
    const char *names[FL_SSM_REFS_BATCH];
    char **words;
    int r;

    if (!text || (size % 2 && !refs))
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    r = fl_session_plan_load(text, refs, &arena, &plan, &err);
    /* once more with values: whom it runs as may not change */
    if (r == 0 && refs && fl_ssm_refs_wanting(refs)) {
        size_t n = fl_ssm_refs_next(refs, names);
        fl_autofree char *run_as = plan.run_as ? strdup(plan.run_as) : NULL;
        bool elevated = plan.elevated;

        for (size_t i = 0; i < n; i++)
            fl_ssm_refs_learn(refs, names[i], NULL, 1, "String", "true");
        r = fl_session_plan_load(text, refs, &arena, &plan, &err);
        if (r == 0 && (elevated != plan.elevated ||
                       strcmp(run_as ? run_as : "", plan.run_as ? plan.run_as : "") != 0))
            abort();
    }
    fl_ssm_refs_free(refs);
    if (r < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    if (!plan.type || !plan.document || !plan.parameters || !plan.owner || !plan.document_name)
        abort();
    if ((plan.kind == FL_SESSION_PORT) != (plan.properties != NULL))
        abort();
    if (plan.kind == FL_SESSION_PORT && fl_session_plan_user(&plan, true, "u"))
        abort();
    if (plan.commands && fl_split(plan.commands, &arena, &words, &err) == 0 && !words[0])
        abort();
    return 0;
}
