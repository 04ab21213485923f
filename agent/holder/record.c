/* record.c - see record.h. */
#include "agent/holder/record.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include "agent/calls/logs_put.h"
#include "agent/calls/s3_put.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/session/log_event.h"
#include "common/session/text.h"

#define RECORD_MAX_BYTES (256u << 20)
#define DISK_SHARE       4      /* of what is free, one session takes no more than a fourth */
#define CHECK_MS         20000u /* the client waits meanwhile */
#define UPLOAD_BASE_MS   600000u
#define UPLOAD_MAX_MS    1800000u
#define LOGS_END_MS      600000u
#define EVENT_MAX_BYTES  (1u << 20)
#define EVENT_ARENA      (4u << 20)
#define KEY_ARENA        (512u << 10)
#define TAIL_BYTES       FL_SESSION_FRAME_BYTES

static const char note_file[] = "logged"; /* logs_put.h */

enum stage { STREAM, FRAME, OBJECT, EVENTS, REMOVE };

struct fl_record {
    struct fl_record_conf conf;
    struct fl_s3_put *s3;     /* NULL: no bucket */
    struct fl_logs_put *logs; /* NULL: no group */
    struct fl_timer *later, *limit;
    uint32_t call; /* under way; 0: none */
    bool streaming;
    int64_t max_bytes;
    enum stage stage;
    void (*checked)(void *arg, const struct fl_err *err);
    void (*done)(void *arg);
    void *arg;
};

static void warn(const struct fl_record *r, int error)
{
    fl_log_warn("what a session printed is not delivered",
                FL_S("session", r->conf.session->session_id), FL_S("error", strerror(-error)));
}

/* ---- events of a stream ---- */

struct lines {
    struct fl_arena arena;
    struct fl_strs strs;
    size_t cap;
    bool failed;
};

static void on_line(void *arg, const char *line, size_t len)
{
    struct lines *l = arg;
    char *copy = fl_arena_strdup(&l->arena, line);

    if (l->strs.n == l->cap) {
        char **grown = fl_arena_calloc(&l->arena, 2 * l->cap + 16, sizeof(*grown));

        if (grown && l->strs.n > 0)
            memcpy(grown, l->strs.v, l->strs.n * sizeof(*grown));
        l->failed |= !grown;
        l->cap = 2 * l->cap + 16;
        l->strs.v = grown;
    }
    l->failed |= !copy;
    if (!l->failed)
        l->strs.v[l->strs.n++] = copy;
}

static int make_event(void *arg, const char *data, size_t len, struct fl_buf *quoted)
{
    const struct fl_record *r = arg;
    const struct fl_session *s = r->conf.session;
    fl_autobuf struct fl_buf text = FL_BUF(EVENT_MAX_BYTES);
    struct lines lines = { 0 };
    struct fl_text parser = { 0 };
    int x;

    fl_arena_init(&lines.arena, EVENT_ARENA);
    fl_text_output(&parser, data, len, on_line, &lines);
    fl_text_flush(&parser, on_line, &lines);
    lines.failed |= parser.no_memory;
    fl_text_done(&parser);
    x = lines.failed ? -ENOMEM
                     : fl_session_log_event_encode(
                           &(struct fl_session_log_event){ .region = s->region,
                                                           .node_id = s->node_id,
                                                           .owner = r->conf.plan->owner,
                                                           .run_as = r->conf.run_as,
                                                           .session_id = s->session_id,
                                                           .lines = lines.strs },
                           fl_now_ms(), &text);
    fl_arena_done(&lines.arena);
    return x < 0 ? x : fl_json_quote(quoted, text.data, text.len);
}

/* ---- before the session ---- */

struct describe_in {
    const char *prefix;
};
static const struct fl_field describe_in_fields[] = { FL_FIELD(struct describe_in, prefix,
                                                               "logGroupNamePrefix", 0) };
static const struct fl_shape describe_in_shape =
    FL_SHAPE(struct describe_in, "DescribeLogGroups", describe_in_fields);

struct group {
    char *name, *key_id;
};
static const struct fl_field group_fields[] = {
    FL_FIELD(struct group, name, "logGroupName", 0),
    FL_FIELD(struct group, key_id, "kmsKeyId", 0),
};
static const struct fl_shape group_shape = FL_SHAPE(struct group, "LogGroup", group_fields);

struct describe_out {
    struct group *groups;
    size_t n;
};
static const struct fl_field describe_out_fields[] = { FL_FIELD_LIST(
    struct describe_out, groups, n, "logGroups", 0, &group_shape) };
static const struct fl_shape describe_out_shape =
    FL_SHAPE(struct describe_out, "DescribeLogGroups", describe_out_fields);

static void end_check(struct fl_record *r, const struct fl_err *err)
{
    fl_timer_stop(r->limit);
    fl_calls_cancel(r->conf.calls, r->call);
    r->call = 0;
    r->checked(r->arg, err);
}

static void on_check_limit(void *arg)
{
    struct fl_err err = { 0 };

    fl_err_set(&err, -ETIMEDOUT, NULL,
               "where this session is to be logged could not be asked in time whether it encrypts");
    end_check(arg, &err);
}

static void on_groups(void *arg, const struct fl_step_reply *reply)
{
    const struct describe_out *out = reply->out;
    struct fl_record *r = arg;
    const char *group = r->conf.plan->logging.group;
    struct fl_err err = { 0 };

    r->call = 0;
    if (reply->error)
        fl_err_set(&err, reply->error, NULL,
                   "log group %.200s could not be asked whether it is encrypted: %s %s", group,
                   reply->name, reply->text);
    /* One that is missing is no matter: nothing is kept there. */
    for (size_t i = 0; !reply->error && i < out->n; i++)
        if (out->groups[i].name && strcmp(out->groups[i].name, group) == 0 &&
            !(out->groups[i].key_id && *out->groups[i].key_id))
            fl_err_set(&err, -EPERM, NULL,
                       "log group %.200s is not encrypted with a key, as the session's document "
                       "demands",
                       group);
    end_check(r, err.code ? &err : NULL);
}

static void check_group(struct fl_record *r)
{
    const struct fl_session_logging *l = &r->conf.plan->logging;
    const struct describe_in in = { l->group };
    struct fl_err err = { 0 };

    if (!r->logs || !l->group_encrypted) {
        end_check(r, NULL);
        return;
    }
    fl_timer_start(r->limit, CHECK_MS);
    if (fl_calls_operation(r->conf.calls, &fl_calls_service_logs, "DescribeLogGroups",
                           &describe_in_shape, &in, &describe_out_shape, on_groups, r, &r->call,
                           &err) < 0)
        end_check(r, &err);
}

static void on_bucket(void *arg, bool encrypted)
{
    struct fl_record *r = arg;
    struct fl_err err = { 0 };

    if (encrypted) {
        check_group(r);
        return;
    }
    fl_err_set(&err, -EPERM, NULL,
               "bucket %.200s does not encrypt what it is given, or does not say so, as the "
               "session's document demands",
               r->conf.plan->logging.bucket);
    end_check(r, &err);
}

static void go_on(struct fl_record *r);

static void on_later(void *arg)
{
    struct fl_record *r = arg;
    struct fl_err err = { 0 };

    if (r->done) {
        go_on(r);
        return;
    }
    if (!r->s3 || !r->conf.plan->logging.bucket_encrypted) {
        check_group(r);
        return;
    }
    if (fl_s3_put_ask(r->s3, CHECK_MS, on_bucket, r) < 0) {
        fl_err_nomem(&err);
        end_check(r, &err);
    }
}

void fl_record_check(struct fl_record *r, void (*done)(void *arg, const struct fl_err *err),
                     void *arg)
{
    r->checked = done;
    r->arg = arg;
    fl_timer_start(r->later, 0);
}

/* ---- the file ---- */

static int64_t find_limit(int fd)
{
    struct statvfs fs;

    if (fstatvfs(fd, &fs) < 0)
        return RECORD_MAX_BYTES;
    return (int64_t)FL_MIN((uint64_t)fs.f_bavail * fs.f_frsize / DISK_SHARE,
                           (uint64_t)RECORD_MAX_BYTES);
}

static int stream(struct fl_record *r, uint64_t from)
{
    const struct fl_logs_file files[FL_LOGS_PUT_FILES] = {
        { FL_SESSION_RECORD, r->conf.session->session_id, from },
    };

    return fl_logs_put_begin(r->logs, r->conf.dir_fd, files);
}

int fl_record_open(struct fl_record *r, int *ret_fd, int64_t *ret_max_bytes, struct fl_err *err)
{
    char line[FL_SESSION_FRAME_BYTES];
    size_t n = fl_session_frame_begin(fl_now_ms(), line);
    fl_autofd int fd =
        openat(r->conf.dir_fd, FL_SESSION_RECORD,
               O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int x = fd < 0 ? -errno : fl_fd_write_all(fd, line, n);

    if (x < 0) {
        if (fd >= 0)
            unlinkat(r->conf.dir_fd, FL_SESSION_RECORD, 0);
        return fl_err_set(err, x, NULL, "%s: %s", FL_SESSION_RECORD, strerror(-x));
    }
    r->max_bytes = find_limit(fd);
    if (r->conf.plan->logging.stream && r->logs) {
        x = stream(r, n);
        r->streaming = x == 0;
        if (x < 0)
            warn(r, x);
    }
    *ret_fd = FL_TAKE_FD(fd);
    *ret_max_bytes = r->max_bytes;
    return 0;
}

/* ---- after the session ---- */

static void next(struct fl_record *r, int x)
{
    if (x < 0)
        warn(r, x);
    r->stage++;
    fl_timer_start(r->later, 0);
}

static void on_stage(void *arg, bool all)
{
    next(arg, 0); /* what did not arrive has been said */
}

/* The line at the transcript's end, once: an earlier holder may have written it. */
static int close_frame(const struct fl_record *r)
{
    fl_autofd int fd =
        openat(r->conf.dir_fd, FL_SESSION_RECORD, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    char tail[TAIL_BYTES + 1] = "", line[FL_SESSION_FRAME_BYTES];
    size_t n = fl_session_frame_end(fl_now_ms(), line);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (fl_fd_pread_upto(fd, tail, TAIL_BYTES,
                         (uint64_t)FL_MAX(st.st_size - TAIL_BYTES, (off_t)0)) >= (ssize_t)n &&
        strstr(tail, "\nScript done on "))
        return 0;
    if (r->max_bytes > 0 && st.st_size >= r->max_bytes)
        dprintf(fd, "\nfairlead: no more than %lld bytes were kept", (long long)r->max_bytes);
    return fl_fd_write_all(fd, line, n);
}

static char *object_key(const struct fl_record *r, struct fl_arena *arena)
{
    const char *prefix = r->conf.plan->logging.prefix;
    size_t len = strlen(prefix);

    return fl_arena_printf(arena, "%s%s%s.log", prefix,
                           len > 0 && prefix[len - 1] != '/' ? "/" : "",
                           r->conf.session->session_id);
}

int fl_record_places(const struct fl_record *r, struct fl_arena *arena,
                     struct fl_srec_places *ret_places)
{
    const struct fl_session_logging *l = &r->conf.plan->logging;
    struct fl_srec_places places = { .log_group = l->group };

    *ret_places = (struct fl_srec_places){ 0 };
    if (faccessat(r->conf.dir_fd, FL_SESSION_RECORD, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (l->bucket) {
        places.bucket = l->bucket;
        places.key = object_key(r, arena);
        if (!places.key)
            return -ENOMEM;
    }
    *ret_places = places;
    return 0;
}

static int upload(struct fl_record *r)
{
    fl_autofd int fd = openat(r->conf.dir_fd, FL_SESSION_RECORD, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    fl_autoarena struct fl_arena arena = FL_ARENA(KEY_ARENA);
    char *key = object_key(r, &arena);
    struct fl_s3_file file = { .fd = fd };
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!key)
        return -ENOMEM;
    file.key = key;
    file.bytes = (uint64_t)st.st_size;
    return fl_s3_put_start(
        r->s3, &file, 1,
        FL_MIN(UPLOAD_BASE_MS + (file.bytes >> 20) * 1000, (uint64_t)UPLOAD_MAX_MS), on_stage, r);
}

/* 1: on_stage follows; 0: nothing to do; negative: it could not be. */
static int do_stage(struct fl_record *r)
{
    bool streams = r->conf.plan->logging.stream;
    int x = 0;

    switch (r->stage) {
    case STREAM:
    case EVENTS:
        if (!r->logs || streams != (r->stage == STREAM))
            return 0;
        if (!r->streaming)
            x = stream(r, 0);
        if (x == 0)
            fl_logs_put_end(r->logs, LOGS_END_MS, on_stage, r);
        return x < 0 ? x : 1;
    case FRAME:
        return close_frame(r);
    case OBJECT:
        x = r->s3 ? upload(r) : 0;
        return x < 0 ? x : r->s3 != NULL;
    case REMOVE:
        break;
    }
    unlinkat(r->conf.dir_fd, FL_SESSION_RECORD, 0);
    unlinkat(r->conf.dir_fd, note_file, 0);
    return 0;
}

static void go_on(struct fl_record *r)
{
    int x = do_stage(r);

    if (r->stage == REMOVE)
        r->done(r->arg);
    else if (x <= 0)
        next(r, x);
}

void fl_record_end(struct fl_record *r, void (*done)(void *arg), void *arg)
{
    bool there = faccessat(r->conf.dir_fd, FL_SESSION_RECORD, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

    fl_timer_stop(r->limit);
    fl_calls_cancel(r->conf.calls, r->call);
    r->call = 0;
    r->done = done;
    r->arg = arg;
    r->stage = there ? STREAM : REMOVE;
    fl_timer_start(r->later, 0);
}

/* ---- all of it ---- */

int fl_record_new(const struct fl_record_conf *conf, struct fl_record **ret_record,
                  struct fl_err *err)
{
    const struct fl_session_logging *l = &conf->plan->logging;
    const char *id = conf->session->session_id;
    struct fl_record *r;
    int x = 0;

    *ret_record = NULL;
    if (!l->bucket && !l->group)
        return 0;
    r = calloc(1, sizeof(*r));
    if (!r)
        return fl_err_nomem(err);
    r->conf = *conf;
    r->later = fl_timer_new(conf->loop, on_later, r);
    r->limit = fl_timer_new(conf->loop, on_check_limit, r);
    if (!r->later || !r->limit)
        x = -ENOMEM;
    if (x == 0 && l->bucket)
        x = fl_s3_put_new(conf->loop, conf->calls, l->bucket, conf->session->region, "session", id,
                          &r->s3);
    if (x == 0 && l->group)
        x = fl_logs_put_new(
            &(struct fl_logs_put_conf){ .loop = conf->loop,
                                        .calls = conf->calls,
                                        .group = l->group,
                                        .what = "session",
                                        .id = id,
                                        .group_exists = true,
                                        .event_max_bytes = l->stream ? FL_SESSION_EVENT_BYTES : 0,
                                        .event = l->stream ? make_event : NULL,
                                        .event_arg = r },
            &r->logs);
    if (x < 0) {
        fl_record_free(r);
        return fl_err_nomem(err);
    }
    *ret_record = r;
    return 0;
}

struct fl_record *fl_record_free(struct fl_record *r)
{
    if (!r)
        return NULL;
    fl_calls_cancel(r->conf.calls, r->call);
    fl_s3_put_free(r->s3);
    fl_logs_put_free(r->logs);
    fl_timer_free(r->later);
    fl_timer_free(r->limit);
    free(r);
    return NULL;
}
