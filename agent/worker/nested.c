/* nested.c - see nested.h. */
#include "agent/worker/nested.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/worker/flow.h"
#include "agent/calls/values.h"
#include "common/base/file.h"

#define MEMORY_MAX_BYTES (72u << 20) /* of the document, read up to twice */
#define REBOOT_TEXT      "fairlead: a step of a nested document cannot ask for a reboot"

struct fl_nested {
    struct fl_nested_host host;
    fl_nested_fn done;
    void *arg;
    struct fl_arena arena;
    const char *name, *document, *parameters;
    struct fl_doc doc;
    struct fl_step_guard *guard; /* NULL: no policy */
    struct fl_ssm_refs *refs;
    struct fl_values values;
    size_t next, go_to; /* steps before go_to are passed over */
    bool stopped, cancelled;
    enum fl_status status; /* the worst so far */
    struct fl_err error;   /* code 0: none */
    struct fl_step_context context;
    struct fl_step *step;
    struct fl_flow_props props;
    char *step_dir;
    int step_fd;
    struct fl_timer *turn; /* goes on from the loop */
};

/* ---- what a step leaves ---- */

/* To the output of the step around this document; a line feed comes between two steps' outputs. */
static void pass_on(struct fl_nested *n, enum fl_step_stream which, const struct fl_buf *head,
                    const char *suffix)
{
    fl_autobuf struct fl_buf text = FL_BUF(2 * FL_OUTPUT_STREAM_BYTES);
    struct fl_output *out = &n->host.outputs[which];
    if (fl_output_stream_text(head, &text) == 0 && text.len > 0)
        fl_output_write(out, text.data, text.len);
    if (suffix)
        fl_output_write(out, suffix, strlen(suffix));
}

/* What an inner step leaves is in the outputs around it. A document that runs itself a thousand
 * times, thrice over, would leave a million folders. */
static void remove_step_dir(struct fl_nested *n)
{
    if (n->step_fd >= 0) {
        close(FL_TAKE_FD(n->step_fd));
        fl_dir_remove(n->step_dir, NULL);
    }
    free(n->step_dir);
    n->step_dir = NULL;
}

static void next_step(struct fl_nested *n)
{
    remove_step_dir(n);
    fl_output_next_run(&n->host.outputs[FL_STEP_STDOUT]);
    fl_output_next_run(&n->host.outputs[FL_STEP_STDERR]);
    n->next++;
    fl_timer_start(n->turn, 0);
}

static void take_result(struct fl_nested *n, enum fl_status status, int code)
{
    struct fl_flow_result flow = { .status = status, .code = code };
    static const struct fl_buf none;

    fl_flow_after(&n->props, &flow);
    pass_on(n, FL_STEP_STDOUT, &fl_step_stream(n->step, FL_STEP_STDOUT)->head, flow.suffix);
    pass_on(n, FL_STEP_STDERR,
            flow.clear_stderr ? &none : &fl_step_stream(n->step, FL_STEP_STDERR)->head,
            flow.clear_stderr ? NULL : flow.suffix);
    if (flow.status == FL_STATUS_SUCCESS_AND_REBOOT) {
        flow.status = FL_STATUS_FAILED;
        flow.stop = true;
        fl_output_write(&n->host.outputs[FL_STEP_STDERR], REBOOT_TEXT, sizeof(REBOOT_TEXT) - 1);
    }
    n->stopped |= flow.stop;
    n->go_to = FL_MAX(n->go_to, flow.go_to);
    n->status = fl_status_worse(n->status, flow.status);
}

static void on_step_done(void *arg)
{
    struct fl_nested *n = arg;

    take_result(n, fl_step_status(n->step), fl_step_code(n->step));
    n->step = fl_step_free(n->step);
    next_step(n);
}

/* A step that was not run, and why. */
static void pass_over(struct fl_nested *n, enum fl_status status, const char *text)
{
    enum fl_step_stream which = status == FL_STATUS_SKIPPED ? FL_STEP_STDOUT : FL_STEP_STDERR;

    if (text)
        fl_output_write(&n->host.outputs[which], text, strlen(text));
    n->status = fl_status_worse(n->status, status);
    next_step(n);
}

/* ---- steps ---- */

static int open_step_dir(struct fl_nested *n)
{
    char name[32];

    snprintf(name, sizeof(name), "nested-%zu", n->next);
    n->step_dir = fl_path_join(n->host.context->dir, name);
    if (!n->step_dir)
        return -ENOMEM;
    if (mkdir(n->step_dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    n->step_fd = open(n->step_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return n->step_fd < 0 ? -errno : 0;
}

static int start_step(struct fl_nested *n, const struct fl_doc_step *s,
                      const struct fl_plugin *plugin)
{
    struct fl_step_host host = *n->host.step_host;
    int r = open_step_dir(n);

    n->context = *n->host.context;
    n->context.dir = n->step_dir;
    n->context.env = &n->doc.env;
    n->context.depth++;
    n->context.has_settings = s->has_settings;
    host.on_done = on_step_done;
    host.arg = n;
    host.guard = n->guard;
    if (r == 0)
        r = fl_step_new(n->host.loop, plugin, s->inputs, &n->context, n->step_fd,
                        n->host.output_max_bytes, &host, &n->step);
    if (r == 0)
        r = fl_step_limit(n->step, (uint64_t)s->control.timeout_s * 1000, s->control.max_attempts);
    if (r < 0)
        return r;
    fl_step_begin(n->step);
    return 0;
}

static void finish(struct fl_nested *n)
{
    const struct fl_nested_result result = {
        .status = n->error.code ? FL_STATUS_FAILED : n->status,
        .error = n->error.code ? fl_err_text(&n->error) : NULL,
    };

    n->done(n->arg, &result);
}

static void advance(struct fl_nested *n)
{
    const struct fl_doc_step *s = &n->doc.steps[n->next];
    const struct fl_plugin *plugin = fl_plugin_find(s->action);
    enum fl_flow_verdict verdict;
    char *text = NULL;

    fl_flow_props_read(s, &n->props);
    if (n->next < n->go_to) {
        pass_over(n, FL_STATUS_SKIPPED, NULL);
        return;
    }
    verdict = fl_flow_decide(n->doc.schema, s, &n->props, n->stopped, n->next + 1 == n->doc.n_steps,
                             plugin != NULL, &n->arena, &text);
    if (verdict == FL_FLOW_RUN && !fl_step_guard_allows(n->guard, s, &n->arena, &text))
        verdict = FL_FLOW_FAIL;
    if (verdict == FL_FLOW_RUN && start_step(n, s, plugin) == 0)
        return;
    if (verdict == FL_FLOW_RUN)
        text = fl_arena_strdup(&n->arena, "fairlead: the step could not be started");
    n->step = fl_step_free(n->step);
    pass_over(n, verdict == FL_FLOW_SKIP ? FL_STATUS_SKIPPED : FL_STATUS_FAILED, text);
}

static void on_turn(void *arg)
{
    struct fl_nested *n = arg;

    if (n->cancelled && n->next < n->doc.n_steps)
        n->status = fl_status_worse(n->status, FL_STATUS_CANCELLED);
    if (n->error.code || n->cancelled || n->next == n->doc.n_steps)
        finish(n);
    else
        advance(n);
}

/* ---- the document ---- */

static int load(struct fl_nested *n)
{
    const struct fl_step_guard *outer = n->host.step_host->guard;
    int r = fl_doc_load_nested(n->document, n->parameters, "linux", n->refs, &n->arena, &n->doc,
                               &n->error);

    if (r == 0 && outer && !n->guard)
        r = fl_step_guard_nest(outer, n->name, n->document, n->parameters, &n->guard, &n->error);
    return r;
}

static void on_values(void *arg, const struct fl_err *err)
{
    struct fl_nested *n = arg;

    if (err)
        n->error = *err;
    else
        load(n);
    fl_timer_start(n->turn, 0);
}

int fl_nested_new(const struct fl_nested_host *host, const char *name, const char *document,
                  const char *parameters, fl_nested_fn done, void *arg,
                  struct fl_nested **ret_nested, struct fl_err *err)
{
    struct fl_nested *n = calloc(1, sizeof(*n));

    if (!n)
        return fl_err_nomem(err);
    n->host = *host;
    n->done = done;
    n->arg = arg;
    n->step_fd = -1;
    n->status = FL_STATUS_SKIPPED;
    fl_arena_init(&n->arena, MEMORY_MAX_BYTES);
    n->name = fl_arena_strdup(&n->arena, name);
    n->document = fl_arena_strdup(&n->arena, document);
    n->parameters = fl_arena_strdup(&n->arena, parameters);
    n->refs = fl_ssm_refs_new();
    n->turn = fl_timer_new(host->loop, on_turn, n);
    if (!n->name || !n->document || (parameters && !n->parameters) || !n->refs || !n->turn) {
        fl_nested_free(n);
        return fl_err_nomem(err);
    }
    n->values = (struct fl_values){ host->step_host->calls, n->refs, on_values, n, 0 };
    if (load(n) < 0 || !fl_ssm_refs_wanting(n->refs) || fl_values_ask(&n->values, &n->error) < 0)
        fl_timer_start(n->turn, 0);
    *ret_nested = n;
    return 0;
}

struct fl_nested *fl_nested_free(struct fl_nested *n)
{
    if (!n)
        return NULL;
    fl_values_cancel(&n->values);
    n->step = fl_step_free(n->step);
    n->turn = fl_timer_free(n->turn);
    fl_ssm_refs_free(n->refs);
    fl_step_guard_free(n->guard);
    remove_step_dir(n);
    fl_arena_done(&n->arena);
    free(n);
    return NULL;
}

void fl_nested_cancel(struct fl_nested *n)
{
    n->cancelled = true;
    if (n->step) {
        fl_step_cancel(n->step);
        return;
    }
    fl_values_cancel(&n->values);
    fl_timer_start(n->turn, 0);
}
