/* doc.c - see doc.h. */
#include "common/doc/doc.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/codec/json_load.h"
#include "common/doc/go_text.h"
#include "common/doc/params.h"
#include "common/doc/precondition.h"
#include "common/doc/ssm_refs.h"
#include "common/doc/subst.h"

#define LOAD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* ---- the document as it is written; names as in the official agent's structs, which stand in its
 * error texts ---- */

struct step_in {
    char *action, *name, *on_failure;
    int64_t max_attempts, timeout_seconds;
    struct fl_raw inputs, settings, on_cancel, next_step, is_end;
    struct fl_listmap precondition;
};
#define F(member, key) FL_FIELD(struct step_in, member, key, 0)
static const struct fl_field step_fields[] = {
    F(action, "action"),
    F(name, "name"),
    F(on_failure, "onFailure"),
    F(max_attempts, "maxAttempts"),
    F(timeout_seconds, "timeoutSeconds"),
    F(inputs, "inputs"),
    F(settings, "settings"),
    F(on_cancel, "onCancel"),
    F(next_step, "nextStep"),
    F(is_end, "isEnd"),
    F(precondition, "precondition"),
};
#undef F
static const struct fl_shape step_shape =
    FL_SHAPE(struct step_in, "InstancePluginConfig", step_fields);

struct plugin_in {
    struct fl_raw settings, properties;
    char *description;
};
static const struct fl_field plugin_fields[] = {
    FL_FIELD(struct plugin_in, settings, "settings", 0),
    FL_FIELD(struct plugin_in, properties, "properties", 0),
    FL_FIELD(struct plugin_in, description, "description", 0),
};
static const struct fl_shape plugin_shape =
    FL_SHAPE(struct plugin_in, "PluginConfig", plugin_fields);

struct doc_in {
    char *schema_version, *description;
    struct fl_raw parameters, runtime_config;
    struct step_in *main_steps;
    size_t n_main_steps;
};
static const struct fl_field doc_fields[] = {
    FL_FIELD(struct doc_in, schema_version, "schemaVersion", 0),
    FL_FIELD(struct doc_in, description, "description", 0),
    FL_FIELD(struct doc_in, parameters, "parameters", 0),
    FL_FIELD(struct doc_in, runtime_config, "runtimeConfig", 0),
    FL_FIELD_LIST(struct doc_in, main_steps, n_main_steps, "mainSteps", 0, &step_shape),
};
static const struct fl_shape doc_shape = FL_SHAPE(struct doc_in, "DocumentContent", doc_fields);

static const struct {
    const char *version;
    enum fl_doc_schema schema;
} schemas[] = {
    { "1.0", FL_DOC_1 },     { "1.2", FL_DOC_1 },     { "2.0", FL_DOC_2_0 },
    { "2.0.1", FL_DOC_2_0 }, { "2.0.2", FL_DOC_2_0 }, { "2.0.3", FL_DOC_2_0 },
    { "2.2", FL_DOC_2_2 },
};

/* One load: what its helpers share. */
struct load {
    struct fl_arena *arena;
    struct fl_err *err;
    struct fl_subst subst;
    struct fl_ssm_refs *refs; /* NULL: references stay */
    const char *platform;
    struct fl_doc *doc;
    bool nested;
};

static int too_large(struct load *l)
{
    return fl_err_set(l->err, -EMSGSIZE, NULL, "the document is too large");
}

/* The name becomes a key of replies; it may not be empty, huge or hold control characters. */
static int take_name(struct load *l, const char *name, const char *what, size_t index, char **ret)
{
    size_t len = name ? strlen(name) : 0;

    if (len == 0 || len > FL_DOC_MAX_NAME_BYTES)
        return fl_err_set(l->err, -EINVAL, NULL, "step %zu: %s must have 1 to %d bytes", index + 1,
                          what, FL_DOC_MAX_NAME_BYTES);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return fl_err_set(l->err, -EINVAL, NULL, "step %zu: %s holds a control character",
                              index + 1, what);
    *ret = fl_arena_strdup(l->arena, name);
    return *ret ? 0 : too_large(l);
}

static int take_inputs(struct load *l, const struct fl_raw *raw, struct fl_doc_step *step)
{
    fl_autojson json_t *in = NULL;
    fl_autojson json_t *out = NULL;
    fl_autofree char *text = NULL;
    void *made = NULL;
    int r;

    if (!raw->text) {
        step->inputs = fl_arena_strdup(l->arena, "null");
        return step->inputs ? 0 : too_large(l);
    }
    in = fl_json_load_text(raw->text, LOAD_FLAGS, NULL);
    if (!in)
        return too_large(l);
    r = fl_subst_value(&l->subst, in, &made, l->err);
    if (r < 0)
        return r;
    out = made;
    if (l->refs) {
        r = fl_ssm_refs_apply(l->refs, out, &l->subst.left_bytes, &made, l->err);
        if (r < 0)
            return r;
        json_decref(out);
        out = made;
    }
    text = json_dumps(out, JSON_COMPACT | JSON_ENCODE_ANY);
    step->inputs = fl_arena_strdup(l->arena, text);
    return step->inputs ? 0 : too_large(l);
}

static int no_steps(struct load *l)
{
    return fl_err_set(l->err, -EINVAL, NULL, "Unsupported schema format");
}

static int alloc_steps(struct load *l, size_t n)
{
    if (n == 0)
        return no_steps(l);
    if (n > FL_DOC_MAX_STEPS)
        return fl_err_set(l->err, -EINVAL, NULL, "the document has more than %d steps",
                          FL_DOC_MAX_STEPS);
    l->doc->steps = fl_arena_calloc(l->arena, n, sizeof(*l->doc->steps));
    return l->doc->steps ? 0 : too_large(l);
}

static int load_main_steps(struct load *l, const struct doc_in *in)
{
    int r = alloc_steps(l, in->n_main_steps);

    for (size_t i = 0; r == 0 && i < in->n_main_steps; i++) {
        const struct step_in *s = &in->main_steps[i];
        struct fl_doc_step *step = &l->doc->steps[i];

        r = take_name(l, s->action, "action", i, &step->action);
        if (r == 0)
            r = take_name(l, s->name, "name", i, &step->key);
        if (r == 0)
            r = take_inputs(l, &s->inputs, step);
        step->has_settings = s->settings.text != NULL;
        if (r == 0)
            r = fl_precondition_eval(&s->precondition, &l->subst, l->platform, l->arena, step);
        l->doc->n_steps += r == 0;
    }
    return r;
}

/* What stands beside the inputs, in a document that wants it heeded. */
static int load_controls(struct load *l, const struct doc_in *in)
{
    int r =
        fl_doc_control_wanted(json_object_get(l->subst.params, FL_DOC_CONTROL_PARAMETER), l->err);
    const char **names;

    if (r <= 0)
        return r;
    names = fl_arena_calloc(l->arena, l->doc->n_steps, sizeof(*names));
    if (!names)
        return too_large(l);
    for (size_t i = 0; i < l->doc->n_steps; i++)
        names[i] = l->doc->steps[i].key;
    r = 0;
    for (size_t i = 0; r == 0 && i < l->doc->n_steps; i++) {
        const struct step_in *s = &in->main_steps[i];
        const struct fl_doc_control_in c = {
            .on_failure = s->on_failure,
            .max_attempts = s->max_attempts,
            .timeout_seconds = s->timeout_seconds,
            .on_cancel = s->on_cancel.text,
            .next_step = s->next_step.text,
            .is_end = s->is_end.text,
        };

        r = fl_doc_control_read(&c, i, names, l->doc->n_steps, &l->doc->steps[i].control, l->err);
    }
    return r;
}

static int load_runtime_config(struct load *l, const struct doc_in *in)
{
    fl_autojson json_t *config = fl_json_load_text(in->runtime_config.text, LOAD_FLAGS, NULL);
    const char *plugin;
    json_t *value;
    int r;

    if (!json_is_object(config))
        return no_steps(l);
    r = alloc_steps(l, json_object_size(config));
    if (r < 0)
        return r;
    json_object_foreach(config, plugin, value)
    {
        struct fl_doc_step *step = &l->doc->steps[l->doc->n_steps];
        struct plugin_in p = { 0 };

        if (!json_is_object(value))
            return fl_err_set(l->err, -EINVAL, NULL, "runtimeConfig of %.100s: must be an object",
                              plugin);
        r = fl_go_decode(&plugin_shape, value, l->arena, &p, l->err);
        if (r == 0)
            r = take_name(l, plugin, "plugin", l->doc->n_steps, &step->action);
        if (r == 0)
            r = take_inputs(l, &p.properties, step);
        step->has_settings = p.settings.text != NULL;
        if (r < 0)
            return r;
        step->key = step->action;
        l->doc->n_steps++;
    }
    return 0;
}

static int find_schema(struct load *l, const char *version)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(schemas); i++)
        if (version && strcmp(version, schemas[i].version) == 0) {
            l->doc->schema = schemas[i].schema;
            return 0;
        }
    return fl_err_set(l->err, -EINVAL, NULL,
                      "Document with schema version %.40s is not supported by this version of ssm "
                      "agent, please update to latest version",
                      version ? version : "");
}

/* The document as written, decoded, and its effective parameters put into `params`. */
static int open_document(struct load *l, const char *document, const char *parameters,
                         struct doc_in *in, json_t *params)
{
    fl_autojson json_t *json = fl_json_load_text(document, LOAD_FLAGS, NULL);
    int r;

    if (!document || json_is_null(json))
        return no_steps(l);
    if (!json_is_object(json))
        return fl_err_set(l->err, -EBADMSG, NULL, "the document is not a JSON object");
    r = fl_go_decode(&doc_shape, json, l->arena, in, l->err);
    if (r == 0)
        r = find_schema(l, in->schema_version);
    return r < 0 ? r
                 : fl_params_collect(parameters, in->parameters.text, l->nested, l->refs, l->arena,
                                     params, l->doc, l->err);
}

static int load_document(struct load *l, const char *document, const char *parameters,
                         struct fl_doc *ret_doc)
{
    fl_autojson json_t *params = json_object();
    struct fl_doc doc = { 0 };
    struct doc_in in = { 0 };
    int r;

    l->doc = &doc;
    if (!params)
        return too_large(l);
    r = open_document(l, document, parameters, &in, params);
    if (r < 0)
        return r;
    fl_subst_init(&l->subst, params);
    r = doc.schema == FL_DOC_1 ? load_runtime_config(l, &in) : load_main_steps(l, &in);
    if (r == 0 && doc.schema != FL_DOC_1)
        r = load_controls(l, &in);
    if (r == 0)
        *ret_doc = doc;
    return r;
}

int fl_doc_load_refs(const char *document, const char *parameters, const char *platform,
                     struct fl_ssm_refs *refs, struct fl_arena *arena, struct fl_doc *ret_doc,
                     struct fl_err *err)
{
    struct load l = { .arena = arena, .err = err, .platform = platform, .refs = refs };

    return load_document(&l, document, parameters, ret_doc);
}

int fl_doc_load_nested(const char *document, const char *parameters, const char *platform,
                       struct fl_ssm_refs *refs, struct fl_arena *arena, struct fl_doc *ret_doc,
                       struct fl_err *err)
{
    struct load l = {
        .arena = arena, .err = err, .platform = platform, .refs = refs, .nested = true
    };

    return load_document(&l, document, parameters, ret_doc);
}

int fl_doc_load(const char *document, const char *parameters, const char *platform,
                struct fl_arena *arena, struct fl_doc *ret_doc, struct fl_err *err)
{
    return fl_doc_load_refs(document, parameters, platform, NULL, arena, ret_doc, err);
}

int fl_doc_parameters(const char *document, const char *parameters, struct fl_arena *arena,
                      char **ret_text, struct fl_err *err)
{
    struct fl_doc doc = { 0 };
    struct load l = { .arena = arena, .err = err, .doc = &doc };
    fl_autojson json_t *params = json_object();
    fl_autofree char *text = NULL;
    struct doc_in in = { 0 };
    int r;

    r = params ? open_document(&l, document, parameters, &in, params) : too_large(&l);
    if (r < 0)
        return r;
    text = json_dumps(params, FL_JSON_CANONICAL);
    *ret_text = fl_arena_strdup(arena, text);
    return *ret_text ? 0 : too_large(&l);
}
