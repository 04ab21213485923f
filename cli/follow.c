/* follow.c - what becomes of a command: outputs as nodes finish, progress, Ctrl-C.
 *
 * The counts of the command (one small call) tell when it is worth while to read the list of
 * invocations; the pause between two looks grows with what a look costs. Outputs are fetched a page
 * of nodes at a time, some calls at once.
 */
#include <errno.h>
#include <search.h>
#include <signal.h>
#include <string.h>
#include "cli/commands.h"
#include "cli/term.h"
#include "common/base/clock.h"

#define FIRST_PAUSE_MS 100
#define MAX_PAUSE_MS   2000
#define COST_FACTOR    2 /* a pause is at least so many times the look before it */
#define AT_ONCE        8
#define BATCH_NODES    50
#define BATCH_MEMORY   (64 << 20)
#define BATCH_STEPS    1000
#define STEP_NAME_MIN  4 /* of GetCommandInvocation.PluginName, in the API's model */

struct output {
    char *command, *node, *step, *status, *details, *begin, *elapsed, *out, *error;
    const char *told; /* why a step that never ran failed; else NULL */
    int32_t code;
};
#define F(member, key) FL_FIELD(struct output, member, key, 0)
static const struct fl_field output_fields[] = {
    F(command, "CommandId"),
    F(node, "InstanceId"),
    F(step, "PluginName"),
    F(status, "Status"),
    F(details, "StatusDetails"),
    F(code, "ResponseCode"),
    F(begin, "ExecutionStartDateTime"),
    F(elapsed, "ExecutionElapsedTime"),
    F(out, "StandardOutputContent"),
    F(error, "StandardErrorContent"),
    F(told, "Output"),
};
#undef F
static const struct fl_shape output_shape =
    FL_SHAPE(struct output, "GetCommandInvocation", output_fields);

struct output_in {
    const char *command, *node, *step;
};
static const struct fl_field output_in_fields[] = {
    FL_FIELD(struct output_in, command, "CommandId", 0),
    FL_FIELD(struct output_in, node, "InstanceId", 0),
    FL_FIELD(struct output_in, step, "PluginName", 0),
};
static const struct fl_shape output_in_shape =
    FL_SHAPE(struct output_in, "GetCommandInvocation", output_in_fields);
static const struct fl_op op_output = { "GetCommandInvocation", &output_in_shape, &output_shape,
                                        false };

/* What --json prints of a node. */
struct result {
    const char *command, *node, *name, *status, *details;
    struct output *steps;
    size_t n_steps;
};
static const struct fl_field result_fields[] = {
    FL_FIELD(struct result, command, "CommandId", FL_ALWAYS),
    FL_FIELD(struct result, node, "InstanceId", FL_ALWAYS),
    FL_FIELD(struct result, name, "InstanceName", FL_ALWAYS),
    FL_FIELD(struct result, status, "Status", FL_ALWAYS),
    FL_FIELD(struct result, details, "StatusDetails", FL_ALWAYS),
    FL_FIELD_LIST(struct result, steps, n_steps, "Steps", FL_ALWAYS, &output_shape),
};
static const struct fl_shape result_shape = FL_SHAPE(struct result, "result", result_fields);

struct fetch {
    struct batch *batch;
    struct output out;
    struct output_in in;
    const char *told; /* the list's Output */
    int r;
};

struct node {
    char *id, *name, *status, *details;
    struct fetch *steps;
    size_t n_steps;
};

/* Nodes that have finished since the last look, at most a page of them. */
struct batch {
    struct following *f;
    struct fl_arena arena;
    struct node nodes[BATCH_NODES];
    size_t n_nodes;
    struct fetch *queue[BATCH_STEPS];
    size_t n_queue, next, running;
    bool done;
    struct fl_err err;
    int r;
};

struct following {
    struct fl_cli *cli;
    struct fl_follow *ask;
    struct batch *batch;
    void *seen; /* tsearch(3) tree of node ids */
    size_t n_seen, n_success;
    bool many; /* outputs need headings */
    struct fl_sent now;
    struct fl_arena now_arena;
    bool woken;
};

/* ---- Ctrl-C ---- */

static void leave(const struct fl_follow *f)
{
    fl_progress("%s", "");
    if (f->id)
        fprintf(
            stderr,
            "\nCommand %s goes on.\n  fairlead command watch %s\n  fairlead command cancel %s\n",
            f->id, f->id, f->id);
    else
        fprintf(stderr, "\nWhether the command was taken is not known: fairlead command list\n");
    fflush(stdout);
    _exit(FL_EXIT_INTERRUPTED);
}

static void on_interrupt(void *arg, int signo)
{
    struct fl_follow *f = arg;

    (void)signo;
    if (++f->interrupted >= 2)
        leave(f);
    fl_progress("waiting for an answer; Ctrl-C again leaves at once");
    if (f->wake)
        f->wake(f->wake_arg);
}

struct fl_signal *fl_follow_signals(struct fl_cli *cli, struct fl_follow *f, struct fl_err *err)
{
    struct fl_loop *loop = fl_cli_loop(cli, err);

    return loop ? fl_signal_new(loop, SIGINT, on_interrupt, f) : NULL;
}

static void wake(void *arg)
{
    struct following *f = arg;

    f->woken = true;
    fl_loop_stop(fl_cli_loop(f->cli, NULL));
}

/* The first Ctrl-C: asks, unless that was answered beforehand. Below 0: the answer is to leave. */
static int on_first_interrupt(struct following *f, struct fl_err *err)
{
    int yes = f->ask->yes
                  ? 1
                  : fl_confirm(f->cli, "\nCancel the command on the nodes that have not finished? "
                                       "(Ctrl-C again: leave it running) [y/N] ");

    if (yes < 0)
        leave(f->ask);
    f->ask->interrupted = 0;
    if (!yes)
        return 0;
    f->ask->cancelled = true;
    if (!f->ask->quiet)
        fprintf(stderr, "Cancelling %s\n", f->ask->id);
    return fl_sent_cancel(f->cli, f->ask->id, NULL, err);
}

/* ---- fetching outputs ---- */

static void fetch_more(struct batch *b);

/* The agent's own words: there is nothing of the step's, nor the line between what it puts out and
 * its errors. */
static bool is_own_word(const struct fetch *fetch)
{
    const struct output *o = &fetch->out;

    return (!o->out || !*o->out) && (!o->error || !*o->error) && fetch->told && *fetch->told &&
           !strstr(fetch->told, "----------ERROR-------") &&
           !(o->status && strcmp(o->status, "Success") == 0);
}

static void on_output(void *arg, int r, const char *text, const struct fl_err *err)
{
    struct fetch *fetch = arg;
    struct batch *b = fetch->batch;

    b->running--;
    if (r == 0)
        r = fl_json_decode(&output_shape, text, strlen(text), FL_DECODE_LAX, &b->arena, &fetch->out,
                           &b->err);
    else if (fl_api_refused(r, err, "InvocationDoesNotExist"))
        r = 0; /* never reached the node: it has a status and no output */
    else if (b->r == 0)
        b->err = *err;
    if (r < 0 && b->r == 0)
        b->r = r;
    fetch->out.told = is_own_word(fetch) ? fetch->told : NULL;
    fetch_more(b);
}

static void fetch_more(struct batch *b)
{
    while (b->r == 0 && b->running < AT_ONCE && b->next < b->n_queue) {
        struct fetch *fetch = b->queue[b->next++];

        b->r = fl_api_start(b->f->cli, &op_output, &fetch->in, on_output, fetch, &b->err);
        if (b->r == 0)
            b->running++;
    }
    b->done = b->running == 0 && (b->r < 0 || b->next == b->n_queue);
    if (b->done)
        fl_loop_stop(fl_cli_loop(b->f->cli, NULL));
}

/* ---- printing ---- */

static bool succeeded(const struct node *n)
{
    return n->status && strcmp(n->status, "Success") == 0;
}

static const char *label(const struct node *n)
{
    return n->name && *n->name ? n->name : n->id;
}

static void put_block(FILE *out, const char *text, bool whole_lines)
{
    if (!text || !*text)
        return;
    fl_put_text(out, text);
    if (whole_lines && text[strlen(text) - 1] != '\n')
        fputc('\n', out);
    fflush(out);
}

static int print_json(const struct following *f, const struct node *n)
{
    fl_autobuf struct fl_buf line = FL_BUF(BATCH_MEMORY);
    fl_autofree struct output *steps = calloc(n->n_steps + 1, sizeof(*steps));
    const struct result res = {
        f->ask->id, n->id, n->name, n->status, n->details, steps, n->n_steps
    };
    int r = steps ? 0 : -ENOMEM;

    for (size_t i = 0; i < n->n_steps && r == 0; i++) {
        steps[i] = n->steps[i].out;
        steps[i].command = steps[i].node = NULL; /* stand in the node's object */
    }
    if (r == 0)
        r = fl_json_encode(&result_shape, &res, &line);
    if (r == 0)
        fl_put_json(line.data);
    return r;
}

static void print_failure(const struct node *n)
{
    fl_put_textf(stderr, "fairlead: %s: %s", label(n),
                 n->details && *n->details ? n->details : n->status);
    for (size_t i = 0; i < n->n_steps; i++)
        if (n->steps[i].out.code > 0)
            fl_put_textf(stderr, ", %s%sexit status %d", n->n_steps > 1 ? n->steps[i].out.step : "",
                         n->n_steps > 1 ? " " : "", n->steps[i].out.code);
    fputc('\n', stderr);
}

static void print_text(const struct following *f, const struct node *n)
{
    bool failed = !succeeded(n) && fl_status_is_final(n->status);

    if (f->many && !f->ask->quiet) {
        fl_put_textf(stdout, "==> %s", label(n));
        if (n->name && *n->name)
            fl_put_textf(stdout, " (%s)", n->id);
        fl_put_textf(stdout, ": %s\n", n->details && *n->details ? n->details : n->status);
    }
    for (size_t i = 0; i < n->n_steps; i++) {
        const struct output *o = &n->steps[i].out;

        if (n->n_steps > 1 && !f->ask->quiet)
            fl_put_textf(stdout, "-- %s: %s\n", o->step, o->status ? o->status : "");
        put_block(stdout, o->out, f->many || n->n_steps > 1);
        fflush(stdout);
        put_block(stderr, o->told ? o->told : o->error, failed || f->many || n->n_steps > 1);
    }
    if (failed)
        print_failure(n);
}

static int hand_over(const struct following *f, const struct node *n)
{
    const struct output *last = n->n_steps ? &n->steps[n->n_steps - 1].out : NULL;
    const struct fl_outcome o = {
        n->id,
        n->name,
        n->status,
        n->details,
        last ? last->out : NULL,
        last ? (last->told ? last->told : last->error) : NULL,
    };

    return f->ask->take(f->ask->take_arg, &o);
}

static int print_batch(struct following *f, struct batch *b)
{
    int r = 0;

    fl_progress("%s", "");
    for (size_t i = 0; i < b->n_nodes && r == 0; i++) {
        if (f->ask->take)
            r = hand_over(f, &b->nodes[i]);
        else if (f->cli->json)
            r = print_json(f, &b->nodes[i]);
        else
            print_text(f, &b->nodes[i]);
        f->n_success += succeeded(&b->nodes[i]);
    }
    if (fflush(stdout) != 0 && r == 0)
        r = -errno;
    return r;
}

/* ---- looking ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool is_new(struct following *f, const char *id)
{
    char *copy = strdup(id);
    char **found = copy ? tsearch(copy, &f->seen, by_id) : NULL;

    if (found && *found == copy) {
        f->n_seen++;
        return true;
    }
    free(copy);
    return false;
}

static int flush_batch(struct following *f, struct fl_err *err)
{
    struct batch *b = f->batch;
    int r;

    if (b->n_nodes == 0)
        return 0;
    b->done = false;
    fetch_more(b);
    fl_cli_wait(f->cli, &b->done, 0);
    r = b->r;
    if (r < 0)
        *err = b->err;
    else
        r = print_batch(f, b);
    fl_arena_done(&b->arena);
    *b = (struct batch){ .f = f, .arena = FL_ARENA(BATCH_MEMORY) };
    return r;
}

/* What the list already says of a step; its `Output` is both streams and at most 2,500 characters.
 */
static int copy_step(struct output *out, const struct fl_step *step, struct fl_arena *arena)
{
    out->step = fl_arena_strdup(arena, step->name ? step->name : "");
    out->status = fl_arena_strdup(arena, step->status ? step->status : "");
    out->out = fl_arena_strdup(arena, step->output);
    out->code = step->code;
    return out->step && out->status ? 0 : -ENOMEM;
}

static int add_steps(struct following *f, struct node *n, const struct fl_invocation *inv)
{
    struct batch *b = f->batch;
    int r = 0;

    n->steps = fl_arena_calloc(&b->arena, inv->n_steps, sizeof(*n->steps));
    if (!n->steps)
        return -ENOMEM;
    for (size_t i = 0; i < inv->n_steps && b->n_queue < BATCH_STEPS && r == 0; i++) {
        struct fetch *fetch = &n->steps[n->n_steps++];
        bool named = inv->n_steps > 1;

        fetch->batch = b;
        fetch->told = fl_arena_strdup(&b->arena, inv->steps[i].output);
        r = copy_step(&fetch->out, &inv->steps[i], &b->arena);
        fetch->in = (struct output_in){ f->ask->id, n->id, named ? fetch->out.step : NULL };
        /* A step with a shorter name cannot be asked for where there are several. */
        if (r == 0 && (!named || strlen(fetch->out.step) >= STEP_NAME_MIN))
            b->queue[b->n_queue++] = fetch;
    }
    return r;
}

struct looking {
    struct following *f;
    struct fl_err *err;
};

static int on_invocation(void *arg, const void *item, const void *json)
{
    struct looking *l = arg;
    struct following *f = l->f;
    const struct fl_invocation *inv = item;
    struct batch *b = f->batch;
    struct node *n;
    int r;

    (void)json;
    if (!inv->node || !inv->status)
        return 0;
    if ((!f->ask->all && !fl_status_is_final(inv->status)) || !is_new(f, inv->node))
        return 0;
    if (b->n_queue + inv->n_steps > BATCH_STEPS && (r = flush_batch(f, l->err)) < 0)
        return r;
    n = &b->nodes[b->n_nodes++];
    *n = (struct node){ .id = fl_arena_strdup(&b->arena, inv->node),
                        .name = fl_arena_strdup(&b->arena, inv->name),
                        .status = fl_arena_strdup(&b->arena, inv->status),
                        .details = fl_arena_strdup(&b->arena, inv->details) };
    if (!n->id || !n->status || add_steps(f, n, inv) < 0)
        return -ENOMEM;
    return b->n_nodes == BATCH_NODES ? flush_batch(f, l->err) : 0;
}

/* All invocations, page after page; prints those that are new and final. */
static int look_at_nodes(struct following *f, struct fl_err *err)
{
    const struct fl_sent_query q = { .command = f->ask->id, .node = f->ask->only, .steps = true };
    fl_autobuf struct fl_buf query = FL_BUF(1024);
    struct looking l = { f, err };
    int r = fl_json_encode(&fl_sent_query_shape, &q, &query);

    if (r == 0)
        r = fl_list_each(f->cli, &fl_invocation_list, query.data, on_invocation, &l, err);
    return r < 0 ? r : flush_batch(f, err);
}

static int look(struct following *f, struct fl_err *err)
{
    int r;

    fl_arena_done(&f->now_arena);
    fl_arena_init(&f->now_arena, 4 << 20);
    r = fl_sent_get(f->cli, f->ask->id, &f->now_arena, &f->now, err);
    if (r < 0)
        return r;
    f->many = f->now.n_targets > 1 && !f->ask->only;
    if (f->ask->all || (size_t)f->now.n_completed > f->n_seen ||
        fl_status_is_final(f->now.status) || f->ask->only)
        r = look_at_nodes(f, err);
    return r;
}

static void show_progress(const struct following *f, int64_t begin_ms)
{
    long long seconds = (long long)(fl_mono_ms() - begin_ms) / 1000;

    if (f->ask->quiet || f->ask->all)
        return;
    if (f->now.n_targets == 0)
        fl_progress("%s, %lld s", f->now.status, seconds);
    else
        fl_progress("%d of %d nodes finished, %d failed, %lld s", f->now.n_completed,
                    f->now.n_targets, f->now.n_errors + f->now.n_lost, seconds);
}

static bool is_over(const struct following *f)
{
    if (f->ask->all || (f->ask->only && f->n_seen))
        return true;
    /* A command is final once all its nodes are, and they were looked at after that. */
    return fl_status_is_final(f->now.status);
}

static int watch(struct following *f, struct fl_err *err)
{
    int64_t begin_ms = fl_mono_ms();
    uint32_t pause_ms = FIRST_PAUSE_MS;
    int r;

    for (;;) {
        int64_t look_ms = fl_mono_ms();

        r = look(f, err);
        if (r < 0 || is_over(f))
            return r;
        show_progress(f, begin_ms);
        look_ms = COST_FACTOR * (fl_mono_ms() - look_ms);
        f->woken = f->ask->interrupted > 0;
        if (!f->woken)
            fl_cli_wait(f->cli, &f->woken, FL_MAX(pause_ms, (uint32_t)FL_MIN(look_ms, 60000)));
        pause_ms = FL_MIN(pause_ms + pause_ms / 2, (uint32_t)MAX_PAUSE_MS);
        if (f->ask->interrupted) {
            r = on_first_interrupt(f, err);
            pause_ms = FIRST_PAUSE_MS;
        }
        if (r < 0)
            return r;
    }
}

static int verdict(const struct following *f)
{
    size_t failed = f->n_seen - f->n_success;

    if (f->ask->all)
        return FL_EXIT_OK;
    if (f->n_seen == 0) {
        fprintf(stderr, "fairlead: no node fits the targets\n");
        return FL_EXIT_FAILED;
    }
    if (f->many && !f->cli->json && !f->ask->take &&
        (failed || (fl_progress_on() && !f->ask->quiet)))
        fprintf(stderr, "fairlead: %zu of %zu nodes succeeded\n", f->n_success, f->n_seen);
    return failed ? FL_EXIT_FAILED : FL_EXIT_OK;
}

int fl_follow(struct fl_cli *cli, struct fl_follow *ask, struct fl_err *err)
{
    struct following f = { .cli = cli, .ask = ask };
    int r;

    f.batch = calloc(1, sizeof(*f.batch));
    if (!f.batch)
        return fl_err_nomem(err);
    *f.batch = (struct batch){ .f = &f, .arena = FL_ARENA(BATCH_MEMORY) };
    ask->wake = wake;
    ask->wake_arg = &f;
    r = watch(&f, err);
    ask->wake = NULL;
    fl_progress("%s", "");
    fl_arena_done(&f.batch->arena);
    fl_arena_done(&f.now_arena);
    free(f.batch);
    tdestroy(f.seen, free);
    if (r == -EPIPE)
        return FL_EXIT_INTERRUPTED; /* whoever read the output has enough */
    if (r < 0 && !err->code)
        fl_err_set(err, r, NULL, "%s", strerror(-r));
    return r < 0 ? r : verdict(&f);
}
