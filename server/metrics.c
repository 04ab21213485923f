/* metrics.c - atomic counters in tables, printed as Prometheus text (version 0.0.4). */
#include "server/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "server/command/status.h"
#include "server/plane.h"
#include "server/session/hub.h"

#define OPERATIONS_MAX 256

/* Upper bounds of the latency buckets, microseconds; the last bucket has none. */
static const int64_t bounds_us[] = { 1000,   2500,   5000,    10000,   25000,   50000,   100000,
                                     250000, 500000, 1000000, 2500000, 5000000, 10000000 };
#define N_BOUNDS FL_ARRAY_LEN(bounds_us)

static const int statuses[] = { 200, 201, 400, 403, 404, 413, 500, 503, 0 /* any other */ };
#define N_STATUSES FL_ARRAY_LEN(statuses)

/* StatusDetails of invocations, protocol 6 §3.4. */
static const char *const states[] = {
    "Pending",           "InProgress",       "Delayed",       "Success",    "Failed",
    "Cancelling",        "Cancelled",        "Undeliverable", "Terminated", "InvalidPlatform",
    "ExecutionTimedOut", "DeliveryTimedOut", "AccessDenied",
};
#define N_STATES FL_ARRAY_LEN(states)

static const struct {
    const char *name, *help;
} counters[FL_CTR__N] = {
    [FL_CTR_JOBS_SENT] = { "fairlead_jobs_sent_total", "Jobs sent to nodes." },
    [FL_CTR_JOB_ACKS] = { "fairlead_job_acks_total", "Jobs acknowledged by nodes." },
    [FL_CTR_JOB_REPLIES] = { "fairlead_job_replies_total", "Replies stored from nodes." },
    [FL_CTR_AUTH_FAILURES] = { "fairlead_auth_failures_total",
                               "Calls whose credentials were refused." },
    [FL_CTR_GUESSES_SLOWED] = { "fairlead_guesses_slowed_total",
                                "Wrong credentials whose refusal was kept back for a while." },
    [FL_CTR_GUESSES_REFUSED] = { "fairlead_guesses_refused_total",
                                 "Credentials not looked at: too many wrong ones at once." },
    [FL_CTR_CONNECTIONS_REFUSED] = { "fairlead_connections_refused_total",
                                     "Connections and requests refused by a limit." },
    [FL_CTR_CONNECTIONS_DROPPED] = { "fairlead_connections_dropped_total",
                                     "Connections too slow, or old without credentials." },
    [FL_CTR_ACCEPT_FAILURES] = { "fairlead_accept_failures_total",
                                 "Times that no connection could be accepted." },
    [FL_CTR_BAD_FRAMES] = { "fairlead_bad_frames_total", "Frames of nodes that were refused." },
    [FL_CTR_CHANNEL_OPENS] = { "fairlead_channel_opens_total", "Control channels opened." },
    [FL_CTR_SESSION_ALARMS] = { "fairlead_session_alarms_total",
                                "Alarms raised by what was typed in sessions." },
    [FL_CTR_TRANSCRIPT_GAPS] = { "fairlead_transcript_gaps_total",
                                 "Places in transcripts where something is not recorded." },
    [FL_CTR_CLONES] = { "fairlead_clone_sightings_total",
                        "Times that two machines were seen to hold one node's identity." },
    [FL_CTR_DATA_OPENS] = { "fairlead_data_channel_opens_total",
                            "Data channels of sessions opened, of agents and of clients." },
    [FL_CTR_DATA_REFUSED] = { "fairlead_data_channels_refused_total",
                              "Data channels refused: no token, a wrong one, or one used before." },
    [FL_CTR_SESSION_MESSAGES] = { "fairlead_session_messages_total",
                                  "Messages relayed between agents and clients." },
};

struct operation {
    const char *name;
    atomic_uint_fast64_t by_status[N_STATUSES];
    atomic_uint_fast64_t buckets[N_BOUNDS + 1];
    atomic_uint_fast64_t sum_us;
};

struct fl_metrics {
    struct operation ops[OPERATIONS_MAX]; /* sorted by name; the last one used is "unknown" */
    size_t n_ops;
    atomic_uint_fast64_t counters[FL_CTR__N];
    atomic_int_fast64_t now_in[N_STATES];
    atomic_uint_fast64_t entered[N_STATES];
    atomic_int_fast64_t commands[FL_CMD__N];
    int64_t start_s;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct operation *)a)->name, ((const struct operation *)b)->name);
}

static struct operation *find(struct fl_metrics *m, const char *name)
{
    const struct operation key = { .name = name };
    struct operation *op = bsearch(&key, m->ops, m->n_ops, sizeof(*m->ops), by_name);

    return op ? op : &m->ops[m->n_ops];
}

int fl_metrics_new(struct fl_metrics **ret_metrics)
{
    struct fl_metrics *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n_ops && m->n_ops < OPERATIONS_MAX - 1; i++)
            m->ops[m->n_ops++].name = (*t)->ops[i].name;
    qsort(m->ops, m->n_ops, sizeof(*m->ops), by_name);
    m->ops[m->n_ops].name = "unknown";
    m->start_s = time(NULL);
    *ret_metrics = m;
    return 0;
}

struct fl_metrics *fl_metrics_free(struct fl_metrics *m)
{
    free(m);
    return NULL;
}

void fl_metrics_api(struct fl_metrics *m, const char *operation, int status, int64_t micros)
{
    struct operation *op = find(m, operation);
    size_t s = 0, b = 0;

    while (statuses[s] && statuses[s] != status)
        s++;
    while (b < N_BOUNDS && micros > bounds_us[b])
        b++;
    atomic_fetch_add_explicit(&op->by_status[s], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&op->buckets[b], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&op->sum_us, (uint64_t)(micros > 0 ? micros : 0),
                              memory_order_relaxed);
}

static int state_index(const char *name)
{
    for (size_t i = 0; name && i < N_STATES; i++)
        if (strcmp(states[i], name) == 0)
            return (int)i;
    return -1;
}

void fl_metrics_invocation(struct fl_metrics *m, const char *from, const char *to)
{
    int f = state_index(from), t = state_index(to);

    if (f >= 0)
        atomic_fetch_sub_explicit(&m->now_in[f], 1, memory_order_relaxed);
    if (t >= 0) {
        atomic_fetch_add_explicit(&m->now_in[t], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->entered[t], 1, memory_order_relaxed);
    }
}

void fl_metrics_commands(struct fl_metrics *m, unsigned state, int64_t n)
{
    if (state < FL_CMD__N)
        atomic_store_explicit(&m->commands[state], n, memory_order_relaxed);
}

void fl_metrics_count(struct fl_metrics *m, enum fl_counter c)
{
    atomic_fetch_add_explicit(&m->counters[c], 1, memory_order_relaxed);
}

/* ---- the page ---- */

/* Errors stick in the buffer's limit: the last append tells. */
static int family(struct fl_buf *out, const char *name, const char *type, const char *help)
{
    return fl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct fl_buf *out, const char *name, const char *help, double value)
{
    family(out, name, "gauge", help);
    fl_buf_printf(out, "%s %.10g\n", name, value);
}

static void render_requests(struct fl_metrics *m, struct fl_buf *out)
{
    family(out, "fairlead_api_requests_total", "counter",
           "API calls by operation and HTTP status.");
    for (size_t i = 0; i <= m->n_ops; i++)
        for (size_t s = 0; s < N_STATUSES; s++) {
            uint64_t n = atomic_load(&m->ops[i].by_status[s]);
            char status[16] = "other";

            if (n == 0)
                continue;
            if (statuses[s])
                snprintf(status, sizeof(status), "%d", statuses[s]);
            fl_buf_printf(out, "fairlead_api_requests_total{operation=\"%s\",status=\"%s\"} %llu\n",
                          m->ops[i].name, status, (unsigned long long)n);
        }
}

static void render_latency(struct fl_metrics *m, struct fl_buf *out)
{
    static const char name[] = "fairlead_api_latency_seconds";

    family(out, name, "histogram", "Time from a whole request to its answer.");
    for (size_t i = 0; i <= m->n_ops; i++) {
        const struct operation *op = &m->ops[i];
        uint64_t n = 0, total = 0;

        for (size_t b = 0; b <= N_BOUNDS; b++)
            total += atomic_load(&op->buckets[b]);
        if (total == 0)
            continue;
        for (size_t b = 0; b < N_BOUNDS; b++) {
            n += atomic_load(&op->buckets[b]);
            fl_buf_printf(out, "%s_bucket{operation=\"%s\",le=\"%g\"} %llu\n", name, op->name,
                          (double)bounds_us[b] / 1e6, (unsigned long long)FL_MIN(n, total));
        }
        fl_buf_printf(out, "%s_bucket{operation=\"%s\",le=\"+Inf\"} %llu\n", name, op->name,
                      (unsigned long long)total);
        fl_buf_printf(out, "%s_sum{operation=\"%s\"} %.6f\n", name, op->name,
                      (double)atomic_load(&op->sum_us) / 1e6);
        fl_buf_printf(out, "%s_count{operation=\"%s\"} %llu\n", name, op->name,
                      (unsigned long long)total);
    }
}

static void render_store(struct fl_store *store, struct fl_buf *out)
{
    static const char *const lanes[] = { "read", "write" };
    struct fl_store_stats stats;

    fl_store_get_stats(store, &stats);
    gauge(out, "fairlead_store_writable", "0 while the database cannot be written.",
          stats.writable);
    family(out, "fairlead_store_failed_commits_total", "counter",
           "Commits that the disk or another process at the database refused.");
    fl_buf_printf(out, "fairlead_store_failed_commits_total %llu\n",
                  (unsigned long long)stats.bad_commits);
    family(out, "fairlead_store_queue", "gauge", "Jobs that wait for the store.");
    for (size_t i = 0; i < FL_ARRAY_LEN(lanes); i++)
        fl_buf_printf(out, "fairlead_store_queue{lane=\"%s\"} %u\n", lanes[i], stats.queued[i]);
}

static void render_states(struct fl_metrics *m, struct fl_buf *out)
{
    family(out, "fairlead_commands", "gauge", "Commands in a state (StatusDetails).");
    for (size_t i = 0; i < FL_CMD__N; i++)
        fl_buf_printf(out, "fairlead_commands{state=\"%s\"} %lld\n", fl_cmd_info[i].details,
                      (long long)atomic_load(&m->commands[i]));
    family(out, "fairlead_invocations", "gauge", "Invocations in a state (StatusDetails).");
    for (size_t i = 0; i < N_STATES; i++)
        fl_buf_printf(out, "fairlead_invocations{state=\"%s\"} %lld\n", states[i],
                      (long long)FL_MAX((int64_t)atomic_load(&m->now_in[i]), (int64_t)0));
    family(out, "fairlead_invocation_changes_total", "counter",
           "Invocations that entered a state.");
    for (size_t i = 0; i < N_STATES; i++)
        fl_buf_printf(out, "fairlead_invocation_changes_total{state=\"%s\"} %llu\n", states[i],
                      (unsigned long long)atomic_load(&m->entered[i]));
}

static size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

static void render_process(struct fl_metrics *m, struct fl_buf *out)
{
    unsigned long size = 0, resident = 0;
    struct timespec cpu = { 0 };
    FILE *f = fopen("/proc/self/statm", "re");

    if (f) {
        if (fscanf(f, "%lu %lu", &size, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    gauge(out, "process_resident_memory_bytes", "Resident memory.",
          (double)resident * (double)sysconf(_SC_PAGESIZE));
    gauge(out, "process_open_fds", "Open file descriptors.", (double)count_fds());
    gauge(out, "process_start_time_seconds", "Start of the process, Unix time.",
          (double)m->start_s);
    family(out, "process_cpu_seconds_total", "counter", "User and system time.");
    fl_buf_printf(out, "process_cpu_seconds_total %.3f\n",
                  (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
}

int fl_metrics_render(struct fl_metrics *m, struct fl_plane *plane, struct fl_buf *out)
{
    family(out, "fairlead_build_info", "gauge", "Always 1; the version is a label.");
    fl_buf_printf(out, "fairlead_build_info{version=\"%s\"} 1\n", FL_VERSION);
    gauge(out, "fairlead_nodes_connected", "Nodes that hold a control channel.",
          (double)fl_presence_count(plane->presence));
    if (plane->hubs)
        gauge(out, "fairlead_sessions_relayed", "Sessions that have a relay.",
              (double)fl_hubs_count(plane->hubs));
    for (size_t i = 0; i < FL_CTR__N; i++) {
        family(out, counters[i].name, "counter", counters[i].help);
        fl_buf_printf(out, "%s %llu\n", counters[i].name,
                      (unsigned long long)atomic_load(&m->counters[i]));
    }
    render_store(plane->store, out);
    render_states(m, out);
    render_requests(m, out);
    render_latency(m, out);
    render_process(m, out);
    return fl_buf_puts(out, "");
}
