/* policy.c - reading and evaluating policies. The only user of jansson in server/auth. */
#include "server/auth/policy.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/codec/json_load.h"
#include "server/auth/match.h"

#define STATEMENTS_MAX 100
#define VALUES_MAX     256 /* of one Action, Resource or condition key */
#define CONDITIONS_MAX 32

#define VARIABLE_PATTERN_MAX 512  /* of a value that holds policy variables, */
#define VARIABLE_TEXT_MAX    8192 /* and with their values in place: 34 of them, of 200 bytes */

enum operator{
    OP_EQUALS,
    OP_NOT_EQUALS,
    OP_LIKE,
    OP_IP,
    OP_NOT_IP,
    OP_BOOL,
};

static const struct {
    const char *name;
    enum operator op;
    bool negated;
    bool absent; /* what it is where the request lacks the key */
} operators[] = {
    { "StringEquals", OP_EQUALS, false, false }, { "StringNotEquals", OP_NOT_EQUALS, true, true },
    { "StringLike", OP_LIKE, false, false },     { "IpAddress", OP_IP, false, false },
    { "NotIpAddress", OP_NOT_IP, true, true },   { "Bool", OP_BOOL, false, false },
    { "BoolIfExists", OP_BOOL, false, true },
};

enum key_source {
    KEY_SOURCE_IP,
    KEY_USERNAME,
    KEY_USER_ID,
    KEY_RESOURCE_TAG,
    KEY_REQUEST_TAG,
    KEY_DOCUMENT_CHECK,
};

/* A name that ends in '/' is followed by the tag's key. Names ignore letter case, tag keys do not.
 */
static const struct {
    const char *name;
    enum key_source source;
} keys[] = {
    { "aws:SourceIp", KEY_SOURCE_IP },
    { "aws:username", KEY_USERNAME },
    { "ssm:resourceTag/", KEY_RESOURCE_TAG },
    { "aws:ResourceTag/", KEY_RESOURCE_TAG },
    { "aws:RequestTag/", KEY_REQUEST_TAG },
    { "aws:userid", KEY_USER_ID },
    /* AWS asks about a session's document only where a policy wants it; here it always is. */
    { "ssm:SessionDocumentAccessCheck", KEY_DOCUMENT_CHECK },
};

/* In Resource, NotResource and the values of conditions. */
static const struct {
    const char *name;
    size_t offset; /* of its value in struct fl_policy_request */
} variables[] = {
    { "${aws:username}", offsetof(struct fl_policy_request, username) },
    { "${aws:userid}", offsetof(struct fl_policy_request, user_id) },
};

struct condition {
    enum operator op;
    bool negated, absent;
    enum key_source source;
    const char *tag;
    struct fl_strs values;
};

struct statement {
    bool deny;
    bool not_action, not_resource;
    struct fl_strs actions, resources, principals;
    struct condition *conditions;
    size_t n_conditions;
};

struct fl_policy {
    struct statement *statements;
    size_t n;
};

struct parser {
    struct fl_arena *arena;
    enum fl_policy_kind kind;
    struct fl_err *err;
};

static int malformed(struct parser *p, const char *what)
{
    return fl_err_set(p->err, -EINVAL, "MalformedPolicyDocument", "policy: %s", what);
}

static int no_memory(struct parser *p)
{
    return fl_err_set(p->err, -ENOMEM, NULL, "the policy is too large");
}

/* ---- reading ---- */

static int read_string(struct parser *p, const json_t *v, char **ret, const char *what)
{
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return malformed(p, what);
    *ret = fl_arena_strdup(p->arena, json_string_value(v));
    return *ret ? 0 : no_memory(p);
}

/* The variable that `s` begins with, or -1. */
static int variable_at(const char *s)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(variables); i++)
        if (strncmp(s, variables[i].name, strlen(variables[i].name)) == 0)
            return (int)i;
    return -1;
}

static int check_variables(struct parser *p, const char *value, bool allowed)
{
    const char *at = strstr(value, "${");

    if (at && (!allowed || strlen(value) > VARIABLE_PATTERN_MAX))
        return malformed(p, allowed ? "a value with policy variables is too long"
                                    : "policy variables (\"${…}\") are not supported here");
    for (; at; at = strstr(at + 1, "${"))
        if (variable_at(at) < 0)
            return malformed(p, "a policy variable is not supported: only ${aws:username} and "
                                "${aws:userid} are");
    return 0;
}

/* A string or a list of strings. */
static int read_values(struct parser *p, const json_t *v, struct fl_strs *ret, bool may_vary,
                       const char *what)
{
    size_t n = json_is_array(v) ? json_array_size(v) : 1;

    if (n == 0 || n > VALUES_MAX)
        return malformed(p, what);
    ret->v = fl_arena_calloc(p->arena, n, sizeof(char *));
    if (!ret->v)
        return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        int r = read_string(p, json_is_array(v) ? json_array_get(v, i) : v, &ret->v[i], what);

        if (r >= 0)
            r = check_variables(p, ret->v[i], may_vary);
        if (r < 0)
            return r;
    }
    ret->n = n;
    return 0;
}

static int read_key(struct parser *p, const char *name, struct condition *c)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++) {
        size_t len = strlen(keys[i].name);
        bool tag = keys[i].name[len - 1] == '/';

        if (tag ? strncasecmp(name, keys[i].name, len) != 0 || !name[len]
                : strcasecmp(name, keys[i].name) != 0)
            continue;
        c->source = keys[i].source;
        c->tag = tag ? fl_arena_strdup(p->arena, name + len) : "";
        return c->tag ? 0 : no_memory(p);
    }
    return fl_err_set(p->err, -EINVAL, "MalformedPolicyDocument",
                      "policy: Condition key %.100s is not supported", name);
}

static int check_condition(struct parser *p, const struct condition *c)
{
    bool ip = c->op == OP_IP || c->op == OP_NOT_IP;

    if (ip != (c->source == KEY_SOURCE_IP))
        return malformed(p,
                         "IpAddress and NotIpAddress go with aws:SourceIp, and nothing else does");
    if ((c->op == OP_BOOL) != (c->source == KEY_DOCUMENT_CHECK))
        return malformed(p, "Bool and BoolIfExists go with ssm:SessionDocumentAccessCheck, and "
                            "nothing else does");
    for (size_t i = 0; ip && i < c->values.n; i++)
        if (!fl_cidr_valid(c->values.v[i]))
            return malformed(p, "aws:SourceIp wants addresses like 192.0.2.0/24");
    return 0;
}

static int read_operator(struct parser *p, const char *name, json_t *map, struct statement *s)
{
    size_t at = 0;
    const char *key;
    json_t *value;

    while (at < FL_ARRAY_LEN(operators) && strcmp(operators[at].name, name) != 0)
        at++;
    if (at == FL_ARRAY_LEN(operators))
        return fl_err_set(p->err, -EINVAL, "MalformedPolicyDocument",
                          "policy: Condition operator %.100s is not supported", name);
    if (!json_is_object(map))
        return malformed(p, "a Condition operator wants an object");

    json_object_foreach(map, key, value)
    {
        struct condition *c = &s->conditions[s->n_conditions];
        int r;

        if (s->n_conditions == CONDITIONS_MAX)
            return malformed(p, "too many conditions");
        c->op = operators[at].op;
        c->negated = operators[at].negated;
        c->absent = operators[at].absent;
        r = read_key(p, key, c);
        if (r >= 0)
            r = read_values(p, value, &c->values, true,
                            "a condition wants a string or a list of strings");
        if (r >= 0)
            r = check_condition(p, c);
        if (r < 0)
            return r;
        s->n_conditions++;
    }
    return 0;
}

static int read_condition(struct parser *p, json_t *v, struct statement *s)
{
    const char *name;
    json_t *map;

    if (!json_is_object(v))
        return malformed(p, "Condition must be an object");
    s->conditions = fl_arena_calloc(p->arena, CONDITIONS_MAX, sizeof(*s->conditions));
    if (!s->conditions)
        return no_memory(p);
    json_object_foreach(v, name, map)
    {
        int r = read_operator(p, name, map, s);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_effect(struct parser *p, json_t *v, struct statement *s)
{
    const char *effect = json_string_value(v);

    if (!effect || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
        return malformed(p, "Effect must be Allow or Deny");
    s->deny = effect[0] == 'D';
    return 0;
}

static int read_actions(struct parser *p, json_t *v, struct statement *s)
{
    int r = read_values(p, v, &s->actions, false, "Action must be a string or a list of strings");

    for (size_t i = 0; r >= 0 && i < s->actions.n; i++)
        if (strcmp(s->actions.v[i], "*") != 0 && !strchr(s->actions.v[i], ':'))
            return malformed(p, "an Action is \"service:Operation\" or \"*\"");
    return r;
}

static int read_not_actions(struct parser *p, json_t *v, struct statement *s)
{
    s->not_action = true;
    return read_actions(p, v, s);
}

static int read_resources(struct parser *p, json_t *v, struct statement *s)
{
    return read_values(p, v, &s->resources, true, "Resource must be a string or a list of strings");
}

static int read_not_resources(struct parser *p, json_t *v, struct statement *s)
{
    s->not_resource = true;
    return read_resources(p, v, s);
}

static int read_principal(struct parser *p, json_t *v, struct statement *s)
{
    json_t *aws = json_object_get(v, "AWS"), *service = json_object_get(v, "Service");

    if (json_is_string(v))
        return strcmp(json_string_value(v), "*") == 0
                   ? read_values(p, v, &s->principals, false, "Principal")
                   : malformed(p, "Principal must be \"*\" or an object");
    if (!json_is_object(v) || json_object_size(v) != (aws ? 1u : 0u) + (service ? 1u : 0u))
        return malformed(p, "Principal holds AWS or Service");
    /* A role for nodes names ssm.amazonaws.com; the plane itself hands those out (protocol 1 §1.1).
     */
    return aws ? read_values(p, aws, &s->principals, false,
                             "Principal.AWS must be a string or a list")
               : 0;
}

static int read_nothing(struct parser *p, json_t *v, struct statement *s)
{
    return 0;
}

static const struct {
    const char *name;
    int (*read)(struct parser *p, json_t *v, struct statement *s);
    unsigned kinds; /* bit FL_POLICY_*: where it may stand */
} members[] = {
    { "Sid", read_nothing, 3 },         { "Effect", read_effect, 3 },
    { "Action", read_actions, 3 },      { "NotAction", read_not_actions, 3 },
    { "Resource", read_resources, 1 },  { "NotResource", read_not_resources, 1 },
    { "Condition", read_condition, 3 }, { "Principal", read_principal, 2 },
};

static int read_statement(struct parser *p, json_t *v, struct statement *s)
{
    const char *name;
    json_t *value;

    if (!json_is_object(v))
        return malformed(p, "a Statement must be an object");
    if (!json_object_get(v, "Effect"))
        return malformed(p, "a Statement lacks Effect");
    if (!json_object_get(v, "Action") == !json_object_get(v, "NotAction"))
        return malformed(p, "a Statement needs either Action or NotAction");
    if (p->kind == FL_POLICY_IDENTITY &&
        !json_object_get(v, "Resource") == !json_object_get(v, "NotResource"))
        return malformed(p, "a Statement needs either Resource or NotResource");
    if (p->kind == FL_POLICY_TRUST && !json_object_get(v, "Principal"))
        return malformed(p, "a Statement of a trust policy needs Principal");

    json_object_foreach(v, name, value)
    {
        size_t i = 0;
        int r;

        while (i < FL_ARRAY_LEN(members) && strcmp(members[i].name, name) != 0)
            i++;
        if (i == FL_ARRAY_LEN(members) || !(members[i].kinds & (1u << p->kind)))
            return fl_err_set(p->err, -EINVAL, "MalformedPolicyDocument",
                              "policy: Statement member %.100s is not supported here", name);
        r = members[i].read(p, value, s);
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_policy(struct parser *p, json_t *root, struct fl_policy *policy)
{
    json_t *list = json_object_get(root, "Statement"), *value;
    size_t n = json_is_array(list) ? json_array_size(list) : 1;
    const char *name;

    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "Version") != 0 && strcmp(name, "Id") != 0 &&
            strcmp(name, "Statement") != 0)
            return fl_err_set(p->err, -EINVAL, "MalformedPolicyDocument",
                              "policy: member %.100s is not known", name);
    }
    if (!list || n == 0 || n > STATEMENTS_MAX)
        return malformed(p, "1 to 100 statements are wanted");
    policy->statements = fl_arena_calloc(p->arena, n, sizeof(*policy->statements));
    if (!policy->statements)
        return no_memory(p);
    for (size_t i = 0; i < n; i++) {
        int r = read_statement(p, json_is_array(list) ? json_array_get(list, i) : list,
                               &policy->statements[i]);

        if (r < 0)
            return r;
    }
    policy->n = n;
    return 0;
}

int fl_policy_parse(const char *text, size_t len, enum fl_policy_kind kind, struct fl_arena *arena,
                    const struct fl_policy **ret_policy, struct fl_err *err)
{
    struct parser p = { .arena = arena, .kind = kind, .err = err };
    struct fl_policy *policy;
    json_error_t jerr;
    json_t *root;
    int r;

    if (len > FL_POLICY_MAX_BYTES)
        return fl_err_set(err, -EMSGSIZE, "MalformedPolicyDocument", "policy: longer than %d bytes",
                          FL_POLICY_MAX_BYTES);
    policy = fl_arena_calloc(arena, 1, sizeof(*policy));
    if (!policy)
        return no_memory(&p);
    root = fl_json_load(text, len, JSON_REJECT_DUPLICATES, &jerr);
    if (!json_is_object(root)) {
        r = fl_err_set(err, -EINVAL, "MalformedPolicyDocument", "policy: %.200s, line %d",
                       root ? "not an object" : jerr.text, root ? 1 : jerr.line);
        json_decref(root);
        return r;
    }
    r = read_policy(&p, root, policy);
    json_decref(root);
    if (r < 0)
        return r;
    *ret_policy = policy;
    return 0;
}

/* ---- evaluating ---- */

static const char *tag_value(const struct fl_strmap *tags, const char *key)
{
    for (size_t i = 0; tags && i < tags->n; i++)
        if (strcmp(tags->v[i].key, key) == 0)
            return tags->v[i].value;
    return NULL;
}

static const char *key_value(const struct condition *c, const struct fl_policy_request *req)
{
    switch (c->source) {
    case KEY_SOURCE_IP:
        return req->source_ip;
    case KEY_USERNAME:
        return req->username;
    case KEY_USER_ID:
        return req->user_id;
    case KEY_DOCUMENT_CHECK:
        return strcmp(req->action, "ssm:StartSession") == 0 ? "true" : NULL;
    case KEY_RESOURCE_TAG:
        return tag_value(req->resource_tags, c->tag);
    case KEY_REQUEST_TAG:
        return tag_value(req->request_tags, c->tag);
    }
    return NULL;
}

/* `pattern` itself, or with its variables replaced, in `text`. NULL: the request has no value for
 * one. The values hold no wildcards: names cannot. */
static const char *expand(const char *pattern, const struct fl_policy_request *req,
                          char text[VARIABLE_TEXT_MAX])
{
    size_t len = 0;

    if (!strstr(pattern, "${"))
        return pattern;
    while (*pattern) {
        int i = variable_at(pattern);
        const char *value;

        if (i < 0) {
            text[len++] = *pattern++;
            continue;
        }
        value = *(const char *const *)((const char *)req + variables[i].offset);
        if (!value || strpbrk(value, "*?") || len + strlen(value) > VARIABLE_TEXT_MAX / 2)
            return NULL;
        memcpy(text + len, value, strlen(value));
        len += strlen(value);
        pattern += strlen(variables[i].name);
    }
    text[len] = '\0';
    return text;
}

static bool value_matches(enum operator op, const char *want, const char *have)
{
    switch (op) {
    case OP_EQUALS:
    case OP_NOT_EQUALS:
        return strcmp(want, have) == 0;
    case OP_LIKE:
        return fl_glob(want, have, false);
    case OP_IP:
    case OP_NOT_IP:
        return fl_cidr_match(want, have);
    case OP_BOOL:
        return strcasecmp(want, have) == 0;
    }
    return false;
}

static bool condition_holds(const struct condition *c, const struct fl_policy_request *req)
{
    const char *have = key_value(c, req), *want;
    char text[VARIABLE_TEXT_MAX];
    bool any = false;

    if (!have)
        return c->absent;
    for (size_t i = 0; i < c->values.n && !any; i++) {
        want = expand(c->values.v[i], req, text);
        if (!want)
            return false;
        any = value_matches(c->op, want, have);
    }
    return c->negated ? !any : any;
}

static bool any_glob(const struct fl_strs *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->n; i++)
        if (fl_glob(patterns->v[i], text, true))
            return true;
    return false;
}

/* Whether the statement is about the resource. One that names it by a variable that the request has
 * no value for is about nothing, as in IAM. */
static bool resource_matches(const struct statement *s, const struct fl_policy_request *req)
{
    char text[VARIABLE_TEXT_MAX];
    bool any = false;

    for (size_t i = 0; i < s->resources.n && !any; i++) {
        const char *pattern = expand(s->resources.v[i], req, text);

        if (!pattern && s->not_resource)
            return false;
        any = pattern && fl_glob(pattern, req->resource, false);
    }
    return any != s->not_resource;
}

/* "*", an ARN, a 12-digit account or the ARN of an account's root, which means everyone in it. */
static bool principal_matches(const struct fl_strs *list, const struct fl_policy_request *req)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *p = list->v[i];
        char root[64];

        snprintf(root, sizeof(root), "arn:aws:iam::%.12s:root", req->account);
        if (strcmp(p, "*") == 0 || strcmp(p, req->account) == 0 || strcmp(p, root) == 0 ||
            strcmp(p, req->principal) == 0)
            return true;
    }
    return false;
}

static bool statement_applies(const struct statement *s, const struct fl_policy_request *req)
{
    if (any_glob(&s->actions, req->action) == s->not_action)
        return false;
    if (s->resources.n && !resource_matches(s, req))
        return false;
    /* Identity policies name neither; trust policies name principals and no resources. */
    if (s->resources.n == 0 && !principal_matches(&s->principals, req))
        return false;
    for (size_t i = 0; i < s->n_conditions; i++)
        if (!condition_holds(&s->conditions[i], req))
            return false;
    return true;
}

enum fl_verdict fl_policy_eval(const struct fl_policy *policy, const struct fl_policy_request *req)
{
    enum fl_verdict v = FL_VERDICT_SILENT;

    for (size_t i = 0; i < policy->n; i++) {
        const struct statement *s = &policy->statements[i];

        if (!statement_applies(s, req))
            continue;
        if (s->deny)
            return FL_VERDICT_DENY;
        v = FL_VERDICT_ALLOW;
    }
    return v;
}
