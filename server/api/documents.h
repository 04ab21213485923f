/* documents.h - documents by name and version, and checking parameters against their declarations.
 *
 * For every operation that runs a document. Where a document comes from (the built-in ones are in
 * the binary, users' ones in the store) is the business of documents.c alone.
 */
#pragma once
#include "common/doc/declare.h"
#include "server/api/tags.h"
#include "server/op.h"

#define FL_DOCUMENT_MAX_BYTES  (64 * 1024)
#define FL_DOCUMENT_RESOURCE   "Document" /* resource type of its tags */
#define FL_DOCUMENT_BUILTIN_BY "Amazon"   /* owner, as AWS says of its own; clients filter by it */

struct fl_document_requires {
    char *name, *version;
};

/* A file that belongs to a version. It is where `url` says; without one the plane keeps it, under
 * its hash (server/s3/kept.h). */
struct fl_document_attachment {
    char *name;
    int64_t size;           /* else as the package's manifest has it; 0: it does not say */
    char *hash, *hash_type; /* SHA-256 in hex, likewise */
    char *url;
};

/* One version of a document. Absent texts: NULL. */
struct fl_document {
    const char *name;
    const char *owner;   /* FL_DOCUMENT_BUILTIN_BY, or the account */
    const char *type;    /* "Command", … */
    const char *format;  /* of content: "JSON", "YAML", "TEXT" */
    const char *version; /* "1", "2", …: what $DEFAULT or $LATEST meant */
    const char *default_version, *latest_version;
    bool is_default;
    const char *version_name, *display_name, *target_type;
    const char *status;
    const char *schema_version, *description;
    const char *hash, *hash_type; /* SHA-256 of content */
    const char *review_status, *author;
    struct fl_time created;
    struct fl_strs platform_types; /* Linux, MacOS, Windows */
    struct fl_document_requires *requires;
    size_t n_requires;
    struct fl_tag *tags;
    size_t n_tags;
    struct fl_document_attachment *attachments;
    size_t n_attachments;
    const char *content;
    /* what follows from the content */
    const char *json; /* as one JSON text; NULL: it is neither JSON nor YAML */
    struct fl_doc_param *parameters;
    size_t n_parameters;
};

/* The document `name` (or its ARN) in `version` (NULL: $DEFAULT; a number, $DEFAULT or $LATEST);
 * all memory lives as long as call->arena. -EINVAL named InvalidDocument or InvalidDocumentVersion.
 */
int fl_document_find(struct fl_call *call, const char *name, const char *version,
                     struct fl_document *ret_doc, struct fl_err *err);

/* The same, where the version may also be asked for by its name; with both, both must be met. */
int fl_document_find_named(struct fl_call *call, const char *name, const char *version,
                           const char *version_name, struct fl_document *ret_doc,
                           struct fl_err *err);

/* The declaration of a parameter, or NULL. */
const struct fl_doc_param *fl_document_parameter(const struct fl_document *doc, const char *name);

/* The text a String parameter has: the one given, else its default; NULL if neither. Memory of
 * `given` or of `doc`. */
const char *fl_document_string(const struct fl_document *doc, const struct fl_listmap *given,
                               const char *name);

/* Whether `given` fits the declarations: no undeclared name, but for a signature of a command,
 * every parameter without a default given, and fl_doc_param_check. -EINVAL named InvalidParameters,
 * with a text that names the parameter. */
int fl_document_check_parameters(const struct fl_document *doc, const struct fl_listmap *given,
                                 struct fl_err *err);

/* Checked parameters as one JSON object for the node: a text for a String, a list for a StringList,
 * an object for a map that was written as JSON (protocol 4 §1.2). Memory of call->arena. */
int fl_document_values(struct fl_call *call, const struct fl_document *doc,
                       const struct fl_listmap *given, char **ret_text, struct fl_err *err);

/* Whether it can run there; platform is Linux, MacOS or Windows, NULL or "" (unknown yet) is true.
 */
bool fl_document_runs_on(const struct fl_document *doc, const char *platform);

/* 1: the account has a document of this name (the built-in ones are nobody's own), 0: not. */
int fl_document_exists(struct fl_call *call, const char *name, struct fl_err *err);

/* For a policy: arn:aws:ssm:<region>:<account>:document/<name>, without account for built-in ones,
 * as AWS writes them. Appends to `res`. Unknown documents are asked for as the account's own. */
int fl_document_resource(struct fl_call *call, const char *name, struct fl_resources *res,
                         struct fl_err *err);
