/* deliver.c - see deliver.h. */
#include "agent/worker/deliver.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/worker/deliver_names.h"
#include "agent/calls/logs_put.h"
#include "agent/calls/s3_put.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/output_names.h"

#define NAMES_MAX_BYTES  (64 << 10)
#define UPLOAD_BASE_MS   60000u   /* and a second for each MiB, … */
#define UPLOAD_MAX_MS    3600000u /* … but no more than this */
#define LOGS_END_MS      60000u   /* protocol 4 §4.3 */
#define CANCELLED_MAX_MS 10000u

static const char *const file_names[] = { "stdout", "stderr" };

struct fl_delivery {
    struct fl_arena arena;
    char *command_id, *node_id, *bucket, *prefix;
    struct fl_s3_put *s3;     /* NULL: no bucket */
    struct fl_logs_put *logs; /* NULL: no group */
    bool begun;               /* streaming of the step */
    /* while a step is delivered */
    unsigned waiting; /* for so many of the two */
    bool all;
    struct fl_timer *nothing; /* was to be done: the callback comes from the loop */
    fl_delivery_fn done;
    void *arg;
};

static void one_done(void *arg, bool all)
{
    struct fl_delivery *d = arg;

    d->all &= all;
    if (--d->waiting == 0)
        d->done(d->arg, d->all);
}

static void on_nothing(void *arg)
{
    one_done(arg, true);
}

/* ---- names ---- */

static char *step_part(const struct fl_delivery_step *step, struct fl_arena *arena)
{
    const char *name = step->by_id ? fl_name_property_id(step->inputs, arena) : step->key;

    return fl_name_without_colons(name ? name : "", arena);
}

int fl_delivery_names(const struct fl_delivery *d, const struct fl_delivery_step *step,
                      struct fl_arena *arena, struct fl_delivery_names *ret_names)
{
    struct fl_delivery_names names = { 0 };

    if (d && d->s3) {
        names.bucket = fl_arena_strdup(arena, d->bucket);
        names.prefix = fl_name_s3_prefix(d->prefix, d->command_id, d->node_id, step->action, arena);
        names.step = step_part(step, arena);
        if (!names.bucket || !names.prefix || !names.step)
            return -ENOMEM;
    }
    *ret_names = names;
    return 0;
}

/* ---- CloudWatch Logs ---- */

void fl_delivery_begin(struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(NAMES_MAX_BYTES);
    struct fl_logs_file files[FL_LOGS_PUT_FILES];
    int r = 0;
    if (!d || !d->logs)
        return;
    for (size_t i = 0; i < FL_LOGS_PUT_FILES && r == 0; i++) {
        files[i] = (struct fl_logs_file){ .file = file_names[i] };
        files[i].stream =
            fl_name_log_stream(d->command_id, d->node_id, step->key, file_names[i], &arena);
        r = files[i].stream ? 0 : -ENOMEM;
    }
    if (r == 0)
        r = fl_logs_put_begin(d->logs, dir_fd, files);
    d->begun = r == 0;
    if (r < 0)
        fl_log_warn("output is not streamed", FL_S("command", d->command_id),
                    FL_S("error", strerror(-r)));
}

/* ---- S3 ---- */

/* Opens what is not empty. How many, or negative. */
static int find_files(const struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd,
                      struct fl_arena *arena, struct fl_s3_file files[FL_S3_PUT_MAX_FILES],
                      uint64_t *ret_bytes)
{
    struct fl_delivery_names names;
    int n = 0, r = fl_delivery_names(d, step, arena, &names);

    for (size_t i = 0; i < FL_ARRAY_LEN(file_names) && r == 0; i++) {
        struct stat st = { 0 };

        files[n].fd = openat(dir_fd, file_names[i],
                             O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (files[n].fd < 0) {
            r = errno == ENOENT ? 0 : -errno;
            continue;
        }
        files[n].key = fl_name_s3_key(names.prefix, names.step, file_names[i], arena);
        if (fstat(files[n].fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && files[n].key) {
            files[n].bytes = (uint64_t)st.st_size;
            *ret_bytes += files[n].bytes;
            n++;
        } else {
            r = files[n].key ? 0 : -ENOMEM;
            close(files[n].fd);
        }
    }
    for (int i = 0; r < 0 && i < n; i++)
        close(files[i].fd);
    return r < 0 ? r : n;
}

static uint64_t shorten(uint64_t ms, bool cancelled)
{
    return FL_MIN(ms, (uint64_t)(cancelled ? CANCELLED_MAX_MS : UPLOAD_MAX_MS));
}

static void upload(struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd,
                   bool cancelled)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(NAMES_MAX_BYTES);
    struct fl_s3_file files[FL_S3_PUT_MAX_FILES];
    uint64_t bytes = 0;
    int n = find_files(d, step, dir_fd, &arena, files, &bytes);
    int r = n;
    if (n > 0)
        r = fl_s3_put_start(d->s3, files, (size_t)n,
                            shorten(UPLOAD_BASE_MS + (bytes >> 20) * 1000, cancelled), one_done, d);
    d->waiting += n > 0 && r == 0;
    d->all &= r >= 0;
    if (r < 0)
        fl_log_warn("output not uploaded", FL_S("command", d->command_id),
                    FL_S("bucket", d->bucket), FL_S("error", strerror(-r)));
    for (int i = 0; i < n; i++)
        close(files[i].fd);
}

/* ---- the end of a step ---- */

void fl_delivery_end(struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd,
                     bool cancelled, fl_delivery_fn done, void *arg)
{
    d->done = done;
    d->arg = arg;
    d->waiting = 0;
    d->all = true;
    if (d->s3)
        upload(d, step, dir_fd, cancelled);
    if (d->logs && !d->begun)
        fl_delivery_begin(d, step, dir_fd);
    if (d->begun) {
        d->waiting++;
        fl_logs_put_end(d->logs, shorten(LOGS_END_MS, cancelled), one_done, d);
    } else {
        d->all &= !d->logs;
    }
    d->begun = false;
    if (d->waiting > 0)
        return;
    d->waiting = 1;
    fl_timer_start(d->nothing, 0);
}

void fl_delivery_hurry(struct fl_delivery *d)
{
    if (d && d->s3)
        fl_s3_put_hurry(d->s3, CANCELLED_MAX_MS);
    if (d && d->logs)
        fl_logs_put_hurry(d->logs, CANCELLED_MAX_MS);
}

/* ---- begin and end ---- */

int fl_delivery_new(const struct fl_delivery_conf *conf, struct fl_delivery **ret_delivery)
{
    bool to_s3 = conf->bucket && *conf->bucket;
    struct fl_delivery *d;
    char *group = NULL;
    int r = 0;

    *ret_delivery = NULL;
    if (!to_s3 && !conf->logs)
        return 0;
    d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    fl_arena_init(&d->arena, NAMES_MAX_BYTES);
    d->command_id = fl_arena_strdup(&d->arena, conf->command_id);
    d->node_id = fl_arena_strdup(&d->arena, conf->node_id);
    d->bucket = fl_arena_strdup(&d->arena, to_s3 ? conf->bucket : "");
    d->prefix = fl_arena_strdup(&d->arena, conf->prefix ? conf->prefix : "");
    group = fl_output_log_group(conf->log_group, conf->document_name, &d->arena);
    d->nothing = fl_timer_new(conf->loop, on_nothing, d);
    if (!d->command_id || !d->node_id || !d->bucket || !d->prefix || !group || !d->nothing)
        r = -ENOMEM;
    if (r == 0 && to_s3)
        r = fl_s3_put_new(conf->loop, conf->calls, d->bucket, conf->region, "command",
                          d->command_id, &d->s3);
    if (r == 0 && conf->logs)
        r = fl_logs_put_new(&(struct fl_logs_put_conf){ .loop = conf->loop,
                                                        .calls = conf->calls,
                                                        .group = group,
                                                        .what = "command",
                                                        .id = d->command_id },
                            &d->logs);
    if (r < 0)
        d = fl_delivery_free(d);
    *ret_delivery = d;
    return r;
}

struct fl_delivery *fl_delivery_free(struct fl_delivery *d)
{
    if (!d)
        return NULL;
    fl_s3_put_free(d->s3);
    fl_logs_put_free(d->logs);
    fl_timer_free(d->nothing);
    fl_arena_done(&d->arena);
    free(d);
    return NULL;
}
