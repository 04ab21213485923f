/* filter.c - see filter.h. */
#include "cli/filter.h"
#include <errno.h>
#include <string.h>

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_filter, key, "Key", 0),
    FL_FIELD(struct fl_filter, option, "Option", 0),
    FL_FIELD(struct fl_filter, values, "Values", 0),
};
const struct fl_shape fl_filter_shape = FL_SHAPE(struct fl_filter, "Filter", filter_fields);

static int add(struct fl_strs *list, const char *value, size_t len, struct fl_arena *arena)
{
    char *copy = fl_arena_memdup(arena, value, len);
    char **more = list->v;

    /* Room is a power of two, so a full list is one whose length is one. */
    if ((list->n & (list->n - 1)) == 0) {
        more = fl_arena_calloc(arena, list->n ? 2 * list->n : 1, sizeof(char *));
        if (more && list->n)
            memcpy(more, list->v, list->n * sizeof(char *));
    }
    if (!copy || !more)
        return -ENOMEM;
    list->v = more;
    list->v[list->n++] = copy;
    return 0;
}

int fl_strs_add(struct fl_strs *list, const char *value, struct fl_arena *arena)
{
    return add(list, value, strlen(value), arena);
}

int fl_strs_add_each(struct fl_strs *list, const char *values, struct fl_arena *arena)
{
    int r = 0;

    for (const char *next = values; next && r == 0;) {
        const char *at = next;
        size_t len = strcspn(at, ",");

        next = at[len] ? at + len + 1 : NULL;
        r = add(list, at, len, arena);
    }
    return r;
}
