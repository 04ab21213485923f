/* vectors.h - reading the vector files beside this one, for unit tests (run from the project's
 * root). */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static inline json_t *vectors_load(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);

    if (!j) {
        fprintf(stderr, "%s:%d: %s\n", path, e.line, e.text);
        abort();
    }
    return j;
}

/* A member that must be a string. */
static inline const char *vectors_str(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    if (!s) {
        fprintf(stderr, "vector without %s\n", key);
        abort();
    }
    return s;
}
