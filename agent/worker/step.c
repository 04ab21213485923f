/* step.c - see step.h. */
#include "agent/worker/step.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "agent/worker/nested.h"
#include "common/base/log.h"
#include "common/codec/json_load.h"
#include "common/doc/go_text.h"
#include "plugins/exit.h"

#define INPUT_MAX_BYTES     (16u << 20)
#define BAD_INPUT_MAX_BYTES 20000 /* of the text that shows inputs of a wrong shape */

struct fl_step {
    struct fl_loop *loop;
    const struct fl_plugin *plugin;
    struct fl_step_context context;
    struct fl_step_host host;
    json_t *inputs;
    size_t run, n_runs;
    struct fl_output streams[2];
    struct fl_step_calls calls;
    struct fl_nested *nested; /* the document that runs inside this step, or NULL */
    fl_nested_fn nested_done;
    void *nested_arg;
    int64_t output_max_bytes;
    struct fl_timer *timer; /* the plugin's, of one run */
    struct fl_timer *limit; /* of one attempt, or NULL */
    uint64_t limit_ms;
    uint32_t attempts_left;
    bool out_of_time, cancelled;
    /* of the current run */
    struct fl_arena arena;
    void *state;
    enum fl_step_ending ending;
    bool started, over;
    struct fl_group group;
    enum fl_status run_status;
    int run_code;
    /* of all runs */
    enum fl_status status;
    int code;
    /* A posted call cannot be taken back: this outlives a step that is freed before it runs. */
    struct ticket {
        struct fl_step *step;
    } * ticket;
};

static void begin_run(struct fl_step *s);

static void next_run(struct fl_step *s)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(s->streams); i++)
        fl_output_next_run(&s->streams[i]);
}

static void end_run(struct fl_step *s)
{
    fl_step_calls_end(&s->calls);
    s->nested = fl_nested_free(s->nested);
    if (s->started && s->plugin->release)
        s->plugin->release(s);
    s->started = false;
    fl_timer_stop(s->timer);
    free(s->state);
    s->state = NULL;
    fl_arena_done(&s->arena);
    s->status = fl_status_worse(s->status, s->run_status);
    if (s->code == 0)
        s->code = s->run_code;
}

static void begin_attempt(struct fl_step *s)
{
    s->run = 0;
    s->status = s->n_runs ? FL_STATUS_SKIPPED : FL_STATUS_SUCCESS;
    s->code = 0;
    s->out_of_time = false;
    if (s->limit)
        fl_timer_start(s->limit, s->limit_ms);
    begin_run(s);
}

static bool is_tried_again(struct fl_step *s)
{
    if (s->attempts_left == 0 || s->cancelled || s->code == FL_EXIT_SUCCEED ||
        s->code == FL_EXIT_FAIL)
        return false;
    return s->status == FL_STATUS_FAILED || s->status == FL_STATUS_TIMED_OUT;
}

static void on_over(void *arg)
{
    struct ticket *ticket = arg;
    struct fl_step *s = ticket->step;

    free(ticket);
    if (!s)
        return;
    s->ticket = NULL;
    end_run(s);
    s->run++;
    if (s->run < s->n_runs && s->cancelled)
        s->status = fl_status_worse(s->status, FL_STATUS_CANCELLED);
    else if (s->run < s->n_runs && s->out_of_time)
        s->status = fl_status_worse(s->status, FL_STATUS_TIMED_OUT);
    if (s->run < s->n_runs && !s->cancelled && !s->out_of_time) {
        next_run(s);
        begin_run(s);
    } else if (is_tried_again(s)) {
        s->attempts_left--;
        next_run(s);
        begin_attempt(s);
    } else {
        if (s->limit)
            fl_timer_stop(s->limit);
        s->host.on_done(s->host.arg);
    }
}

/* The end of a run is handled from the loop: whoever reports it may be deep inside the plugin. */
void fl_step_done(struct fl_step *s, enum fl_status status, int code)
{
    if (s->over)
        return;
    s->over = true;
    fl_step_calls_end(&s->calls);
    s->run_status = status;
    s->run_code = code;
    s->ticket = malloc(sizeof(*s->ticket));
    if (s->ticket)
        s->ticket->step = s;
    if (!s->ticket || fl_loop_post(s->loop, on_over, s->ticket) < 0)
        abort(); /* without memory for this nothing can be reported; the journal goes on */
}

static void end_now(struct fl_step *s, enum fl_step_ending why)
{
    if (s->over || !s->started || s->ending != FL_STEP_NOT_ENDING)
        return;
    s->ending = why;
    s->plugin->cancel(s);
}

static void on_timeout(void *arg)
{
    end_now(arg, FL_STEP_TIMING_OUT);
}

static void on_limit(void *arg)
{
    struct fl_step *s = arg;

    s->out_of_time = true;
    end_now(s, FL_STEP_TIMING_OUT);
}

void fl_step_cancel(struct fl_step *s)
{
    s->cancelled = true; /* also when it comes between two runs */
    end_now(s, FL_STEP_CANCELLING);
}

/* "Invalid format in plugin properties map[..];\nerror json: ..", as the official agent says it. */
static void report_bad_input(struct fl_step *s, const json_t *in, const struct fl_err *err)
{
    static const char *const class_name[] = {
        [JSON_OBJECT] = "object",  [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "number", [JSON_REAL] = "number", [JSON_TRUE] = "bool",
        [JSON_FALSE] = "bool",     [JSON_NULL] = "null",
    };
    fl_autobuf struct fl_buf text = FL_BUF(BAD_INPUT_MAX_BYTES);
    int r;
    fl_step_puts(s, FL_STEP_STDERR, "Invalid format in plugin properties ");
    /* A value too long to show is left out; what was collected of it is shown. */
    fl_go_value_text(in, &text);
    fl_step_write(s, FL_STEP_STDERR, text.data, text.len);
    fl_step_puts(s, FL_STEP_STDERR, ";\nerror ");
    fl_buf_reset(&text);
    if (!json_is_object(in))
        r = fl_buf_printf(&text, "json: cannot unmarshal %s into Go value of type %s",
                          class_name[json_typeof(in)], s->plugin->input->name);
    else
        r = fl_go_mismatch_text(s->plugin->input, in, &text);
    fl_step_puts(s, FL_STEP_STDERR, r >= 0 && text.len ? text.data : fl_err_text(err));
}

static void begin_run(struct fl_step *s)
{
    json_t *in = json_is_array(s->inputs) ? json_array_get(s->inputs, s->run) : s->inputs;
    struct fl_err err = { 0 };
    void *input;
    int r;

    fl_arena_init(&s->arena, INPUT_MAX_BYTES);
    s->over = s->started = false;
    s->ending = FL_STEP_NOT_ENDING;
    s->group = (struct fl_group){ 0 };

    s->state = calloc(1, FL_MAX(s->plugin->state_size, 1u));
    input = fl_arena_alloc(&s->arena, s->plugin->input ? s->plugin->input->size : 0);
    if (!s->state || !input) {
        fl_step_puts(s, FL_STEP_STDERR, "out of memory");
        fl_step_done(s, FL_STATUS_FAILED, 1);
        return;
    }
    if (s->plugin->input && !json_is_null(in)) { /* null is what an absent member is: no inputs */
        r = json_is_object(in) ? fl_json_decode_value(s->plugin->input, in, FL_DECODE_NOCASE,
                                                      &s->arena, input, &err)
                               : -EINVAL;
        if (r < 0) {
            report_bad_input(s, in, &err);
            fl_step_done(s, FL_STATUS_FAILED, 1);
            return;
        }
    }
    s->started = true;
    r = s->plugin->start(s, input, &err);
    if (r < 0) {
        fl_step_puts(s, FL_STEP_STDERR, fl_err_text(&err));
        fl_step_done(s, FL_STATUS_FAILED, 1);
    }
}

int fl_step_new(struct fl_loop *loop, const struct fl_plugin *plugin, const char *inputs_json,
                const struct fl_step_context *context, int dir_fd, int64_t output_max_bytes,
                const struct fl_step_host *host, struct fl_step **ret_step)
{
    struct fl_step *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->loop = loop;
    s->plugin = plugin;
    s->context = *context;
    s->host = *host;
    s->output_max_bytes = output_max_bytes;
    fl_step_calls_init(&s->calls, host->calls);
    fl_output_init(&s->streams[FL_STEP_STDOUT], dir_fd, "stdout", (uint64_t)output_max_bytes);
    fl_output_init(&s->streams[FL_STEP_STDERR], dir_fd, "stderr", (uint64_t)output_max_bytes);
    s->timer = fl_timer_new(loop, on_timeout, s);
    s->inputs = fl_json_load_text(inputs_json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!s->timer || !s->inputs) {
        fl_step_free(s);
        return -ENOMEM;
    }
    s->n_runs = json_is_array(s->inputs) ? json_array_size(s->inputs) : 1;
    *ret_step = s;
    return 0;
}

struct fl_step *fl_step_free(struct fl_step *s)
{
    if (!s)
        return NULL;
    if (s->ticket)
        s->ticket->step = NULL;
    if (s->started)
        end_run(s);
    fl_arena_done(&s->arena);
    free(s->state);
    s->timer = fl_timer_free(s->timer);
    s->limit = fl_timer_free(s->limit);
    json_decref(s->inputs);
    fl_output_done(&s->streams[0]);
    fl_output_done(&s->streams[1]);
    free(s);
    return NULL;
}

int fl_step_limit(struct fl_step *s, uint64_t timeout_ms, uint32_t max_attempts)
{
    s->attempts_left = max_attempts > 0 ? max_attempts - 1 : 0;
    s->limit_ms = timeout_ms;
    s->limit = timeout_ms > 0 ? fl_timer_new(s->loop, on_limit, s) : NULL;
    return timeout_ms > 0 && !s->limit ? -ENOMEM : 0;
}

void fl_step_begin(struct fl_step *s)
{
    if (s->n_runs > 0) {
        begin_attempt(s);
        return;
    }
    fl_step_done(s, FL_STATUS_SUCCESS, 0); /* an empty list of inputs: nothing to do */
}

enum fl_status fl_step_status(const struct fl_step *s)
{
    return s->status;
}

int fl_step_code(const struct fl_step *s)
{
    return s->code;
}

struct fl_output *fl_step_stream(struct fl_step *s, enum fl_step_stream which)
{
    return &s->streams[which];
}

/* ---- the plugin's side ---- */

const struct fl_step_context *fl_step_context(const struct fl_step *s)
{
    return &s->context;
}

const struct fl_plugin *fl_step_plugin(const struct fl_step *s)
{
    return s->plugin;
}

char *fl_step_inputs(const struct fl_step *s)
{
    json_t *in = json_is_array(s->inputs) ? json_array_get(s->inputs, s->run) : s->inputs;

    return json_is_null(in) ? strdup("{}") : json_dumps(in, JSON_COMPACT);
}

struct fl_loop *fl_step_loop(const struct fl_step *s)
{
    return s->loop;
}

void *fl_step_state(const struct fl_step *s)
{
    return s->state;
}

enum fl_step_ending fl_step_ending(const struct fl_step *s)
{
    return s->ending;
}

void fl_step_write(struct fl_step *s, enum fl_step_stream stream, const void *data, size_t len)
{
    fl_output_write(&s->streams[stream], data, len);
}

void fl_step_puts(struct fl_step *s, enum fl_step_stream stream, const char *text)
{
    fl_step_write(s, stream, text, strlen(text));
}

void fl_step_note_group(struct fl_step *s, pid_t leader)
{
    fl_group_describe(leader, &s->group);
    s->host.on_group(s->host.group_arg, &s->group);
}

void fl_step_kill_group(struct fl_step *s)
{
    fl_group_kill(&s->group, s->context.command_id);
}

int fl_step_spawn_confined(struct fl_step *s, const char *program, const struct fl_child_fd *fds,
                           size_t n_fds, fl_child_fn fn, void *arg, struct fl_child **ret_child,
                           struct fl_err *err)
{
    const struct fl_role_spec spec = {
        .program = program,
        .fds = fds,
        .n_fds = n_fds,
        .user = s->host.net_user,
    };

    return fl_role_spawn(s->loop, s->host.paths, &spec, fn, arg, ret_child, err);
}

int fl_step_unprivileged(struct fl_step *s, uid_t *ret_uid, gid_t *ret_gid, struct fl_err *err)
{
    return fl_sandbox_ids(s->host.net_user, ret_uid, ret_gid, err);
}

void fl_step_set_timeout(struct fl_step *s, uint64_t ms)
{
    fl_timer_start(s->timer, ms);
}

int fl_step_call(struct fl_step *s, const struct fl_step_request *request, fl_step_answer_fn done,
                 void *arg, uint32_t *ret_id, struct fl_err *err)
{
    return fl_step_calls_start(&s->calls, request, done, arg, ret_id, err);
}

int fl_step_ssm(struct fl_step *s, const char *operation, const struct fl_shape *in_shape,
                const void *in, const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                uint32_t *ret_id, struct fl_err *err)
{
    return fl_step_calls_ssm(&s->calls, operation, in_shape, in, out_shape, done, arg, ret_id, err);
}

void fl_step_call_cancel(struct fl_step *s, uint32_t id)
{
    fl_step_calls_cancel(&s->calls, id);
}

static void on_nested(void *arg, const struct fl_nested_result *result)
{
    struct fl_step *s = arg;

    if (!s->over)
        s->nested_done(s->nested_arg, result);
}

int fl_step_nest(struct fl_step *s, const char *name, const char *document, const char *parameters,
                 fl_nested_fn done, void *arg, struct fl_err *err)
{
    const struct fl_nested_host host = {
        .loop = s->loop,
        .context = &s->context,
        .step_host = &s->host,
        .outputs = s->streams,
        .output_max_bytes = s->output_max_bytes,
    };

    s->nested_done = done;
    s->nested_arg = arg;
    return fl_nested_new(&host, name, document, parameters, on_nested, s, &s->nested, err);
}

bool fl_step_nests(const struct fl_step *s)
{
    return s->nested != NULL;
}

void fl_step_nest_cancel(struct fl_step *s)
{
    fl_nested_cancel(s->nested);
}
