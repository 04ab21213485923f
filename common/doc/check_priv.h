/* check_priv.h - what check.c (members, paths, errors), rules.c (the tables) and references.c
 * share.
 */
#pragma once
#include "common/doc/check.h"

#define FL_CHECK_MAX_PATH 100 /* deeper values are refused */

/* JSON types of a member, to be or-ed. */
enum {
    FL_IS_STRING = 1,
    FL_IS_INTEGER = 2,
    FL_IS_NUMBER = 4,
    FL_IS_BOOL = 8,
    FL_IS_OBJECT = 16,
    FL_IS_LIST = 32,
    FL_IS_ANY = 64,
    FL_IS_REFERENCE = 128, /* or a string with {{ … }} in it */
};

/* One document that is checked. */
struct fl_check {
    enum fl_doc_type type;
    const struct fl_doc_source *src;
    struct fl_arena *arena;
    struct fl_err *err;
    struct fl_path_part path[FL_CHECK_MAX_PATH]; /* to the value at hand */
    size_t n_path;
    const json_t *root;
    json_t *steps;      /* names of all steps; the check's own */
    bool preconditions; /* this schema version has them */
    unsigned platforms; /* of the actions seen; those that run anywhere do not count */
};

struct fl_member {
    const char *key;
    unsigned is;
    bool required;
    /* further checks of the value; NULL: none */
    int (*check)(struct fl_check *c, const json_t *v);
};
struct fl_members {
    const struct fl_member *v;
    size_t n;
    bool open; /* members that are not listed are let be */
};
#define FL_MEMBERS(table, is_open)              \
    {                                           \
        (table), FL_ARRAY_LEN(table), (is_open) \
    }

/* An error at the path: -EINVAL named InvalidDocumentContent. */
int fl_check_bad(struct fl_check *c, const char *fmt, ...) FL_PRINTF(2, 3);

/* Checks the value behind one more path part, made by the caller. */
int fl_check_below(struct fl_check *c, struct fl_path_part part, const json_t *v,
                   int (*check)(struct fl_check *c, const json_t *v));

/* Every element of a list, or value of an object. */
int fl_check_each(struct fl_check *c, const json_t *v,
                  int (*check)(struct fl_check *c, const json_t *v));

/* The value is one of these types; the object has these members. */
int fl_check_type(struct fl_check *c, const json_t *v, unsigned is);
int fl_check_members(struct fl_check *c, const json_t *v, const struct fl_members *members);

/* rules.c: the table for a type and version; NULL: they do not go together. */
struct fl_doc_rule {
    unsigned types; /* 1 << enum fl_doc_type, or-ed */
    const char *version;
    struct fl_members members;
    bool preconditions;
};
const struct fl_doc_rule *fl_doc_rule(enum fl_doc_type type, const char *version);

/* rules.c: puts the names of all steps into c->steps. */
int fl_check_step_names(struct fl_check *c);

/* rules.c: a list of steps, of the document or of a loop in it. */
int fl_check_steps(struct fl_check *c, const json_t *v);

/* references.c: every {{ name }} below the value is declared. */
int fl_check_references(struct fl_check *c, const json_t *v);
bool fl_has_reference(const char *text);
