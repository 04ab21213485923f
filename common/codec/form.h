/* form.h - application/x-www-form-urlencoded bodies: AWS's query protocol into a struct.
 *
 * A structure's member is "Outer.Member", the elements of a list "Name.member.1", "Name.member.2",
 * … (or "Name.1", flattened), a map "Name.entry.1.key" and "Name.entry.1.value". Elements are taken
 * from 1 up to the first that is absent. Memory belongs to the arena.
 */
#pragma once
#include "common/codec/codec.h"

#define FL_FORM_MAX_BYTES (256 << 10) /* of a body */
#define FL_FORM_MAX_PAIRS 1000

struct fl_form_pair {
    char *key;
    char *value;
};

struct fl_form {
    struct fl_form_pair *v; /* sorted by key; keys are unique, the last value given counts */
    size_t n;
};

/* Takes a body apart. NUL and invalid UTF-8 become U+FFFD. -EBADMSG for a bad escape, -EMSGSIZE
 * over a limit or the arena's. */
int fl_form_parse(const char *body, size_t len, struct fl_arena *arena, struct fl_form *ret_form,
                  struct fl_err *err);

/* The value of `key` (exact), or NULL. */
const char *fl_form_get(const struct fl_form *form, const char *key);

/* Decodes into *out (shape->size bytes, zeroed first). Numbers are decimal text, booleans "true" or
 * "false" in any case, timestamps ISO 8601 or epoch seconds; an empty value is an absent number,
 * boolean or timestamp and an empty list. A raw member takes the text as a JSON string. 0; -EINVAL
 * for text of the wrong kind or a missing required member ("AssumeRole.RoleArn: missing"; not with
 * FL_DECODE_LAX); -EMSGSIZE for the arena's limit. */
int fl_form_decode(const struct fl_shape *shape, const struct fl_form *form, unsigned flags,
                   struct fl_arena *arena, void *out, struct fl_err *err);
