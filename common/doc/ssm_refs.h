/* ssm_refs.h - {{ssm:NAME}} in documents: which parameters of Parameter Store a document refers to,
 * and the references replaced by their values (protocol 4 §1.4). Pure: asking for them is the
 * caller's.
 *
 * References whose values are not known yet are left as they are and noted. The caller asks for
 * those, tells the answers, and goes through the same values again.
 */
#pragma once
#include "common/base/err.h"

struct fl_ssm_refs;

#define FL_SSM_REFS_MAX   1000 /* different ones in a document */
#define FL_SSM_REFS_BATCH 10   /* GetParameters takes no more names */

struct fl_ssm_refs *fl_ssm_refs_new(void);
/* Wipes the values. NULL is fine. */
struct fl_ssm_refs *fl_ssm_refs_free(struct fl_ssm_refs *refs);

/* Up to FL_SSM_REFS_BATCH names ("NAME", "NAME:VERSION", "NAME:LABEL") that were noted and not
 * asked for; they count as asked for from now on. Valid as long as the object. */
size_t fl_ssm_refs_next(struct fl_ssm_refs *refs, const char *names[FL_SSM_REFS_BATCH]);
/* Are there names that were noted and not asked for? */
bool fl_ssm_refs_wanting(const struct fl_ssm_refs *refs);

/* One parameter of an answer. `selector` is ":3" or ":label", NULL or "" without. */
int fl_ssm_refs_learn(struct fl_ssm_refs *refs, const char *name, const char *selector,
                      int64_t version, const char *type, const char *value);

/* A new reference (json_decref) to the value with its references replaced; unknown ones stay. 0;
 * -EINVAL with the official agent's text, -EMSGSIZE over *left_bytes of text, which is counted
 * down; -ENOMEM. */
int fl_ssm_refs_apply(struct fl_ssm_refs *refs, const void *value, size_t *left_bytes,
                      void **ret_value, struct fl_err *err);

/* The whole text, blanks at its ends apart, is one reference {{PREFIX:NAME}}? Then its name, in
 * fresh memory; NULL if not, or without memory. Prefixes are "ssm" and "ssm-secure". */
char *fl_ssm_ref_whole(const char *text, const char *prefix);
