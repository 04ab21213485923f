/* tags.h - "KEY=VALUE" of a command line as the API's tags. */
#pragma once
#include "cli/command.h"

struct fl_tag {
    const char *key, *value;
};
extern const struct fl_shape fl_tag_shape;

/* In the arena. -EINVAL names the word that is none. */
int fl_tags_parse(const struct fl_texts *words, struct fl_arena *arena, struct fl_tag **ret_tags,
                  size_t *ret_n, struct fl_err *err);
