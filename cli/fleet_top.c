/* fleet_top.c - `fairlead top`: what a node is busy with, again and again. */
#include <errno.h>
#include <string.h>
#include "cli/fleet.h"
#include "cli/term.h"
#include "common/base/clock.h"

#define ARENA_BYTES (4 << 20)
#define INTERVAL_S  2
#define SAMPLE_MAX  60
#define DEVICES_MAX 64

struct counter {
    char *category, *instance, *name;
    double value;
};
#define F(member, key) FL_FIELD(struct counter, member, key, 0)
static const struct fl_field counter_fields[] = {
    F(category, "Category"),
    F(instance, "Instance"),
    F(name, "Counter"),
    F(value, "Value"),
};
#undef F
static const struct fl_shape counter_shape = FL_SHAPE(struct counter, "counter", counter_fields);

struct answer {
    struct counter *counters;
    size_t n;
};
static const struct fl_field answer_fields[] = {
    FL_FIELD_LIST(struct answer, counters, n, "results", 0, &counter_shape),
};
static const struct fl_shape answer_shape = FL_SHAPE(struct answer, "counters", answer_fields);

/* A disk or network interface. */
struct device {
    const char *kind, *name;
    char in_text[FL_SIZE_BYTES], out_text[FL_SIZE_BYTES], busy_text[8];
    const char *in, *out, *busy;
};
#define C(title, member)       FL_COLUMN(title, struct device, member)
#define C_RIGHT(title, member) FL_COLUMN_RIGHT(title, struct device, member)
static const struct fl_column device_columns[] = {
    C("KIND", kind),       C("NAME", name),       C_RIGHT("IN/S", in),
    C_RIGHT("OUT/S", out), C_RIGHT("BUSY", busy),
};
#undef C
#undef C_RIGHT

static double value_of(const struct answer *a, const char *category, const char *instance,
                       const char *name)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct counter *c = &a->counters[i];

        if (c->category && c->instance && c->name && strcmp(c->category, category) == 0 &&
            strcmp(c->instance, instance) == 0 && strcmp(c->name, name) == 0)
            return c->value;
    }
    return 0;
}

static void print_cpu(const struct answer *a)
{
    static const struct {
        const char *counter, *title;
    } parts[] = {
        { "UserPercent", "user" },
        { "SystemPercent", "system" },
        { "WaitPercent", "waiting" },
        { "StolenPercent", "stolen" },
    };
    int minutes = (int)FL_MIN(FL_MAX(value_of(a, "System", "", "UptimeSeconds"), 0) / 60, 1e9);

    printf("up %dd %02d:%02d, load %.2f %.2f %.2f, %.0f threads\n", minutes / 1440,
           minutes / 60 % 24, minutes % 60, value_of(a, "System", "", "Load1"),
           value_of(a, "System", "", "Load5"), value_of(a, "System", "", "Load15"),
           value_of(a, "System", "", "Threads"));
    printf("CPU     %5.1f%% of %.0f:", value_of(a, "Cpu", "_Total", "BusyPercent"),
           value_of(a, "System", "", "CpuCount"));
    for (size_t i = 0; i < FL_ARRAY_LEN(parts); i++)
        printf("%s %.1f%% %s", i ? "," : "", value_of(a, "Cpu", "_Total", parts[i].counter),
               parts[i].title);
    putchar('\n');
}

static void print_memory(const struct answer *a)
{
    static const struct {
        const char *title, *total, *available;
    } parts[] = { { "Memory", "TotalBytes", "AvailableBytes" },
                  { "Swap", "SwapTotalBytes", "SwapFreeBytes" } };

    for (size_t i = 0; i < FL_ARRAY_LEN(parts); i++) {
        double total = value_of(a, "Memory", "", parts[i].total);
        double free_bytes = value_of(a, "Memory", "", parts[i].available);
        char used_text[FL_SIZE_BYTES], total_text[FL_SIZE_BYTES], free_text[FL_SIZE_BYTES];

        fl_size(total - free_bytes, used_text);
        fl_size(total, total_text);
        fl_size(free_bytes, free_text);
        if (total > 0)
            printf("%-7s %5.1f%% of %s: %s used, %s available\n", parts[i].title,
                   100 * (total - free_bytes) / total, total_text, used_text, free_text);
    }
}

static const struct {
    const char *category, *title, *in, *out, *busy;
} kinds[] = {
    { "Disk", "disk", "ReadBytesPerSecond", "WriteBytesPerSecond", "BusyPercent" },
    { "Network", "network", "ReceivedBytesPerSecond", "SentBytesPerSecond", NULL },
};

static int print_devices(const struct fl_cli *cli, const struct answer *a)
{
    struct fl_table *t = NULL;
    int r = fl_table_new(cli, device_columns, FL_ARRAY_LEN(device_columns), &t);
    size_t n = 0;

    for (size_t k = 0; k < FL_ARRAY_LEN(kinds); k++)
        for (size_t i = 0; i < a->n && r == 0 && n < DEVICES_MAX; i++) {
            const struct counter *c = &a->counters[i];
            struct device d = { .kind = kinds[k].title, .name = c->instance };

            if (!c->category || !c->name || !c->instance ||
                strcmp(c->category, kinds[k].category) != 0 || strcmp(c->name, kinds[k].in) != 0)
                continue;
            fl_size(c->value, d.in_text);
            fl_size(value_of(a, c->category, c->instance, kinds[k].out), d.out_text);
            d.in = d.in_text;
            d.out = d.out_text;
            if (kinds[k].busy) {
                snprintf(d.busy_text, sizeof(d.busy_text), "%.0f%%",
                         value_of(a, c->category, c->instance, kinds[k].busy));
                d.busy = d.busy_text;
            }
            r = fl_table_add(t, &d);
            n++;
        }
    if (r == 0 && n) {
        putchar('\n');
        r = fl_table_print(t);
    }
    fl_table_free(t);
    return r;
}

static int print_screen(const struct fl_cli *cli, const struct fl_fleet_node *node,
                        const struct answer *a)
{
    char when[FL_WHEN_BYTES];

    fl_when(fl_now_ms(), when);
    fl_put_text(stdout, node->label);
    printf("  %s  ", when);
    print_cpu(a);
    print_memory(a);
    return print_devices(cli, a);
}

struct top_options {
    bool once;
    struct fl_seconds interval;
    struct fl_number count;
};
static const struct fl_opt top_options[] = {
#define O(...) FL_OPT(struct top_options, __VA_ARGS__)
    O(once, '1', "once", NULL, "measure once and end"),
    O(count, 'n', "count", "N", "measure so often and end"),
    O(interval, 'i', "interval", "TIME", "measure for so long each time, up to 60s; 2s without"),
#undef O
};

extern const struct fl_command fl_cmd_top;

/* The next measurement, shown in place of the last one where that can be. */
static int measure(struct fl_cli *cli, const struct fl_fleet_node *node, int64_t interval_s,
                   bool first, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    char seconds[24];
    struct fl_fleet_param param = { "SampleSeconds", seconds };
    const struct fl_fleet_ask ask = { "GetPerformanceCounters", &param, 1, .quiet = true };
    struct answer a = { 0 };
    json_t *data = NULL;
    int r;

    snprintf(seconds, sizeof(seconds), "%lld", (long long)interval_s);
    r = fl_fleet_call(cli, node, &ask, &data, err);
    if (r == 0 && cli->json)
        r = fl_print_json(json_object_get(data, "results"));
    else if (r == 0)
        r = fl_json_decode_value(&answer_shape, data, FL_DECODE_LAX, &arena, &a, err) < 0 ? -EREMOTE
                                                                                          : 0;
    if (r == 0 && !cli->json) {
        fl_screen_next(first);
        r = print_screen(cli, node, &a);
    }
    json_decref(data);
    return r == 0 ? fl_flush() : r;
}

static int run_top(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct top_options *o = options;
    int64_t interval_s = o->interval.set ? o->interval.v : INTERVAL_S;
    int64_t count = o->once ? 1 : o->count.set ? o->count.v : 0;
    struct fl_fleet_node node;
    struct fl_err err = { 0 };
    int r;

    if (interval_s < 1 || interval_s > SAMPLE_MAX)
        return fl_usage(&fl_cmd_top, "--interval: 1s to %ds", SAMPLE_MAX);
    r = fl_fleet_find(cli, args->v[0], &arena, &node, &err);
    for (int64_t n = 0; r == 0 && (count == 0 || n < count); n++)
        r = measure(cli, &node, interval_s, n == 0, &err);
    return r < 0 ? fl_fleet_fail(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_top = {
    .name = "top",
    .args = "NODE",
    .summary = "Watch CPU, memory, disks and network of a node",
    .text =
        "Each measurement is a command, which runs for as long as it measures and shows in "
        "\"fairlead command list\". On a terminal the next one takes the place of the last one, "
        "elsewhere it stands below; with --json it is one line, a list of counters.",
    FL_OPTIONS(struct top_options, top_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_NODE,
    .run = run_top,
};
