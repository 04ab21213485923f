/* worker.c - see worker.h.
 *
 * Order of things: a record is on disk before the fact in it is told or acted on. A step's result
 * and the start of the next step (or the document's end) share one sync.
 */
#include "agent/worker/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent/lib/ipc_worker.h"
#include "agent/lib/jobdir.h"
#include "agent/worker/flow.h"
#include "agent/worker/step.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/nodump.h"
#include "common/doc/doc.h"
#include "common/wire/control.h"

#define MONITOR_FD       3
#define JOB_MAX_BYTES    (4u << 20)  /* memory a job record decodes into */
#define DOC_MAX_BYTES    (32u << 20) /* memory a document decodes into */
#define RECORD_MAX_BYTES (4u << 20)
#define SMALL_TEXT_BYTES 6000 /* of a result on a full disk: fits the journal's reserve */
#define ACCEPT_PAUSE_MS  1000
#define LOCK_TRIES       20
#define LOCK_WAIT_US     10000
#define INTERRUPTED_TEXT \
    "fairlead: the worker was interrupted while this step ran; it was not run again"

struct worker {
    struct fl_loop *loop;
    const char *path;
    int dir_fd, step_fd, listen_fd;
    struct fl_arena arena;
    struct fl_job job;
    struct fl_doc doc;
    struct fl_journal journal;
    struct fl_ipc *ipc;
    struct fl_io *listener;
    struct fl_ipc_row rows[FL_N_WORKER_ROWS];
    int exit_status;
    bool cancelled;

    /* what the journal says */
    size_t next;      /* step to be looked at next */
    bool started;     /* it was begun */
    int64_t start_ms; /* when */
    struct fl_group group;
    bool stopped, reboot, done;
    uint32_t counts[FL_STATUS__N];
    int64_t n_results;

    struct fl_step *step; /* running, or NULL */
    struct fl_flow_props props;
    char *step_dir, *downloads;
};

/* ---- telling the monitor ---- */

static void look(struct worker *w)
{
    static const char nothing[1];

    if (w->ipc)
        fl_ipc_send(w->ipc, FL_WORKER_LOOK, 0, nothing, NULL, 0);
}

static void stop(struct worker *w, int exit_status)
{
    w->exit_status = exit_status;
    fl_loop_stop(w->loop);
}

/* The journal cannot be written: nothing more may happen here. The monitor decides what is next. */
static int broken(struct worker *w, const struct fl_err *err)
{
    fl_log_error("job folder cannot be written", FL_S("command", w->job.command_id),
                 FL_S("error", fl_err_text(err)));
    stop(w, FL_WORKER_EXIT_IO);
    return err->code;
}

static int commit(struct worker *w)
{
    struct fl_err err = { 0 };

    if (fl_journal_commit(&w->journal, &err) < 0)
        return broken(w, &err);
    look(w);
    return 0;
}

static int append(struct worker *w, uint16_t type, const void *in)
{
    struct fl_err err = { 0 };

    return fl_journal_append(&w->journal, type, in, &err) < 0 ? broken(w, &err) : 0;
}

/* ---- results ---- */

/* A result before it is written: what a plugin, the flow rules or a crash made of a step. */
struct outcome {
    enum fl_status status;
    int64_t code;
    bool apply_flow;             /* the step ran: codes and properties count */
    const char *error;           /* stands in `output` instead of the streams; NULL for none */
    struct fl_stream *out, *err; /* NULL: nothing was printed */
    int64_t start_ms, end_ms;
};

static int collect_texts(const struct outcome *o, const struct fl_flow_result *flow,
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
        return fl_err_set(err, r, NULL, "out of memory");
    rec->output_json = json[0];
    rec->stdout_json = json[1];
    rec->stderr_json = json[2];
    r = fl_journal_append(&w->journal, FL_JREC_STEP_DONE, rec, err);
    for (size_t i = 0; i < 3; i++)
        free(json[i]);
    return r;
}

/* Appends (without sync) the result of step w->next and moves on. */
static int record(struct worker *w, const struct outcome *o)
{
    const struct fl_doc_step *s = &w->doc.steps[w->next];
    struct fl_flow_result flow = { .status = o->status, .code = o->code };
    struct fl_jrec_step_done rec = { 0 };
    struct fl_buf texts[3];
    struct fl_err err = { 0 };
    int r;

    if (o->apply_flow)
        fl_flow_after(&w->props, &flow);
    if (flow.status == FL_STATUS_FAILED && flow.code == 0)
        flow.code = 1;
    for (size_t i = 0; i < 3; i++)
        fl_buf_init(&texts[i], 2 * FL_STREAM_TEXT_BYTES);
    r = collect_texts(o, &flow, texts);
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
    };
    if (r == 0)
        r = append_result(w, &rec, texts, FL_REPLY_TEXT_MAX_BYTES, &err);
    else
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
    w->started = false;
    w->next++;
    return 0;
}

static void finish_document(struct worker *w, enum fl_status status, const char *error)
{
    struct fl_intmap_entry entries[FL_STATUS__N];
    struct fl_jrec_doc_done rec = {
        .status = (char *)fl_status_name(status),
        .counts = { .v = entries },
        .n_results = w->n_results,
        .error = (char *)error,
    };

    for (int i = 0; i < FL_STATUS__N; i++)
        if (w->counts[i])
            entries[rec.counts.n++] =
                (struct fl_intmap_entry){ .key = (char *)fl_status_name((enum fl_status)i),
                                          .value = w->counts[i] };
    if (append(w, FL_JREC_DOC_DONE, &rec) < 0 || commit(w) < 0)
        return;
    /* Nothing more is written: the room that was reserved goes back. */
    (void)!ftruncate(w->journal.fd, (off_t)w->journal.end);
    stop(w, FL_WORKER_EXIT_DONE);
}

/* ---- steps ---- */

static void advance(struct worker *w);

static void on_group(void *arg, const struct fl_group *group)
{
    struct worker *w = arg;
    struct fl_jrec_step_child rec = {
        .pid = group->leader,
        .start_ticks = group->start_ticks,
        .boot_id = (char *)group->boot_id,
    };

    /* Needs no sync: after a power cut there is no group. */
    append(w, FL_JREC_STEP_CHILD, &rec);
}

static void on_step_done(void *arg)
{
    struct worker *w = arg;
    struct outcome o = {
        .status = fl_step_status(w->step),
        .code = fl_step_code(w->step),
        .apply_flow = true,
        .out = fl_step_stream(w->step, FL_STEP_STDOUT),
        .err = fl_step_stream(w->step, FL_STEP_STDERR),
        .start_ms = w->start_ms,
        .end_ms = fl_now_ms(),
    };
    int r = record(w, &o);

    w->step = fl_step_free(w->step);
    if (r == 0)
        advance(w);
}

/* The folder of step `index`, made if it is not there; its descriptor in w->step_fd. */
static int open_step_dir(struct worker *w, size_t index)
{
    char name[32];

    snprintf(name, sizeof(name), "steps/%zu", index);
    if (w->step_fd >= 0)
        close(FL_TAKE_FD(w->step_fd));
    if (mkdirat(w->dir_fd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    w->step_fd = openat(w->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (w->step_fd < 0)
        return -errno;
    free(w->step_dir);
    w->step_dir = fl_path_join(w->path, name);
    return w->step_dir ? 0 : -ENOMEM;
}

static int start_step(struct worker *w, const struct fl_doc_step *s, const struct fl_plugin *plugin)
{
    const struct fl_step_host host = { .on_group = on_group, .on_done = on_step_done, .arg = w };
    struct fl_step_context context = {
        .command_id = w->job.command_id,
        .node_id = w->job.node_id,
        .region = w->job.region,
        .platform_name = w->job.platform_name,
        .platform_version = w->job.platform_version,
        .aws_profile = w->job.aws_profile,
        .aws_credentials_file = w->job.aws_credentials_file,
        .downloads = w->downloads,
    };
    struct fl_jrec_step_start rec = { .index = (int64_t)w->next, .time_ms = fl_now_ms() };
    int r;

    w->start_ms = rec.time_ms;
    if (append(w, FL_JREC_STEP_START, &rec) < 0 || commit(w) < 0)
        return -EIO;
    w->started = true;
    r = open_step_dir(w, w->next);
    context.dir = w->step_dir;
    if (r == 0)
        r = fl_step_new(w->loop, plugin, s->inputs, &context, w->step_fd, w->job.output_max_bytes,
                        &host, &w->step);
    if (r < 0) {
        char text[256];
        struct outcome o = { .status = FL_STATUS_FAILED,
                             .code = 1,
                             .error = text,
                             .apply_flow = true,
                             .start_ms = w->start_ms,
                             .end_ms = fl_now_ms() };

        snprintf(text, sizeof(text), "fairlead: the step could not be started: %s", strerror(-r));
        return record(w, &o);
    }
    fl_step_begin(w->step);
    return 0;
}

/* Takes the document as far as it goes without waiting: to a running step or to its end. */
static void advance(struct worker *w)
{
    while (w->next < w->doc.n_steps && !w->reboot) {
        const struct fl_doc_step *s = &w->doc.steps[w->next];
        const struct fl_plugin *plugin = fl_plugin_find(s->action);
        struct outcome o = { .status = FL_STATUS_CANCELLED, .code = 1 };
        enum fl_flow_verdict verdict = FL_FLOW_SKIP;
        char *text = NULL;

        fl_flow_props_read(s->inputs, &w->props);
        if (!w->cancelled)
            verdict =
                fl_flow_decide(w->doc.schema, s, &w->props, w->stopped,
                               w->next + 1 == w->doc.n_steps, plugin != NULL, &w->arena, &text);
        if (verdict == FL_FLOW_RUN) {
            if (start_step(w, s, plugin) < 0 || w->step)
                return;
            continue;
        }
        if (!w->cancelled) {
            o.status = verdict == FL_FLOW_SKIP ? FL_STATUS_SKIPPED : FL_STATUS_FAILED;
            o.code = 0;
            o.error = text ? text : "out of memory";
            o.start_ms = o.end_ms = fl_now_ms();
        }
        if (record(w, &o) < 0)
            return;
    }
    finish_document(w, fl_status_aggregate(w->counts), NULL);
}

/* A step that was running when the worker before us died: ended, reported, never run again. */
static int report_interrupted(struct worker *w)
{
    struct fl_stream out, err;
    struct outcome o = {
        .status = w->cancelled ? FL_STATUS_CANCELLED : FL_STATUS_FAILED,
        .code = w->cancelled ? 137 : 1,
        .apply_flow = true,
        .out = &out,
        .err = &err,
        .start_ms = w->start_ms,
        .end_ms = fl_now_ms(),
    };
    int r = open_step_dir(w, w->next);

    fl_group_kill(&w->group, w->job.command_id);
    fl_stream_init(&out, w->step_fd, "stdout", 0);
    fl_stream_init(&err, w->step_fd, "stderr", 0);
    if (r == 0) {
        fl_stream_recover(&out);
        fl_stream_recover(&err);
    }
    if (!w->cancelled) {
        if (err.head.len > 0 && err.head.data[err.head.len - 1] != '\n')
            fl_stream_write(&err, "\n", 1);
        fl_stream_write(&err, INTERRUPTED_TEXT, sizeof(INTERRUPTED_TEXT) - 1);
    }
    fl_flow_props_read(w->doc.steps[w->next].inputs, &w->props);
    r = record(w, &o);
    fl_stream_done(&out);
    fl_stream_done(&err);
    return r;
}

/* ---- the job folder ---- */

static void replay_record(struct worker *w, const struct fl_journal_record *rec)
{
    const struct fl_jrec_step_start *start = rec->in;
    const struct fl_jrec_step_child *child = rec->in;
    const struct fl_jrec_step_done *done = rec->in;
    enum fl_status status;

    switch (rec->type) {
    case FL_JREC_STEP_START:
        w->started = true;
        w->start_ms = start->time_ms;
        w->group = (struct fl_group){ 0 };
        break;
    case FL_JREC_STEP_CHILD:
        w->group =
            (struct fl_group){ .leader = (pid_t)child->pid, .start_ticks = child->start_ticks };
        snprintf(w->group.boot_id, sizeof(w->group.boot_id), "%s",
                 child->boot_id ? child->boot_id : "");
        break;
    case FL_JREC_STEP_DONE:
        w->started = false;
        w->next = (size_t)done->index + 1;
        w->stopped |= done->stop;
        w->n_results++;
        if (fl_status_parse(done->status, &status) == 0) {
            w->counts[status]++;
            w->reboot |= status == FL_STATUS_SUCCESS_AND_REBOOT;
        }
        break;
    case FL_JREC_DOC_DONE:
        w->done = true;
        break;
    default:
        break;
    }
}

static int replay(struct worker *w, struct fl_err *err)
{
    int r = 1;

    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
        struct fl_journal_record rec;
        r = fl_journal_read(&w->journal, &arena, &rec);
        if (r == 1)
            replay_record(w, &rec);
    }
    if (r == 0)
        r = fl_journal_cut(&w->journal);
    if (r < 0)
        return fl_err_set(err, r, NULL, "journal: %s", strerror(-r));
    return 0;
}

static int open_job(struct worker *w, struct fl_err *err)
{
    struct fl_jrec_run run = { .time_ms = fl_now_ms(), .pid = getpid() };
    int r;

    w->dir_fd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir_fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", w->path, strerror(errno));
    r = fl_jobdir_open(w->dir_fd, "journal", &w->journal, err);
    if (r < 0)
        return r;
    /* A monitor that looks whether a worker lives holds the lock for a moment. */
    for (int i = 0; (r = fl_jobdir_lock(w->journal.fd)) == -EWOULDBLOCK && i < LOCK_TRIES; i++)
        usleep(LOCK_WAIT_US);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: another worker has this job", w->path);
    r = replay(w, err);
    if (r == 0)
        r = fl_jobdir_load(w->dir_fd, &w->arena, &w->job, err);
    if (r == 0 && !w->done)
        r = fl_journal_append(&w->journal, FL_JREC_RUN, &run, err);
    w->downloads = fl_path_join(w->path, "steps/downloads");
    return r < 0 ? r : w->downloads ? 0 : -ENOMEM;
}

/* The document out of the job's Content. A failure is a document error: reported, not retried. */
static int load_document(struct worker *w, struct fl_err *err)
{
    struct fl_msg_send_content content = { 0 };
    int r = fl_json_decode(&fl_shape_send_content, w->job.content, strlen(w->job.content),
                           FL_DECODE_NOCASE, &w->arena, &content, err);

    if (r == 0)
        r = fl_doc_load(content.document_content.text, content.parameters.text, "linux", &w->arena,
                        &w->doc, err);
    return r;
}

/* ---- the monitor's socket ---- */

static int on_cancel(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct worker *w = arg;

    w->cancelled = true;
    if (w->step)
        fl_step_cancel(w->step);
    return 0;
}

static void on_ipc_close(void *arg, int why, const struct fl_err *err)
{
    struct worker *w = arg;

    w->ipc = fl_ipc_free(w->ipc);
}

static void attach(struct worker *w, int fd)
{
    w->ipc = fl_ipc_free(w->ipc);
    if (fl_ipc_new(w->loop, fd, w->rows, FL_N_WORKER_ROWS, on_ipc_close, w, &w->ipc) < 0)
        w->ipc = NULL;
}

/* A monitor that was restarted. Only our own user or root can be one. */
static void on_connection(void *arg, unsigned events)
{
    struct worker *w = arg;
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof(peer);
    fl_autofd int fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        fl_io_pause(w->listener, ACCEPT_PAUSE_MS); /* no descriptor left: asked again at once */
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return;
    if (peer.uid == 0 || peer.uid == geteuid())
        attach(w, FL_TAKE_FD(fd));
    look(w); /* whatever happened while nobody listened */
}

/* Without a socket the worker still does its work; a cancel then has to wait for its end. */
static void open_sockets(struct worker *w)
{
    struct stat st;

    memcpy(w->rows, fl_worker_rows, sizeof(w->rows));
    for (size_t i = 0; i < FL_N_WORKER_ROWS; i++)
        if (w->rows[i].type == FL_WORKER_CANCEL)
            w->rows[i].handler = on_cancel;
    if (fstat(MONITOR_FD, &st) == 0 && S_ISSOCK(st.st_mode)) {
        fcntl(MONITOR_FD, F_SETFD, FD_CLOEXEC);
        attach(w, MONITOR_FD);
    }
    if (fl_worker_listen(w->dir_fd, &w->listen_fd) == 0)
        w->listener = fl_io_new(w->loop, w->listen_fd, on_connection, w);
    if (w->listener)
        fl_io_set(w->listener, FL_IO_READ);
    else
        fl_log_warn("worker cannot listen", FL_S("command", w->job.command_id));
}

/* ---- the role ---- */

static int parse_args(struct worker *w, int argc, char **argv)
{
    enum fl_log_level level = FL_LOG_INFO;
    enum fl_log_format format = FL_LOG_TEXT;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cancel") == 0)
            w->cancelled = true;
        else if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc)
            fl_log_level_parse(argv[++i], &level);
        else if (strcmp(argv[i], "--log-format") == 0 && i + 1 < argc)
            format = strcmp(argv[++i], "json") == 0 ? FL_LOG_JSON : FL_LOG_TEXT;
        else
            w->path = argv[i];
    }
    fl_log_setup(level, format, "worker");
    return w->path ? 0 : -EINVAL;
}

static void begin(void *arg)
{
    struct worker *w = arg;
    struct fl_err err = { 0 };
    int r = load_document(w, &err);

    if (r < 0) {
        fl_log_warn("document refused", FL_S("command", w->job.command_id),
                    FL_S("error", fl_err_text(&err)));
        finish_document(w, FL_STATUS_FAILED, fl_err_text(&err));
        return;
    }
    if (w->started && w->next < w->doc.n_steps && report_interrupted(w) < 0)
        return;
    advance(w);
}

static void done(struct worker *w)
{
    w->step = fl_step_free(w->step);
    w->listener = fl_io_free(w->listener);
    w->ipc = fl_ipc_free(w->ipc);
    fl_journal_done(&w->journal);
    w->loop = fl_loop_free(w->loop);
    for (int *fd = (int[]){ w->dir_fd, w->step_fd, w->listen_fd, -2 }; *fd != -2; fd++)
        if (*fd >= 0)
            close(*fd);
    free(w->step_dir);
    free(w->downloads);
    fl_arena_done(&w->arena);
}

int fl_worker_main(int argc, char **argv)
{
    struct worker w = { .dir_fd = -1, .step_fd = -1, .listen_fd = -1, .journal = { .fd = -1 } };
    struct fl_err err = { 0 };
    int r;

    prctl(PR_SET_NAME, "fairlead-worker");
    fl_nodump(
        false); /* a document's parameters may be secrets; its scripts may dump as they like */
    signal(SIGPIPE, SIG_IGN);
    fl_arena_init(&w.arena, JOB_MAX_BYTES + DOC_MAX_BYTES);
    r = parse_args(&w, argc, argv);
    if (r == 0)
        r = open_job(&w, &err);
    if (r == 0 && !w.done)
        r = fl_loop_new(&w.loop);
    if (r < 0) {
        if (r != -EWOULDBLOCK)
            fl_log_error("worker cannot begin", FL_S("folder", w.path),
                         FL_S("error", fl_err_text(&err)));
        done(&w);
        return r == -EWOULDBLOCK ? FL_WORKER_EXIT_BUSY : FL_WORKER_EXIT_IO;
    }
    if (!w.done) {
        open_sockets(&w);
        if (fl_loop_post(w.loop, begin, &w) < 0)
            w.exit_status = FL_WORKER_EXIT_IO;
        else
            fl_loop_run(w.loop);
    }
    done(&w);
    return w.exit_status;
}
