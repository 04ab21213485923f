/* A sequence token: what is read as a position is written as one that is read the same. */
#include <stdlib.h>
#include <string.h>
#include "common/wire/logposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *token = strndup((const char *)data, size), text[FL_LOG_POSITION_BYTES];
    struct fl_log_position p, again;

    if (token && fl_log_position_read(token, &p)) {
        fl_log_position_write(&p, text);
        if (!fl_log_position_read(text, &again) || memcmp(&p, &again, sizeof(p)) != 0)
            abort();
    }
    free(token);
    return 0;
}
