/* swarm_load.c - see swarm.h: API calls at a given rate.
 *
 * An open loop: the i-th call is due at start + i / rate, whether the one before it was answered or
 * not, and its latency counts from then. So a plane that stalls is seen to stall.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tests/bench/swarm.h"

#define TICK_MS         1
#define FRESH_AT_ONCE   64
#define CALL_TIMEOUT_MS 60000
#define MAX_SAMPLES     (1 << 20)
#define BODY_BYTES      512

struct lane {
    struct sw_load *load;
    struct sw_http *http;
    int64_t due_us;
    bool busy;
};

struct sw_load {
    struct sw *sw;
    const struct sw_fleet *fleet;
    struct sw_load_conf conf;
    struct fl_timer *timer;
    struct lane *lanes;
    unsigned n_lanes;
    int64_t start_us;
    uint64_t issued, limit, open;
    uint64_t ok, throttled, refused, lost;
    uint32_t *samples; /* microseconds, of calls that were answered with 200 */
    size_t n_samples;
    int64_t last_us; /* of the last answer */
    FILE *ids;
};

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int body_of(const struct sw_load *l, char body[BODY_BYTES])
{
    const char *node;

    if (strcmp(l->conf.operation, "SendCommand") != 0) {
        snprintf(body, BODY_BYTES, "{\"MaxResults\":10}");
        return 0;
    }
    node = sw_fleet_node_id(l->fleet, (unsigned)(l->issued % l->conf.nodes));
    if (!node)
        return -ENOENT;
    snprintf(body, BODY_BYTES,
             "{\"DocumentName\":\"AWS-RunShellScript\",\"InstanceIds\":[\"%s\"],"
             "\"Parameters\":{\"commands\":[\"echo hi\"]}}",
             node);
    return 0;
}

/* The id stands in the answer as "CommandId":"<36 characters>". */
static void note_id(struct sw_load *l, const char *body)
{
    static const char key[] = "\"CommandId\":\"";
    const char *at = strstr(body, key);

    if (l->ids && at)
        fprintf(l->ids, "%.36s\n", at + strlen(key));
}

static void tick(void *arg);

static void on_answer(void *arg, const struct sw_answer *answer)
{
    struct lane *lane = arg;
    struct sw_load *l = lane->load;

    l->last_us = now_us();
    lane->busy = false;
    l->open--;
    if (answer->r < 0) {
        l->lost++;
    } else if (answer->status == 200) {
        l->ok++;
        note_id(l, answer->body);
        if (l->n_samples < MAX_SAMPLES)
            l->samples[l->n_samples++] = (uint32_t)(l->last_us - lane->due_us);
    } else if (strstr(answer->body, "ThrottlingException")) {
        l->throttled++;
    } else {
        l->refused++;
    }
    if (l->conf.connections == 0)
        lane->http = sw_http_free(lane->http);
    tick(l);
}

static bool issue(struct sw_load *l, int64_t due_us)
{
    char body[BODY_BYTES], target[96];
    unsigned i = 0;
    struct lane *lane;

    while (i < l->n_lanes && l->lanes[i].busy)
        i++;
    if (i == l->n_lanes || body_of(l, body) < 0)
        return false;
    lane = &l->lanes[i];
    if (!lane->http)
        lane->http = sw_http_new(l->sw, CALL_TIMEOUT_MS);
    snprintf(target, sizeof(target), "AmazonSSM.%s", l->conf.operation);
    lane->due_us = due_us;
    if (!lane->http || sw_http_call(lane->http,
                                    &(struct sw_call){ .service = "ssm",
                                                       .target = target,
                                                       .path = "/",
                                                       .body = body,
                                                       .creds = &l->sw->admin,
                                                       .timeout_ms = CALL_TIMEOUT_MS },
                                    on_answer, lane) < 0)
        return false;
    lane->busy = true;
    l->open++;
    return true;
}

static void tick(void *arg)
{
    struct sw_load *l = arg;
    double gap_us = 1e6 / l->conf.rate;
    int64_t now = now_us();

    while (l->issued < l->limit) {
        int64_t due_us = l->start_us + (int64_t)((double)l->issued * gap_us);

        if (due_us > now || !issue(l, due_us))
            break;
        l->issued++;
    }
    if (l->issued < l->limit)
        fl_timer_start(l->timer, TICK_MS);
}

int sw_load_new(struct sw *sw, const struct sw_fleet *fleet, const struct sw_load_conf *conf,
                struct sw_load **ret_load)
{
    struct sw_load *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    l->sw = sw;
    l->fleet = fleet;
    l->conf = *conf;
    l->n_lanes = conf->connections ? conf->connections : FRESH_AT_ONCE;
    l->limit = conf->seconds > 0 ? (uint64_t)(conf->rate * conf->seconds) : UINT64_MAX;
    l->lanes = calloc(l->n_lanes, sizeof(*l->lanes));
    l->samples = malloc(MAX_SAMPLES * sizeof(*l->samples));
    l->timer = fl_timer_new(sw->loop, tick, l);
    l->ids = conf->ids_path ? fopen(conf->ids_path, "we") : NULL;
    if (!l->lanes || !l->samples || !l->timer || (conf->ids_path && !l->ids)) {
        sw_load_free(l);
        return -ENOMEM;
    }
    l->conf.operation = strdup(conf->operation);
    l->conf.ids_path = NULL;
    for (unsigned i = 0; i < l->n_lanes; i++)
        l->lanes[i].load = l;
    l->start_us = now_us();
    fl_timer_start(l->timer, TICK_MS);
    *ret_load = l;
    return 0;
}

void sw_load_stop(struct sw_load *l)
{
    l->limit = FL_MIN(l->limit, l->issued);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double quantile(const struct sw_load *l, double q)
{
    size_t i = (size_t)(q * (double)l->n_samples);

    return l->n_samples ? l->samples[FL_MIN(i, l->n_samples - 1)] / 1000.0 : 0;
}

int sw_load_report(struct sw_load *l, struct fl_buf *out)
{
    bool over = l->issued >= l->limit && l->open == 0;
    int64_t us = l->last_us - l->start_us;

    if (l->ids)
        fflush(l->ids);
    qsort(l->samples, l->n_samples, sizeof(*l->samples), by_value);
    return fl_buf_printf(
        out,
        "{\"over\":%s,\"issued\":%llu,\"ok\":%llu,\"throttled\":%llu,\"refused\":%llu,"
        "\"lost\":%llu,\"per_s\":%.1f,\"p50_ms\":%.2f,\"p90_ms\":%.2f,\"p99_ms\":%.2f,"
        "\"p999_ms\":%.2f,\"max_ms\":%.2f}",
        over ? "true" : "false", (unsigned long long)l->issued, (unsigned long long)l->ok,
        (unsigned long long)l->throttled, (unsigned long long)l->refused,
        (unsigned long long)l->lost, us > 0 ? (double)l->ok * 1e6 / (double)us : 0,
        quantile(l, 0.5), quantile(l, 0.9), quantile(l, 0.99), quantile(l, 0.999), quantile(l, 1));
}

void sw_load_free(struct sw_load *l)
{
    for (unsigned i = 0; l->lanes && i < l->n_lanes; i++)
        sw_http_free(l->lanes[i].http);
    fl_timer_free(l->timer);
    if (l->ids)
        fclose(l->ids);
    free((char *)(uintptr_t)l->conf.operation);
    free(l->lanes);
    free(l->samples);
    free(l);
}
