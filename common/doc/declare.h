/* declare.h - the parameters that a document declares, and what their values must look like.
 *
 * For whoever checks values before a node sees them: SendCommand, associations, sessions, and the
 * defaults of a new document. What the agent itself checks is in params.c. Pure.
 */
#pragma once
#include <jansson.h>
#include "common/codec/codec.h"

enum fl_doc_param_type {
    FL_PARAM_STRING,
    FL_PARAM_STRING_LIST,
    FL_PARAM_INTEGER,
    FL_PARAM_BOOLEAN,
    FL_PARAM_STRING_MAP,
    FL_PARAM_MAP_LIST,
};

/* Absent limits: -1. */
struct fl_doc_param {
    char *name;
    char *type; /* as declared: "String", …, "AWS::EC2::Instance::Id" */
    enum fl_doc_param_type kind;
    char *description;
    char *default_text; /* a string as it is, else JSON text; NULL: the parameter must be given */
    char *allowed_pattern;
    struct fl_strs allowed_values; /* what is no string as JSON text */
    int64_t min_chars, max_chars, min_items, max_items;
};

/* The kind of a declared type; false: there is no such type. A type of AWS's resources
 * ("AWS::EC2::Instance::Id", "List<…>") is a String or a StringList. */
bool fl_doc_param_kind(const char *type, enum fl_doc_param_type *ret_kind);

/* One declaration; memory of `arena`. -EINVAL names the member that has the wrong type. */
int fl_doc_param_load(const char *name, const json_t *declaration, struct fl_arena *arena,
                      struct fl_doc_param *ret_param, struct fl_err *err);

/* Whether the parameter may have these values, as clients give them: one text for everything but
 * lists (allowedValues, allowedPattern, numbers of characters and elements; a map is JSON text).
 * Values that refer to Parameter Store ({{ssm:…}}) are known only on the node and pass. -EINVAL
 * named InvalidParameters, with a text that names the parameter. */
int fl_doc_param_check(const struct fl_doc_param *p, const struct fl_strs *values,
                       struct fl_err *err);

/* A value in a document, such as a default, as clients would give it: texts, for
 * fl_doc_param_check. -EINVAL: its JSON type is not that of the kind. */
int fl_doc_param_texts(const struct fl_doc_param *p, const json_t *value, struct fl_arena *arena,
                       struct fl_strs *ret_values, struct fl_err *err);
