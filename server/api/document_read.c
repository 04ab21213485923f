/* document_read.c - DescribeDocument, GetDocument, ListDocumentVersions. */
#include "server/api/document_ops.h"

#include <errno.h>
#include <string.h>

#include "common/codec/json_load.h"
#include "common/doc/source.h"
#include "common/doc/yaml.h"
#include "server/api/document_builtin.h"
#include "server/api/list.h"

int fl_op_describe_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_version_in *req = in;
    struct fl_document_out *res = out;
    struct fl_document *doc = fl_arena_alloc(call->arena, sizeof(*doc));
    int r;

    if (!doc)
        return fl_err_nomem(err);
    r = fl_document_find_named(call, req->document.name, req->version, req->version_name, doc, err);
    if (r == 0)
        r = fl_tags_list(call, FL_DOCUMENT_RESOURCE, doc->name, &doc->tags, &doc->n_tags, err);
    if (r == 0)
        res->document = doc;
    return r;
}

/* ---- GetDocument ---- */
static int dump_json(const json_t *root, struct fl_buf *out, struct fl_err *err)
{
    fl_autofree char *text = json_dumps(root, JSON_INDENT(2) | JSON_ENCODE_ANY);

    if (!text)
        return fl_err_nomem(err);
    return fl_buf_puts(out, text) < 0 ? fl_err_set(err, -EMSGSIZE, NULL, "too large") : 0;
}

/* The content in the format asked for. */
static int convert(struct fl_call *call, struct fl_document *doc, const char *format,
                   struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(8 * FL_DOCUMENT_MAX_BYTES);
    fl_autojson json_t *root = NULL;
    struct fl_doc_source src;
    int r;

    if (!format || strcmp(format, doc->format) == 0)
        return 0;
    if (!doc->json || strcmp(format, "TEXT") == 0)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Document %s is stored as %s and cannot be given as %s.", doc->name,
                          doc->format, format);
    src = (struct fl_doc_source){ FL_DOC_JSON, doc->json, strlen(doc->json) };
    r = fl_doc_source_load(&src, &root, err);
    if (r == 0)
        r = strcmp(format, "YAML") == 0 ? fl_yaml_dump(root, &text, err)
                                        : dump_json(root, &text, err);
    if (r < 0)
        return r;
    doc->content = fl_arena_memdup(call->arena, text.data, text.len);
    doc->format = format;
    return doc->content ? 0 : fl_err_nomem(err);
}

int fl_op_get_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_version_in *req = in;
    struct fl_document *doc = out;
    int r =
        fl_document_find_named(call, req->document.name, req->version, req->version_name, doc, err);

    if (r == 0)
        r = convert(call, doc, req->format, err);
    return r < 0 ? r : fl_document_attachment_urls(call, doc, err);
}

/* ---- ListDocumentVersions ---- */
static int end_page(struct fl_call *call, struct fl_documents_out *res, const char *what,
                    struct fl_err *err)
{
    res->next_token = fl_page_token_encode(call, what, res->list[res->n_list - 1].version);
    return res->next_token ? 0 : fl_err_nomem(err);
}

int fl_op_list_document_versions(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err)
{
    const struct fl_document_page_in *req = in;
    struct fl_documents_out *res = out;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : FL_DOCUMENT_PAGE;
    fl_autocursor struct fl_cursor *c = NULL;
    const char *what;
    struct fl_document doc;
    char *before = NULL;
    int r = fl_document_find(call, req->document.name, NULL, &doc, err);

    if (r < 0)
        return r;
    what = fl_arena_printf(call->arena, "ListDocumentVersions %s", doc.name);
    res->list = fl_arena_calloc(call->arena, max, sizeof(*res->list));
    if (!what || !res->list)
        return fl_err_nomem(err);
    r = fl_page_token_decode(call, what, req->next_token, &before, err);
    if (r == 0 && strcmp(doc.owner, FL_DOCUMENT_BUILTIN_BY) == 0) {
        res->list[res->n_list++] = doc;
        return 0;
    }
    if (r == 0)
        r = fl_sql_open(call->tx, FL_SQL_document_versions, &c, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc.name),
                        FL_N(before ? strtoll(before, NULL, 10) : INT64_MAX));
    while (r == 0 && (r = fl_sql_next(c, err)) > 0) {
        if (res->n_list == max)
            return end_page(call, res, what, err);
        r = fl_sql_row(c, &fl_document_version_shape, call->arena, &res->list[res->n_list++], err);
    }
    return r;
}
