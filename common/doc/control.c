/* control.c - see control.h. */
#include "common/doc/control.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "common/codec/json_load.h"

#define STEP_PREFIX "step:"

static const struct {
    const char *word;
    enum fl_doc_on_failure meaning;
} failure_words[] = {
    { "Continue", FL_ON_FAILURE_DEFAULT },
    { "Abort", FL_ON_FAILURE_ABORT },
    { "exit", FL_ON_FAILURE_ABORT },
    { "successAndExit", FL_ON_FAILURE_SUCCEED },
};

/* What is read, and from where: for the words of a refusal. */
struct reading {
    size_t index;
    const char *const *names;
    size_t n_names;
    struct fl_err *err;
};

static int refuse(const struct reading *r, const char *member, const char *why)
{
    return fl_err_set(r->err, -EINVAL, NULL, "step %zu: %s: %s", r->index + 1, member, why);
}

/* Only forwards: a document comes to its end. */
static int find_later(const struct reading *r, const char *member, const char *name, size_t *ret)
{
    for (size_t i = r->index + 1; i < r->n_names; i++)
        if (strcmp(name, r->names[i]) == 0) {
            *ret = i;
            return 0;
        }
    return refuse(r, member, "no later step has this name");
}

static int read_failure(const struct reading *r, const char *text, struct fl_doc_control *ret)
{
    if (!text)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(failure_words); i++)
        if (strcasecmp(text, failure_words[i].word) == 0) {
            ret->on_failure = failure_words[i].meaning;
            return 0;
        }
    if (strncmp(text, STEP_PREFIX, strlen(STEP_PREFIX)) != 0)
        return refuse(r, "onFailure",
                      "must be Abort, Continue, exit, successAndExit or step:<name>");
    ret->on_failure = FL_ON_FAILURE_GO_TO;
    return find_later(r, "onFailure", text + strlen(STEP_PREFIX), &ret->failure_step);
}

static int read_cancel(const struct reading *r, const char *text, struct fl_doc_control *ret)
{
    if (strcasecmp(text, "Abort") == 0)
        return 0;
    if (strncmp(text, STEP_PREFIX, strlen(STEP_PREFIX)) != 0)
        return refuse(r, "onCancel", "must be Abort or step:<name>");
    return find_later(r, "onCancel", text + strlen(STEP_PREFIX), &ret->cancel_step);
}

static int read_next(const struct reading *r, const char *text, struct fl_doc_control *ret)
{
    return find_later(r, "nextStep", text, &ret->next_step);
}

static int read_end(const struct reading *r, const char *text, struct fl_doc_control *ret)
{
    ret->is_end = strcasecmp(text, "true") == 0;
    return ret->is_end || strcasecmp(text, "false") == 0
               ? 0
               : refuse(r, "isEnd", "must be true or false");
}

/* A member that the official agent does not even decode: any JSON. */
static int read_text(const struct reading *r, const char *member, const char *json_text,
                     int (*take)(const struct reading *, const char *, struct fl_doc_control *),
                     struct fl_doc_control *ret)
{
    json_t *v = json_text ? fl_json_load_text(json_text, JSON_DECODE_ANY, NULL) : NULL;
    const char *text = json_is_true(v) ? "true" : json_is_false(v) ? "false" : json_string_value(v);
    int result = 0;

    if (text)
        result = take(r, text, ret);
    else if (json_text && !json_is_null(v))
        result = refuse(r, member, "has the wrong type");
    json_decref(v);
    return result;
}

int fl_doc_control_wanted(const void *value, struct fl_err *err)
{
    const char *text = json_string_value(value);

    if (!value || (text && strcmp(text, "official") == 0))
        return 0;
    if (text && strcmp(text, "written") == 0)
        return 1;
    return fl_err_set(err, -EINVAL, NULL, "parameter %s: must be \"written\" or \"official\"",
                      FL_DOC_CONTROL_PARAMETER);
}

int fl_doc_control_read(const struct fl_doc_control_in *in, size_t index, const char *const *names,
                        size_t n_names, struct fl_doc_control *ret, struct fl_err *err)
{
    const struct reading r = { index, names, n_names, err };
    struct fl_doc_control c = { .timeout_s = in->timeout_seconds,
                                .max_attempts = (uint32_t)in->max_attempts };
    int result;

    if (in->timeout_seconds < 0 || in->timeout_seconds > FL_DOC_MAX_TIMEOUT_S)
        return refuse(&r, "timeoutSeconds", "must lie between 1 and 172800");
    if (in->max_attempts < 0 || in->max_attempts > FL_DOC_MAX_ATTEMPTS)
        return refuse(&r, "maxAttempts", "must lie between 1 and 100");
    result = read_failure(&r, in->on_failure, &c);
    if (result == 0)
        result = read_text(&r, "onCancel", in->on_cancel, read_cancel, &c);
    if (result == 0)
        result = read_text(&r, "nextStep", in->next_step, read_next, &c);
    if (result == 0)
        result = read_text(&r, "isEnd", in->is_end, read_end, &c);
    if (result == 0)
        *ret = c;
    return result;
}
