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
    char **words;

    if (!text)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (fl_session_plan_load(text, &arena, &plan, &err) < 0) {
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
