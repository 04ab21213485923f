/* json_load.h - JSON text to jansson's values: the one way to parse it.
 *
 * jansson 2.14 does not look whether its token buffer could grow: without memory it goes on with a
 * text that lacks a byte, or reads past its end. And its NULL says "not JSON" and "no memory"
 * alike, where callers refuse the one for good and should try the other again. So a process whose
 * memory ends while it parses ends, too, as if it had been killed: what it was told stands on disk.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include "common/base/util.h"

/* How json_dumps() is told to write what is hashed and signed: members sorted by their bytes, no
 * blanks, UTF-8 as it is. `jq -cjS .` writes the same of all but unusual numbers. */
#define FL_JSON_CANONICAL (JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY)

/* As json_loadb(): the value, NULL with `ret_why` (may be NULL) if the text is not JSON, which says
 * where and what without a word of the text itself. `flags` are jansson's JSON_… */
json_t *fl_json_load(const char *text, size_t len, size_t flags, json_error_t *ret_why);

/* The same of a string; NULL of NULL. */
json_t *fl_json_load_text(const char *text, size_t flags, json_error_t *ret_why);

/* fl_autojson json_t *j = …: the reference is given back at the end of the block. */
static inline void fl_json_decref(json_t **json)
{
    json_decref(*json);
}
#define fl_autojson FL_CLEANUP(fl_json_decref)
