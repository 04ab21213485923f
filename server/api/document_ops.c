/* document_ops.c - the document operations: their shapes and their rows. */
#include "server/api/document_ops.h"

#include <string.h>
#include "server/api/registry.h"

/* ---- limits ---- */
static const char *const formats[] = { "YAML", "JSON", "TEXT", NULL };
static const char *const type_names[] = { "Command",
                                          "Policy",
                                          "Automation",
                                          "Session",
                                          "Package",
                                          "ApplicationConfiguration",
                                          "ApplicationConfigurationSchema",
                                          "DeploymentStrategy",
                                          "ChangeCalendar",
                                          "Automation.ChangeTemplate",
                                          "ProblemAnalysis",
                                          "ProblemAnalysisTemplate",
                                          "CloudFormation",
                                          "ConformancePackTemplate",
                                          NULL };

/* clang-format off */
#define NAME_LIMITS    { .pattern = "^[a-zA-Z0-9_\\-.]{3,128}$" }
#define ARN_LIMITS     { .pattern = "^[a-zA-Z0-9_\\-.:/]{3,128}$" }
#define VERSION_LIMITS { .pattern = "([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)" }
#define NUMBER_LIMITS  { .pattern = "(^[1-9][0-9]*$)" }
#define VERSION_NAME   { .pattern = "^[a-zA-Z0-9_\\-.]{1,128}$" }
#define DISPLAY_NAME   { .max = 1024, .pattern = "^[\\w\\.\\-\\:\\/ ]*$" }
#define TARGET_TYPE    { .max = 200, .pattern = "^\\/[\\w\\.\\-\\:\\/]*$" }
#define ACCOUNT_LIMITS { .pattern = "(?i)all|[0-9]{12}" }
#define SHARED_VERSION { .max = 8, .pattern = "([$]LATEST|[$]DEFAULT|[$]ALL)" }
#define PAGE_LIMITS    { .min = 1, .max = 50 }
/* clang-format on */

#define NAMED(T, limits_of_name) \
    FL_FIELD(T, document.name, "Name", FL_REQUIRED, .limits = limits_of_name)

/* ---- a document ---- */
static const struct fl_field requires_fields[] = {
    FL_FIELD(struct fl_document_requires, name, "Name", FL_REQUIRED, .limits = ARN_LIMITS),
    FL_FIELD(struct fl_document_requires, version, "Version", 0, .limits = VERSION_LIMITS),
};
static const struct fl_shape requires_shape =
    FL_SHAPE(struct fl_document_requires, "DocumentRequires", requires_fields);

#define F(member, key) FL_FIELD(struct fl_doc_param, member, key, 0)
static const struct fl_field parameter_fields[] = {
    F(name, "Name"),
    F(type, "Type"),
    F(description, "Description"),
    F(default_text, "DefaultValue"),
};
#undef F
static const struct fl_shape parameter_shape =
    FL_SHAPE(struct fl_doc_param, "DocumentParameter", parameter_fields);

#define F(member, key, ...) FL_FIELD(struct fl_document_attachment, member, key, __VA_ARGS__)
static const struct fl_field attachment_fields[] = {
    F(name, "Name", 0), F(size, "Size", FL_OMIT_ZERO),
    F(hash, "Hash", 0), F(hash_type, "HashType", 0),
    F(url, "Url", 0),
};
const struct fl_shape fl_attachment_shape =
    FL_SHAPE(struct fl_document_attachment, "AttachmentContent", attachment_fields);

static const struct fl_field attachment_name_fields[] = { F(name, "Name", 0) };
static const struct fl_shape attachment_name_shape =
    FL_SHAPE(struct fl_document_attachment, "AttachmentInformation", attachment_name_fields);
#undef F

#define T                       struct fl_document
#define ATTACHMENTS(key, shape) FL_FIELD_LIST(T, attachments, n_attachments, key, 0, shape)
#define F(member, key)          FL_FIELD(T, member, key, 0)
#define PLATFORMS               FL_FIELD(T, platform_types, "PlatformTypes", FL_ALWAYS)
#define TAGS                    FL_FIELD_LIST(T, tags, n_tags, "Tags", 0, &fl_tag_shape)
#define REQUIRES                FL_FIELD_LIST(T, requires, n_requires, "Requires", 0, &requires_shape)
#define DESCRIPTION                                                                             \
    F(hash, "Hash"), F(hash_type, "HashType"), F(name, "Name"), F(display_name, "DisplayName"), \
        F(version_name, "VersionName"), F(owner, "Owner"), F(created, "CreatedDate"),           \
        F(status, "Status"), F(version, "DocumentVersion"), F(description, "Description"),      \
        FL_FIELD_LIST(T, parameters, n_parameters, "Parameters", FL_ALWAYS, &parameter_shape),  \
        PLATFORMS, F(type, "DocumentType"), F(schema_version, "SchemaVersion"),                 \
        F(latest_version, "LatestVersion"), F(default_version, "DefaultVersion"),               \
        F(format, "DocumentFormat"), F(target_type, "TargetType"), TAGS, REQUIRES,              \
        F(author, "Author"), F(review_status, "ReviewStatus")

static const struct fl_field description_fields[] = {
    DESCRIPTION,
    ATTACHMENTS("AttachmentsInformation", &attachment_name_shape),
};
const struct fl_shape fl_document_description_shape =
    FL_SHAPE(T, "DocumentDescription", description_fields);

static const struct fl_field row_fields[] = {
    DESCRIPTION,
    F(content, "Content"),
    ATTACHMENTS("AttachmentsContent", &fl_attachment_shape),
};
const struct fl_shape fl_document_row_shape = FL_SHAPE(T, "DocumentRow", row_fields);

static const struct fl_field get_out_fields[] = {
    F(name, "Name"),
    F(created, "CreatedDate"),
    F(display_name, "DisplayName"),
    F(version_name, "VersionName"),
    F(version, "DocumentVersion"),
    F(status, "Status"),
    F(content, "Content"),
    F(type, "DocumentType"),
    F(format, "DocumentFormat"),
    REQUIRES,
    ATTACHMENTS("AttachmentsContent", &fl_attachment_shape),
    F(review_status, "ReviewStatus"),
};
static const struct fl_shape get_out_shape = FL_SHAPE(T, "GetDocumentResult", get_out_fields);

static const struct fl_field identifier_fields[] = {
    F(name, "Name"),
    F(created, "CreatedDate"),
    F(display_name, "DisplayName"),
    F(owner, "Owner"),
    F(version_name, "VersionName"),
    PLATFORMS,
    F(version, "DocumentVersion"),
    F(type, "DocumentType"),
    F(schema_version, "SchemaVersion"),
    F(format, "DocumentFormat"),
    F(target_type, "TargetType"),
    TAGS,
    REQUIRES,
    F(review_status, "ReviewStatus"),
    F(author, "Author"),
};
static const struct fl_shape identifier_shape =
    FL_SHAPE(T, "DocumentIdentifier", identifier_fields);

static const struct fl_field version_fields[] = {
    F(name, "Name"),
    F(display_name, "DisplayName"),
    F(version, "DocumentVersion"),
    F(version_name, "VersionName"),
    F(created, "CreatedDate"),
    FL_FIELD(T, is_default, "IsDefaultVersion", FL_ALWAYS),
    F(format, "DocumentFormat"),
    F(status, "Status"),
    F(review_status, "ReviewStatus"),
};
const struct fl_shape fl_document_version_shape =
    FL_SHAPE(T, "DocumentVersionInfo", version_fields);

static const struct fl_field default_out_fields[] = {
    F(name, "Name"),
    F(default_version, "DefaultVersion"),
    F(version_name, "DefaultVersionName"),
};
static const struct fl_shape default_shape =
    FL_SHAPE(T, "DocumentDefaultVersionDescription", default_out_fields);
#undef F
#undef T

/* The same struct under each operation's name of it. */
#define ONE(name, key, shape)                                             \
    static const struct fl_field name##_out_fields[] = {                  \
        FL_FIELD_STRUCT(struct fl_document_out, document, key, 0, shape), \
    };                                                                    \
    static const struct fl_shape name##_out_shape =                       \
        FL_SHAPE(struct fl_document_out, #name "Result", name##_out_fields)

ONE(describe, "Document", &fl_document_description_shape);
ONE(write, "DocumentDescription", &fl_document_description_shape);
ONE(set_default, "Description", &default_shape);

#define MANY(name, key, shape)                                                       \
    static const struct fl_field name##_out_fields[] = {                             \
        FL_FIELD_LIST(struct fl_documents_out, list, n_list, key, FL_ALWAYS, shape), \
        FL_FIELD(struct fl_documents_out, next_token, "NextToken", 0),               \
    };                                                                               \
    static const struct fl_shape name##_out_shape =                                  \
        FL_SHAPE(struct fl_documents_out, #name "Result", name##_out_fields)

MANY(list, "DocumentIdentifiers", &identifier_shape);
MANY(versions, "DocumentVersions", &fl_document_version_shape);

/* ---- requests for one version ---- */
#define T struct fl_document_version_in
#define VERSION                                                           \
    FL_FIELD(T, version, "DocumentVersion", 0, .limits = VERSION_LIMITS), \
        FL_FIELD(T, version_name, "VersionName", 0, .limits = VERSION_NAME)

static const struct fl_field describe_in_fields[] = { NAMED(T, ARN_LIMITS), VERSION };
static const struct fl_shape describe_in_shape =
    FL_SHAPE(T, "DescribeDocument", describe_in_fields);

static const struct fl_field get_in_fields[] = {
    NAMED(T, ARN_LIMITS),
    VERSION,
    FL_FIELD(T, format, "DocumentFormat", 0, .limits = { .enums = formats }),
};
static const struct fl_shape get_in_shape = FL_SHAPE(T, "GetDocument", get_in_fields);

static const struct fl_field delete_in_fields[] = {
    NAMED(T, NAME_LIMITS),
    VERSION,
    FL_FIELD(T, force, "Force", 0),
};
static const struct fl_shape delete_in_shape = FL_SHAPE(T, "DeleteDocument", delete_in_fields);
#undef T

static const struct fl_field default_in_fields[] = {
    NAMED(struct fl_document_default_in, NAME_LIMITS),
    FL_FIELD(struct fl_document_default_in, version, "DocumentVersion", FL_REQUIRED,
             .limits = NUMBER_LIMITS),
};
static const struct fl_shape default_in_shape =
    FL_SHAPE(struct fl_document_default_in, "UpdateDocumentDefaultVersion", default_in_fields);

/* ---- CreateDocument, UpdateDocument ---- */
static const char *const source_keys[] = { "SourceUrl", "S3FileUrl", "AttachmentReference", NULL };
#define T struct fl_attachment_source
static const struct fl_field source_fields[] = {
    FL_FIELD(T, key, "Key", 0, .limits = { .enums = source_keys }),
    FL_FIELD(T, values, "Values", 0, .limits = { .min = 1, .max = 1 },
             .elem = { .min = 1, .max = 1024 }),
    FL_FIELD(T, name, "Name", 0, .limits = NAME_LIMITS),
};
static const struct fl_shape source_shape = FL_SHAPE(T, "AttachmentsSource", source_fields);
#undef T

#define T struct fl_document_write_in
#define WRITTEN                                                                                  \
    NAMED(T, NAME_LIMITS), FL_FIELD(T, content, "Content", FL_REQUIRED, .limits = { .min = 1 }), \
        FL_FIELD(T, format, "DocumentFormat", 0, .limits = { .enums = formats }),                \
        FL_FIELD(T, version_name, "VersionName", 0, .limits = VERSION_NAME),                     \
        FL_FIELD(T, display_name, "DisplayName", 0, .limits = DISPLAY_NAME),                     \
        FL_FIELD(T, target_type, "TargetType", 0, .limits = TARGET_TYPE),                        \
        FL_FIELD_LIST(T, attachments, n_attachments, "Attachments", 0, &source_shape,            \
                      .limits = { .max = 20 })

static const struct fl_field create_in_fields[] = {
    WRITTEN,
    FL_FIELD(T, type, "DocumentType", 0, .limits = { .enums = type_names }),
    FL_FIELD_LIST(T, requires, n_requires, "Requires", 0, &requires_shape, .limits = { .min = 1 }),
    FL_FIELD_LIST(T, tags, n_tags, "Tags", 0, &fl_tag_shape, .limits = { .max = FL_TAG_LIST_MAX }),
};
static const struct fl_shape create_in_shape = FL_SHAPE(T, "CreateDocument", create_in_fields);

static const struct fl_field update_in_fields[] = {
    WRITTEN,
    FL_FIELD(T, version, "DocumentVersion", 0, .limits = VERSION_LIMITS),
};
static const struct fl_shape update_in_shape = FL_SHAPE(T, "UpdateDocument", update_in_fields);
#undef T

/* ---- ListDocuments ---- */
static const char *const old_keys[] = { "Name", "Owner", "PlatformTypes", "DocumentType", NULL };
static const struct fl_field old_filter_fields[] = {
    FL_FIELD(struct fl_document_filter, key, "key", FL_REQUIRED, .limits = { .enums = old_keys }),
    FL_FIELD(struct fl_document_filter, value, "value", FL_REQUIRED, .limits = { .min = 1 }),
};
static const struct fl_shape old_filter_shape =
    FL_SHAPE(struct fl_document_filter, "DocumentFilter", old_filter_fields);

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_document_filter, key, "Key", 0, .limits = { .min = 1, .max = 128 }),
    FL_FIELD(struct fl_document_filter, values, "Values", 0, .elem = { .min = 1, .max = 256 }),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct fl_document_filter, "DocumentKeyValuesFilter", filter_fields);

#define T struct fl_document_list_in
static const struct fl_field list_in_fields[] = {
    FL_FIELD_LIST(T, old_filters, n_old_filters, "DocumentFilterList", 0, &old_filter_shape,
                  .limits = { .min = 1 }),
    FL_FIELD_LIST(T, filters, n_filters, "Filters", 0, &filter_shape,
                  .limits = { .max = FL_DOCUMENT_FILTERS_MAX }),
    FL_FIELD(T, max_results, "MaxResults", 0, .limits = PAGE_LIMITS),
    FL_FIELD(T, next_token, "NextToken", 0),
};
static const struct fl_shape list_in_shape = FL_SHAPE(T, "ListDocuments", list_in_fields);
#undef T

/* ---- pages about one document ---- */
static const char *const permission_types[] = { "Share", NULL };
static const char *const metadata_types[] = { "DocumentReviews", NULL };

#define T     struct fl_document_page_in
#define TOKEN FL_FIELD(T, next_token, "NextToken", 0)

static const struct fl_field versions_in_fields[] = {
    NAMED(T, ARN_LIMITS),
    FL_FIELD(T, max_results, "MaxResults", 0, .limits = PAGE_LIMITS),
    TOKEN,
};
static const struct fl_shape versions_in_shape =
    FL_SHAPE(T, "ListDocumentVersions", versions_in_fields);

static const struct fl_field shares_in_fields[] = {
    NAMED(T, NAME_LIMITS),
    FL_FIELD(T, what, "PermissionType", FL_REQUIRED, .limits = { .enums = permission_types }),
    FL_FIELD(T, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 200 }),
    TOKEN,
};
static const struct fl_shape shares_in_shape =
    FL_SHAPE(T, "DescribeDocumentPermission", shares_in_fields);

static const struct fl_field reviews_in_fields[] = {
    NAMED(T, NAME_LIMITS),
    FL_FIELD(T, version, "DocumentVersion", 0, .limits = VERSION_LIMITS),
    FL_FIELD(T, what, "Metadata", FL_REQUIRED, .limits = { .enums = metadata_types }),
    FL_FIELD(T, max_results, "MaxResults", 0, .limits = PAGE_LIMITS),
    TOKEN,
};
static const struct fl_shape reviews_in_shape =
    FL_SHAPE(T, "ListDocumentMetadataHistory", reviews_in_fields);
#undef T

/* ---- permissions ---- */
#define T struct fl_document_share_in
static const struct fl_field share_in_fields[] = {
    NAMED(T, NAME_LIMITS),
    FL_FIELD(T, permission_type, "PermissionType", FL_REQUIRED,
             .limits = { .enums = permission_types }),
    FL_FIELD(T, add, "AccountIdsToAdd", 0, .limits = { .max = 20 }, .elem = ACCOUNT_LIMITS),
    FL_FIELD(T, remove, "AccountIdsToRemove", 0, .limits = { .max = 20 }, .elem = ACCOUNT_LIMITS),
    FL_FIELD(T, shared_version, "SharedDocumentVersion", 0, .limits = SHARED_VERSION),
};
static const struct fl_shape share_in_shape =
    FL_SHAPE(T, "ModifyDocumentPermission", share_in_fields);
#undef T

static const struct fl_field share_fields[] = {
    FL_FIELD(struct fl_document_share, account_id, "AccountId", 0),
    FL_FIELD(struct fl_document_share, shared_version, "SharedDocumentVersion", 0),
};
const struct fl_shape fl_document_share_shape =
    FL_SHAPE(struct fl_document_share, "AccountSharingInfo", share_fields);

#define T struct fl_document_shares_out
static const struct fl_field shares_out_fields[] = {
    FL_FIELD(T, ids, "AccountIds", FL_ALWAYS),
    FL_FIELD_LIST(T, shares, n_shares, "AccountSharingInfoList", FL_ALWAYS,
                  &fl_document_share_shape),
    FL_FIELD(T, next_token, "NextToken", 0),
};
static const struct fl_shape shares_out_shape =
    FL_SHAPE(T, "DescribeDocumentPermissionResult", shares_out_fields);
#undef T

/* ---- reviews ---- */
static const char *const review_actions[] = { "SendForReview", "UpdateReview", "Approve", "Reject",
                                              NULL };
static const char *const comment_types[] = { "Comment", NULL };

static const struct fl_field comment_fields[] = {
    FL_FIELD(struct fl_review_comment, type, "Type", 0, .limits = { .enums = comment_types }),
    FL_FIELD(struct fl_review_comment, content, "Content", 0,
             .limits = { .min = 1, .max = 1024, .pattern = "^(?!\\s*$).+" }),
};
static const struct fl_shape comment_shape =
    FL_SHAPE(struct fl_review_comment, "DocumentReviewCommentSource", comment_fields);

static const struct fl_field review_fields[] = {
    FL_FIELD(struct fl_review, action, "Action", FL_REQUIRED,
             .limits = { .enums = review_actions }),
    FL_FIELD_LIST(struct fl_review, comments, n_comments, "Comment", 0, &comment_shape,
                  .limits = { .max = 1 }),
};
static const struct fl_shape review_shape =
    FL_SHAPE(struct fl_review, "DocumentReviews", review_fields);

#define T struct fl_document_review_in
static const struct fl_field review_in_fields[] = {
    NAMED(T, NAME_LIMITS),
    FL_FIELD(T, version, "DocumentVersion", 0, .limits = VERSION_LIMITS),
    FL_FIELD_STRUCT(T, review, "DocumentReviews", FL_REQUIRED, &review_shape),
};
static const struct fl_shape review_in_shape =
    FL_SHAPE(T, "UpdateDocumentMetadata", review_in_fields);
#undef T

#define T struct fl_review_response
#define RESPONSE                                                                   \
    FL_FIELD(T, created, "CreateTime", 0), FL_FIELD(T, updated, "UpdatedTime", 0), \
        FL_FIELD(T, status, "ReviewStatus", 0), FL_FIELD(T, reviewer, "Reviewer", 0)

static const struct fl_field review_row_fields[] = {
    RESPONSE,
    FL_FIELD(T, seq, "seq", 0),
    FL_FIELD(T, comment, "comment", 0),
};
const struct fl_shape fl_review_row_shape = FL_SHAPE(T, "ReviewRow", review_row_fields);

static const struct fl_field response_fields[] = {
    RESPONSE,
    FL_FIELD_LIST(T, comments, n_comments, "Comment", 0, &comment_shape),
};
static const struct fl_shape response_shape =
    FL_SHAPE(T, "DocumentReviewerResponseSource", response_fields);
#undef T

static const struct fl_field metadata_fields[] = {
    FL_FIELD_LIST(struct fl_reviews, v, n, "ReviewerResponse", FL_ALWAYS, &response_shape),
};
static const struct fl_shape metadata_shape =
    FL_SHAPE(struct fl_reviews, "DocumentMetadataResponseInfo", metadata_fields);

#define T struct fl_document_reviews_out
static const struct fl_field reviews_out_fields[] = {
    FL_FIELD(T, name, "Name", 0),
    FL_FIELD(T, version, "DocumentVersion", 0),
    FL_FIELD(T, author, "Author", 0),
    FL_FIELD_STRUCT(T, reviews, "Metadata", 0, &metadata_shape),
    FL_FIELD(T, next_token, "NextToken", 0),
};
static const struct fl_shape reviews_out_shape =
    FL_SHAPE(T, "ListDocumentMetadataHistoryResult", reviews_out_fields);
#undef T

/* ---- rows ---- */
static int resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                     struct fl_err *err)
{
    const struct fl_document_in *req = in;

    return fl_document_resource(call, req->name, ret, err);
}

#define READ(name, in, out, fn)                                                \
    {                                                                          \
        name, &in##_in_shape, &out, fn, FL_LANE_READ, FL_AUTH_SIGV4, resources \
    }
#define WRITE(name, in, out, fn)                                                \
    {                                                                           \
        name, &in##_in_shape, &out, fn, FL_LANE_WRITE, FL_AUTH_SIGV4, resources \
    }
static const struct fl_op ops[] = {
    { "CreateDocument", &create_in_shape, &write_out_shape, fl_op_create_document, FL_LANE_WRITE,
      FL_AUTH_SIGV4, fl_op_write_document_resources },
    { "UpdateDocument", &update_in_shape, &write_out_shape, fl_op_update_document, FL_LANE_WRITE,
      FL_AUTH_SIGV4, fl_op_write_document_resources },
    WRITE("UpdateDocumentDefaultVersion", default, set_default_out_shape,
          fl_op_set_default_document_version),
    READ("DescribeDocument", describe, describe_out_shape, fl_op_describe_document),
    READ("GetDocument", get, get_out_shape, fl_op_get_document),
    { "ListDocuments", &list_in_shape, &list_out_shape, fl_op_list_documents, FL_LANE_READ,
      FL_AUTH_SIGV4, NULL },
    READ("ListDocumentVersions", versions, versions_out_shape, fl_op_list_document_versions),
    WRITE("DeleteDocument", delete, fl_shape_empty, fl_op_delete_document),
    WRITE("ModifyDocumentPermission", share, fl_shape_empty, fl_op_share_document),
    READ("DescribeDocumentPermission", shares, shares_out_shape, fl_op_list_document_shares),
    WRITE("UpdateDocumentMetadata", review, fl_shape_empty, fl_op_review_document),
    READ("ListDocumentMetadataHistory", reviews, reviews_out_shape, fl_op_list_document_reviews),
};

const struct fl_op_table fl_ops_documents = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
