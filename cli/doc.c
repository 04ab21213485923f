/* doc.c - `fairlead doc …`: documents. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/doc.h"
#include "cli/filter.h"
#include "cli/input.h"
#include "cli/list.h"
#include "cli/tags.h"
#include "cli/term.h"

#define ARENA_BYTES (4 << 20)
#define CONTENT_MAX (1 << 20) /* the service says how much it takes; this only bounds memory */
#define FILTERS_MAX 4
#define LATEST      "$LATEST"

/* Document and DocumentDescription, DocumentIdentifier, DocumentVersionInfo: members of the same
 * names. */
struct document {
    char *name, *version, *version_name, *owner, *status, *information, *type, *format, *schema;
    char *description, *latest, *standard, *hash, *target, *content;
    struct fl_strs platforms;
    struct fl_time created;
    bool is_default;
};
#define F(member, key) FL_FIELD(struct document, member, key, 0)
static const struct fl_field document_fields[] = {
    F(name, "Name"),
    F(version, "DocumentVersion"),
    F(version_name, "VersionName"),
    F(owner, "Owner"),
    F(status, "Status"),
    F(information, "StatusInformation"),
    F(type, "DocumentType"),
    F(format, "DocumentFormat"),
    F(schema, "SchemaVersion"),
    F(description, "Description"),
    F(latest, "LatestVersion"),
    F(standard, "DefaultVersion"),
    F(hash, "Hash"),
    F(target, "TargetType"),
    F(content, "Content"),
    F(platforms, "PlatformTypes"),
    F(created, "CreatedDate"),
    F(is_default, "IsDefaultVersion"),
};
#undef F
static const struct fl_shape document_shape =
    FL_SHAPE(struct document, "Document", document_fields);

#define C(title, member) FL_COLUMN(title, struct document, member)
static const struct fl_column list_columns[] = {
    C("NAME", name),       C("OWNER", owner),   C("TYPE", type),           C("FORMAT", format),
    C("VERSION", version), C("SCHEMA", schema), C("PLATFORMS", platforms),
};
static const struct fl_column version_columns[] = {
    C("VERSION", version), C("DEFAULT", is_default), C("NAME", version_name),
    C("CREATED", created), C("FORMAT", format),      C("STATUS", status),
};
static const struct fl_column one_columns[] = {
    C("Document", name),
    C("Owner", owner),
    C("Type", type),
    C("Format", format),
    C("Schema", schema),
    C("Version", version),
    C("Version name", version_name),
    C("Latest version", latest),
    C("Default version", standard),
    C("Status", status),
    C("Because", information),
    C("Platforms", platforms),
    C("Target type", target),
    C("Created", created),
    C("SHA-256", hash),
    C("Description", description),
};
#undef C

static const struct fl_list document_list = {
    .operation = "ListDocuments",
    .key = "DocumentIdentifiers",
    .shape = &document_shape,
    .columns = list_columns,
    .n_columns = FL_ARRAY_LEN(list_columns),
    .page = 50,
};
static const struct fl_list version_list = {
    .operation = "ListDocumentVersions",
    .key = "DocumentVersions",
    .shape = &document_shape,
    .columns = version_columns,
    .n_columns = FL_ARRAY_LEN(version_columns),
    .page = 50,
};

/* What all operations on one document are asked; each uses some of it. */
struct request {
    const char *name, *version, *version_name, *format, *type, *target, *content;
    struct fl_tag *tags;
    size_t n_tags;
    struct fl_filter *filters;
    size_t n_filters;
};
#define F(member, key) FL_FIELD(struct request, member, key, 0)
static const struct fl_field request_fields[] = {
    F(name, "Name"),
    F(version, "DocumentVersion"),
    F(version_name, "VersionName"),
    F(format, "DocumentFormat"),
    F(type, "DocumentType"),
    F(target, "TargetType"),
    F(content, "Content"),
    FL_FIELD_LIST(struct request, tags, n_tags, "Tags", 0, &fl_tag_shape),
    FL_FIELD_LIST(struct request, filters, n_filters, "Filters", 0, &fl_filter_shape),
};
#undef F
static const struct fl_shape request_shape = FL_SHAPE(struct request, "document", request_fields);

/* DescribeDocument wraps its answer in Document, Create and Update in DocumentDescription. */
struct answer {
    struct document *document, *description;
};
static const struct fl_field answer_fields[] = {
    FL_FIELD_STRUCT(struct answer, document, "Document", 0, &document_shape),
    FL_FIELD_STRUCT(struct answer, description, "DocumentDescription", 0, &document_shape),
};
static const struct fl_shape answer_shape = FL_SHAPE(struct answer, "answer", answer_fields);

static const struct fl_op op_describe = { "DescribeDocument", &request_shape, &answer_shape,
                                          false };
static const struct fl_op op_get = { "GetDocument", &request_shape, &document_shape, false };
static const struct fl_op op_create = { "CreateDocument", &request_shape, &answer_shape, true };
static const struct fl_op op_update = { "UpdateDocument", &request_shape, &answer_shape, true };
static const struct fl_op op_default = { "UpdateDocumentDefaultVersion", &request_shape, NULL,
                                         false };
static const struct fl_op op_delete = { "DeleteDocument", &request_shape, NULL, true };

/* ---- list, versions ---- */

struct list_options {
    const char *owner, *type, *platform;
    struct fl_texts tags;
};
static const struct fl_opt list_options[] = {
#define O(...) FL_OPT(struct list_options, __VA_ARGS__)
    O(owner, 'o', "owner", "Self|Amazon|Public|Private", "whose they are"),
    O(type, 0, "type", "TYPE", "those of a type, such as Command, Session or Automation"),
    O(platform, 0, "platform", "Linux|Windows|MacOS", "those for a platform"),
    O(tags, 't', "tag", "KEY=VALUE", "those with a tag"),
#undef O
};

static int add_filter(struct request *q, const char *key, const char *value, struct fl_arena *arena)
{
    struct fl_filter *f = &q->filters[q->n_filters++];

    f->key = key;
    return f->key ? fl_strs_add(&f->values, value, arena) : -ENOMEM;
}

static int run_list(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(65536);
    const struct list_options *o = options;
    const struct {
        const char *key, *value;
    } filters[FILTERS_MAX] = { { "Owner", o->owner },
                               { "DocumentType", o->type },
                               { "PlatformTypes", o->platform },
                               { "Name", args->n ? args->v[0] : NULL } };
    struct fl_filter room[FILTERS_MAX + FL_TEXTS_MAX] = { 0 };
    struct request q = { .filters = room };
    struct fl_err err = { 0 };
    struct fl_tag *tags = NULL;
    size_t n = 0;
    int r = fl_tags_parse(&o->tags, &arena, &tags, &n, &err);

    for (size_t i = 0; i < FILTERS_MAX && r == 0; i++)
        if (filters[i].value)
            r = add_filter(&q, filters[i].key, filters[i].value, &arena);
    for (size_t i = 0; i < n && r == 0; i++)
        r = add_filter(&q, fl_arena_printf(&arena, "tag:%s", tags[i].key), tags[i].value, &arena);
    if (r == 0)
        r = fl_json_encode(&request_shape, &q, &body);
    return r < 0 ? fl_cli_failed_input(r, &err)
                 : fl_list_print(cli, &document_list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_doc_list = {
    .name = "doc list",
    .args = "[PREFIX]",
    .summary = "List documents, all or those whose names begin so",
    FL_OPTIONS(struct list_options, list_options),
    .max_args = 1,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_list,
};

static int run_versions(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autobuf struct fl_buf body = FL_BUF(65536);
    const struct request q = { .name = args->v[0] };

    (void)options;
    if (fl_json_encode(&request_shape, &q, &body) < 0)
        return FL_EXIT_SERVICE;
    return fl_list_print(cli, &version_list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_doc_versions = {
    .name = "doc versions",
    .args = "NAME",
    .summary = "List the versions of a document",
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_versions,
};

/* ---- show, get ---- */

struct read_options {
    const char *version, *version_name, *format;
};
#define O(...) FL_OPT(struct read_options, __VA_ARGS__)
static const struct fl_opt show_options[] = {
    O(version, 'v', "document-version", "VERSION",
      "a number, $LATEST or $DEFAULT; the default one without"),
    O(version_name, 0, "version-name", "NAME", "the version with this name"),
};
static const struct fl_opt get_options[] = {
    O(version, 'v', "document-version", "VERSION",
      "a number, $LATEST or $DEFAULT; the default one without"),
    O(version_name, 0, "version-name", "NAME", "the version with this name"),
    O(format, 0, "format", "JSON|YAML|TEXT", "converted to this; as it is kept without"),
};
#undef O

/* Calls, and prints the answer as it is if that was asked for: 1 then. */
static int ask(struct fl_cli *cli, const struct fl_op *op, const struct request *q,
               struct fl_arena *arena, void *out, struct fl_err *err)
{
    fl_autobuf struct fl_buf body = FL_BUF(2 * CONTENT_MAX);
    fl_autofree char *text = NULL;
    int r;

    if (!cli->json)
        return fl_api_call(cli, op, q, arena, out, err);
    r = fl_json_encode(op->in, q, &body);
    if (r == 0)
        r = fl_api_text(cli, op->name, op->once, body.data, &text, err);
    if (r == 0 && op->out)
        r = fl_json_decode(op->out, text, strlen(text), FL_DECODE_LAX, arena, out, err);
    if (r == 0)
        r = fl_print_answer(text);
    return r < 0 ? r : 1;
}

static int run_show(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct read_options *o = options;
    const struct request q = { .name = args->v[0],
                               .version = o->version,
                               .version_name = o->version_name };
    struct fl_err err = { 0 };
    struct answer a = { 0 };
    int r = ask(cli, &op_describe, &q, &arena, &a, &err);

    if (r == 0 && !a.document)
        r = fl_err_set(&err, -EBADMSG, NULL, "DescribeDocument: the answer has no Document");
    if (r == 0)
        r = fl_table_print_one(cli, one_columns, FL_ARRAY_LEN(one_columns), a.document);
    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_doc_show = {
    .name = "doc show",
    .args = "NAME",
    .summary = "Tell about a document",
    FL_OPTIONS(struct read_options, show_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_show,
};

static int run_get(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct read_options *o = options;
    const struct request q = { .name = args->v[0],
                               .version = o->version,
                               .version_name = o->version_name,
                               .format = o->format };
    struct fl_err err = { 0 };
    struct document d = { 0 };
    int r = ask(cli, &op_get, &q, &arena, &d, &err);

    if (r < 0)
        return fl_cli_failed_input(r, &err);
    if (r == 0 && d.content) {
        fl_put_text(stdout, d.content);
        if (isatty(STDOUT_FILENO) && *d.content && d.content[strlen(d.content) - 1] != '\n')
            putchar('\n');
    }
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_doc_get = {
    .name = "doc get",
    .args = "NAME",
    .summary = "Print the content of a document",
    FL_OPTIONS(struct read_options, get_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_get,
};

/* ---- create, update, default, delete ---- */

struct write_options {
    const char *format, *type, *target, *version_name;
    struct fl_texts tags;
    bool make_default;
};
#define O(...) FL_OPT(struct write_options, __VA_ARGS__)
static const struct fl_opt create_options[] = {
    O(type, 0, "type", "TYPE", "Command (without), Session, Automation, Policy and others"),
    O(format, 0, "format", "JSON|YAML|TEXT", "by the file's name or its text without"),
    O(target, 0, "target-type", "TYPE", "what it works on, such as /AWS::EC2::Instance"),
    O(version_name, 0, "version-name", "NAME", "a name for the version"),
    O(tags, 't', "tag", "KEY=VALUE", "give it a tag"),
};
static const struct fl_opt update_options[] = {
    O(make_default, 'd', "default", NULL, "and make the new version the default one"),
    O(format, 0, "format", "JSON|YAML|TEXT", "by the file's name or its text without"),
    O(target, 0, "target-type", "TYPE", "what it works on, such as /AWS::EC2::Instance"),
    O(version_name, 0, "version-name", "NAME", "a name for the version"),
};
#undef O

static int write_document(struct fl_cli *cli, const struct fl_op *op, const struct fl_args *args,
                          const struct write_options *o, struct request *q, struct fl_arena *arena,
                          struct document *ret, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    struct answer a = { 0 };
    int r = fl_input_file(args->v[1], CONTENT_MAX, &text, err);

    if (r < 0)
        return r;
    q->name = args->v[0];
    q->content = text;
    q->format = o->format ? o->format : fl_doc_format_of(args->v[1], text);
    q->target = o->target;
    q->version_name = o->version_name;
    r = ask(cli, op, q, arena, &a, err);
    if (r >= 0 && !(a.description && a.description->version))
        return fl_err_set(err, -EBADMSG, NULL, "%s: the answer has no DocumentVersion", op->name);
    if (r >= 0)
        *ret = *a.description;
    if (r == 0)
        fl_put_textf(stdout, "%s version %s\n", q->name, ret->version);
    return r;
}

static int run_create(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct write_options *o = options;
    struct request q = { .type = o->type };
    struct fl_err err = { 0 };
    struct document d;
    int r = fl_tags_parse(&o->tags, &arena, &q.tags, &q.n_tags, &err);

    if (r == 0)
        r = write_document(cli, &op_create, args, o, &q, &arena, &d, &err);
    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_doc_create = {
    .name = "doc create",
    .args = "NAME FILE",
    .summary = "Make a document from a file",
    .text = "\"-\" reads it from standard input.",
    FL_OPTIONS(struct write_options, create_options),
    .min_args = 2,
    .max_args = 2,
    .complete = FL_COMPLETE_FILE,
    .run = run_create,
};

static int run_update(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct write_options *o = options;
    struct request q = { .version = LATEST };
    struct fl_err err = { 0 };
    struct document d;
    int r = write_document(cli, &op_update, args, o, &q, &arena, &d, &err);

    if (r >= 0 && o->make_default) {
        const struct request def = { .name = args->v[0], .version = d.version };

        r = fl_api_call(cli, &op_default, &def, &arena, NULL, &err);
    }
    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_doc_update = {
    .name = "doc update",
    .args = "NAME FILE",
    .summary = "Make a new version of a document from a file",
    .text =
        "The default version stays what it was, unless --default is given. \"-\" reads the file "
        "from standard input.",
    FL_OPTIONS(struct write_options, update_options),
    .min_args = 2,
    .max_args = 2,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_update,
};

static int run_default(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct request q = { .name = args->v[0], .version = args->v[1] };
    struct fl_err err = { 0 };
    int r = fl_api_call(cli, &op_default, &q, NULL, NULL, &err);

    (void)options;
    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_doc_default = {
    .name = "doc default",
    .args = "NAME VERSION",
    .summary = "Make a version of a document the default one",
    .min_args = 2,
    .max_args = 2,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_default,
};

static int run_delete(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct read_options *o = options;
    const struct request q = { .name = args->v[0],
                               .version = o->version,
                               .version_name = o->version_name };
    struct fl_err err = { 0 };
    int r = fl_api_call(cli, &op_delete, &q, NULL, NULL, &err);

    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

static const struct fl_opt delete_options[] = {
    FL_OPT(struct read_options, version, 'v', "document-version", "VERSION", "this version alone"),
    FL_OPT(struct read_options, version_name, 0, "version-name", "NAME", "this version alone"),
};

const struct fl_command fl_cmd_doc_delete = {
    .name = "doc delete",
    .args = "NAME",
    .summary = "Delete a document with all its versions, or one version",
    FL_OPTIONS(struct read_options, delete_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_DOCUMENT,
    .run = run_delete,
};
