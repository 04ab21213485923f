/* fleet_ps.c - `fairlead ps`, `fairlead kill`: processes of a node. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "cli/fleet.h"
#include "cli/term.h"

#define ARENA_BYTES    (1 << 20)
#define KILL_MAX       100 /* in one command */
#define DEFAULT_SIGNAL "TERM"

struct process {
    int64_t id, parent, threads, memory;
    char *name, *user, *state, *started, *command;
    double cpu_seconds, cpu, memory_share;
    /* as they stand in the table */
    char cpu_text[16], share_text[16], memory_text[FL_SIZE_BYTES], time_text[24];
    const char *cpu_cell, *share_cell, *memory_cell, *time_cell;
};
#define F(member, key) FL_FIELD(struct process, member, key, 0)
static const struct fl_field process_fields[] = {
    F(id, "Id"),
    F(parent, "ParentId"),
    F(name, "Name"),
    F(user, "User"),
    F(state, "State"),
    F(threads, "Threads"),
    F(cpu_seconds, "CpuSeconds"),
    F(cpu, "CpuPercent"),
    F(memory_share, "MemoryPercent"),
    F(memory, "WorkingSet"),
    F(started, "StartTimeUTC"),
    F(command, "CommandLine"),
};
#undef F
static const struct fl_shape process_shape = FL_SHAPE(struct process, "process", process_fields);

#define C(title, member)       FL_COLUMN(title, struct process, member)
#define C_RIGHT(title, member) FL_COLUMN_RIGHT(title, struct process, member)
static const struct fl_column process_columns[] = {
    C("PID", id),
    C("USER", user),
    C_RIGHT("%CPU", cpu_cell),
    C_RIGHT("%MEM", share_cell),
    C_RIGHT("RSS", memory_cell),
    C("S", state),
    C("STARTED", started),
    C_RIGHT("TIME", time_cell),
    FL_COLUMN_CUT("COMMAND", struct process, command),
};
#undef C
#undef C_RIGHT

static int by_id(const void *a, const void *b)
{
    const struct process *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

/* The largest first. */
#define BY(member)                                                 \
    static int by_##member(const void *a, const void *b)           \
    {                                                              \
        const struct process *x = a, *y = b;                       \
        int r = (x->member < y->member) - (x->member > y->member); \
                                                                   \
        return r ? r : by_id(a, b);                                \
    }
BY(cpu)
BY(memory)
BY(cpu_seconds)
#undef BY

static const struct fl_fleet_order orders[] = {
    { "pid", by_id }, { "cpu", by_cpu }, { "memory", by_memory }, { "time", by_cpu_seconds }
};

struct ps_options {
    const char *sort, *user;
    struct fl_number limit;
};
static const struct fl_opt ps_options[] = {
#define O(...) FL_OPT(struct ps_options, __VA_ARGS__)
    O(sort, 's', "sort", "pid|cpu|memory|time", "in this order; by pid without", FL_COMPLETE_WORDS),
    O(user, 'u', "user", "NAME", "those of a user"),
    O(limit, 'n', "limit", "N", "the first N of them; 0 for all"),
#undef O
};

extern const struct fl_command fl_cmd_ps;

static bool keep_process(const void *options, const void *item)
{
    const struct ps_options *o = options;
    const struct process *p = item;

    return !o->user || (p->user && strcmp(p->user, o->user) == 0);
}

static void fill_process(void *item)
{
    struct process *p = item;
    int64_t seconds = (int64_t)FL_MIN(FL_MAX(p->cpu_seconds, 0), 1e12);

    snprintf(p->cpu_text, sizeof(p->cpu_text), "%.1f", p->cpu);
    snprintf(p->share_text, sizeof(p->share_text), "%.1f", p->memory_share);
    snprintf(p->time_text, sizeof(p->time_text), "%lld:%02d", (long long)seconds / 60,
             (int)(seconds % 60));
    fl_size((double)p->memory, p->memory_text);
    p->cpu_cell = p->cpu_text;
    p->share_cell = p->share_text;
    p->time_cell = p->time_text;
    p->memory_cell = p->memory_text;
}

static const struct fl_fleet_list process_list = {
    .shape = &process_shape,
    .columns = process_columns,
    .n_columns = FL_ARRAY_LEN(process_columns),
    .orders = orders,
    .n_orders = FL_ARRAY_LEN(orders),
    .keep = keep_process,
    .fill = fill_process,
};

static int run_ps(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct fl_fleet_ask ask = { .document = "GetProcessDetails" };
    const struct ps_options *o = options;
    const struct fl_fleet_order *order = fl_fleet_order(&process_list, o->sort);
    struct fl_fleet_node node;
    struct fl_err err = { 0 };
    int r;

    if (!order)
        return fl_usage(&fl_cmd_ps, "--sort: pid, cpu, memory or time, not \"%s\"", o->sort);
    r = fl_fleet_find(cli, args->v[0], &arena, &node, &err);
    if (r == 0)
        r = fl_fleet_print(cli, &node, &ask, &process_list, order, o, (size_t)o->limit.v, &err);
    return r < 0 ? fl_fleet_fail(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_ps = {
    .name = "ps",
    .args = "NODE",
    .summary = "List the processes of a node",
    .text = "%CPU is the share of one processor since the process began, TIME the processor time "
            "it has used, in minutes and seconds. Times of day are UTC.",
    FL_OPTIONS(struct ps_options, ps_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_NODE,
    .run = run_ps,
};

/* ---- kill ---- */

struct kill_options {
    const char *signal;
};
static const struct fl_opt kill_options[] = {
    FL_OPT(struct kill_options, signal, 's', "signal", "TERM|KILL|INT|HUP|QUIT|USR1|USR2|STOP|CONT",
           "the signal, by its name or number; " DEFAULT_SIGNAL " without", FL_COMPLETE_WORDS),
};

extern const struct fl_command fl_cmd_kill;

/* The numbers of Linux, wherever the client runs. */
static const struct {
    const char *name, *number;
} signals[] = { { "TERM", "15" }, { "KILL", "9" },  { "INT", "2" },
                { "HUP", "1" },   { "QUIT", "3" },  { "USR1", "10" },
                { "USR2", "12" }, { "STOP", "19" }, { "CONT", "18" } };

static const char *signal_name(const char *word)
{
    if (strncasecmp(word, "SIG", 3) == 0)
        word += 3;
    for (size_t i = 0; i < FL_ARRAY_LEN(signals); i++)
        if (strcasecmp(signals[i].name, word) == 0 || strcmp(signals[i].number, word) == 0)
            return signals[i].name;
    return NULL;
}

static bool is_pid(const char *word)
{
    size_t len = strspn(word, "0123456789");

    return len > 0 && len <= 10 && !word[len] && *word != '0';
}

static int run_kill(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct kill_options *o = options;
    const char *signal = signal_name(o->signal ? o->signal : DEFAULT_SIGNAL);
    struct fl_fleet_param params[KILL_MAX + 2] = { { "Signal", signal },
                                                   { "PerformAction", "Yes" } };
    struct fl_fleet_ask ask = { "TerminateProcess", params, 2, false };
    struct fl_fleet_node node;
    struct fl_err err = { 0 };
    json_t *data = NULL;
    int r;

    if (!signal)
        return fl_usage(&fl_cmd_kill, "there is no signal \"%s\"", o->signal);
    for (size_t i = 1; i < args->n; i++) {
        if (!is_pid(args->v[i]))
            return fl_usage(&fl_cmd_kill, "\"%s\" is no process id", args->v[i]);
        params[ask.n_params++] = (struct fl_fleet_param){ "ProcessIds", args->v[i] };
    }
    r = fl_fleet_find(cli, args->v[0], &arena, &node, &err);
    if (r == 0)
        r = fl_fleet_call(cli, &node, &ask, &data, &err);
    for (size_t i = 0; r == 0 && cli->json && i < json_array_size(json_object_get(data, "results"));
         i++)
        r = fl_print_json(json_array_get(json_object_get(data, "results"), i));
    json_decref(data);
    return r < 0 ? fl_fleet_fail(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_kill = {
    .name = "kill",
    .args = "NODE PID...",
    .summary = "Send processes of a node a signal",
    .text =
        "Each process is tried; the exit status is 1 if one of them could not be sent the signal.",
    FL_OPTIONS(struct kill_options, kill_options),
    .min_args = 2,
    .max_args = KILL_MAX + 1,
    .complete = FL_COMPLETE_NODE,
    .run = run_kill,
};
