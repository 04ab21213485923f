/* load.c - the document out of the job, with what it refers to in Parameter Store. */
#include <errno.h>
#include <string.h>
#include "agent/worker/calls.h"
#include "agent/worker/guard.h"
#include "agent/worker/worker_priv.h"
#include "common/base/log.h"
#include "common/doc/ssm_refs.h"
#include "common/wire/control.h"
#include "plugins/parameters.h"

/* A document error: reported, not retried. */
static void refuse(struct worker *w, const struct fl_err *err)
{
    /* The value of a parameter may be a secret: it goes to who sent it, not to the log. */
    fl_log_warn("document refused", FL_S("command", w->job.command_id),
                FL_S("error", err->name ? err->name : fl_err_text(err)));
    fl_worker_finish(w, FL_STATUS_FAILED, fl_err_text(err));
}

static int load(struct worker *w, struct fl_err *err)
{
    struct fl_msg_send_content content = { 0 };
    int r = fl_json_decode(&fl_shape_send_content, w->job.content, strlen(w->job.content),
                           FL_DECODE_NOCASE, &w->arena, &content, err);

    if (r == 0)
        r = fl_doc_load_refs(content.document_content.text, content.parameters.text, "linux",
                             w->refs, &w->arena, &w->doc, err);
    if (r == 0 && !w->guard)
        r = fl_step_guard_new(w->dir_fd, w->job.document_name, content.document_content.text,
                              content.parameters.text, &w->guard, err);
    return r;
}

/* "[a b]", as the official agent prints a list. */
static const char *list_text(struct worker *w, const char *const *names, size_t n)
{
    char *text = fl_arena_strdup(&w->arena, "[");

    for (size_t i = 0; i < n && text; i++)
        text = fl_arena_printf(&w->arena, "%s%s%s", text, i ? " " : "", names[i]);
    text = text ? fl_arena_printf(&w->arena, "%s]", text) : NULL;
    return text ? text : "[]";
}

static int learn(struct worker *w, const struct fl_get_parameters_out *out, struct fl_err *err)
{
    const char *secure[FL_SSM_REFS_BATCH];
    size_t n_secure = 0;

    if (out->invalid.n > 0)
        return fl_err_set(err, -EINVAL, NULL, "Input contains invalid parameters %s",
                          list_text(w, (const char *const *)out->invalid.v, out->invalid.n));
    for (size_t i = 0; i < out->n_parameters; i++) {
        const struct fl_parameter *p = &out->parameters[i];

        if (strcmp(p->type, "SecureString") == 0) {
            if (n_secure < FL_SSM_REFS_BATCH)
                secure[n_secure++] = p->name;
        } else if (fl_ssm_refs_learn(w->refs, p->name, p->selector, p->version, p->type, p->value) <
                   0) {
            return fl_err_set(err, -ENOMEM, NULL, "out of memory");
        }
    }
    if (n_secure > 0)
        return fl_err_set(err, -EINVAL, NULL,
                          "Parameters %s of type SecureString are not supported",
                          list_text(w, secure, n_secure));
    return 0;
}

static int ask(struct worker *w, struct fl_err *err);

/* With every value known: the document as it is to run. */
static void go_on(struct worker *w)
{
    struct fl_err err = { 0 };

    w->refs_call = 0;
    if (load(w, &err) < 0)
        refuse(w, &err);
    else
        fl_worker_loaded(w);
}

static void on_parameters(void *arg, const struct fl_step_reply *reply)
{
    struct worker *w = arg;
    struct fl_err err = { 0 };
    int r;

    w->refs_call = 0;
    if (reply->error)
        r = fl_err_set(&err, reply->error, NULL, "Parameter Store could not be asked: %s%s%s",
                       reply->name, *reply->name ? ": " : "", reply->text);
    else
        r = learn(w, reply->out, &err);
    if (r == 0 && fl_ssm_refs_wanting(w->refs))
        r = ask(w, &err);
    else if (r == 0)
        go_on(w);
    if (r < 0)
        refuse(w, &err);
}

static int ask(struct worker *w, struct fl_err *err)
{
    const char *names[FL_SSM_REFS_BATCH];
    struct fl_get_parameters_in in = { .names.v = (char **)names };

    in.names.n = fl_ssm_refs_next(w->refs, names);
    return fl_calls_ssm(w->calls, "GetParameters", &fl_shape_get_parameters_in, &in,
                        &fl_shape_get_parameters_out, on_parameters, w, &w->refs_call, err);
}

void fl_worker_load(struct worker *w)
{
    struct fl_err err = { 0 };
    int r;

    w->refs = fl_ssm_refs_new();
    r = w->refs ? load(w, &err) : fl_err_set(&err, -ENOMEM, NULL, "out of memory");
    if (r == 0 && !w->cancelled && fl_ssm_refs_wanting(w->refs)) {
        /* Whatever comes of it: what the worker before us left is told first. */
        if (w->started && w->next < w->doc.n_steps && fl_worker_report_interrupted(w) < 0)
            return;
        r = ask(w, &err);
        if (r == 0)
            return;
    }
    if (r < 0)
        refuse(w, &err);
    else
        fl_worker_loaded(w);
}

void fl_worker_load_cancel(struct worker *w)
{
    if (!w->refs_call)
        return;
    fl_calls_cancel(w->calls, w->refs_call);
    w->refs_call = 0;
    fl_worker_loaded(w); /* every step of it is cancelled: it needs no values */
}
