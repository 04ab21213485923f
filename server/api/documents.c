/* documents.c - finding documents and checking parameters: the built-in ones of server/builtin/. */
#include "server/api/documents.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/codec/json_load.h"
#include "common/doc/allowed_pattern.h"
#include "gen/embedded.h"
#include "server/api/document_list.h"
#include "server/api/tags.h"

#define BUILTIN_CREATED_MS 1767225600000 /* 2026-01-01: the date of version "1" of all of them */
#define ARN_PREFIX         "arn:aws:ssm:"
#define ARN_TYPE           ":document/"

/* ---- the built-in documents ---- */
static const char *const unix_platforms[] = { "Linux", "MacOS", NULL };
/* AWS also lists Linux and macOS here, for PowerShell installed by hand; on this plane such a node
 * must answer UnsupportedPlatformType (protocol 6 §7 row 33). */
static const char *const windows_platforms[] = { "Windows", NULL };

static const struct fl_builtin builtins[] = {
    { "AWS-RunPowerShellScript", "AWS-RunPowerShellScript.json", "Command", windows_platforms },
    { "AWS-RunShellScript", "AWS-RunShellScript.json", "Command", unix_platforms },
};

const struct fl_builtin *fl_builtin_at(size_t i)
{
    return i < FL_ARRAY_LEN(builtins) ? &builtins[i] : NULL;
}

static const struct fl_builtin *find_builtin(const char *name)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(builtins); i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

static const struct fl_embedded *find_text(const char *file)
{
    for (const struct fl_embedded *e = fl_embedded; e->name; e++)
        if (strcmp(e->name, file) == 0)
            return e;
    return NULL;
}

/* ---- content to declarations ---- */
struct declaration {
    char *type;
    char *description;
    struct fl_raw dflt;
    struct fl_strs allowed_values;
    char *allowed_pattern;
    struct fl_raw min_chars, max_chars, min_items, max_items; /* number or numeric string */
};
#define F(member, key) FL_FIELD(struct declaration, member, key, 0)
static const struct fl_field declaration_fields[] = {
    F(type, "type"),
    F(description, "description"),
    F(dflt, "default"),
    F(allowed_values, "allowedValues"),
    F(allowed_pattern, "allowedPattern"),
    F(min_chars, "minChars"),
    F(max_chars, "maxChars"),
    F(min_items, "minItems"),
    F(max_items, "maxItems"),
};
#undef F
static const struct fl_shape declaration_shape =
    FL_SHAPE(struct declaration, "Parameter", declaration_fields);

struct head {
    char *schema_version;
    char *description;
    struct fl_raw parameters;
};
static const struct fl_field head_fields[] = {
    FL_FIELD(struct head, schema_version, "schemaVersion", FL_REQUIRED),
    FL_FIELD(struct head, description, "description", 0),
    FL_FIELD(struct head, parameters, "parameters", 0),
};
static const struct fl_shape head_shape = FL_SHAPE(struct head, "Document", head_fields);

/* 3 and "3" are 3; absent or anything else is -1. */
static int64_t limit_of(const struct fl_raw *raw)
{
    const char *digits = raw->text ? raw->text + (raw->text[0] == '"') : "";
    char *end;
    long long v = strtoll(digits, &end, 10);

    return end == digits || v < 0 ? -1 : v;
}

static int load_parameter(struct fl_call *call, const char *name, const json_t *v,
                          struct fl_document_parameter *p, struct fl_err *err)
{
    struct declaration d;
    int r = fl_json_decode_value(&declaration_shape, v, FL_DECODE_NOCASE, call->arena, &d, err);

    if (r < 0)
        return r;
    *p = (struct fl_document_parameter){
        .name = fl_arena_strdup(call->arena, name),
        .type = d.type ? d.type : fl_arena_strdup(call->arena, "String"),
        .description = d.description,
        .default_json = d.dflt.text,
        .allowed_pattern = d.allowed_pattern,
        .allowed_values = d.allowed_values,
        .min_chars = limit_of(&d.min_chars),
        .max_chars = limit_of(&d.max_chars),
        .min_items = limit_of(&d.min_items),
        .max_items = limit_of(&d.max_items),
    };
    return p->name && p->type ? 0 : fl_err_set(err, -ENOMEM, NULL, "out of memory");
}

static void free_json(json_t **v)
{
    json_decref(*v);
}

static int load_parameters(struct fl_call *call, const char *text, struct fl_document *doc,
                           struct fl_err *err)
{
    FL_CLEANUP(free_json) json_t *all = fl_json_load_text(text, 0, NULL);
    const char *name;
    json_t *v;

    if (!json_is_object(all))
        return fl_err_set(err, -EINVAL, NULL, "parameters: not an object");
    doc->parameters = fl_arena_calloc(call->arena, json_object_size(all), sizeof(*doc->parameters));
    if (!doc->parameters)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    json_object_foreach(all, name, v)
    {
        int r = load_parameter(call, name, v, &doc->parameters[doc->n_parameters], err);

        if (r < 0)
            return r;
        doc->n_parameters++;
    }
    return 0;
}

/* Fills what follows from the content. */
static int load_content(struct fl_call *call, struct fl_document *doc, struct fl_err *err)
{
    struct head head;
    int r = fl_json_decode(&head_shape, doc->content, doc->content_len, FL_DECODE_NOCASE,
                           call->arena, &head, err);

    if (r < 0)
        return r;
    doc->schema_version = head.schema_version;
    doc->description = head.description;
    fl_sha256_hex(doc->content, doc->content_len, doc->hash);
    return head.parameters.text ? load_parameters(call, head.parameters.text, doc, err) : 0;
}

/* ---- finding ---- */

/* The name an ARN of this plane ends in, or `name` itself; NULL for an ARN of elsewhere. One
 * without account means a built-in document, and those are the same in every region. */
static const char *bare_name(struct fl_call *call, const char *name)
{
    const char *region, *account, *type;
    size_t region_len, account_len;

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
        return find_builtin(name) ? name : NULL;
    if (region_len != strlen(call->region) || strncmp(region, call->region, region_len) != 0 ||
        account_len != strlen(call->account) || strncmp(account, call->account, account_len) != 0)
        return NULL;
    return name;
}

static bool is_first_version(const char *version)
{
    return !version || strcmp(version, "$DEFAULT") == 0 || strcmp(version, "$LATEST") == 0 ||
           strcmp(version, "1") == 0;
}

int fl_document_find(struct fl_call *call, const char *name, const char *version,
                     struct fl_document *ret_doc, struct fl_err *err)
{
    const char *bare = bare_name(call, name);
    const struct fl_builtin *b = bare ? find_builtin(bare) : NULL;
    const struct fl_embedded *text = b ? find_text(b->file) : NULL;
    struct fl_document doc;
    size_t n = 0;
    int r;

    if (!text)
        return fl_err_set(err, -EINVAL, "InvalidDocument", "Document with name %s does not exist.",
                          name);
    if (!is_first_version(version))
        return fl_err_set(err, -EINVAL, "InvalidDocumentVersion", "Document %s has no version %s.",
                          b->name, version);
    while (b->platforms[n])
        n++;
    doc = (struct fl_document){
        .name = b->name,
        .owner = FL_BUILTIN_OWNER,
        .type = b->type,
        .format = "JSON",
        .version = "1",
        .default_version = "1",
        .latest_version = "1",
        .status = "Active",
        .content = text->text,
        .content_len = text->len,
        .created_ms = BUILTIN_CREATED_MS,
        .platform_types = { (char **)b->platforms, n }, /* only read */
    };
    r = load_content(call, &doc, err);
    if (r < 0)
        return r;
    *ret_doc = doc;
    return 0;
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
    const char *account = bare && find_builtin(bare) ? "" : call->account;
    char *arn = bare ? fl_arena_printf(call->arena, "%s%s:%s%s%s", ARN_PREFIX, call->region,
                                       account, ARN_TYPE, bare)
                     : fl_arena_strdup(call->arena, name);

    if (!arn)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    return fl_resources_add(call, res, arn, "Document", bare ? bare : name, err);
}

/* ---- parameters ---- */
const struct fl_document_parameter *fl_document_parameter(const struct fl_document *doc,
                                                          const char *name)
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

const char *fl_document_string(struct fl_call *call, const struct fl_document *doc,
                               const struct fl_listmap *given, const char *name)
{
    const struct fl_document_parameter *p = fl_document_parameter(doc, name);
    const struct fl_strs *values = find_given(given, name);
    FL_CLEANUP(free_json) json_t *dflt = NULL;

    if (values && values->n > 0)
        return values->v[0];
    if (!p || !p->default_json)
        return NULL;
    dflt = fl_json_load_text(p->default_json, JSON_DECODE_ANY, NULL);
    return json_is_string(dflt) ? fl_arena_strdup(call->arena, json_string_value(dflt))
                                : p->default_json;
}

static bool is_list(const struct fl_document_parameter *p)
{
    return strcmp(p->type, "StringList") == 0 || strcmp(p->type, "MapList") == 0;
}

/* {{ssm:name}}: the value is known only on the node. */
static bool has_reference(const char *s)
{
    for (const char *at = strstr(s, "{{"); at; at = strstr(at + 2, "{{"))
        if (strncmp(at + 2 + strspn(at + 2, " "), "ssm:", 4) == 0)
            return true;
    return false;
}

static bool is_listed(const struct fl_strs *values, const char *s)
{
    for (size_t i = 0; i < values->n; i++)
        if (strcmp(values->v[i], s) == 0)
            return true;
    return false;
}

/* What a value of this type must look like; NULL: anything. */
static const char *type_pattern(const char *type)
{
    if (strcmp(type, "Integer") == 0)
        return "^-?[0-9]{1,10}$";
    return strcmp(type, "Boolean") == 0 ? "^(true|false)$" : NULL;
}

static int check_value(const struct fl_document_parameter *p, const char *v, struct fl_err *err)
{
    const char *shape = type_pattern(p->type);
    int64_t len = (int64_t)strlen(v); /* bytes, as the agent counts; protocol 4 §1.2 */

    if (has_reference(v))
        return 0;
    if (shape && fl_allowed_pattern_search(shape, v, NULL) != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters", "Parameter \"%s\" is not of type %s.",
                          p->name, p->type);
    if (p->allowed_values.n > 0 && !is_listed(&p->allowed_values, v))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has a value that is not one of its allowed values.",
                          p->name);
    if (p->allowed_pattern && fl_allowed_pattern_search(p->allowed_pattern, v, NULL) != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has a value that does not match its pattern %s",
                          p->name, p->allowed_pattern);
    if ((p->min_chars >= 0 && len < p->min_chars) || (p->max_chars >= 0 && len > p->max_chars))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" is %lld characters long, which is not allowed.",
                          p->name, (long long)len);
    return 0;
}

static int check_parameter(const struct fl_document_parameter *p, const struct fl_strs *values,
                           struct fl_err *err)
{
    int64_t n = (int64_t)values->n;

    if (!is_list(p) && n != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" of type %s takes exactly one value.", p->name, p->type);
    if (is_list(p) &&
        ((p->min_items >= 0 && n < p->min_items) || (p->max_items >= 0 && n > p->max_items)))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has %lld values, which is not allowed.", p->name,
                          (long long)n);
    for (size_t i = 0; i < values->n; i++) {
        int r = check_value(p, values->v[i], err);

        if (r < 0)
            return r;
    }
    return 0;
}

int fl_document_check_parameters(struct fl_call *call, const struct fl_document *doc,
                                 const struct fl_listmap *given, struct fl_err *err)
{
    for (size_t i = 0; given && i < given->n; i++)
        if (!fl_document_parameter(doc, given->v[i].key))
            return fl_err_set(err, -EINVAL, "InvalidParameters",
                              "Parameter \"%s\" is not defined in document %s.", given->v[i].key,
                              doc->name);
    for (size_t i = 0; i < doc->n_parameters; i++) {
        const struct fl_document_parameter *p = &doc->parameters[i];
        const struct fl_strs *values = find_given(given, p->name);
        int r = 0;

        if (values)
            r = check_parameter(p, values, err);
        else if (!p->default_json)
            r = fl_err_set(err, -EINVAL, "InvalidParameters",
                           "Document %s requires a value for parameter \"%s\".", doc->name,
                           p->name);
        if (r < 0)
            return r;
    }
    return 0;
}
