/* document_write.c - CreateDocument, UpdateDocument, UpdateDocumentDefaultVersion, DeleteDocument.
 *
 * Rules and error names: protocol 6 §3.2. All of it runs in the store's one write lane, so that two
 * callers cannot both make the same version.
 */
#include "server/api/document_ops.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "common/aws/crypto.h"
#include "server/api/document_builtin.h"
#include "server/api/list.h"

#define DOCUMENTS_MAX 500
#define VERSIONS_MAX  1000

/* ---- types ---- */
static const struct fl_document_type types[] = {
    { "Command", FL_DOC_COMMAND },
    { "Policy", FL_DOC_POLICY },
    { "Automation", FL_DOC_AUTOMATION },
    { "Session", FL_DOC_SESSION },
    { "Package", FL_DOC_PACKAGE },
    { "ApplicationConfiguration", FL_DOC_OTHER },
    { "ApplicationConfigurationSchema", FL_DOC_OTHER },
    { "DeploymentStrategy", FL_DOC_OTHER },
    { "ChangeCalendar", FL_DOC_OTHER },
    { "Automation.ChangeTemplate", FL_DOC_OTHER },
    { "ProblemAnalysis", FL_DOC_OTHER },
    { "ProblemAnalysisTemplate", FL_DOC_OTHER },
    { "CloudFormation", FL_DOC_OTHER },
    { "ConformancePackTemplate", FL_DOC_OTHER },
};

const struct fl_document_type *fl_document_type(const char *name)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

bool fl_document_has_parameters(const struct fl_document *doc)
{
    const struct fl_document_type *type = fl_document_type(doc->type);

    return type && type->rules != FL_DOC_OTHER && type->rules != FL_DOC_PACKAGE;
}

static const struct {
    unsigned is;
    const char *name;
} platforms[] = {
    { FL_DOC_LINUX, "Linux" },
    { FL_DOC_MACOS, "MacOS" },
    { FL_DOC_WINDOWS, "Windows" },
};

/* ---- names ---- */

/* Any letter case; AWSEC2, AWSConfigRemediation, AWSSupport begin with one of them. */
static const char *const reserved[] = { "aws", "amazon", "amzn" };

static int check_name(const char *name, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(reserved); i++)
        if (strncasecmp(name, reserved[i], strlen(reserved[i])) == 0)
            return fl_err_set(err, -EINVAL, "ValidationException",
                              "Names of documents cannot begin with %s.", reserved[i]);
    return 0;
}

int fl_document_must_be_own(struct fl_call *call, const char *name, struct fl_err *err)
{
    int r = fl_document_exists(call, name, err);

    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument",
                          "Document with name %s does not exist in account %s.", name,
                          call->account);
    return r < 0 ? r : 0;
}

/* ---- the content ---- */
static enum fl_doc_format format_of(const struct fl_document_write_in *req)
{
    return req->format && strcmp(req->format, "YAML") == 0 ? FL_DOC_YAML : FL_DOC_JSON;
}

static int check_content(struct fl_call *call, const struct fl_document_type *type,
                         const struct fl_document_write_in *req, struct fl_doc_facts *ret,
                         struct fl_err *err)
{
    struct fl_doc_source src = { format_of(req), req->content, strlen(req->content) };

    *ret = (struct fl_doc_facts){ .platforms = FL_DOC_ANYWHERE };
    if (src.len > FL_DOCUMENT_MAX_BYTES)
        return fl_err_set(err, -EINVAL, "MaxDocumentSizeExceeded",
                          "The document has %zu bytes, more than %d.", src.len,
                          FL_DOCUMENT_MAX_BYTES);
    if (!req->format || strcmp(req->format, "TEXT") != 0)
        return fl_doc_check(type->rules, &src, call->arena, ret, err);
    if (type->rules != FL_DOC_OTHER)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Documents of type %s are JSON or YAML.", type->name);
    return 0;
}

/* ---- storing a version ---- */
struct lists {
    struct fl_strs platforms;
    struct fl_document_requires *requires;
    size_t n_requires;
    struct fl_document_attachment *attachments;
    size_t n_attachments;
};
struct texts {
    struct fl_raw platforms, requires, attachments;
};
static const struct fl_field requires_fields[] = {
    FL_FIELD(struct fl_document_requires, name, "Name", 0),
    FL_FIELD(struct fl_document_requires, version, "Version", 0),
};
static const struct fl_shape requires_shape =
    FL_SHAPE(struct fl_document_requires, "DocumentRequires", requires_fields);
static const struct fl_field lists_fields[] = {
    FL_FIELD(struct lists, platforms, "PlatformTypes", FL_ALWAYS),
    FL_FIELD_LIST(struct lists, requires, n_requires, "Requires", FL_ALWAYS, &requires_shape),
    FL_FIELD_LIST(struct lists, attachments, n_attachments, "Attachments", FL_ALWAYS,
                  &fl_attachment_shape),
};
static const struct fl_shape lists_shape = FL_SHAPE(struct lists, "Lists", lists_fields);
static const struct fl_field texts_fields[] = {
    FL_FIELD(struct texts, platforms, "PlatformTypes", 0),
    FL_FIELD(struct texts, requires, "Requires", 0),
    FL_FIELD(struct texts, attachments, "Attachments", 0),
};
static const struct fl_shape texts_shape = FL_SHAPE(struct texts, "Lists", texts_fields);

/* The lists as JSON texts, for their columns. */
static int list_texts(struct fl_call *call, const struct lists *lists, struct texts *ret,
                      struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(FL_DOCUMENT_MAX_BYTES);
    int r = fl_json_encode(&lists_shape, lists, &text);

    if (r == 0)
        r = fl_json_decode(&texts_shape, text.data, text.len, 0, call->arena, ret, NULL);
    return r < 0 ? fl_err_set(err, r, NULL, "document does not fit") : 0;
}

/* The content as JSON; NULL: it is none. */
static int load_content(const struct fl_document_write_in *req, json_t **ret, struct fl_err *err)
{
    struct fl_doc_source src = { format_of(req), req->content, strlen(req->content) };

    *ret = NULL;
    return req->format && strcmp(req->format, "TEXT") == 0 ? 0 : fl_doc_source_load(&src, ret, err);
}

int fl_op_write_document_resources(struct fl_call *call, const void *in,
                                   struct fl_resources *ret_resources, struct fl_err *err)
{
    const struct fl_document_write_in *req = in;
    json_t *root = NULL;
    int r = fl_document_resource(call, req->document.name, ret_resources, err);

    /* content that cannot be read is refused by the handler */
    if (r < 0 || req->n_attachments == 0 || strlen(req->content) > FL_DOCUMENT_MAX_BYTES ||
        load_content(req, &root, NULL) < 0)
        return r;
    r = fl_document_plan_attachments(call, req, root, ret_resources, err);
    json_decref(root);
    return r;
}

static int take_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                            const struct fl_document *before, struct lists *lists,
                            struct fl_err *err)
{
    json_t *root = NULL;
    int r = 0;

    if (req->n_attachments == 0 && (!before || before->n_attachments == 0))
        return 0;
    r = load_content(req, &root, err);
    if (r == 0 && req->n_attachments > 0) {
        r = fl_document_attachments(call, req, root, &lists->attachments, &lists->n_attachments,
                                    err);
    } else if (r == 0) {
        lists->attachments =
            fl_arena_calloc(call->arena, before->n_attachments, sizeof(*lists->attachments));
        if (lists->attachments)
            fl_document_inherit_attachments(before, root, lists->attachments,
                                            &lists->n_attachments);
        else
            r = fl_err_nomem(err);
    }
    json_decref(root);
    return r;
}

/* Notes which of the plane's files the version has. */
static int note_attachments(struct fl_call *call, const char *name, int64_t version,
                            const struct lists *lists, struct fl_err *err)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < lists->n_attachments; i++)
        if (!lists->attachments[i].url && lists->attachments[i].hash)
            r = fl_sql_exec(call->tx, FL_SQL_document_attachment_add, err, FL_T(call->account),
                            FL_T(call->region), FL_T(name), FL_N(version),
                            FL_T(lists->attachments[i].hash));
    return FL_MIN(r, 0);
}

/* One more version of the document. `before` (NULL: none) gives what is not said anew. */
static int insert_version(struct fl_call *call, const struct fl_document_write_in *req,
                          const struct fl_doc_facts *facts, const struct fl_document *before,
                          struct fl_err *err)
{
    const char *name = req->document.name;
    char *names[FL_ARRAY_LEN(platforms)];
    struct lists lists = { .platforms = { names, 0 },
                           .requires = before ? before->requires : req->requires,
                           .n_requires = before ? before->n_requires : req->n_requires };
    const char *display = req->display_name ? req->display_name
                          : before          ? before->display_name
                                            : NULL;
    const char *target = req->target_type ? req->target_type : before ? before->target_type : NULL;
    char hash[FL_SHA256_HEX_BYTES];
    struct texts texts;
    int64_t version;
    int r;

    for (size_t i = 0; i < FL_ARRAY_LEN(platforms); i++)
        if (facts->platforms & platforms[i].is)
            names[lists.platforms.n++] = (char *)platforms[i].name;
    r = take_attachments(call, req, before, &lists, err);
    if (r == 0)
        r = list_texts(call, &lists, &texts, err);
    if (r < 0)
        return r;
    version = fl_sql_scalar(call->tx, FL_SQL_document_next_version, -1, err, FL_T(call->account),
                            FL_T(call->region), FL_T(name));
    if (version < 0)
        return fl_err_set(err, -EIO, NULL, "document %s cannot be numbered", name);
    fl_sha256_hex(req->content, strlen(req->content), hash);
    r = fl_sql_exec(call->tx, FL_SQL_document_version_insert, err, FL_T(call->account),
                    FL_T(call->region), FL_T(name), FL_N(version), FL_T(req->version_name),
                    FL_T(display), FL_T(target), FL_T(req->format ? req->format : "JSON"),
                    FL_T(req->content), FL_T(hash), FL_T(facts->schema_version),
                    FL_T(facts->description), FL_T(texts.platforms.text), FL_T(texts.requires.text),
                    FL_T(texts.attachments.text), FL_T(call->who->name), FL_N(call->now_ms));
    if (r == -EEXIST)
        return fl_err_set(err, -EINVAL, "DuplicateDocumentVersionName",
                          "A version of document %s has the name %s already.", name,
                          req->version_name ? req->version_name : "");
    return r < 0 ? r : note_attachments(call, name, version, &lists, err);
}

/* The newest version as the reply shows it. */
static int reply(struct fl_call *call, const char *name, const char *status,
                 struct fl_document_out *res, struct fl_err *err)
{
    struct fl_document *doc = fl_arena_alloc(call->arena, sizeof(*doc));
    int r = doc ? fl_document_find(call, name, "$LATEST", doc, err) : fl_err_nomem(err);

    if (r == 0)
        r = fl_tags_list(call, FL_DOCUMENT_RESOURCE, name, &doc->tags, &doc->n_tags, err);
    if (r < 0)
        return r;
    doc->status = status;
    res->document = doc;
    return 0;
}

static int count(struct fl_call *call, enum fl_sql id, const char *name, const char *hash,
                 struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(call->account), FL_T(call->region), FL_T(name),
                                       FL_T(hash) };
    struct fl_err why = { 0 };
    int64_t n = fl_sql_scalar_v(call->tx, id, args, 2 + (name != NULL) + (hash != NULL), 0, &why);

    return why.code < 0 ? fl_err_set(err, why.code, NULL, "%s", why.text) : (int)n;
}

/* ---- CreateDocument ---- */
static int check_new(struct fl_call *call, const char *name, struct fl_err *err)
{
    int r = check_name(name, err);

    if (r == 0)
        r = fl_document_exists(call, name, err);
    if (r > 0)
        return fl_err_set(err, -EEXIST, "DocumentAlreadyExists",
                          "Document with name %s already exists.", name);
    if (r == 0)
        r = count(call, FL_SQL_document_count, NULL, NULL, err);
    if (r >= DOCUMENTS_MAX)
        return fl_err_set(err, -EINVAL, "DocumentLimitExceeded",
                          "The account has %d documents, which is the limit.", r);
    return FL_MIN(r, 0);
}

int fl_op_create_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_write_in *req = in;
    const char *name = req->document.name;
    const struct fl_document_type *type = fl_document_type(req->type ? req->type : "Command");
    struct fl_doc_facts facts;
    int r = check_new(call, name, err);

    if (r == 0)
        r = check_content(call, type, req, &facts, err);
    if (r == 0)
        r = fl_sql_exec(call->tx, FL_SQL_document_insert, err, FL_T(call->account),
                        FL_T(call->region), FL_T(name), FL_T(type->name));
    if (r >= 0)
        r = insert_version(call, req, &facts, NULL, err);
    if (r == 0)
        r = fl_tags_put(call, FL_DOCUMENT_RESOURCE, name, req->tags, req->n_tags, err);
    return r < 0 ? r : reply(call, name, "Creating", out, err);
}

/* ---- UpdateDocument ---- */

/* Only the latest version can be built upon. */
static int find_base(struct fl_call *call, const struct fl_document_write_in *req,
                     struct fl_document *ret, struct fl_err *err)
{
    int r = fl_document_must_be_own(call, req->document.name, err);

    if (r == 0)
        r = fl_document_find(call, req->document.name, "$LATEST", ret, err);
    if (r < 0)
        return r;
    if (req->version && strcmp(req->version, "$LATEST") != 0 &&
        strcmp(req->version, ret->version) != 0)
        return fl_err_set(err, -EINVAL, "InvalidDocumentVersion",
                          "Only the latest version of a document can be updated: $LATEST or %s.",
                          ret->version);
    if (strcmp(ret->type, "Command") == 0 && ret->schema_version && ret->schema_version[0] == '1')
        return fl_err_set(err, -EINVAL, "InvalidDocumentSchemaVersion",
                          "Documents of schemaVersion %s cannot be updated; create another of "
                          "schemaVersion 2.2.",
                          ret->schema_version);
    return 0;
}

static int check_update(struct fl_call *call, const struct fl_document_write_in *req,
                        struct fl_err *err)
{
    const char *name = req->document.name;
    char hash[FL_SHA256_HEX_BYTES];
    int r;

    fl_sha256_hex(req->content, strlen(req->content), hash);
    r = count(call, FL_SQL_document_version_with_hash, name, hash, err);
    if (r > 0)
        return fl_err_set(err, -EINVAL, "DuplicateDocumentContent",
                          "Document %s has a version with this content already.", name);
    if (r == 0)
        r = count(call, FL_SQL_document_version_count, name, NULL, err);
    if (r >= VERSIONS_MAX)
        return fl_err_set(err, -EINVAL, "DocumentVersionLimitExceeded",
                          "Document %s has %d versions, which is the limit.", name, r);
    return FL_MIN(r, 0);
}

int fl_op_update_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_write_in *req = in;
    struct fl_document base;
    struct fl_doc_facts facts;
    int r = find_base(call, req, &base, err);

    if (r == 0)
        r = check_content(call, fl_document_type(base.type), req, &facts, err);
    if (r == 0)
        r = check_update(call, req, err);
    if (r == 0)
        r = insert_version(call, req, &facts, &base, err);
    return r < 0 ? r : reply(call, req->document.name, "Updating", out, err);
}

/* ---- UpdateDocumentDefaultVersion ---- */
int fl_op_set_default_document_version(struct fl_call *call, const void *in, void *out,
                                       struct fl_err *err)
{
    const struct fl_document_default_in *req = in;
    struct fl_document_out *res = out;
    struct fl_document *doc = fl_arena_alloc(call->arena, sizeof(*doc));
    int r = doc ? fl_document_must_be_own(call, req->document.name, err) : fl_err_nomem(err);

    if (r == 0)
        r = fl_document_find(call, req->document.name, req->version, doc, err);
    if (r == 0)
        r = fl_sql_exec(call->tx, FL_SQL_document_set_default, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc->name), FL_N(strtoll(doc->version, NULL, 10)));
    if (r < 0)
        return r;
    doc->default_version = doc->version;
    res->document = doc;
    return 0;
}

/* ---- DeleteDocument ---- */

/* The hashes of the files that the plane keeps for a version; 0: for all of them. */
static int list_kept(struct fl_call *call, const char *name, int64_t version, struct fl_strs *ret,
                     struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    size_t cap = 0;
    int r = fl_sql_open(call->tx, FL_SQL_document_attachments_kept, &row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(name), FL_N(version));

    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        ret->v = fl_list_room(call->arena, ret->v, ret->n, &cap, sizeof(*ret->v));
        if (!ret->v || !(ret->v[ret->n] = fl_arena_strdup(call->arena, fl_sql_text(row, 0))))
            return fl_err_nomem(err);
        ret->n++;
    }
    return r;
}

static int delete_version(struct fl_call *call, const struct fl_document *doc, struct fl_err *err)
{
    int64_t version = strtoll(doc->version, NULL, 10);
    struct fl_strs kept = { 0 };
    int r;

    if (strcmp(doc->version, doc->default_version) == 0)
        return fl_err_set(err, -EINVAL, "InvalidDocumentOperation",
                          "Version %s is the default version of document %s; make another one the "
                          "default, or delete the document.",
                          doc->version, doc->name);
    r = list_kept(call, doc->name, version, &kept, err);
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_document_version_delete, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc->name), FL_N(version));
    return r < 0 ? r : fl_document_forget_attachments(call, &kept, err);
}

static int delete_all(struct fl_call *call, const struct fl_document *doc, bool force,
                      struct fl_err *err)
{
    struct fl_strs kept = { 0 };
    int r = count(call, FL_SQL_document_share_count, doc->name, NULL, err);

    if (r > 0)
        return fl_err_set(err, -EINVAL, "InvalidDocumentOperation",
                          "Document %s is shared; stop sharing it first.", doc->name);
    if (r == 0 && !force && strcmp(doc->type, "ApplicationConfigurationSchema") == 0)
        return fl_err_set(err, -EINVAL, "InvalidDocumentOperation",
                          "A document of type %s is deleted with Force only.", doc->type);
    if (r == 0)
        r = list_kept(call, doc->name, 0, &kept, err);
    if (r == 0)
        r = fl_sql_exec(call->tx, FL_SQL_document_delete, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc->name));
    if (r >= 0)
        r = fl_tags_drop(call, FL_DOCUMENT_RESOURCE, doc->name, err);
    return r < 0 ? r : fl_document_forget_attachments(call, &kept, err);
}

int fl_op_delete_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_version_in *req = in;
    struct fl_document doc;
    int r = fl_document_must_be_own(call, req->document.name, err);

    if (r == 0)
        r = fl_document_find_named(call, req->document.name, req->version, req->version_name, &doc,
                                   err);
    if (r < 0)
        return r;
    return req->version || req->version_name ? delete_version(call, &doc, err)
                                             : delete_all(call, &doc, req->force, err);
}
