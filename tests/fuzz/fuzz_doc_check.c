/* A whole document of each type, in both formats: sound, or refused in words that say where. */
#include <stdlib.h>
#include <string.h>
#include "common/doc/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int type = FL_DOC_COMMAND; type <= FL_DOC_OTHER; type++)
        for (int format = FL_DOC_JSON; format <= FL_DOC_YAML; format++) {
            fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
            struct fl_doc_source src = { format, (const char *)data, size };
            struct fl_doc_facts facts = { 0 };
            struct fl_err err = { 0 };
            int r = fl_doc_check(type, &src, &arena, &facts, &err);

            if (r == 0 && (facts.platforms == 0 || facts.platforms > FL_DOC_ANYWHERE))
                abort();
            if (r < 0 && (!err.name || strncmp(err.text, "line ", 5) != 0))
                abort();
        }
    return 0;
}
