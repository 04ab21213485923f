/* document_ops.h - private to document*.c: requests and shapes of the document operations.
 *
 * A document is one struct (documents.h); what the store and each operation show of it are tables
 * over that struct. Constraints are those of the public model (ssm 2014-11-06).
 */
#pragma once
#include "common/doc/check.h"
#include "server/api/documents.h"

/* ---- shapes of struct fl_document ---- */
extern const struct fl_shape fl_document_row_shape;         /* all columns, for one document */
extern const struct fl_shape fl_document_description_shape; /* DocumentDescription; also rows */
extern const struct fl_shape fl_document_version_shape;     /* DocumentVersionInfo; also rows */

#define FL_DOCUMENT_FILTERS_MAX 6
#define FL_DOCUMENT_PAGE        50

/* A type the API knows, and how its content is checked. NULL: unknown. */
struct fl_document_type {
    const char *name;
    enum fl_doc_type rules;
};
const struct fl_document_type *fl_document_type(const char *name);

/* Whether "parameters" in its content are declarations. */
bool fl_document_has_parameters(const struct fl_document *doc);

/* Fills in what follows from doc->content and doc->format. */
int fl_document_load_content(struct fl_call *call, struct fl_document *doc, struct fl_err *err);

/* The account's own document, built-in ones refused. -EINVAL named InvalidDocument. */
int fl_document_must_be_own(struct fl_call *call, const char *name, struct fl_err *err);

/* ---- requests ---- */

/* What every request that names a document begins with. */
struct fl_document_in {
    char *name;
};

struct fl_document_version_in {
    struct fl_document_in document;
    char *version;
    char *version_name;
    char *format; /* GetDocument */
    bool force;   /* DeleteDocument */
};

struct fl_attachment_source {
    char *key;
    struct fl_strs values;
    char *name;
};

/* CreateDocument, UpdateDocument. */
struct fl_document_write_in {
    struct fl_document_in document;
    char *content, *format;
    char *type;    /* create */
    char *version; /* update */
    char *version_name, *display_name, *target_type;
    struct fl_attachment_source *attachments;
    size_t n_attachments;
    struct fl_document_requires *requires; /* create */
    size_t n_requires;
    struct fl_tag *tags; /* create */
    size_t n_tags;
};

struct fl_document_default_in {
    struct fl_document_in document;
    char *version;
};

struct fl_document_filter {
    char *key;
    char *value; /* DocumentFilterList: one */
    struct fl_strs values;
};
struct fl_document_list_in {
    struct fl_document_filter *old_filters;
    size_t n_old_filters;
    struct fl_document_filter *filters;
    size_t n_filters;
    struct fl_opt_int max_results;
    char *next_token;
};

struct fl_document_page_in { /* ListDocumentVersions, DescribeDocumentPermission, … */
    struct fl_document_in document;
    char *version;
    char *what; /* PermissionType, Metadata */
    struct fl_opt_int max_results;
    char *next_token;
};

struct fl_document_share_in {
    struct fl_document_in document;
    char *permission_type;
    struct fl_strs add, remove;
    char *shared_version;
};

struct fl_review_comment {
    char *type, *content;
};
struct fl_review {
    char *action;
    struct fl_review_comment *comments;
    size_t n_comments;
};
struct fl_document_review_in {
    struct fl_document_in document;
    char *version;
    struct fl_review *review;
};

/* ---- replies ---- */
struct fl_document_out { /* DescribeDocument, CreateDocument, UpdateDocument, GetDocument */
    struct fl_document *document;
};
struct fl_documents_out { /* ListDocuments, ListDocumentVersions */
    struct fl_document *list;
    size_t n_list;
    char *next_token;
};
struct fl_document_share {
    char *account_id, *shared_version;
};
struct fl_document_shares_out {
    struct fl_strs ids;
    struct fl_document_share *shares;
    size_t n_shares;
    char *next_token;
};
struct fl_review_response {
    int64_t seq; /* of the row, for paging */
    struct fl_time created, updated;
    char *status, *reviewer, *comment;
    struct fl_review_comment *comments;
    size_t n_comments;
};
struct fl_reviews {
    struct fl_review_response *v;
    size_t n;
};
struct fl_document_reviews_out {
    const char *name, *version, *author;
    struct fl_reviews *reviews;
    char *next_token;
};
extern const struct fl_shape fl_document_share_shape;
extern const struct fl_shape fl_attachment_shape; /* AttachmentContent; also rows */
extern const struct fl_shape fl_review_row_shape;

/* What a request's attachments would read, for the policy; and the work of copying the plane's own
 * objects (fl_call.work). `root` is its content as JSON (NULL: none). */
int fl_document_plan_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                                 const json_t *root, struct fl_resources *ret_resources,
                                 struct fl_err *err);

/* The attachments that a request names, once that work is done. -EINVAL named ValidationException,
 * or as fl_document_find. */
int fl_document_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                            const json_t *root, struct fl_document_attachment **ret, size_t *ret_n,
                            struct fl_err *err);

/* Those that a version without any of its own has from the one before; `ret` has room for all. */
void fl_document_inherit_attachments(const struct fl_document *before, const json_t *root,
                                     struct fl_document_attachment *ret, size_t *ret_n);

/* After versions that had these files were deleted: removes what no other one has. */
int fl_document_forget_attachments(struct fl_call *call, const struct fl_strs *hashes,
                                   struct fl_err *err);

/* Where to read those that the plane keeps. */
int fl_document_attachment_urls(struct fl_call *call, struct fl_document *doc, struct fl_err *err);

/* ---- operations ---- */
int fl_op_write_document_resources(struct fl_call *call, const void *in,
                                   struct fl_resources *ret_resources, struct fl_err *err);
int fl_op_create_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_update_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_set_default_document_version(struct fl_call *call, const void *in, void *out,
                                       struct fl_err *err);
int fl_op_describe_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_get_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_documents(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_document_versions(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err);
int fl_op_delete_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_share_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_document_shares(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_review_document(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_document_reviews(struct fl_call *call, const void *in, void *out,
                                struct fl_err *err);
