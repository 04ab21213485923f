/* yaml.h - documents as YAML text: to and from JSON values, with libyaml. Pure.
 *
 * Reading follows YAML 1.1 as the official agent does (protocol 4 §5.1): y, n, yes, no, on and off
 * are booleans, 0777 and 0b11 are integers; 12:30 and dates are strings. What JSON cannot hold is
 * refused: .nan, .inf, binary and other tags, keys that are no scalars, a NUL in a string; so are
 * merge keys (<<) and members that stand twice.
 */
#pragma once
#include <jansson.h>
#include "common/base/buf.h"
#include "common/base/err.h"

/* Of a text that is read; aliases count as often as they are used. */
#define FL_YAML_MAX_DEPTH   64
#define FL_YAML_MAX_NODES   50000
#define FL_YAML_MAX_BYTES   (1 << 20) /* of all scalars and keys */
#define FL_YAML_MAX_ANCHORS 100

/* One document as a value (the caller's, json_decref). Values behind an alias are shared: do not
 * change what was read. A plain number as the root's schemaVersion is the string it was written as.
 * -EBADMSG with "line 3, column 5: …" for text that is not YAML or passes a limit; -ENOMEM. */
int fl_yaml_load(const char *text, size_t len, json_t **ret_root, struct fl_err *err);

/* A place in a text; both count from 1. */
struct fl_text_place {
    size_t line, column;
};

/* A member (key) or, with key NULL, an element of a list. */
struct fl_path_part {
    const char *key;
    size_t index;
};

/* Where `path` stands in text that fl_yaml_load takes: a member's key, an element's first
 * character. A path that ends early (a missing member, an alias) gives the last place on it. */
struct fl_text_place fl_yaml_locate(const char *text, size_t len, const struct fl_path_part *path,
                                    size_t n);

/* Appends the value as block-style YAML: members keep their order, strings that would be read as
 * something else are quoted. 0; -EMSGSIZE over the buffer's limit; -ENOMEM. */
int fl_yaml_dump(const json_t *root, struct fl_buf *out, struct fl_err *err);
