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

/* The text with section `profile` replaced (or appended) by these entries, keys padded to equal
 * width. `text` may be NULL or "". Fresh memory. -EINVAL: a name, key or value that would not stand
 * on one line of its own; -EMSGSIZE: the text over 1 MiB. */
int fl_credfile_set(const char *text, const char *profile, const struct fl_credfile_entry *entries,
                    size_t n, char **ret_text);
