/* json_load.c - see json_load.h. */
#include "common/codec/json_load.h"
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"

static __thread bool parsing;

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);

    if (!p && parsing) {
        fl_log_error("out of memory while reading JSON");
        abort();
    }
    return p;
}

/* Before any thread; what was allocated by then is malloc()'s as well. */
static __attribute__((constructor)) void install(void)
{
    json_set_alloc_funcs(allocate, free);
}

json_t *fl_json_load(const char *text, size_t len, size_t flags, json_error_t *ret_why)
{
    json_t *json;

    parsing = true;
    json = json_loadb(text, len, flags, ret_why);
    parsing = false;
    return json;
}

json_t *fl_json_load_text(const char *text, size_t flags, json_error_t *ret_why)
{
    return text ? fl_json_load(text, strlen(text), flags, ret_why) : NULL;
}
