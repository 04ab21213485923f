/* rules.c - what each kind of document may hold: tables for check.c.
 *
 * Sources: protocol 4 §1.1 (typed fields), §1.2 (parameters), §2.2 (preconditions); protocol 6 §3.2
 * and §4.1; protocol 3 §9 (sessions); protocol 4 §5.4 (packages). Actions are in actions.c.
 */
#include "common/doc/actions.h"
#include "common/codec/json_load.h"
#include "common/doc/check_priv.h"

#include <errno.h>
#include <string.h>
#include "common/codec/regexp.h"
#include "common/doc/declare.h"

#define STEPS_MAX      1000 /* what the agent takes, FL_DOC_MAX_STEPS */
#define NAME_MAX_CHARS 128

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* ---- parameters ---- */
static int check_param_type(struct fl_check *c, const json_t *v)
{
    enum fl_doc_param_type kind;

    if (!fl_doc_param_kind(json_string_value(v), &kind))
        return fl_check_bad(c,
                            "\"%.100s\" is none of String, StringList, Integer, Boolean, "
                            "StringMap, MapList",
                            json_string_value(v));
    return 0;
}

static int check_pattern(struct fl_check *c, const json_t *v)
{
    struct fl_err why = { 0 };

    if (fl_regexp_search(json_string_value(v), "", &why) < 0)
        return fl_check_bad(c, "%.200s", why.text);
    return 0;
}

/* 3 or "3". */
static int check_limit(struct fl_check *c, const json_t *v)
{
    const char *text = json_string_value(v);

    if (text ? !*text || text[strspn(text, "0123456789")] : json_number_value(v) < 0)
        return fl_check_bad(c, "must be a number that is not negative");
    return 0;
}

/* On the node a number among them breaks the whole document. */
static int check_allowed_value(struct fl_check *c, const json_t *v)
{
    return fl_check_type(c, v,
                         c->type == FL_DOC_AUTOMATION ? FL_IS_STRING | FL_IS_NUMBER | FL_IS_BOOL
                                                      : FL_IS_STRING);
}

static int check_allowed_values(struct fl_check *c, const json_t *v)
{
    if (json_array_size(v) == 0)
        return fl_check_bad(c, "must have at least one value");
    return fl_check_each(c, v, check_allowed_value);
}

#define LIMIT(key)                                           \
    {                                                        \
        key, FL_IS_STRING | FL_IS_NUMBER, false, check_limit \
    }
static const struct fl_member param_members[] = {
    { "type", FL_IS_STRING, true, check_param_type },
    { "description", FL_IS_STRING, false, NULL },
    { "default", FL_IS_ANY, false, NULL },
    { "allowedValues", FL_IS_LIST, false, check_allowed_values },
    { "allowedPattern", FL_IS_STRING, false, check_pattern },
    LIMIT("minChars"),
    LIMIT("maxChars"),
    LIMIT("minItems"),
    LIMIT("maxItems"),
    { "displayType", FL_IS_STRING, false, NULL },
    { "interpolationType", FL_IS_STRING, false, NULL },
};
static const struct fl_members param_object = FL_MEMBERS(param_members, false);

/* The default is to be a value that could have been given. */
static int check_default(struct fl_check *c, const struct fl_doc_param *p, const json_t *dflt)
{
    struct fl_err why = { 0 };
    struct fl_strs texts;
    int r = fl_doc_param_texts(p, dflt, c->arena, &texts, &why);

    if (r == 0)
        r = fl_doc_param_check(p, &texts, &why);
    if (r == 0)
        return 0;
    c->path[c->n_path++] = (struct fl_path_part){ .key = "default" };
    fl_check_bad(c, "%.300s", why.text);
    c->n_path--;
    return r;
}

static int check_param(struct fl_check *c, const json_t *v)
{
    const char *name = c->path[c->n_path - 1].key;
    const json_t *dflt = json_object_get(v, "default");
    struct fl_doc_param p;
    struct fl_err why = { 0 };
    int r;

    if (!*name || strlen(name) > NAME_MAX_CHARS || name[strspn(name, NAME_CHARS "-.")])
        return fl_check_bad(c, "a parameter's name has letters, digits and _");
    r = fl_check_type(c, v, FL_IS_OBJECT);
    if (r == 0)
        r = fl_check_members(c, v, &param_object);
    if (r < 0)
        return r;
    if (c->n_path + 1 >= FL_CHECK_MAX_PATH)
        return fl_check_bad(c, "nested too deeply");
    if (fl_doc_param_load(name, v, c->arena, &p, &why) < 0)
        return fl_check_bad(c, "%.300s", why.text);
    if ((p.max_chars >= 0 && p.min_chars > p.max_chars) ||
        (p.max_items >= 0 && p.min_items > p.max_items))
        return fl_check_bad(c, "the minimum is above the maximum");
    return dflt ? check_default(c, &p, dflt) : 0;
}

static int check_params(struct fl_check *c, const json_t *v)
{
    return fl_check_each(c, v, check_param);
}

/* ---- preconditions ---- */
static int check_operand(struct fl_check *c, const json_t *v)
{
    int r = fl_check_type(c, v, FL_IS_STRING);

    return r < 0 ? r : fl_check_references(c, v);
}

static int check_equals(struct fl_check *c, const json_t *v)
{
    if (json_array_size(v) != 2)
        return fl_check_bad(c, "takes exactly two strings");
    return fl_check_each(c, v, check_operand);
}

static const struct fl_member precondition_members[] = {
    { "StringEquals", FL_IS_LIST, true, check_equals },
};
static const struct fl_members precondition_object = FL_MEMBERS(precondition_members, false);

static int check_precondition(struct fl_check *c, const json_t *v)
{
    if (!c->preconditions)
        return fl_check_bad(c, "preconditions need schemaVersion 2.2");
    return fl_check_members(c, v, &precondition_object);
}

/* ---- steps ---- */
static int check_inputs_of(struct fl_check *c, const struct fl_action *action, const json_t *v)
{
    int r = fl_check_references(c, v);

    if (json_is_object(v))
        return r < 0 ? r : fl_check_members(c, v, &action->inputs);
    /* a plugin that has a list of inputs runs once for each; protocol 4 §2.1 */
    for (size_t i = 0; i < json_array_size(v) && r == 0; i++) {
        const json_t *one = json_array_get(v, i);

        c->path[c->n_path++] = (struct fl_path_part){ .index = i };
        r = fl_check_type(c, one, FL_IS_OBJECT);
        if (r == 0)
            r = fl_check_members(c, one, &action->inputs);
        c->n_path--;
    }
    return r;
}

/* The inputs behind `key`; absent ones are as good as empty ones. */
static int check_inputs(struct fl_check *c, const struct fl_action *action, const json_t *owner,
                        const char *key)
{
    fl_autojson json_t *none = json_object();
    const json_t *v = json_object_get(owner, key);
    int r;

    if (c->n_path + 2 >= FL_CHECK_MAX_PATH)
        return fl_check_bad(c, "nested too deeply");
    c->path[c->n_path++] = (struct fl_path_part){ .key = key };
    r = check_inputs_of(c, action, v ? v : none);
    c->n_path--;
    return r;
}

static const struct fl_action *known_action(struct fl_check *c, const char *name)
{
    const struct fl_action *a = fl_action_find(c->type == FL_DOC_AUTOMATION, name);

    if (a)
        c->platforms |= a->platforms == FL_DOC_ANYWHERE ? 0 : a->platforms;
    else
        fl_check_bad(c, "there is no action %.100s for documents of this type", name);
    return a;
}

static int check_action(struct fl_check *c, const json_t *v)
{
    return known_action(c, json_string_value(v)) ? 0 : -EINVAL;
}

/* It becomes a folder's name on nodes. */
static int check_name(struct fl_check *c, const json_t *v)
{
    const char *s = json_string_value(v);
    const char *chars = c->type == FL_DOC_AUTOMATION ? NAME_CHARS : NAME_CHARS "-.: ";

    if (!*s || strlen(s) > NAME_MAX_CHARS || s[strspn(s, chars)] || s[0] == '.')
        return fl_check_bad(c, "a step's name has 1 to %d letters, digits and _", NAME_MAX_CHARS);
    return 0;
}

static const struct fl_member step_members[] = {
    { "action", FL_IS_STRING, true, check_action },
    { "name", FL_IS_STRING, true, check_name },
    { "inputs", FL_IS_OBJECT | FL_IS_LIST, false, NULL },
    { "settings", FL_IS_ANY, false, fl_check_references },
    { "precondition", FL_IS_OBJECT, false, check_precondition },
    { "description", FL_IS_STRING, false, NULL },
    { "onFailure", FL_IS_STRING, false, NULL },
    { "onCancel", FL_IS_STRING, false, NULL },
    { "nextStep", FL_IS_STRING, false, NULL },
    /* a string would break the document on the node */
    { "maxAttempts", FL_IS_INTEGER, false, NULL },
    { "timeoutSeconds", FL_IS_INTEGER, false, NULL },
    { "isEnd", FL_IS_BOOL | FL_IS_STRING, false, NULL },
    { "isCritical", FL_IS_BOOL | FL_IS_STRING, false, NULL },
    { "outputs", FL_IS_LIST, false, NULL },
};
static const struct fl_members step_object = FL_MEMBERS(step_members, false);

static int check_next(struct fl_check *c, const json_t *v)
{
    if (json_object_get(c->steps, json_string_value(v)) || fl_has_reference(json_string_value(v)))
        return 0;
    return fl_check_bad(c, "there is no step %.100s", json_string_value(v));
}

/* Abort, Continue or step:<name>. */
static int check_on(struct fl_check *c, const json_t *v)
{
    const char *s = json_string_value(v);

    if (strcmp(s, "Abort") == 0 || strcmp(s, "Continue") == 0 || fl_has_reference(s))
        return 0;
    if (strncmp(s, "step:", 5) == 0 && json_object_get(c->steps, s + 5))
        return 0;
    return fl_check_bad(c, "must be Abort, Continue or step: and the name of a step");
}

static const struct fl_member output_members[] = {
    { "Name", FL_IS_STRING, true, NULL },
    { "Selector", FL_IS_STRING, true, NULL },
    { "Type", FL_IS_STRING, false, check_param_type },
};
static const struct fl_members output_object = FL_MEMBERS(output_members, false);

static int check_output(struct fl_check *c, const json_t *v)
{
    int r = fl_check_type(c, v, FL_IS_OBJECT);

    return r < 0 ? r : fl_check_members(c, v, &output_object);
}

static int check_outputs(struct fl_check *c, const json_t *v)
{
    return fl_check_each(c, v, check_output);
}

static const struct fl_member runbook_step_members[] = {
    { "action", FL_IS_STRING, true, check_action },
    { "name", FL_IS_STRING, true, check_name },
    { "inputs", FL_IS_OBJECT, false, NULL },
    { "description", FL_IS_STRING, false, NULL },
    { "maxAttempts", FL_IS_INTEGER | FL_IS_REFERENCE, false, fl_check_references },
    { "timeoutSeconds", FL_IS_INTEGER | FL_IS_REFERENCE, false, fl_check_references },
    { "onFailure", FL_IS_STRING, false, check_on },
    { "onCancel", FL_IS_STRING, false, check_on },
    { "isEnd", FL_IS_BOOL | FL_IS_REFERENCE, false, fl_check_references },
    { "isCritical", FL_IS_BOOL | FL_IS_REFERENCE, false, fl_check_references },
    { "nextStep", FL_IS_STRING, false, check_next },
    { "outputs", FL_IS_LIST, false, check_outputs },
};
static const struct fl_members runbook_step_object = FL_MEMBERS(runbook_step_members, false);

static int check_step(struct fl_check *c, const json_t *v)
{
    bool runbook = c->type == FL_DOC_AUTOMATION;
    const char *name = json_string_value(json_object_get(v, "action"));
    int r = fl_check_members(c, v, runbook ? &runbook_step_object : &step_object);

    if (r < 0)
        return r;
    return check_inputs(c, fl_action_find(runbook, name), v, "inputs");
}

int fl_check_steps(struct fl_check *c, const json_t *v)
{
    if (json_array_size(v) == 0 || json_array_size(v) > STEPS_MAX)
        return fl_check_bad(c, "must have 1 to %d steps", STEPS_MAX);
    return fl_check_each(c, v, check_step);
}

/* Names must be known before references to them are checked, and are unique in the document. */
static int take_name(struct fl_check *c, const json_t *step)
{
    const json_t *inputs = json_object_get(step, "inputs");
    const json_t *inner = json_object_get(inputs, "Steps");
    const char *name = json_string_value(json_object_get(step, "name"));
    int r = fl_check_type(c, step, FL_IS_OBJECT);

    if (r == 0 && name && json_object_get(c->steps, name))
        return fl_check_bad(c, "another step has the name %.100s, too", name);
    if (r == 0 && name && json_object_set_new(c->steps, name, json_true()) < 0)
        return fl_err_nomem(c->err);
    if (r < 0 || c->type != FL_DOC_AUTOMATION || !json_is_array(inner))
        return r;
    if (c->n_path + 2 >= FL_CHECK_MAX_PATH)
        return fl_check_bad(c, "nested too deeply");
    c->path[c->n_path++] = (struct fl_path_part){ .key = "inputs" };
    c->path[c->n_path++] = (struct fl_path_part){ .key = "Steps" };
    r = fl_check_each(c, inner, take_name);
    c->n_path -= 2;
    return r;
}

static int take_names(struct fl_check *c, const json_t *v)
{
    return json_is_array(v) ? fl_check_each(c, v, take_name) : 0;
}

int fl_check_step_names(struct fl_check *c)
{
    const json_t *v = json_object_get(c->root, "mainSteps");

    return v ? fl_check_below(c, (struct fl_path_part){ .key = "mainSteps" }, v, take_names) : 0;
}

/* ---- schema 1.x ---- */
static const struct fl_member plugin_members[] = {
    { "description", FL_IS_STRING, false, NULL },
    { "settings", FL_IS_ANY, false, fl_check_references },
    { "properties", FL_IS_OBJECT | FL_IS_LIST | FL_IS_REFERENCE, false, NULL },
};
static const struct fl_members plugin_object = FL_MEMBERS(plugin_members, false);

static int check_plugin(struct fl_check *c, const json_t *v)
{
    const struct fl_action *action = known_action(c, c->path[c->n_path - 1].key);
    int r = action ? fl_check_type(c, v, FL_IS_OBJECT) : -EINVAL;

    if (r == 0)
        r = fl_check_members(c, v, &plugin_object);
    return r < 0 ? r : check_inputs(c, action, v, "properties");
}

static int check_runtime_config(struct fl_check *c, const json_t *v)
{
    if (json_object_size(v) == 0)
        return fl_check_bad(c, "must name at least one plugin");
    return fl_check_each(c, v, check_plugin);
}

/* ---- sessions ---- */
static const char *const session_types[] = { "Standard_Stream", "InteractiveCommands",
                                             "NonInteractiveCommands", "Port" };

static int check_session_type(struct fl_check *c, const json_t *v)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(session_types); i++)
        if (strcmp(session_types[i], json_string_value(v)) == 0)
            return 0;
    return fl_check_bad(c, "must be Standard_Stream, InteractiveCommands, NonInteractiveCommands "
                           "or Port");
}

/* ---- the documents ---- */
#define HEAD                                                                                     \
    { "schemaVersion", FL_IS_STRING, true, NULL }, { "description", FL_IS_STRING, false, NULL }, \
    {                                                                                            \
        "parameters", FL_IS_OBJECT, false, check_params                                          \
    }

/* clang-format off */
static const struct fl_member plugin_document[] = {
    HEAD,
    { "runtimeConfig", FL_IS_OBJECT, true, check_runtime_config },
};
static const struct fl_member step_document[] = {
    HEAD,
    { "mainSteps", FL_IS_LIST, true, fl_check_steps },
    { "assumeRole", FL_IS_STRING, false, NULL },
    { "outputs", FL_IS_LIST, false, NULL },
    { "files", FL_IS_OBJECT, false, NULL },
};
static const struct fl_member runbook[] = {
    HEAD,
    { "assumeRole", FL_IS_STRING, false, fl_check_references },
    { "variables", FL_IS_OBJECT, false, check_params },
    { "mainSteps", FL_IS_LIST, true, fl_check_steps },
    { "outputs", FL_IS_LIST, false, NULL },
    { "files", FL_IS_OBJECT, false, NULL },
};
static const struct fl_member session_document[] = {
    HEAD,
    { "sessionType", FL_IS_STRING, true, check_session_type },
    { "inputs", FL_IS_OBJECT, false, fl_check_references },
    { "properties", FL_IS_OBJECT, false, fl_check_references },
};
static const struct fl_member package_document[] = {
    { "schemaVersion", FL_IS_STRING, true, NULL },
    { "description", FL_IS_STRING, false, NULL },
    { "version", FL_IS_STRING, false, NULL },
    { "packages", FL_IS_OBJECT, true, NULL },
    { "files", FL_IS_OBJECT, true, NULL },
};
/* clang-format on */

#define COMMAND (1 << FL_DOC_COMMAND)
#define POLICY  (1 << FL_DOC_POLICY)
static const struct fl_doc_rule rules[] = {
    { COMMAND, "1.2", FL_MEMBERS(plugin_document, false), false },
    { COMMAND | POLICY, "2.0", FL_MEMBERS(step_document, false), false },
    { COMMAND | POLICY, "2.0.1", FL_MEMBERS(step_document, false), false },
    { COMMAND | POLICY, "2.0.2", FL_MEMBERS(step_document, false), false },
    { COMMAND | POLICY, "2.0.3", FL_MEMBERS(step_document, false), false },
    { COMMAND | POLICY, "2.2", FL_MEMBERS(step_document, false), true },
    { 1 << FL_DOC_AUTOMATION, "0.3", FL_MEMBERS(runbook, false), false },
    { 1 << FL_DOC_SESSION, "1.0", FL_MEMBERS(session_document, false), false },
    { 1 << FL_DOC_PACKAGE, "2.0", FL_MEMBERS(package_document, true), false },
};

const struct fl_doc_rule *fl_doc_rule(enum fl_doc_type type, const char *version)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(rules); i++)
        if ((rules[i].types & 1u << type) && strcmp(rules[i].version, version) == 0)
            return &rules[i];
    return NULL;
}
