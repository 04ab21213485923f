/* service.c - start of the s3 subset; removes objects and log events that are too old, and files
 * that nothing names. */
#include "server/s3/service.h"

#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "server/conf.h"
#include "server/http/service.h"
#include "server/s3/retire.h"
#include "server/s3/s3.h"

#define EVERY_MS    (60 * 60 * 1000)
#define AGAIN_MS    1000 /* there was more than fits one transaction */
#define ARENA_BYTES (8 * 1024 * 1024)

/* ---- start ---- */

static int count_used(struct fl_tx *tx, void *arg)
{
    struct fl_s3 *s3 = arg;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(tx, FL_SQL_blob_usage, &row, NULL);

    if (r >= 0)
        r = fl_sql_next(row, NULL);
    if (r > 0)
        fl_blobs_count(s3->blobs, (uint64_t)fl_sql_int(row, 1), (uint64_t)fl_sql_int(row, 0));
    return r < 0 ? r : 0;
}

/* The names under which clients may put a bucket in front. */
static int take_hosts(struct fl_s3 *s3, const struct fl_plane_conf *conf)
{
    s3->hosts.v = calloc(conf->hosts.n + 2, sizeof(*s3->hosts.v));
    if (!s3->hosts.v)
        return -ENOMEM;
    for (size_t i = 0; i < conf->hosts.n; i++)
        s3->hosts.v[s3->hosts.n++] = conf->hosts.v[i];
    if (conf->public_host)
        s3->hosts.v[s3->hosts.n++] = conf->public_host;
    s3->hosts.v[s3->hosts.n++] = (char *)"localhost";
    return 0;
}

int fl_s3_open(struct fl_plane *plane, struct fl_err *err)
{
    const struct fl_plane_conf *conf = &plane->conf;
    fl_autofree char *dir = fl_path_join(conf->data_dir, FL_DATA_OBJECTS);
    const struct fl_blobs_conf bc = { .dir = dir,
                                      .max_bytes = (uint64_t)conf->objects_max_bytes,
                                      .max_files = (uint64_t)conf->objects_max_files };
    struct fl_s3 *s3 = calloc(1, sizeof(*s3));
    int r = dir && s3 ? take_hosts(s3, conf) : -ENOMEM;

    if (r < 0) {
        fl_s3_free(s3);
        return fl_err_nomem(err);
    }
    s3->max_object_bytes = (uint64_t)conf->object_max_bytes;
    r = fl_blobs_new(&bc, &s3->blobs, err);
    if (r >= 0) {
        r = fl_store_run(plane->store, FL_LANE_READ, count_used, s3);
        if (r < 0)
            fl_err_set(err, r, NULL, "objects: %s", strerror(-r));
    }
    if (r < 0) {
        fl_s3_free(s3);
        return r;
    }
    plane->s3 = s3;
    return 0;
}

struct fl_s3 *fl_s3_free(struct fl_s3 *s3)
{
    if (!s3)
        return NULL;
    fl_blobs_free(s3->blobs);
    free(s3->hosts.v);
    free(s3);
    return NULL;
}

/* ---- by the clock ---- */

struct service {
    struct fl_duty duty;
    struct fl_arena arena; /* of one run */
    struct fl_s3_call c;
    bool more, swept;
};

static int retire(struct fl_tx *tx, void *arg)
{
    struct service *s = arg;

    s->c = (struct fl_s3_call){ .call = { .tx = tx,
                                          .arena = &s->arena,
                                          .account = s->duty.plane->conf.account,
                                          .now_ms = fl_now_ms() } };
    return fl_s3_retire(&s->c, &s->duty.plane->conf.bucket_days, &s->more);
}

struct question {
    char (*ids)[FL_BLOB_ID_BYTES];
    size_t n;
};

static int ask_known(struct fl_tx *tx, void *arg)
{
    struct question *q = arg;

    for (size_t i = 0; i < q->n; i++) {
        int64_t known = fl_sql_scalar(tx, FL_SQL_blob_known, 0, NULL, FL_T(q->ids[i]));

        if (known < 0)
            return (int)known;
        if (known)
            q->ids[i][0] = '\0';
    }
    return 0;
}

static int is_known(void *arg, char (*ids)[FL_BLOB_ID_BYTES], size_t n)
{
    struct service *s = arg;
    struct question q = { ids, n };

    return fl_store_run(s->duty.plane->store, FL_LANE_READ, ask_known, &q);
}

/* On a pool thread. */
static void remove_files(void *arg)
{
    struct service *s = arg;
    struct fl_blobs *blobs = s->duty.plane->s3->blobs;
    uint64_t removed;

    for (size_t i = 0; i < s->c.gone.n; i++)
        fl_blob_remove(blobs, s->c.gone.v[i].blob_id, s->c.gone.v[i].bytes);
    if (s->c.gone.n)
        fl_log_info("old objects were removed", FL_I("files", (int64_t)s->c.gone.n));
    if (s->swept)
        return;
    s->swept = true;
    if (fl_blobs_sweep(blobs, is_known, s, &removed) == 0 && removed)
        fl_log_info("files of unfinished uploads were removed", FL_I("files", (int64_t)removed));
}

static void removed(void *arg)
{
    struct service *s = arg;

    fl_arena_done(&s->arena);
    if (!s->duty.stopped)
        fl_timer_start(s->duty.timer, s->more ? AGAIN_MS : EVERY_MS);
    fl_duty_unref(&s->duty);
}

static void retired(void *arg, int r)
{
    struct service *s = arg;

    if (r < 0)
        s->c.gone.n = 0;
    if (s->duty.stopped || fl_loop_work(s->duty.loop, remove_files, removed, s) < 0)
        removed(s);
}

static void on_timer(void *arg)
{
    struct service *s = arg;
    struct fl_duty *duty = &s->duty;

    fl_duty_ref(duty);
    fl_arena_init(&s->arena, ARENA_BYTES);
    if (fl_store_submit(duty->plane->store, FL_LANE_WRITE, retire, retired, s, duty->loop) < 0)
        removed(s);
}

const struct fl_service fl_service_objects = {
    .name = "objects",
    .state_bytes = sizeof(struct service),
    .first_ms = AGAIN_MS,
    .on_timer = on_timer,
};
