/* policy.c - see policy.h: deciding. Reading the file is policy_load.c. */
#include "agent/lib/policy.h"
#include <errno.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "agent/lib/policy_priv.h"
#include "common/codec/json_load.h"
#include "common/doc/signature.h"

/* Actions that bring in a document of their own: what they do cannot be told from their inputs, so
 * neither the default nor a rule without `actions` allows them. */
static const char *const bring_more[] = { "aws:runDocument" };

/* What is decided about, parsed once. */
struct facts {
    const struct fl_node_policy_subject *s;
    json_t *parameters, *inputs; /* NULL: none, or not JSON */
    bool brings_more;
    unsigned *hard_left; /* matches that may take long */
};

/* ---- values and patterns ---- */

/* What cannot be told, as it takes too much work, does not fit where all must, and fits where any
 * would: it is refused either way. */
static bool one_fits(const struct fl_regexp *re, const json_t *v, bool all, unsigned *hard_left)
{
    fl_autofree char *text = NULL;
    int r;

    if (json_is_string(v)) {
        r = fl_regexp_match(re, json_string_value(v), json_string_length(v), hard_left, NULL);
    } else {
        text = json_dumps(v, FL_JSON_CANONICAL);
        r = text ? fl_regexp_match(re, text, strlen(text), hard_left, NULL) : -ENOMEM;
    }
    return r < 0 ? !all : r > 0;
}

/* Of a list each element counts: all of them must fit, or any. */
static bool value_fits(const struct fl_regexp *re, const json_t *v, bool all, unsigned *hard_left)
{
    if (!json_is_array(v))
        return one_fits(re, v, all, hard_left);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (one_fits(re, json_array_get(v, i), all, hard_left) != all)
            return !all;
    return all;
}

static const struct fl_node_policy_pattern *find_pattern(
    const struct fl_node_policy_patterns *patterns, const char *name, bool nocase)
{
    for (size_t i = 0; i < patterns->n; i++)
        if ((nocase ? strcasecmp : strcmp)(patterns->v[i].name, name) == 0)
            return &patterns->v[i];
    return NULL;
}

/* For a rule that allows, an object fits if there is nothing in it that was not listed, and every
 * value fits. */
static bool object_is_bounded(const struct fl_node_policy_patterns *patterns, json_t *object,
                              bool nocase, unsigned *hard_left)
{
    const char *key;
    json_t *v;

    json_object_foreach(object, key, v)
    {
        const struct fl_node_policy_pattern *p = find_pattern(patterns, key, nocase);

        if (!nocase && strcmp(key, FL_SIGNATURE_PARAMETER) == 0)
            continue;
        if (!p || !value_fits(p->re, v, true, hard_left))
            return false;
    }
    return true;
}

/* For a rule that denies, it fits if each listed name has some value that fits. */
static bool object_is_caught(const struct fl_node_policy_patterns *patterns, json_t *object,
                             bool nocase, unsigned *hard_left)
{
    const char *key;
    json_t *v;

    for (size_t i = 0; i < patterns->n; i++) {
        bool caught = false;

        json_object_foreach(object, key,
                            v) if ((nocase ? strcasecmp : strcmp)(patterns->v[i].name, key) == 0)
            caught |= value_fits(patterns->v[i].re, v, false, hard_left);
        if (!caught)
            return false;
    }
    return true;
}

static bool parameters_fit(const struct fl_node_policy_rule *rule, const struct facts *f)
{
    const struct fl_node_policy_patterns *patterns = &rule->parameters;

    if (patterns->n == 0)
        return true;
    if (f->s->parameters_open)
        return !rule->allow;
    if (!rule->allow)
        return object_is_caught(patterns, f->parameters, false, f->hard_left);
    for (size_t i = 0; i < patterns->n; i++)
        if (!json_object_get(f->parameters, patterns->v[i].name))
            return false;
    return object_is_bounded(patterns, f->parameters, false, f->hard_left);
}

/* The plugin takes its inputs in any letter case, and runs once for each element of an array. */
static bool inputs_fit(const struct fl_node_policy_rule *rule, const struct facts *f)
{
    const struct fl_node_policy_patterns *patterns = &rule->inputs;
    bool is_list = json_is_array(f->inputs);
    size_t n = is_list ? json_array_size(f->inputs) : 1;

    if (patterns->n == 0)
        return true;
    if (f->s->session_type)
        return false;
    if (json_is_null(f->inputs))
        return rule->allow;
    for (size_t i = 0; i < n; i++) {
        json_t *object = is_list ? json_array_get(f->inputs, i) : f->inputs;
        bool fits = json_is_object(object) && (rule->allow ? object_is_bounded : object_is_caught)(
                                                  patterns, object, true, f->hard_left);

        if (fits != rule->allow)
            return !rule->allow;
    }
    return rule->allow;
}

/* ---- names and times ---- */

static bool glob_fits(const char *pattern, const char *text)
{
    return fnmatch(pattern, text, 0) == 0;
}

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* An empty list asks for nothing; what is not known fits nothing. */
static bool list_fits(const struct fl_strs *list, const char *text,
                      bool (*fits)(const char *wanted, const char *text))
{
    for (size_t i = 0; text && i < list->n; i++)
        if (fits(list->v[i], text))
            return true;
    return list->n == 0;
}

static bool window_fits(const struct fl_node_policy_window *w, int64_t time_ms)
{
    time_t t = (time_t)(time_ms / 1000);
    struct tm tm = { 0 };
    int now_min;
    bool today, yesterday;

    if (w->utc)
        gmtime_r(&t, &tm);
    else
        localtime_r(&t, &tm);
    now_min = tm.tm_hour * 60 + tm.tm_min;
    today = w->days & 1u << tm.tm_wday;
    yesterday = w->days & 1u << (tm.tm_wday + 6) % 7;
    if (w->from_min < w->to_min)
        return today && now_min >= w->from_min && now_min < w->to_min;
    return (today && now_min >= w->from_min) || (yesterday && now_min < w->to_min);
}

static bool times_fit(const struct fl_node_policy_rule *rule, int64_t time_ms)
{
    for (size_t i = 0; i < rule->match->times.n; i++)
        if (window_fits(&rule->windows[i], time_ms))
            return true;
    return rule->match->times.n == 0;
}

/* ---- deciding ---- */

static bool rule_fits(const struct fl_node_policy_rule *rule, const struct facts *f)
{
    const struct fl_node_policy_match *m = rule->match;
    const struct fl_node_policy_subject *s = f->s;

    if (rule->allow && f->brings_more && m->actions.n == 0)
        return false;
    return list_fits(&m->documents, s->document, glob_fits) &&
           list_fits(&m->document_hashes, s->document_sha256, same) &&
           list_fits(&m->actions, s->session_type ? NULL : s->action, glob_fits) &&
           list_fits(&m->session_types, s->session_type, glob_fits) &&
           list_fits(&m->signed_by, s->signed_by, same) && list_fits(&m->run_as, s->run_as, same) &&
           times_fit(rule, s->time_ms) && parameters_fit(rule, f) && inputs_fit(rule, f);
}

static void decide(const struct fl_node_policy *p, const struct facts *f,
                   struct fl_node_policy_verdict *v)
{
    for (size_t i = 0; i < p->file.n_rules; i++) {
        const struct fl_node_policy_rule *rule = &p->file.rules[i];

        if (!rule_fits(rule, f))
            continue;
        v->allowed = rule->allow;
        v->by_signature = rule->allow && rule->match->signed_by.n > 0;
        snprintf(v->why, sizeof(v->why), "rule \"%s\"", rule->name);
        return;
    }
    v->allowed = fl_node_policy_default_allows(p) && !f->brings_more;
    snprintf(v->why, sizeof(v->why), "%s",
             v->allowed ? "no rule denies it"
             : f->brings_more && fl_node_policy_default_allows(p)
                 ? "no rule allows this action by its name, which it needs"
                 : "no rule allows it");
}

void fl_node_policy_decide(const struct fl_node_policy *p, const struct fl_node_policy_subject *s,
                           struct fl_node_policy_verdict *ret_verdict)
{
    unsigned hard_left = FL_REGEXP_HARD;
    struct facts f = {
        .s = s,
        .hard_left = &hard_left,
        .parameters = fl_json_load_text(s->parameters, JSON_ALLOW_NUL, NULL),
        .inputs = fl_json_load_text(s->inputs ? s->inputs : "null",
                                    JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL),
    };

    *ret_verdict = (struct fl_node_policy_verdict){ 0 };
    for (size_t i = 0; s->action && i < FL_ARRAY_LEN(bring_more); i++)
        f.brings_more |= strcmp(s->action, bring_more[i]) == 0;
    decide(p, &f, ret_verdict);
    json_decref(f.parameters);
    json_decref(f.inputs);
}

/* ---- what stands in it ---- */

size_t fl_node_policy_n_rules(const struct fl_node_policy *p)
{
    return p->file.n_rules;
}

bool fl_node_policy_default_allows(const struct fl_node_policy *p)
{
    return strcmp(p->file.default_effect, "allow") == 0;
}

const char *fl_node_policy_next_trusting(const struct fl_node_policy *p, size_t *index)
{
    while (*index < p->file.n_rules) {
        const struct fl_node_policy_rule *rule = &p->file.rules[(*index)++];
        const struct fl_node_policy_match *m = rule->match;

        if (rule->allow && m->document_hashes.n + m->signed_by.n + m->inputs.n == 0)
            return rule->name;
    }
    return NULL;
}

const char *fl_node_policy_key(const struct fl_node_policy *p, const char *name)
{
    for (size_t i = 0; i < p->file.keys.n; i++)
        if (strcmp(p->file.keys.v[i].key, name) == 0)
            return p->file.keys.v[i].value;
    return NULL;
}

char *const *fl_node_policy_labels(const struct fl_node_policy *p, size_t *ret_n)
{
    *ret_n = p->file.labels.n;
    return p->file.labels.v;
}
