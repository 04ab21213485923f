/* call.c - see call.h. */
#include "plugins/call.h"
#include <strings.h>

const char *fl_step_answer_header(const struct fl_step_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->n_headers; i++)
        if (strcasecmp(answer->headers[i].name, name) == 0)
            return answer->headers[i].value;
    return NULL;
}
