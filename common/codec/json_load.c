/* json_load.c - see json_load.h. */
#include "common/codec/json_load.h"
#include <malloc.h>
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

/* Requests and answers hold secrets, and jansson copies every string. */
static void release(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

/* Before any thread; what was allocated by then is malloc()'s as well. */
static __attribute__((constructor)) void install(void)
{
    json_set_alloc_funcs(allocate, release);
}

/* jansson writes the text first on its stack, and leaves it there. */
static __attribute__((noinline)) void wipe_stack(void)
{
    char below[4096];

    explicit_bzero(below, sizeof(below));
}

/* "unexpected token near '…'": what is quoted may be a secret. */
static void unquote(json_error_t *why)
{
    char *near = strstr(why->text, " near '");

    if (near)
        explicit_bzero(near,
                       (size_t)(why->text + sizeof(why->text) - near) - 1); /* its last is a code */
}

json_t *fl_json_load(const char *text, size_t len, size_t flags, json_error_t *ret_why)
{
    json_error_t why;
    json_t *json;

    parsing = true;
    json = json_loadb(text, len, flags, &why);
    parsing = false;
    if (!json) {
        unquote(&why);
        wipe_stack();
    }
    if (ret_why)
        *ret_why = why;
    return json;
}

json_t *fl_json_load_text(const char *text, size_t flags, json_error_t *ret_why)
{
    return text ? fl_json_load(text, strlen(text), flags, ret_why) : NULL;
}
