/* run.c - one step after the other: started, waited for, recorded. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/worker/guard.h"
#include "agent/worker/worker_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define CLEANUP_MS (2LL * 60 * 1000) /* what an automation's onCancel has */
#define INTERRUPTED_TEXT \
    "fairlead: the worker was interrupted while this step ran; it was not run again"

static void on_group(void *arg, const struct fl_group *group)
{
    struct worker *w = arg;
    struct fl_jrec_step_child rec = {
        .pid = group->leader,
        .start_ticks = group->start_ticks,
        .boot_id = (char *)group->boot_id,
    };

    /* Needs no sync: after a power cut there is no group. */
    fl_worker_append(w, FL_JREC_STEP_CHILD, &rec);
}

static void on_step_done(void *arg)
{
    struct worker *w = arg;
    struct fl_outcome o = {
        .status = fl_step_status(w->step),
        .code = fl_step_code(w->step),
        .apply_flow = true,
        .out = fl_step_stream(w->step, FL_STEP_STDOUT),
        .err = fl_step_stream(w->step, FL_STEP_STDERR),
        .start_ms = w->start_ms,
        .end_ms = fl_now_ms(),
    };
    int r = fl_worker_record(w, &o);

    w->step = fl_step_free(w->step);
    if (r == 0)
        fl_worker_advance(w);
}

void fl_worker_go_to(struct worker *w, enum fl_status status, size_t step)
{
    if (step == 0)
        return;
    w->go_to = step;
    if (status == FL_STATUS_CANCELLED)
        w->cleanup = step;
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

/* ---- outputs that go elsewhere ---- */

static void on_delivered(void *arg, bool all)
{
    const struct fl_jrec_delivered rec = { .all = all };
    struct worker *w = arg;

    w->undelivered = false;
    if (fl_worker_append(w, FL_JREC_DELIVERED, &rec) == 0)
        fl_worker_advance(w);
}

/* The newest result is kept, but not told before its outputs are where they go: true then. */
static bool deliver(struct worker *w)
{
    struct fl_delivery_step step;

    if (!w->undelivered || !w->delivery || w->next == 0 || w->next > w->doc.n_steps)
        return false;
    step = fl_worker_delivery_step(w, w->next - 1);
    if (open_step_dir(w, w->next - 1) < 0)
        return false;
    if (fl_worker_sync(w) == 0)
        fl_delivery_end(w->delivery, &step, w->step_fd, w->cancelled, on_delivered, w);
    return true;
}

static int start_step(struct worker *w, const struct fl_doc_step *s, const struct fl_plugin *plugin)
{
    const struct fl_step_host host = {
        .on_group = on_group,
        .group_arg = w,
        .on_done = on_step_done,
        .arg = w,
        .calls = w->calls,
        .guard = w->guard,
        .paths = &w->paths,
        .net_user = w->net_user,
    };
    struct fl_step_context context = {
        .command_id = w->job.command_id,
        .node_id = w->job.node_id,
        .region = w->job.region,
        .platform_name = w->job.platform_name,
        .platform_version = w->job.platform_version,
        .aws_profile = w->job.aws_profile,
        .aws_credentials_file = w->job.aws_credentials_file,
        .data = w->data,
        .downloads = w->downloads,
        .has_settings = s->has_settings,
        .env = &w->doc.env,
    };
    struct fl_jrec_step_start rec = { .index = (int64_t)w->next, .time_ms = fl_now_ms() };
    const struct fl_delivery_step delivered = fl_worker_delivery_step(w, w->next);
    int r;

    w->start_ms = rec.time_ms;
    if (fl_worker_append(w, FL_JREC_STEP_START, &rec) < 0 || fl_worker_commit(w) < 0)
        return -EIO;
    w->started = true;
    r = open_step_dir(w, w->next);
    context.dir = w->step_dir;
    if (r == 0)
        r = fl_step_new(w->loop, plugin, s->inputs, &context, w->step_fd, w->job.output_max_bytes,
                        &host, &w->step);
    if (r == 0)
        r = fl_step_limit(w->step, (uint64_t)s->control.timeout_s * 1000, s->control.max_attempts);
    if (r < 0) {
        char text[256];
        struct fl_outcome o = { .status = FL_STATUS_FAILED,
                                .code = 1,
                                .error = text,
                                .apply_flow = true,
                                .start_ms = w->start_ms,
                                .end_ms = fl_now_ms() };

        snprintf(text, sizeof(text), "fairlead: the step could not be started: %s", strerror(-r));
        return fl_worker_record(w, &o);
    }
    /* What it printed before the reboot is part of its output. */
    if (w->reboots > 0 && w->next == w->reboot_step) {
        fl_output_recover(fl_step_stream(w->step, FL_STEP_STDOUT));
        fl_output_recover(fl_step_stream(w->step, FL_STEP_STDERR));
    }
    fl_delivery_begin(w->delivery, &delivered, w->step_fd);
    fl_step_begin(w->step);
    return 0;
}

static void on_cleanup_late(void *arg)
{
    struct worker *w = arg;

    w->cleanup = 0;
    if (w->step)
        fl_step_cancel(w->step);
}

/* Steps that a cancelled document still runs. */
static bool cleans_up(struct worker *w)
{
    if (w->cleanup == 0 || w->next < w->cleanup)
        return false;
    if (!w->cleanup_timer) {
        w->cleanup_timer = fl_timer_new(w->loop, on_cleanup_late, w);
        if (!w->cleanup_timer)
            return false;
        fl_timer_start(w->cleanup_timer, CLEANUP_MS);
    }
    return true;
}

/* Is the step run? Else *ret_text is why not; NULL for a cancelled document. */
static enum fl_flow_verdict decide(struct worker *w, const struct fl_doc_step *s, bool handled,
                                   char **ret_text)
{
    *ret_text = NULL;
    if (w->cancelled && !cleans_up(w))
        return FL_FLOW_SKIP;
    if (w->next >= w->go_to)
        return fl_flow_decide(w->doc.schema, s, &w->props, w->stopped,
                              w->next + 1 == w->doc.n_steps, handled, &w->arena, ret_text);
    *ret_text = fl_arena_printf(&w->arena,
                                "fairlead: passed over, an earlier step went on with step %s. Step "
                                "name: %s",
                                w->doc.steps[w->go_to].key, s->key);
    return FL_FLOW_SKIP;
}

void fl_worker_advance(struct worker *w)
{
    while (w->next < w->doc.n_steps && !w->reboot) {
        const struct fl_doc_step *s = &w->doc.steps[w->next];
        const struct fl_plugin *plugin = fl_plugin_find(s->action);
        struct fl_outcome o = { .status = FL_STATUS_CANCELLED, .code = 1 };
        enum fl_flow_verdict verdict;
        char *text;

        if (deliver(w))
            return;
        fl_flow_props_read(s, &w->props);
        verdict = decide(w, s, plugin != NULL, &text);
        if (verdict == FL_FLOW_RUN && !fl_step_guard_allows(w->guard, s, &w->arena, &text))
            verdict = FL_FLOW_FAIL;
        if (verdict == FL_FLOW_RUN) {
            if (start_step(w, s, plugin) < 0 || w->step)
                return;
            continue;
        }
        if (!w->cancelled || text) {
            o.status = verdict == FL_FLOW_SKIP ? FL_STATUS_SKIPPED : FL_STATUS_FAILED;
            o.code = 0;
            o.error = text ? text : "out of memory";
            o.start_ms = o.end_ms = fl_now_ms();
        }
        if (fl_worker_record(w, &o) < 0)
            return;
    }
    if (deliver(w))
        return;
    if (w->reboot)
        fl_worker_leave_for_boot(w);
    else
        fl_worker_finish(w, fl_status_aggregate(w->counts), NULL);
}

int fl_worker_report_interrupted(struct worker *w)
{
    struct fl_output out, err;
    struct fl_outcome o = {
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
    fl_output_init(&out, w->step_fd, "stdout", 0);
    fl_output_init(&err, w->step_fd, "stderr", 0);
    if (r == 0) {
        fl_output_recover(&out);
        fl_output_recover(&err);
    }
    if (!w->cancelled) {
        if (err.head.len > 0 && err.head.data[err.head.len - 1] != '\n')
            fl_output_write(&err, "\n", 1);
        fl_output_write(&err, INTERRUPTED_TEXT, sizeof(INTERRUPTED_TEXT) - 1);
    }
    fl_flow_props_read(&w->doc.steps[w->next], &w->props);
    r = fl_worker_record(w, &o);
    fl_output_done(&out);
    fl_output_done(&err);
    return r;
}
