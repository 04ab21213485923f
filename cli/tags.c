/* tags.c - see tags.h. */
#include "cli/tags.h"
#include <errno.h>
#include <string.h>

static const struct fl_field tag_fields[] = {
    FL_FIELD(struct fl_tag, key, "Key", 0),
    FL_FIELD(struct fl_tag, value, "Value", FL_ALWAYS),
};
const struct fl_shape fl_tag_shape = FL_SHAPE(struct fl_tag, "Tag", tag_fields);

int fl_tags_parse(const struct fl_texts *words, struct fl_arena *arena, struct fl_tag **ret_tags,
                  size_t *ret_n, struct fl_err *err)
{
    struct fl_tag *tags = fl_arena_calloc(arena, words->n + 1, sizeof(*tags));

    if (!tags)
        return -ENOMEM;
    for (size_t i = 0; i < words->n; i++) {
        const char *mark = strchr(words->v[i], '=');

        if (!mark || mark == words->v[i])
            return fl_err_set(err, -EINVAL, NULL, "\"%s\" is not KEY=VALUE", words->v[i]);
        tags[i].key = fl_arena_memdup(arena, words->v[i], (size_t)(mark - words->v[i]));
        tags[i].value = mark + 1;
        if (!tags[i].key)
            return -ENOMEM;
    }
    *ret_tags = tags;
    *ret_n = words->n;
    return 0;
}
