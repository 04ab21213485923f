/* precondition.c - see precondition.h. */
#include "common/doc/precondition.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "common/base/buf.h"

#define PLATFORM "platformType"

enum verdict { IS_TRUE, IS_FALSE, IS_INVALID };

/* "{{ ssm:name }}" with spaces only; `prefix` is "ssm:" or "ssm-secure:". */
static bool has_store_reference(const char *s, const char *prefix)
{
    for (const char *p = strstr(s, "{{"); p; p = strstr(p + 1, "{{")) {
        const char *q = p + 2 + strspn(p + 2, " ");
        size_t n;

        if (strncmp(q, prefix, strlen(prefix)) != 0)
            continue;
        q += strlen(prefix);
        n = strspn(q, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:-");
        if (n > 0 && strncmp(q + n + strspn(q + n, " "), "}}", 2) == 0)
            return true;
    }
    return false;
}

static bool has_parameter(const struct fl_subst *s, const char *text)
{
    return fl_subst_has_reference(s, text, strlen(text));
}

/* Compares two operands after substitution: 1 equal, 0 not, or negative. */
static int resolved_equal(struct fl_subst *subst, const char *a, const char *b)
{
    json_t *in = json_pack("[s,s]", a, b), *x, *y;
    void *out = NULL;
    int r = in ? fl_subst_value(subst, in, &out, NULL) : -ENOMEM;

    if (r == 0) {
        x = json_array_get(out, 0);
        y = json_array_get(out, 1);
        r = json_equal(x, y);
        /* A whole-string reference may give a value of another type; its text is not a string's. */
        json_decref(out);
    }
    json_decref(in);
    return r;
}

/* One operator. *ret_text (static string) tells what is wrong with an invalid one. */
static int string_equals(const struct fl_strs *args, struct fl_subst *subst, const char *platform,
                         enum verdict *ret, const char **ret_text)
{
    const char *a, *b, *other;
    int r;

    *ret = IS_INVALID;
    if (args->n != 2) {
        *ret_text = "operator accepts exactly 2 arguments";
        return 0;
    }
    a = args->v[0];
    b = args->v[1];
    if (strcmp(a, b) == 0) {
        *ret_text = strcmp(a, PLATFORM) == 0 ? "[platformType platformType]"
                                             : "operator's arguments can't be identical";
        return 0;
    }
    if (has_store_reference(a, "ssm:") || has_store_reference(b, "ssm:")) {
        *ret_text = "operator's arguments can't contain SSM parameters";
        return 0;
    }
    if (has_store_reference(a, "ssm-secure:") || has_store_reference(b, "ssm-secure:")) {
        *ret_text = "operator's arguments can't contain secure SSM parameters";
        return 0;
    }
    if (strcmp(a, PLATFORM) == 0 || strcmp(b, PLATFORM) == 0) {
        other = strcmp(a, PLATFORM) == 0 ? b : a;
        if (has_parameter(subst, other))
            *ret_text = "the second argument for the platformType variable can't contain document "
                        "parameters";
        else
            *ret = strcasecmp(other, platform) == 0 ? IS_TRUE : IS_FALSE;
        return 0;
    }
    if (!has_parameter(subst, a) && !has_parameter(subst, b)) {
        *ret_text = "at least one of operator's arguments must contain a valid document parameter";
        return 0;
    }
    r = resolved_equal(subst, a, b);
    if (r < 0)
        return r;
    *ret = r ? IS_TRUE : IS_FALSE;
    return 0;
}

int fl_precondition_eval(const struct fl_listmap *operators, struct fl_subst *subst,
                         const char *platform, struct fl_arena *arena, struct fl_doc_step *step)
{
    fl_autobuf struct fl_buf text = FL_BUF(arena->max_bytes);
    bool any_false = false, any_invalid = false;

    for (size_t i = 0; i < operators->n; i++) {
        const char *name = operators->v[i].key, *why = NULL;
        const struct fl_strs *args = &operators->v[i].values;
        bool known = strcmp(name, "StringEquals") == 0;
        enum verdict v = IS_INVALID;
        int r = known ? string_equals(args, subst, platform, &v, &why) : 0;

        if (r < 0)
            return r;
        if (v == IS_TRUE)
            continue;
        any_false |= v == IS_FALSE;
        any_invalid |= v == IS_INVALID;
        if (text.len > 0)
            r = fl_buf_puts(&text, ", ");
        if (r == 0 && !known)
            r = fl_buf_printf(&text, "unrecognized operator: \"%s\"", name);
        else if (r == 0 && v == IS_FALSE)
            r = fl_buf_printf(&text, "\"%s\": [%s, %s]", name, args->v[0], args->v[1]);
        else if (r == 0)
            r = fl_buf_printf(&text, "\"%s\": %s", name, why);
        if (r < 0)
            return r;
    }
    step->precondition = operators->n == 0 ? FL_PRE_NONE
                         : any_false       ? FL_PRE_FALSE
                         : any_invalid     ? FL_PRE_INVALID
                                           : FL_PRE_TRUE;
    step->precondition_text = fl_arena_memdup(arena, text.data ? text.data : "", text.len);
    return step->precondition_text ? 0 : -ENOMEM;
}
