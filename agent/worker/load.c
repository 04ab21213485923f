/* load.c - the document out of the job, with what it refers to in Parameter Store. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "agent/worker/guard.h"
#include "agent/worker/worker_priv.h"
#include "common/base/log.h"
#include "common/wire/control.h"

/* A document error: reported, not retried. */
static void refuse(struct worker *w, const struct fl_err *err)
{
    /* The value of a parameter may be a secret: it goes to who sent it, not to the log. */
    fl_log_warn("document refused", FL_S("command", w->job.command_id),
                FL_S("error", err->name ? err->name : fl_err_text(err)));
    fl_worker_finish(w, FL_STATUS_FAILED, fl_err_text(err));
}

/* Without memory for it the document runs all the same. */
static void prepare_delivery(struct worker *w, const struct fl_msg_send_content *content)
{
    const struct fl_delivery_conf conf = {
        .loop = w->loop,
        .calls = w->calls,
        .command_id = w->job.command_id,
        .node_id = w->job.node_id,
        .region = w->job.region,
        .document_name = content->document_name ? content->document_name : w->job.document_name,
        .bucket = content->s3_bucket,
        .prefix = content->s3_prefix,
        .log_group = content->log_group,
        .logs = content->log_enabled && strcasecmp(content->log_enabled, "true") == 0,
    };
    int r = w->delivery ? 0 : fl_delivery_new(&conf, &w->delivery);

    if (r < 0)
        fl_log_warn("output is not delivered", FL_S("command", w->job.command_id),
                    FL_S("error", strerror(-r)));
}

static int load(struct worker *w, struct fl_err *err)
{
    struct fl_msg_send_content content = { 0 };
    int r = fl_json_decode(&fl_shape_send_content, w->job.content, strlen(w->job.content),
                           FL_DECODE_NOCASE, &w->arena, &content, err);

    if (r == 0)
        r = fl_doc_load_refs(content.document_content.text, content.parameters.text, "linux",
                             w->refs, &w->arena, &w->doc, err);
    if (r == 0)
        prepare_delivery(w, &content);
    if (r == 0 && !w->guard)
        r = fl_step_guard_new(w->dir_fd, w->job.document_name, content.document_content.text,
                              content.parameters.text, &w->guard, err);
    return r;
}

/* With every value known: the document as it is to run. */
static void go_on(struct worker *w)
{
    struct fl_err err = { 0 };

    if (load(w, &err) < 0)
        refuse(w, &err);
    else
        fl_worker_loaded(w);
}

static void on_values(void *arg, const struct fl_err *err)
{
    if (err)
        refuse(arg, err);
    else
        go_on(arg);
}

void fl_worker_load(struct worker *w)
{
    struct fl_err err = { 0 };
    int r;

    w->refs = fl_ssm_refs_new();
    r = w->refs ? load(w, &err) : fl_err_nomem(&err);
    if (r == 0 && w->cancelled && fl_ssm_refs_wanting(w->refs))
        w->cleanup = 0; /* no step runs without the values */
    else if (r == 0 && fl_ssm_refs_wanting(w->refs)) {
        /* Whatever comes of it: what the worker before us left is told first. */
        if (w->started && w->next < w->doc.n_steps && fl_worker_report_interrupted(w) < 0)
            return;
        w->values = (struct fl_values){ w->calls, w->refs, on_values, w, 0 };
        r = fl_values_ask(&w->values, &err);
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
    if (!w->values.call)
        return;
    fl_values_cancel(&w->values);
    w->cleanup = 0; /* no step runs without the values */
    fl_worker_loaded(w);
}
