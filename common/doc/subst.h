/* subst.h - {{ name }} in documents (protocol 4 §1.3). Pure; no shell escaping of any kind.
 *
 * Values are json_t *. A string that is exactly one reference becomes the value itself, of any
 * type; other references become text. One pass: what was put in is not looked at again. Names that
 * are not in `params` stay as written.
 */
#pragma once
#include "common/base/err.h"

/* Bytes of text one substitution may produce in all: a document can name a long value many times.
 */
#define FL_SUBST_MAX_BYTES (4u << 20)

struct fl_subst {
    const void *params; /* json_t object: name -> value */
    size_t left_bytes;  /* counts down from FL_SUBST_MAX_BYTES */
};

void fl_subst_init(struct fl_subst *s, const void *params);

/* A new reference (json_decref) to the substituted value. 0, -EMSGSIZE over the limit, -ENOMEM. */
int fl_subst_value(struct fl_subst *s, const void *value, void **ret_value, struct fl_err *err);

/* True if the string holds a reference to one of the parameters. */
bool fl_subst_has_reference(const struct fl_subst *s, const char *text, size_t len);

/* ^[a-zA-Z0-9]+$: what a supplied parameter must be called to be used. */
bool fl_param_name_valid(const char *name);
