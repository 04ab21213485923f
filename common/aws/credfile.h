/* credfile.h - AWS's shared credentials and config files: INI sections read, one section replaced.
 *
 * Layout of what is written: protocol 1 §4.5. Other sections, comments and blank lines survive byte
 * for byte.
 */
#pragma once
#include "common/base/err.h"

struct fl_credfile_entry {
    const char *key;
    const char *value;
};

/* The value of `key` in section `profile` of INI text into fresh memory; -ENOENT if absent. The
 * config file's "[profile x]" spelling is accepted for section x. */
int fl_credfile_get(const char *text, const char *profile, const char *key, char **ret_value);

/* The value of the indented line `sub` below the entry `key`, as in
 *     [services x]
 *     ssm =
 *       endpoint_url = https://…
 * Otherwise like fl_credfile_get. */
int fl_credfile_get_nested(const char *text, const char *section, const char *key, const char *sub,
                           char **ret_value);

/* Tells the name of each section in the order of the text, "profile " in front included; a name may
 * come twice. `name` is not NUL-terminated. */
typedef void (*fl_credfile_fn)(void *arg, const char *name, size_t len);
void fl_credfile_each(const char *text, fl_credfile_fn fn, void *arg);

/* The text with section `profile` replaced (or appended) by these entries, keys padded to equal
 * width. `text` may be NULL or "". Fresh memory. -EINVAL: a name, key or value that would not stand
 * on one line of its own; -EMSGSIZE: the text over 1 MiB. */
int fl_credfile_set(const char *text, const char *profile, const struct fl_credfile_entry *entries,
                    size_t n, char **ret_text);
