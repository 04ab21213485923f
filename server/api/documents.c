/* documents.c - finding documents, what follows from their content, and checking parameters. */
#include "server/api/documents.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/aws/crypto.h"
#include "common/codec/json_load.h"
#include "common/doc/signature.h"
#include "common/doc/source.h"
#include "server/api/document_builtin.h"
#include "server/api/document_ops.h"

#define ARN_PREFIX "arn:aws:ssm:"
#define ARN_TYPE   ":document/"

/* ---- what follows from the content ---- */
struct head {
    char *schema_version;
    char *description;
};
static const struct fl_field head_fields[] = {
    FL_FIELD(struct head, schema_version, "schemaVersion", 0),
    FL_FIELD(struct head, description, "description", 0),
};
static const struct fl_shape head_shape = FL_SHAPE(struct head, "Document", head_fields);

static int load_parameters(struct fl_call *call, const json_t *all, struct fl_document *doc,
                           struct fl_err *err)
{
    const char *name;
    json_t *v;

    doc->parameters = fl_arena_calloc(call->arena, json_object_size(all), sizeof(*doc->parameters));
    if (!doc->parameters)
        return fl_err_nomem(err);
    json_object_foreach((json_t *)all, name, v)
    {
        int r = fl_doc_param_load(name, v, call->arena, &doc->parameters[doc->n_parameters], err);

        if (r < 0)
            return r;
        doc->n_parameters++;
    }
    return 0;
}

static int take_json(struct fl_call *call, const json_t *root, struct fl_document *doc,
                     struct fl_err *err)
{
    fl_autofree char *text = NULL;

    doc->json = doc->content;
    if (strcmp(doc->format, "JSON") == 0)
        return 0;
    text = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    doc->json = fl_arena_strdup(call->arena, text);
    return doc->json ? 0 : fl_err_nomem(err);
}

static int take_hash(struct fl_call *call, struct fl_document *doc, struct fl_err *err)
{
    char *hash = fl_arena_alloc(call->arena, FL_SHA256_HEX_BYTES);

    if (!hash)
        return fl_err_nomem(err);
    fl_sha256_hex(doc->content, strlen(doc->content), hash);
    doc->hash = hash;
    doc->hash_type = "Sha256";
    return 0;
}

/* Content was checked before it was stored; a text is not looked at. */
int fl_document_load_content(struct fl_call *call, struct fl_document *doc, struct fl_err *err)
{
    bool yaml = strcmp(doc->format, "YAML") == 0;
    struct fl_doc_source src = { yaml ? FL_DOC_YAML : FL_DOC_JSON, doc->content,
                                 strlen(doc->content) };
    fl_autojson json_t *root = NULL;
    struct head head = { 0 };
    int r = take_hash(call, doc, err);

    if (r < 0 || strcmp(doc->format, "TEXT") == 0)
        return r;
    r = fl_doc_source_load(&src, &root, err);
    if (r == 0)
        r = take_json(call, root, doc, err);
    if (r < 0 || !json_is_object(root))
        return r;
    /* the head of a document that is stored only need not be that of a document */
    if (fl_json_decode_value(&head_shape, root, 0, call->arena, &head, NULL) == 0) {
        doc->schema_version = head.schema_version;
        doc->description = head.description;
    }
    return fl_document_has_parameters(doc)
               ? load_parameters(call, json_object_get(root, "parameters"), doc, err)
               : 0;
}

/* ---- finding ---- */

/* The name an ARN of this plane ends in, or `name` itself; NULL for an ARN of elsewhere. One
 * without account means a built-in document, and those are the same in every region. */
static const char *bare_name(struct fl_call *call, const char *name)
{
    const char *region, *account, *type;
    size_t region_len, account_len;
    struct fl_document builtin;

    if (strncmp(name, "arn:", 4) != 0)
        return name;
    if (strncmp(name, ARN_PREFIX, strlen(ARN_PREFIX)) != 0)
        return NULL;
    region = name + strlen(ARN_PREFIX);
    region_len = strcspn(region, ":");
    account = region + region_len + (region[region_len] == ':');
    account_len = strcspn(account, ":");
    type = account + account_len;
    if (strncmp(type, ARN_TYPE, strlen(ARN_TYPE)) != 0)
        return NULL;
    name = type + strlen(ARN_TYPE);
    if (account_len == 0)
        return fl_builtin_find(name, &builtin) ? name : NULL;
    if (region_len != strlen(call->region) || strncmp(region, call->region, region_len) != 0 ||
        account_len != strlen(call->account) || strncmp(account, call->account, account_len) != 0)
        return NULL;
    return name;
}

static bool is_version(const struct fl_document *doc, const char *version)
{
    return !version || strcmp(version, "$DEFAULT") == 0 || strcmp(version, "$LATEST") == 0 ||
           strcmp(version, doc->version) == 0;
}

static bool is_version_name(const struct fl_document *doc, const char *name)
{
    return !name || (doc->version_name && strcmp(doc->version_name, name) == 0);
}

/* One row of the account's own documents: 1, or 0 if there is none. */
static int find_stored(struct fl_call *call, const char *name, const char *version,
                       const char *version_name, struct fl_document *doc, struct fl_err *err)
{
    static const struct fl_shape *const row = &fl_document_row_shape;
    const struct fl_sql_arg args[] = { FL_T(call->account), FL_T(call->region), FL_T(name) };

    if (version && strcmp(version, "$LATEST") == 0)
        return fl_sql_one_v(call->tx, FL_SQL_document_at_latest, args, 3, row, call->arena, doc,
                            err);
    if (version && strcmp(version, "$DEFAULT") != 0) {
        errno = 0; /* a number that is too large is no version */
        return fl_sql_one(call->tx, FL_SQL_document_at_number, row, call->arena, doc, err, args[0],
                          args[1], args[2], FL_N(strtoll(version, NULL, 10)));
    }
    if (!version && version_name)
        return fl_sql_one(call->tx, FL_SQL_document_at_name, row, call->arena, doc, err, args[0],
                          args[1], args[2], FL_T(version_name));
    return fl_sql_one_v(call->tx, FL_SQL_document_at_default, args, 3, row, call->arena, doc, err);
}

static int no_document(const char *name, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "InvalidDocument", "Document with name %s does not exist.",
                      name);
}

int fl_document_find_named(struct fl_call *call, const char *name, const char *version,
                           const char *version_name, struct fl_document *ret_doc,
                           struct fl_err *err)
{
    const char *bare = bare_name(call, name);
    struct fl_document doc;
    bool found;
    int r = 1;

    if (!bare)
        return no_document(name, err);
    found = fl_builtin_find(bare, &doc);
    if (!found) {
        r = fl_document_exists(call, bare, err);
        if (r == 0)
            return no_document(name, err);
        if (r > 0)
            r = find_stored(call, bare, version, version_name, &doc, err);
        found = r > 0;
    }
    if (r < 0)
        return r;
    if (!found || !is_version(&doc, version) || !is_version_name(&doc, version_name))
        return fl_err_set(err, -EINVAL, "InvalidDocumentVersion", "Document %s has no version %s.",
                          bare,
                          version        ? version
                          : version_name ? version_name
                                         : "");
    r = fl_document_load_content(call, &doc, err);
    if (r < 0)
        return r;
    *ret_doc = doc;
    return 0;
}

int fl_document_find(struct fl_call *call, const char *name, const char *version,
                     struct fl_document *ret_doc, struct fl_err *err)
{
    return fl_document_find_named(call, name, version, NULL, ret_doc, err);
}

int fl_document_exists(struct fl_call *call, const char *name, struct fl_err *err)
{
    struct fl_err why = { 0 };
    int64_t n = fl_sql_scalar(call->tx, FL_SQL_document_exists, 0, &why, FL_T(call->account),
                              FL_T(call->region), FL_T(name));

    return why.code < 0 ? fl_err_set(err, why.code, NULL, "%s", why.text) : n > 0;
}

bool fl_document_runs_on(const struct fl_document *doc, const char *platform)
{
    if (!platform || !platform[0])
        return true;
    for (size_t i = 0; i < doc->platform_types.n; i++)
        if (strcmp(doc->platform_types.v[i], platform) == 0)
            return true;
    return false;
}

int fl_document_resource(struct fl_call *call, const char *name, struct fl_resources *res,
                         struct fl_err *err)
{
    const char *bare = bare_name(call, name);
    struct fl_document builtin;
    const char *account = bare && fl_builtin_find(bare, &builtin) ? "" : call->account;
    char *arn = bare ? fl_arena_printf(call->arena, "%s%s:%s%s%s", ARN_PREFIX, call->region,
                                       account, ARN_TYPE, bare)
                     : fl_arena_strdup(call->arena, name);

    if (!arn)
        return fl_err_nomem(err);
    return fl_resources_add(call, res, arn, FL_DOCUMENT_RESOURCE, bare ? bare : name, err);
}

/* ---- parameters ---- */
const struct fl_doc_param *fl_document_parameter(const struct fl_document *doc, const char *name)
{
    for (size_t i = 0; i < doc->n_parameters; i++)
        if (strcmp(doc->parameters[i].name, name) == 0)
            return &doc->parameters[i];
    return NULL;
}

static const struct fl_strs *find_given(const struct fl_listmap *given, const char *name)
{
    for (size_t i = 0; given && i < given->n; i++)
        if (strcmp(given->v[i].key, name) == 0)
            return &given->v[i].values;
    return NULL;
}

const char *fl_document_string(const struct fl_document *doc, const struct fl_listmap *given,
                               const char *name)
{
    const struct fl_doc_param *p = fl_document_parameter(doc, name);
    const struct fl_strs *values = find_given(given, name);

    if (values && values->n > 0)
        return values->v[0];
    return p ? p->default_text : NULL;
}

/* An operator's signature may go with any command: nodes that do not ask for one ignore it, as the
 * official agent does (protocol 4 §1.3: a name that nothing refers to). */
static int check_signature(const struct fl_strs *values, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_SIGNATURE_MAX_BYTES);
    struct fl_signature s;
    struct fl_err why = { 0 };

    if (values->n != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"" FL_SIGNATURE_PARAMETER "\" has one value.");
    if (fl_signature_parse(values->v[0], &arena, &s, &why) < 0)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"" FL_SIGNATURE_PARAMETER "\": %s.", fl_err_text(&why));
    return 0;
}

int fl_document_check_parameters(const struct fl_document *doc, const struct fl_listmap *given,
                                 struct fl_err *err)
{
    for (size_t i = 0; given && i < given->n; i++) {
        if (fl_document_parameter(doc, given->v[i].key))
            continue;
        if (!doc->type || strcmp(doc->type, "Command") != 0 ||
            strcmp(given->v[i].key, FL_SIGNATURE_PARAMETER) != 0)
            return fl_err_set(err, -EINVAL, "InvalidParameters",
                              "Parameter \"%s\" is not defined in document %s.", given->v[i].key,
                              doc->name);
        if (check_signature(&given->v[i].values, err) < 0)
            return -EINVAL;
    }
    for (size_t i = 0; i < doc->n_parameters; i++) {
        const struct fl_doc_param *p = &doc->parameters[i];
        const struct fl_strs *values = find_given(given, p->name);
        int r = 0;

        if (values)
            r = fl_doc_param_check(p, values, err);
        else if (!p->default_text)
            r = fl_err_set(err, -EINVAL, "InvalidParameters",
                           "Document %s requires a value for parameter \"%s\".", doc->name,
                           p->name);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The parameters as documents see them: one value for a String, a list for a StringList, an object
 * for a map that was written as JSON (protocol 4 §1.2). `decl` NULL: a signature. */
static json_t *given_value(const struct fl_doc_param *decl, const struct fl_strs *values)
{
    json_t *list, *map;

    if (!decl)
        return json_string(values->v[0]);
    if (decl->kind != FL_PARAM_STRING_LIST && values->n == 1) {
        map = decl->kind == FL_PARAM_STRING_MAP || decl->kind == FL_PARAM_MAP_LIST
                  ? fl_json_load_text(values->v[0], 0, NULL)
                  : NULL;
        return map ? map : json_string(values->v[0]);
    }
    list = json_array();
    for (size_t i = 0; i < values->n; i++)
        json_array_append_new(list, json_string(values->v[i]));
    return list;
}

int fl_document_values(struct fl_call *call, const struct fl_document *doc,
                       const struct fl_listmap *given, char **ret_text, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    json_t *all = json_object();

    for (size_t i = 0; i < given->n; i++) {
        const struct fl_doc_param *decl = fl_document_parameter(doc, given->v[i].key);

        json_object_set_new(all, given->v[i].key, given_value(decl, &given->v[i].values));
    }
    text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    *ret_text = fl_arena_strdup(call->arena, text);
    return *ret_text ? 0 : fl_err_nomem(err);
}
