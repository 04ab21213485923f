/* session_plan.c - see session_plan.h. */
#include "agent/lib/session_plan.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "common/codec/json_load.h"
#include "common/doc/params.h"
#include "common/doc/subst.h"

#define LOAD_FLAGS       (JSON_DECODE_ANY | JSON_ALLOW_NUL)
#define PREFIX_MAX_BYTES 30
#define PREFIX_CHARS     "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n_:-"

static const char *const types[] = {
    [FL_SESSION_STANDARD] = FL_SESSION_TYPE_STANDARD,
    [FL_SESSION_INTERACTIVE] = FL_SESSION_TYPE_INTERACTIVE,
    [FL_SESSION_NON_INTERACTIVE] = FL_SESSION_TYPE_NON_INTERACTIVE,
    [FL_SESSION_PORT] = FL_SESSION_TYPE_PORT,
};

struct document {
    char *schema_version, *type;
    struct fl_raw inputs, parameters, properties;
};
#define F(member, key) FL_FIELD(struct document, member, key, 0)
static const struct fl_field document_fields[] = {
    F(schema_version, "schemaVersion"), F(type, "sessionType"),      F(inputs, "inputs"),
    F(parameters, "parameters"),        F(properties, "properties"),
};
#undef F
static const struct fl_shape document_shape =
    FL_SHAPE(struct document, "DocumentContent", document_fields);

struct shell_profile {
    char *linux_;
};
static const struct fl_field shell_profile_fields[] = {
    FL_FIELD(struct shell_profile, linux_, "linux", 0),
};
static const struct fl_shape shell_profile_shape =
    FL_SHAPE(struct shell_profile, "shellProfile", shell_profile_fields);

struct inputs {
    char *kms_key_id;
    struct fl_raw run_as_enabled; /* a bool or a string of one */
    char *run_as_user;
    struct shell_profile *profile;
    char *bucket, *prefix, *group;
    struct fl_raw bucket_encrypted, group_encrypted, stream;
};
static const struct fl_field inputs_fields[] = {
    FL_FIELD(struct inputs, kms_key_id, "kmsKeyId", 0),
    FL_FIELD(struct inputs, run_as_enabled, "runAsEnabled", 0),
    FL_FIELD(struct inputs, run_as_user, "runAsDefaultUser", 0),
    FL_FIELD_STRUCT(struct inputs, profile, "shellProfile", 0, &shell_profile_shape),
    FL_FIELD(struct inputs, bucket, "s3BucketName", 0),
    FL_FIELD(struct inputs, prefix, "s3KeyPrefix", 0),
    FL_FIELD(struct inputs, bucket_encrypted, "s3EncryptionEnabled", 0),
    FL_FIELD(struct inputs, group, "cloudWatchLogGroupName", 0),
    FL_FIELD(struct inputs, group_encrypted, "cloudWatchEncryptionEnabled", 0),
    FL_FIELD(struct inputs, stream, "cloudWatchStreamingEnabled", 0),
};
static const struct fl_shape inputs_shape = FL_SHAPE(struct inputs, "inputs", inputs_fields);

struct commands {
    char *commands;
    struct fl_raw elevated, separate_output, shell, has_stdin;
    char *stdout_prefix, *stderr_prefix;
};
#define F(member, key) FL_FIELD(struct commands, member, key, 0)
static const struct fl_field commands_fields[] = {
    F(commands, "commands"),
    F(elevated, "runAsElevated"),
    F(separate_output, "separateOutputStream"),
    F(stdout_prefix, "stdOutSeparatorPrefix"),
    F(stderr_prefix, "stdErrSeparatorPrefix"),
    F(shell, "shell"),
    F(has_stdin, "stdin"),
};
#undef F
static const struct fl_shape commands_shape =
    FL_SHAPE(struct commands, "properties.linux", commands_fields);

struct properties {
    struct commands *linux_;
};
static const struct fl_field properties_fields[] = {
    FL_FIELD_STRUCT(struct properties, linux_, "linux", 0, &commands_shape),
};
static const struct fl_shape properties_shape =
    FL_SHAPE(struct properties, "properties", properties_fields);

struct load {
    struct fl_arena *arena;
    struct document document;
    json_t *parameters;
    struct fl_subst subst;
    struct fl_ssm_refs *refs;
    struct fl_session_plan *plan;
};

static char *keep_dump(struct fl_arena *arena, json_t *value)
{
    fl_autofree char *text = json_dumps(value, FL_JSON_CANONICAL);

    return fl_arena_strdup(arena, text);
}

/* A member of the document with parameters in place, as text of the arena; NULL for none. */
static int resolve(struct load *l, const struct fl_raw *raw, char **ret_text, struct fl_err *err)
{
    json_t *value = fl_json_load_text(raw->text, LOAD_FLAGS, NULL);
    void *resolved = NULL;
    int r;

    *ret_text = NULL;
    if (!value || json_is_null(value)) {
        json_decref(value);
        return 0;
    }
    r = fl_subst_value(&l->subst, value, &resolved, err);
    json_decref(value);
    if (r == 0 && l->refs) {
        value = resolved;
        r = fl_ssm_refs_apply(l->refs, value, &l->subst.left_bytes, &resolved, err);
        json_decref(value);
    }
    if (r < 0)
        return r;
    *ret_text = keep_dump(l->arena, resolved);
    json_decref(resolved);
    return *ret_text ? 0 : -ENOMEM;
}

/* Documents say some of their booleans in either way. */
static int read_flag(const struct fl_raw *raw, const char *name, bool *ret, struct fl_err *err)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {
        { "true", true },  { "\"true\"", true },   { "\"True\"", true }, { "\"\"", false },
        { "null", false }, { "\"false\"", false }, { "false", false },   { "\"False\"", false },
    };

    *ret = false;
    for (size_t i = 0; raw->text && i < FL_ARRAY_LEN(words); i++)
        if (strcmp(raw->text, words[i].text) == 0) {
            *ret = words[i].value;
            return 0;
        }
    return raw->text ? fl_err_set(err, -EINVAL, NULL, "%s: must be true or false", name) : 0;
}

static char *none_if_empty(char *s)
{
    return s && *s ? s : NULL;
}

static int read_logging(struct load *l, const struct inputs *in, struct fl_err *err)
{
    struct fl_session_logging *out = &l->plan->logging;
    int r =
        read_flag(&in->bucket_encrypted, "inputs.s3EncryptionEnabled", &out->bucket_encrypted, err);

    if (r == 0)
        r = read_flag(&in->group_encrypted, "inputs.cloudWatchEncryptionEnabled",
                      &out->group_encrypted, err);
    if (r == 0)
        r = read_flag(&in->stream, "inputs.cloudWatchStreamingEnabled", &out->stream, err);
    if (r < 0)
        return r;
    out->bucket = l->plan->extras.keeps_bucket ? NULL : none_if_empty(in->bucket);
    out->prefix = in->prefix ? in->prefix : fl_arena_strdup(l->arena, "");
    out->group = l->plan->extras.keeps_group ? NULL : none_if_empty(in->group);
    out->stream &= l->plan->kind == FL_SESSION_STANDARD;
    return out->prefix ? 0 : fl_err_nomem(err);
}

static int read_inputs(struct load *l, const char *text, const char *run_as_user,
                       struct fl_err *err)
{
    struct fl_session_plan *plan = l->plan;
    struct inputs in = { 0 };
    int r = 0;

    if (text)
        r = fl_json_decode(&inputs_shape, text, strlen(text), FL_DECODE_NOCASE, l->arena, &in, err);
    if (r == 0)
        r = read_flag(&in.run_as_enabled, "inputs.runAsEnabled", &plan->run_as_named, err);
    if (r < 0)
        return r;
    if (run_as_user && *run_as_user) {
        plan->run_as_named = true;
        plan->run_as = fl_arena_strdup(l->arena, run_as_user);
    } else if (plan->run_as_named) {
        plan->run_as = in.run_as_user ? in.run_as_user : fl_arena_strdup(l->arena, "");
    }
    /* Before any value is known it still stands there. */
    if (plan->run_as && strstr(plan->run_as, "{{"))
        return fl_err_set(err, -EINVAL, NULL,
                          "inputs.runAsDefaultUser: may not come from Parameter Store");
    if (plan->kind != FL_SESSION_PORT)
        plan->kms_key_id = none_if_empty(in.kms_key_id);
    if (plan->kind == FL_SESSION_STANDARD && in.profile)
        plan->profile = none_if_empty(in.profile->linux_);
    if (plan->kind != FL_SESSION_PORT)
        return read_logging(l, &in, err);
    return 0;
}

static int check_prefix(const char *prefix, const char *name, struct fl_err *err)
{
    if (prefix &&
        (strlen(prefix) > PREFIX_MAX_BYTES || prefix[strspn(prefix, PREFIX_CHARS)] != '\0'))
        return fl_err_set(err, -EINVAL, NULL,
                          "properties.linux.%s: must match ^[0-9a-zA-Z\\r\\n_:-]{0,30}$", name);
    return 0;
}

static int read_commands(struct load *l, const char *text, struct fl_err *err)
{
    struct fl_session_plan *plan = l->plan;
    struct properties in = { 0 };
    const struct commands *c;
    int r = 0;

    if (text)
        r = fl_json_decode(&properties_shape, text, strlen(text), FL_DECODE_NOCASE, l->arena, &in,
                           err);
    if (r < 0)
        return r;
    c = in.linux_;
    if (!c || !c->commands || !c->commands[strspn(c->commands, " \t\r\n")])
        return fl_err_set(err, -EINVAL, NULL, "properties.linux.commands: missing");
    plan->commands = c->commands;
    r = read_flag(&c->elevated, "properties.linux.runAsElevated", &plan->elevated, err);
    if (r < 0 || plan->kind == FL_SESSION_INTERACTIVE)
        return r;
    r = read_flag(&c->separate_output, "properties.linux.separateOutputStream",
                  &plan->separate_output, err);
    if (r == 0)
        r = read_flag(&c->shell, "properties.linux.shell", &plan->shell, err);
    if (r == 0)
        r = read_flag(&c->has_stdin, "properties.linux.stdin", &plan->has_stdin, err);
    if (r == 0)
        r = check_prefix(c->stdout_prefix, "stdOutSeparatorPrefix", err);
    if (r == 0)
        r = check_prefix(c->stderr_prefix, "stdErrSeparatorPrefix", err);
    plan->stdout_prefix = none_if_empty(c->stdout_prefix);
    plan->stderr_prefix = none_if_empty(c->stderr_prefix);
    return r;
}

static int read_properties(struct load *l, char *text, struct fl_err *err)
{
    switch (l->plan->kind) {
    case FL_SESSION_STANDARD:
        return 0; /* protocol 3 §8: ignored */
    case FL_SESSION_PORT:
        if (!text || text[0] != '{')
            return fl_err_set(err, -EINVAL, NULL, "properties: missing");
        l->plan->properties = text;
        return 0;
    default:
        return read_commands(l, text, err);
    }
}

static int read_type(struct load *l, struct fl_err *err)
{
    const char *version = l->document.schema_version;
    const char *type = l->document.type ? l->document.type : "";

    if (!version || strcmp(version, "1.0") != 0)
        return fl_err_set(err, -EINVAL, NULL, "schemaVersion: \"%.20s\" is not one of sessions",
                          version ? version : "");
    for (size_t i = 0; i < FL_ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0) {
            l->plan->kind = (enum fl_session_kind)i;
            l->plan->type = types[i];
            return 0;
        }
    return fl_err_set(err, -EINVAL, NULL, "sessionType: \"%.60s\" is unknown", type);
}

static int load(struct load *l, const char *content, struct fl_err *err)
{
    struct fl_session_plan *plan = l->plan;
    struct fl_msg_session_content in;
    char *inputs = NULL, *properties = NULL;
    struct fl_doc scratch = { 0 };
    int r = fl_json_decode(&fl_shape_session_content, content, strlen(content), FL_DECODE_NOCASE,
                           l->arena, &in, err);

    if (r == 0 && in.document_content.text[0] != '{')
        r = fl_err_set(err, -EINVAL, NULL, "DocumentContent: must be an object");
    if (r == 0)
        r = fl_json_decode(&document_shape, in.document_content.text,
                           strlen(in.document_content.text), FL_DECODE_NOCASE, l->arena,
                           &l->document, err);
    if (r == 0)
        r = read_type(l, err);
    if (r == 0)
        r = fl_params_collect(in.parameters.text, l->document.parameters.text, false, NULL,
                              l->arena, l->parameters, &scratch, err);
    if (r == 0)
        r = resolve(l, &l->document.inputs, &inputs, err);
    if (r == 0)
        r = resolve(l, &l->document.properties, &properties, err);
    if (r < 0)
        return r;
    plan->session_id = in.session_id;
    plan->document_name = in.document_name ? in.document_name : fl_arena_strdup(l->arena, "");
    plan->owner = in.session_owner ? in.session_owner : fl_arena_strdup(l->arena, "");
    plan->document = in.document_content.text;
    plan->parameters = keep_dump(l->arena, l->parameters);
    if (in.extras)
        plan->extras = *in.extras;
    if (!plan->parameters || !plan->document_name || !plan->owner)
        return fl_err_nomem(err);
    r = read_inputs(l, inputs, in.run_as_user, err);
    return r < 0 ? r : read_properties(l, properties, err);
}

int fl_session_plan_load(const char *content, struct fl_ssm_refs *refs, struct fl_arena *arena,
                         struct fl_session_plan *ret_plan, struct fl_err *err)
{
    struct load l = { .arena = arena, .parameters = json_object(), .refs = refs, .plan = ret_plan };
    int r;

    *ret_plan = (struct fl_session_plan){ 0 };
    if (!l.parameters)
        return fl_err_nomem(err);
    fl_subst_init(&l.subst, l.parameters);
    r = load(&l, content, err);
    json_decref(l.parameters);
    return r;
}

const char *fl_session_plan_user(const struct fl_session_plan *plan, bool root,
                                 const char *configured)
{
    if (plan->kind == FL_SESSION_PORT)
        return NULL;
    if (!root)
        return NULL; /* its own user, whose name the caller knows */
    if (plan->elevated)
        return "root";
    if (plan->run_as_named)
        return plan->run_as;
    return configured && *configured ? configured : FL_SESSION_DEFAULT_USER;
}
