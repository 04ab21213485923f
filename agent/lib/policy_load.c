/* policy_load.c - policy.json to rules: strictly, each error with its line and its member.
 *
 * The shapes of policy.h are walked over the parsed file first (nothing unknown, nothing empty),
 * then decoded by them, then what strings mean is looked at.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/lib/policy_priv.h"
#include "common/codec/json_load.h"
#include "common/doc/signature.h"

#define VERSION           1
#define MEMORY_MAX_BYTES  (8u << 20)
#define MAX_RULES         1000
#define MAX_NAME_BYTES    64
#define KEY_PREFIX        "MCowBQYDK2VwAyEA" /* DER of every Ed25519 public key begins so */
#define KEY_CHARACTERS    60
#define SHA256_DIGITS     64
#define MAX_PATH_BYTES    200
#define DAY_MIN           (24 * 60)
#define EVERY_DAY         0x7f
#define BASE64_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define LOWER_HEX         "0123456789abcdef"
#define WINDOW_FORM       "must be like \"Mon-Fri 08:00-18:00\" or \"22:00-06:00 UTC\""

#define F(member, key) FL_FIELD(struct fl_node_policy_match, member, key, 0)
static const struct fl_field match_fields[] = {
    F(documents, "documents"), F(document_hashes, "documentHashes"),
    F(actions, "actions"),     F(session_types, "sessionTypes"),
    F(signed_by, "signedBy"),  F(run_as, "runAs"),
    F(times, "times"),         F(parameters, "parameters"),
    F(inputs, "inputs"),
};
#undef F
static const struct fl_shape match_shape =
    FL_SHAPE(struct fl_node_policy_match, "match", match_fields);

static const struct fl_field rule_fields[] = {
    FL_FIELD(struct fl_node_policy_rule, name, "name", FL_REQUIRED),
    FL_FIELD(struct fl_node_policy_rule, effect, "effect", FL_REQUIRED),
    FL_FIELD_STRUCT(struct fl_node_policy_rule, match, "match", FL_REQUIRED, &match_shape),
};
static const struct fl_shape rule_shape = FL_SHAPE(struct fl_node_policy_rule, "rule", rule_fields);

static const struct fl_field file_fields[] = {
    FL_FIELD(struct fl_node_policy_file, version, "version", FL_REQUIRED),
    FL_FIELD(struct fl_node_policy_file, default_effect, "default", FL_REQUIRED),
    FL_FIELD(struct fl_node_policy_file, keys, "keys", 0),
    FL_FIELD(struct fl_node_policy_file, labels, "labels", 0),
    FL_FIELD_LIST(struct fl_node_policy_file, rules, n_rules, "rules", FL_REQUIRED, &rule_shape),
};
static const struct fl_shape file_shape =
    FL_SHAPE(struct fl_node_policy_file, "policy", file_fields);

/* ---- where an error is ---- */

/* A value's place: a member of what `up` is, or an element of it. */
struct where {
    const struct where *up; /* NULL: the file itself */
    const char *key;        /* NULL: the element `index` */
    size_t index;
};

struct load {
    const char *text;
    struct fl_node_policy *policy;
    struct fl_err *err;
};

static const char *skip_blank(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

static const char *skip_string(const char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1])
            p++;
    return *p ? p + 1 : p;
}

static const char *skip_value(const char *p)
{
    size_t depth = 0;

    do {
        p = skip_blank(p);
        if (*p == '"') {
            p = skip_string(p);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            depth--;
            p++;
        } else if (*p == ',' || *p == ':') {
            p++;
        } else {
            p += strcspn(p, ",:]} \t\r\n");
        }
    } while (*p && depth > 0);
    return p;
}

/* The text of the member or element in the object or list at `p`; `p` if it is not found. */
static const char *enter(const char *p, const struct where *w)
{
    const char *at = skip_blank(p + 1);

    for (size_t i = 0; *at && *at != '}' && *at != ']'; i++) {
        const char *value = at;
        bool found = !w->key && i == w->index;

        if (w->key) {
            const char *end = skip_string(at);

            found = strlen(w->key) == (size_t)(end - at) - 2 &&
                    memcmp(at + 1, w->key, strlen(w->key)) == 0;
            value = skip_blank(skip_blank(end) + 1);
        }
        if (found)
            return value;
        at = skip_blank(skip_value(value));
        at = skip_blank(at + (*at == ','));
    }
    return p;
}

/* The text is JSON, or there would be no `where`. */
static const char *locate(const char *text, const struct where *w)
{
    return w ? enter(locate(text, w->up), w) : skip_blank(text);
}

static void print_path(const struct where *w, char *out)
{
    size_t len;

    if (!w)
        return;
    print_path(w->up, out);
    len = strlen(out);
    if (w->key)
        snprintf(out + len, MAX_PATH_BYTES - len, "%s%s", len ? "." : "", w->key);
    else
        snprintf(out + len, MAX_PATH_BYTES - len, "[%zu]", w->index);
}

static int fail(struct load *l, const struct where *at, const char *fault)
{
    const char *place = locate(l->text, at);
    char path[MAX_PATH_BYTES] = "";
    size_t line = 1;

    for (const char *p = l->text; p < place; p++)
        line += *p == '\n';
    print_path(at, path);
    return fl_err_set(l->err, -EINVAL, NULL, "line %zu: %s%s%s", line, path, path[0] ? ": " : "",
                      fault);
}

/* ---- types: the shapes ---- */

static int check_object(struct load *l, const struct where *at, const struct fl_shape *shape,
                        json_t *v);

static bool is_text(const json_t *v)
{
    return json_is_string(v) && json_string_length(v) > 0;
}

static int check_texts(struct load *l, const struct where *at, json_t *v)
{
    size_t n = json_array_size(v);

    for (size_t i = 0; i < n; i++)
        if (!is_text(json_array_get(v, i)))
            return fail(l, &(struct where){ .up = at, .index = i }, "must be a string, not empty");
    return json_is_array(v) && n > 0 ? 0 : fail(l, at, "must be a list of strings, not empty");
}

static int check_text_map(struct load *l, const struct where *at, json_t *v)
{
    const char *key;
    json_t *elem;

    json_object_foreach(v, key,
                        elem) if (!json_is_string(elem)) /* an empty pattern fits what is empty */
        return fail(l, &(struct where){ .up = at, .key = key }, "must be a string");
    return json_object_size(v) > 0 ? 0 : fail(l, at, "must be an object of strings, not empty");
}

static int check_value(struct load *l, const struct where *at, const struct fl_field *f, json_t *v)
{
    switch (f->kind) {
    case FL_KIND_I64:
        return json_is_integer(v) ? 0 : fail(l, at, "must be an integer");
    case FL_KIND_STR:
        return is_text(v) ? 0 : fail(l, at, "must be a string, not empty");
    case FL_KIND_STRS:
        return check_texts(l, at, v);
    case FL_KIND_STRMAP:
        return check_text_map(l, at, v);
    case FL_KIND_LIST:
        if (!json_is_array(v) || json_array_size(v) > MAX_RULES)
            return fail(l, at, "must be a list of at most 1000 objects");
        for (size_t i = 0; i < json_array_size(v); i++) {
            int r = check_object(l, &(struct where){ .up = at, .index = i }, f->shape,
                                 json_array_get(v, i));
            if (r < 0)
                return r;
        }
        return 0;
    default:
        return check_object(l, at, f->shape, v);
    }
}

static const struct fl_field *find_field(const struct fl_shape *shape, const char *key)
{
    for (size_t i = 0; i < shape->n_fields; i++)
        if (strcmp(shape->fields[i].key, key) == 0)
            return &shape->fields[i];
    return NULL;
}

static int check_object(struct load *l, const struct where *at, const struct fl_shape *shape,
                        json_t *v)
{
    const char *key;
    json_t *member;
    char fault[128];

    if (!json_is_object(v))
        return fail(l, at, "must be an object");
    json_object_foreach(v, key, member)
    {
        const struct fl_field *f = find_field(shape, key);
        struct where here = { .up = at, .key = key };
        int r = f ? check_value(l, &here, f, member) : fail(l, &here, "unknown member");

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < shape->n_fields; i++)
        if ((shape->fields[i].flags & FL_REQUIRED) && !json_object_get(v, shape->fields[i].key)) {
            snprintf(fault, sizeof(fault), "\"%s\" is missing", shape->fields[i].key);
            return fail(l, at, fault);
        }
    return 0;
}

/* ---- meaning ---- */

/* "08:00" -> minutes; 24:00 is the end of a day. */
static bool take_clock(const char **p, int *ret_min)
{
    const char *s = *p;
    int hour, min;

    for (size_t i = 0; i < 5; i++)
        if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9')
            return false;
    hour = (s[0] - '0') * 10 + s[1] - '0';
    min = (s[3] - '0') * 10 + s[4] - '0';
    *ret_min = hour * 60 + min;
    *p += 5;
    return min < 60 && *ret_min <= DAY_MIN;
}

static bool take_day(const char **p, int *ret_day)
{
    static const char names[] = "SunMonTueWedThuFriSat";

    for (int i = 0; i < 7; i++)
        if (strncmp(*p, names + (ptrdiff_t)3 * i, 3) == 0) {
            *p += 3;
            *ret_day = i;
            return true;
        }
    return false;
}

/* "Mon-Fri,Sun" */
static bool take_days(const char **p, uint8_t *ret_days)
{
    *ret_days = 0;
    for (;;) {
        int from, to;

        if (!take_day(p, &from))
            return false;
        to = from;
        if (**p == '-') {
            ++*p;
            if (!take_day(p, &to))
                return false;
        }
        for (int i = from;; i = (i + 1) % 7) {
            *ret_days |= (uint8_t)(1u << i);
            if (i == to)
                break;
        }
        if (**p != ',')
            return true;
        ++*p;
    }
}

static bool parse_window(const char *s, struct fl_node_policy_window *w)
{
    w->days = EVERY_DAY;
    if (*s < '0' || *s > '9') {
        if (!take_days(&s, &w->days) || *s++ != ' ')
            return false;
    }
    if (!take_clock(&s, &w->from_min) || *s++ != '-' || !take_clock(&s, &w->to_min))
        return false;
    w->utc = strcmp(s, " UTC") == 0;
    return (w->utc || !*s) && w->from_min != w->to_min && w->from_min < DAY_MIN;
}

static int compile_windows(struct load *l, const struct where *match,
                           struct fl_node_policy_rule *rule)
{
    const struct where at = { .up = match, .key = "times" };
    const struct fl_strs *times = &rule->match->times;

    rule->windows = fl_arena_calloc(&l->policy->arena, times->n, sizeof(*rule->windows));
    if (!rule->windows)
        return -ENOMEM;
    for (size_t i = 0; i < times->n; i++)
        if (!parse_window(times->v[i], &rule->windows[i]))
            return fail(l, &(struct where){ .up = &at, .index = i }, WINDOW_FORM);
    return 0;
}

static int compile_patterns(struct load *l, const struct where *match, const char *key,
                            const struct fl_strmap *in, struct fl_node_policy_patterns *out)
{
    const struct where map = { .up = match, .key = key };

    out->v = fl_arena_calloc(&l->policy->arena, in->n, sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    for (size_t i = 0; i < in->n; i++) {
        const struct where at = { .up = &map, .key = in->v[i].key };
        struct fl_err why = { 0 };
        int r = fl_regexp_new(in->v[i].value, FL_REGEXP_WHOLE | FL_REGEXP_LINES, &out->v[out->n].re,
                              &why);

        if (r < 0)
            return r == -ENOMEM ? r : fail(l, &at, fl_err_text(&why));
        out->v[out->n++].name = in->v[i].key;
    }
    return 0;
}

static int check_strings(struct load *l, const struct where *up, const char *key,
                         const struct fl_strs *list,
                         bool (*good)(const struct fl_node_policy *p, const char *s),
                         const char *fault)
{
    const struct where at = { .up = up, .key = key };

    for (size_t i = 0; i < list->n; i++)
        if (!good(l->policy, list->v[i]))
            return fail(l, &(struct where){ .up = &at, .index = i }, fault);
    return 0;
}

static bool good_hash(const struct fl_node_policy *p, const char *s)
{
    return strlen(s) == SHA256_DIGITS && strspn(s, LOWER_HEX) == SHA256_DIGITS;
}

static bool good_signer(const struct fl_node_policy *p, const char *s)
{
    return fl_node_policy_key(p, s) != NULL;
}

static bool good_label(const struct fl_node_policy *p, const char *s)
{
    return fl_signature_name_valid(s);
}

static bool good_public_key(const char *s)
{
    return strlen(s) == KEY_CHARACTERS && strncmp(s, KEY_PREFIX, strlen(KEY_PREFIX)) == 0 &&
           strspn(s, BASE64_CHARACTERS) == KEY_CHARACTERS - 1 && s[KEY_CHARACTERS - 1] == '=';
}

static bool good_rule_name(const char *s)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '"')
            return false;
    return len <= MAX_NAME_BYTES;
}

static int compile_rule(struct load *l, const struct where *at, struct fl_node_policy_rule *rule)
{
    const struct where match = { .up = at, .key = "match" };
    const struct fl_node_policy_match *m = rule->match;
    int r;

    if (!good_rule_name(rule->name))
        return fail(l, &(struct where){ .up = at, .key = "name" },
                    "more than 64 bytes, or with a quote or control character");
    rule->allow = strcmp(rule->effect, "allow") == 0;
    if (!rule->allow && strcmp(rule->effect, "deny") != 0)
        return fail(l, &(struct where){ .up = at, .key = "effect" }, "must be allow or deny");
    r = check_strings(l, &match, "documentHashes", &m->document_hashes, good_hash,
                      "must be SHA-256 as 64 lower-case hex digits");
    if (r == 0)
        r = check_strings(l, &match, "signedBy", &m->signed_by, good_signer,
                          "not the name of one of \"keys\"");
    if (r == 0)
        r = compile_windows(l, &match, rule);
    if (r == 0)
        r = compile_patterns(l, &match, "parameters", &m->parameters, &rule->parameters);
    return r < 0 ? r : compile_patterns(l, &match, "inputs", &m->inputs, &rule->inputs);
}

static int compile_rules(struct load *l)
{
    struct fl_node_policy_file *file = &l->policy->file;
    const struct where rules = { .key = "rules" };

    for (size_t i = 0; i < file->n_rules; i++) {
        const struct where at = { .up = &rules, .index = i };
        int r = compile_rule(l, &at, &file->rules[i]);

        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (strcmp(file->rules[i].name, file->rules[j].name) == 0)
                return fail(l, &(struct where){ .up = &at, .key = "name" },
                            "another rule has this name");
    }
    return 0;
}

static int compile(struct load *l)
{
    const struct fl_node_policy_file *file = &l->policy->file;
    const struct where keys = { .key = "keys" };
    int r;

    if (file->version != VERSION)
        return fail(l, &(struct where){ .key = "version" }, "must be 1");
    if (strcmp(file->default_effect, "allow") != 0 && strcmp(file->default_effect, "deny") != 0)
        return fail(l, &(struct where){ .key = "default" }, "must be allow or deny");
    for (size_t i = 0; i < file->keys.n; i++) {
        const struct where at = { .up = &keys, .key = file->keys.v[i].key };

        if (!fl_signature_name_valid(file->keys.v[i].key))
            return fail(l, &at, "names of keys are 1 to 64 of A-Z a-z 0-9 _ -");
        if (!good_public_key(file->keys.v[i].value))
            return fail(l, &at, "must be an Ed25519 public key as `fairlead keygen` prints it");
    }
    r = check_strings(l, NULL, "labels", &file->labels, good_label,
                      "labels are 1 to 64 of A-Z a-z 0-9 _ -");
    return r < 0 ? r : compile_rules(l);
}

int fl_node_policy_parse(const char *text, size_t len, struct fl_node_policy **ret_policy,
                         struct fl_err *err)
{
    struct fl_node_policy *p = calloc(1, sizeof(*p));
    struct load l = { .text = text, .policy = p, .err = err };
    json_error_t bad;
    json_t *json;
    int r;

    if (!p)
        return fl_err_nomem(err);
    fl_arena_init(&p->arena, MEMORY_MAX_BYTES);
    json = len <= FL_POLICY_MAX_BYTES && !memchr(text, '\0', len)
               ? fl_json_load(text, len, JSON_REJECT_DUPLICATES, &bad)
               : NULL;
    if (!json)
        r = len > FL_POLICY_MAX_BYTES || memchr(text, '\0', len)
                ? fl_err_set(err, -EBADMSG, NULL, "more than %u bytes, or with NUL bytes",
                             FL_POLICY_MAX_BYTES)
                : fl_err_set(err, -EBADMSG, NULL, "line %d: %s", bad.line, bad.text);
    else
        r = check_object(&l, NULL, &file_shape, json);
    if (r == 0)
        r = fl_json_decode_value(&file_shape, json, 0, &p->arena, &p->file, err);
    json_decref(json);
    if (r == 0)
        r = compile(&l);
    if (r < 0) {
        fl_node_policy_free(p);
        return err && err->code == 0 ? fl_err_nomem(err) : r;
    }
    *ret_policy = p;
    return 0;
}

static void free_patterns(struct fl_node_policy_patterns *patterns)
{
    for (size_t i = 0; i < patterns->n; i++)
        fl_regexp_free(patterns->v[i].re);
}

struct fl_node_policy *fl_node_policy_free(struct fl_node_policy *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->file.n_rules; i++) {
        free_patterns(&p->file.rules[i].parameters);
        free_patterns(&p->file.rules[i].inputs);
    }
    fl_arena_done(&p->arena);
    free(p);
    return NULL;
}
