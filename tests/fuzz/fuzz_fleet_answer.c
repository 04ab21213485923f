/* What a node answers the client: read as an answer, or told in words; what was read has rows. */
#include <string.h>
#include "cli/fleet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *text = malloc(size + 1);
    struct fl_err err = { 0 };
    json_t *answer = NULL;
    int r;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    r = fl_fleet_read("node", &(struct fl_outcome){ .status = "Success", .out = text }, &answer,
                      &err);
    if (r < 0 ? !*err.text || answer != NULL : !json_is_array(json_object_get(answer, "results")))
        abort();
    json_decref(answer);
    return 0;
}
