/* results.c - what became of the steps and of the document: into the journal, then told. */
#include <errno.h>
#include <string.h>
#include "agent/worker/worker_priv.h"
#include "common/base/log.h"

#define NAMES_MAX_BYTES  (64 << 10)
#define SMALL_TEXT_BYTES 6000 /* of a result on a full disk: fits the journal's reserve */

/* ---- telling the monitor ---- */

void fl_worker_look(struct worker *w)
{
    static const char nothing[1];

    if (w->ipc)
        fl_ipc_send(w->ipc, FL_WORKER_LOOK, 0, nothing, NULL, 0);
}

void fl_worker_stop(struct worker *w, int exit_status)
{
    w->exit_status = exit_status;
    fl_loop_stop(w->loop);
}

/* The journal cannot be written: nothing more may happen here. The monitor decides what is next. */
static int broken(struct worker *w, const struct fl_err *err)
{
    fl_log_error("job folder cannot be written", FL_S("command", w->job.command_id),
                 FL_S("error", fl_err_text(err)));
    fl_worker_stop(w, FL_WORKER_EXIT_IO);
    return err->code;
}

int fl_worker_sync(struct worker *w)
{
    struct fl_err err = { 0 };

    return fl_journal_commit(&w->journal, &err) < 0 ? broken(w, &err) : 0;
}

int fl_worker_commit(struct worker *w)
{
    int r = fl_worker_sync(w);

    if (r == 0)
        fl_worker_look(w);
    return r;
}

int fl_worker_append(struct worker *w, uint16_t type, const void *in)
{
    struct fl_err err = { 0 };

    return fl_journal_append(&w->journal, type, in, &err) < 0 ? broken(w, &err) : 0;
}

/* ---- results ---- */

static int collect_texts(const struct fl_outcome *o, const struct fl_flow_result *flow,
                         struct fl_buf texts[3])
{
    struct fl_buf none = { .data = NULL };
    const struct fl_buf *out = o->out ? &o->out->head : &none;
    const struct fl_buf *err = o->err && !flow->clear_stderr ? &o->err->head : &none;
    int r;

    r = o->error ? fl_buf_append(&texts[0], o->error,
                                 FL_MIN(strlen(o->error), (size_t)FL_OUTPUT_TEXT_BYTES))
                 : fl_output_join(out, err, &texts[0]);
    if (r == 0)
        r = fl_output_stream_text(out, &texts[1]);
    if (r == 0)
        r = fl_output_stream_text(err, &texts[2]);
    if (r == 0 && flow->suffix)
        r = fl_buf_puts(&texts[1], flow->suffix);
    if (r == 0 && flow->suffix && !flow->clear_stderr)
        r = fl_buf_puts(&texts[2], flow->suffix);
    return r;
}

static int append_result(struct worker *w, struct fl_jrec_step_done *rec, struct fl_buf texts[3],
                         size_t max_bytes, struct fl_err *err)
{
    char *json[3];
    int r = fl_output_quote(texts, max_bytes, json);

    if (r < 0)
        return fl_err_nomem(err);
    rec->output_json = json[0];
    rec->stdout_json = json[1];
    rec->stderr_json = json[2];
    r = fl_journal_append(&w->journal, FL_JREC_STEP_DONE, rec, err);
    for (size_t i = 0; i < 3; i++)
        free(json[i]);
    return r;
}

/* A reboot that may not be: nobody wants the rest of the document, or it never comes to its end. */
static void check_reboot(const struct worker *w, struct fl_flow_result *flow)
{
    if (w->cancelled) {
        flow->status = FL_STATUS_CANCELLED;
    } else if (w->reboots >= w->reboots_max) {
        flow->status = FL_STATUS_FAILED;
        flow->stop = true;
        flow->suffix = "\nfairlead: the document had the machine rebooted as often as "
                       "Mds.CommandRetryLimit allows. Further document steps will be skipped.";
    }
}

struct fl_delivery_step fl_worker_delivery_step(const struct worker *w, size_t index)
{
    const struct fl_doc_step *s = &w->doc.steps[index];

    return (struct fl_delivery_step){
        .action = s->action, .key = s->key, .inputs = s->inputs, .by_id = w->doc.schema == FL_DOC_1
    };
}

int fl_worker_record(struct worker *w, const struct fl_outcome *o)
{
    const struct fl_delivery_step delivered = fl_worker_delivery_step(w, w->next);
    const struct fl_doc_step *s = &w->doc.steps[w->next];
    fl_autoarena struct fl_arena arena = FL_ARENA(NAMES_MAX_BYTES);
    struct fl_delivery_names names = { 0 };
    struct fl_flow_result flow = { .status = o->status, .code = o->code };
    struct fl_jrec_step_done rec = { 0 };
    struct fl_buf texts[3];
    struct fl_err err = { 0 };
    int r;

    if (o->apply_flow)
        fl_flow_after(&w->props, &flow);
    if (flow.status == FL_STATUS_SUCCESS_AND_REBOOT)
        check_reboot(w, &flow);
    if (flow.status == FL_STATUS_FAILED && flow.code == 0)
        flow.code = 1;
    for (size_t i = 0; i < 3; i++)
        fl_buf_init(&texts[i], 2 * FL_OUTPUT_STREAM_BYTES);
    r = collect_texts(o, &flow, texts);
    if (r == 0)
        r = fl_delivery_names(w->delivery, &delivered, &arena, &names);
    rec = (struct fl_jrec_step_done){
        .index = (int64_t)w->next,
        .key = s->key,
        .plugin = s->action,
        .status = (char *)fl_status_name(flow.status),
        .code = flow.code,
        .start_ms = o->start_ms,
        .end_ms = o->end_ms,
        .stdout_bytes = o->out ? (int64_t)o->out->total_bytes : 0,
        .stderr_bytes = o->err ? (int64_t)o->err->total_bytes : 0,
        .stop = flow.stop,
        .s3_bucket = names.bucket,
        .s3_prefix = names.prefix,
        .step_name = names.step,
    };
    if (r == 0 && flow.go_to > 0)
        r = fl_journal_append(&w->journal, FL_JREC_GO_TO,
                              &(struct fl_jrec_go_to){ .index = (int64_t)flow.go_to }, &err);
    if (r == 0)
        r = append_result(w, &rec, texts, FL_REPLY_TEXT_MAX_BYTES, &err);
    else if (err.code == 0)
        fl_err_set(&err, r, NULL, "out of memory");
    if (r == -ENOSPC || r == -EDQUOT)
        r = append_result(w, &rec, texts, SMALL_TEXT_BYTES, &err);
    for (size_t i = 0; i < 3; i++)
        fl_buf_done(&texts[i]);
    if (r < 0)
        return broken(w, &err);

    w->counts[flow.status]++;
    w->n_results++;
    w->stopped |= flow.stop;
    w->reboot |= flow.status == FL_STATUS_SUCCESS_AND_REBOOT;
    fl_worker_go_to(w, flow.status, flow.go_to);
    w->undelivered = rec.stdout_bytes + rec.stderr_bytes > 0;
    w->started = false;
    w->next++;
    return 0;
}

static struct fl_intmap list_counts(const struct worker *w,
                                    struct fl_intmap_entry entries[FL_STATUS__N])
{
    struct fl_intmap counts = { .v = entries };

    for (int i = 0; i < FL_STATUS__N; i++)
        if (w->counts[i])
            entries[counts.n++] =
                (struct fl_intmap_entry){ .key = (char *)fl_status_name((enum fl_status)i),
                                          .value = w->counts[i] };
    return counts;
}

void fl_worker_leave_for_boot(struct worker *w)
{
    struct fl_intmap_entry entries[FL_STATUS__N];
    char boot_id[FL_BOOT_ID_BYTES];
    struct fl_jrec_reboot rec = {
        .index = (int64_t)w->next - 1,
        .boot_id = boot_id,
        .counts = list_counts(w, entries),
        .n_results = w->n_results,
    };

    fl_boot_id(boot_id);
    if (fl_worker_append(w, FL_JREC_REBOOT, &rec) == 0 && fl_worker_commit(w) == 0)
        fl_worker_stop(w, FL_WORKER_EXIT_BOOT);
}

void fl_worker_finish(struct worker *w, enum fl_status status, const char *error)
{
    struct fl_intmap_entry entries[FL_STATUS__N];
    struct fl_jrec_doc_done rec = {
        .status = (char *)fl_status_name(status),
        .counts = list_counts(w, entries),
        .n_results = w->n_results,
        .error = (char *)error,
    };

    if (fl_worker_append(w, FL_JREC_DOC_DONE, &rec) < 0 || fl_worker_commit(w) < 0)
        return;
    /* Nothing more is written: the room that was reserved goes back. */
    (void)!ftruncate(w->journal.fd, (off_t)w->journal.end);
    fl_worker_stop(w, FL_WORKER_EXIT_DONE);
}
