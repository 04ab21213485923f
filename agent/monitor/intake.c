/* intake.c - see intake.h. */
#include "agent/monitor/intake.h"
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#define ARRIVAL_MAX_BYTES (4u << 20)
#define RETRY_MS          100 /* without memory */

struct arrival {
    STAILQ_ENTRY(arrival) entry;
    struct fl_arena arena; /* what in and job point to */
    struct fl_net_job in;
    struct fl_job job; /* without command id: in is for later */
};
STAILQ_HEAD(arrivals, arrival);

/* What the pool's thread has in hand. It may outlive the intake. */
struct batch {
    struct fl_intake *owner; /* NULL once that is gone */
    char *jobs_dir;
    struct arrivals arrivals;
    struct fl_jobdir_row rows[FL_JOBDIR_MAX_ROWS];
    size_t n;
};

struct fl_intake {
    struct fl_loop *loop;
    const char *jobs_dir;
    struct fl_intake_events events;
    struct arrivals waiting;
    struct batch *batch;
    struct fl_timer *turn;
    size_t n_jobs, n_later, bytes; /* waiting or in the batch */
};

static struct arrival *free_arrival(struct arrival *a)
{
    if (a) {
        fl_arena_done(&a->arena);
        free(a);
    }
    return NULL;
}

static void free_all(struct arrivals *list)
{
    struct arrival *a;

    while ((a = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, entry);
        free_arrival(a);
    }
}

static struct batch *free_batch(struct batch *b)
{
    if (b) {
        free_all(&b->arrivals);
        free(b->jobs_dir);
        free(b);
    }
    return NULL;
}

static void forget(struct fl_intake *in, const struct arrival *a)
{
    in->n_jobs -= a->job.command_id != NULL;
    in->n_later -= a->job.command_id == NULL;
    in->bytes -= a->arena.used_bytes;
}

/* ---- batches ---- */

static void make_folders(void *arg)
{
    struct batch *b = arg;

    fl_jobdir_create_all(b->jobs_dir, b->rows, b->n);
}

static void tell(void *arg)
{
    struct batch *b = arg;
    struct arrival *a;

    for (size_t i = 0; b->owner && (a = STAILQ_FIRST(&b->arrivals)); i++) {
        struct fl_intake *in = b->owner;

        STAILQ_REMOVE_HEAD(&b->arrivals, entry);
        forget(in, a);
        in->events.made(in->events.arg, &a->in, &a->job, b->rows[i].r, &b->rows[i].err);
        free_arrival(a);
    }
    if (b->owner) {
        b->owner->batch = NULL;
        fl_timer_start(b->owner->turn, 0);
    }
    free_batch(b);
}

static void fail(void *arg)
{
    struct batch *b = arg;

    for (size_t i = 0; i < b->n; i++)
        b->rows[i].r = fl_err_nomem(&b->rows[i].err);
    tell(b);
}

static bool is_job(const struct arrival *a)
{
    return a && a->job.command_id;
}

/* All jobs up to the first message that is for later. */
static void begin_batch(struct fl_intake *in, struct batch *b)
{
    struct arrival *a;

    while (b->n < FL_JOBDIR_MAX_ROWS && is_job(a = STAILQ_FIRST(&in->waiting))) {
        STAILQ_REMOVE_HEAD(&in->waiting, entry);
        STAILQ_INSERT_TAIL(&b->arrivals, a, entry);
        b->rows[b->n++].job = &a->job;
    }
    b->owner = in;
    in->batch = b;
    if (!b->jobs_dir || fl_loop_work(in->loop, make_folders, tell, b) < 0)
        fail(b);
}

static void on_turn(void *arg)
{
    struct fl_intake *in = arg;
    struct arrival *a = in->batch ? NULL : STAILQ_FIRST(&in->waiting);
    struct batch *b;

    if (!a)
        return;
    if (!is_job(a)) {
        STAILQ_REMOVE_HEAD(&in->waiting, entry);
        forget(in, a);
        fl_timer_start(in->turn, 0);
        in->events.later(in->events.arg, &a->in);
        free_arrival(a);
        return;
    }
    b = calloc(1, sizeof(*b));
    if (!b) {
        fl_timer_start(in->turn, RETRY_MS);
        return;
    }
    STAILQ_INIT(&b->arrivals);
    b->jobs_dir = strdup(in->jobs_dir);
    begin_batch(in, b);
}

/* ---- what comes ---- */

static bool copy_strings(struct fl_arena *arena, char **const strings[], size_t n)
{
    bool ok = true;

    for (size_t i = 0; i < n; i++) {
        bool some = *strings[i] != NULL;

        *strings[i] = fl_arena_strdup(arena, *strings[i]);
        ok &= !some || *strings[i];
    }
    return ok;
}

static bool copy_message(struct arrival *a)
{
    char **const strings[] = { &a->in.job_id,  &a->in.command_id,    &a->in.message_id,
                               &a->in.content, &a->in.cancel_job_id, &a->in.document_name };

    return copy_strings(&a->arena, strings, FL_ARRAY_LEN(strings));
}

static bool copy_job(struct arrival *a)
{
    struct fl_job *job = &a->job;
    char **const strings[] = { &job->job_id,
                               &job->command_id,
                               &job->document_name,
                               &job->content,
                               &job->nonce,
                               &job->node_id,
                               &job->region,
                               &job->platform_name,
                               &job->platform_version,
                               &job->aws_profile,
                               &job->aws_credentials_file };

    return copy_strings(&a->arena, strings, FL_ARRAY_LEN(strings));
}

static int add(struct fl_intake *in, const struct fl_net_job *message, const struct fl_job *job)
{
    struct arrival *a;

    if (in->bytes >= FL_INTAKE_MAX_BYTES || (!job && in->n_later >= FL_INTAKE_MAX_LATER))
        return -ENOBUFS;
    a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    fl_arena_init(&a->arena, ARRIVAL_MAX_BYTES);
    a->in = *message;
    if (job) {
        a->job = *job;
        a->in.content = NULL; /* the job has it */
    }
    if (!copy_message(a) || (job && !copy_job(a))) {
        free_arrival(a);
        return -ENOMEM;
    }
    in->n_jobs += job != NULL;
    in->n_later += job == NULL;
    in->bytes += a->arena.used_bytes;
    STAILQ_INSERT_TAIL(&in->waiting, a, entry);
    if (!in->batch)
        fl_timer_start(in->turn, 0);
    return 0;
}

int fl_intake_make(struct fl_intake *in, const struct fl_net_job *message, const struct fl_job *job)
{
    return add(in, message, job);
}

int fl_intake_later(struct fl_intake *in, const struct fl_net_job *message)
{
    return add(in, message, NULL);
}

static bool holds(const struct arrivals *list, const char *command_id)
{
    const struct arrival *a;

    STAILQ_FOREACH (a, list, entry)
        if (is_job(a) && strcmp(a->job.command_id, command_id) == 0)
            return true;
    return false;
}

bool fl_intake_has(const struct fl_intake *in, const char *command_id)
{
    return holds(&in->waiting, command_id) ||
           (in->batch && holds(&in->batch->arrivals, command_id));
}

size_t fl_intake_count(const struct fl_intake *in)
{
    return in->n_jobs;
}

/* ---- the object ---- */

struct fl_intake *fl_intake_new(struct fl_loop *loop, const char *jobs_dir,
                                const struct fl_intake_events *events)
{
    struct fl_intake *in = calloc(1, sizeof(*in));

    if (!in)
        return NULL;
    *in = (struct fl_intake){ .loop = loop, .jobs_dir = jobs_dir, .events = *events };
    STAILQ_INIT(&in->waiting);
    in->turn = fl_timer_new(loop, on_turn, in);
    return in->turn ? in : fl_intake_free(in);
}

struct fl_intake *fl_intake_free(struct fl_intake *in)
{
    if (!in)
        return NULL;
    if (in->batch)
        in->batch->owner = NULL;
    in->turn = fl_timer_free(in->turn);
    free_all(&in->waiting);
    free(in);
    return NULL;
}
