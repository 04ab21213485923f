/* go_text.h - JSON values and type mismatches in the words of the official agent, which prints Go
 * values and the errors of Go's JSON decoder (protocol 4 §3, §9). Pure.
 *
 * `json` is a json_t * throughout; the header keeps jansson out of its callers.
 */
#pragma once
#include "common/base/buf.h"
#include "common/codec/codec.h"

/* Appends the value as Go's %v prints a decoded interface{}: map[a:1 b:[x y]], keys sorted, <nil>.
 */
int fl_go_value_text(const void *json, struct fl_buf *out);

/* Appends "json: cannot unmarshal string into Go struct field Name.key of type []string" for the
 * first member of the object whose JSON type does not fit the shape. 1 if one was found, 0 if not
 * (and nothing appended), negative on failure. Members match in any letter case. */
int fl_go_mismatch_text(const struct fl_shape *shape, const void *json, struct fl_buf *out);

/* Appends compact JSON as Go marshals it: sorted keys, <, >, & and U+2028/9 escaped. */
int fl_go_json_text(const void *json, struct fl_buf *out);

/* Decodes an object in any letter case; -EINVAL for a member of the wrong type, in Go's words. */
int fl_go_decode(const struct fl_shape *shape, const void *json, struct fl_arena *arena, void *out,
                 struct fl_err *err);
