/* documents.h - documents by name and version, and checking parameters against their declarations.
 *
 * For every operation that runs a document. Where a document comes from (the built-in ones are in
 * the binary) is the business of documents.c alone.
 */
#pragma once
#include "common/aws/crypto.h"
#include "server/op.h"

#define FL_DOCUMENT_MAX_BYTES (64 * 1024)

/* Absent limits: -1. */
struct fl_document_parameter {
    char *name;
    char *type; /* String, StringList, Integer, Boolean, StringMap, MapList */
    char *description;
    char *default_json; /* JSON text; NULL: the parameter must be given */
    char *allowed_pattern;
    struct fl_strs allowed_values;
    int64_t min_chars, max_chars, min_items, max_items;
};

struct fl_document {
    const char *name;
    const char *owner;   /* "Amazon" for built-in ones, else the account */
    const char *type;    /* "Command", … */
    const char *format;  /* of content: "JSON", "YAML" */
    const char *version; /* "1", "2", …: what $DEFAULT or $LATEST meant */
    const char *default_version;
    const char *latest_version;
    const char *status; /* "Active" */
    char *schema_version;
    char *description; /* NULL: none */
    const char *content;
    size_t content_len;
    char hash[FL_SHA256_HEX_BYTES]; /* SHA-256 of content */
    int64_t created_ms;
    struct fl_strs platform_types; /* Linux, MacOS, Windows */
    struct fl_document_parameter *parameters;
    size_t n_parameters;
};

/* The document `name` (or its ARN) in `version` (NULL: $DEFAULT; a number, $DEFAULT or $LATEST);
 * all memory lives as long as call->arena. -EINVAL named InvalidDocument or InvalidDocumentVersion.
 */
int fl_document_find(struct fl_call *call, const char *name, const char *version,
                     struct fl_document *ret_doc, struct fl_err *err);

/* The declaration of a parameter, or NULL. */
const struct fl_document_parameter *fl_document_parameter(const struct fl_document *doc,
                                                          const char *name);

/* The text a String parameter has: the one given, else its default; NULL if neither. Memory of
 * `given` or of call->arena. */
const char *fl_document_string(struct fl_call *call, const struct fl_document *doc,
                               const struct fl_listmap *given, const char *name);

/* Whether `given` fits the declarations: no undeclared name, every parameter without a default
 * given, one value for a scalar, allowedValues, allowedPattern, min/max chars and items. Values
 * that refer to Parameter Store ({{ssm:…}}) are known only on the node and checked there. -EINVAL
 * named InvalidParameters, with a text that names the parameter. */
int fl_document_check_parameters(struct fl_call *call, const struct fl_document *doc,
                                 const struct fl_listmap *given, struct fl_err *err);

/* Whether it can run there; platform is Linux, MacOS or Windows, NULL or "" (unknown yet) is true.
 */
bool fl_document_runs_on(const struct fl_document *doc, const char *platform);

/* For a policy: arn:aws:ssm:<region>:<account>:document/<name>, without account for built-in ones,
 * as AWS writes them. Appends to `res`. Unknown documents are asked for as the account's own. */
int fl_document_resource(struct fl_call *call, const char *name, struct fl_resources *res,
                         struct fl_err *err);
