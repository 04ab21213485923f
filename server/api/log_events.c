/* log_events.c - PutLogEvents, GetLogEvents, FilterLogEvents. */
#include "server/api/logs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/rand.h"
#include "common/wire/logposition.h"
#include "server/api/list.h"
#include "server/api/log_pattern.h"
#include "server/plane.h"

#define EVENT_OVERHEAD  26 /* bytes that AWS counts beside a message */
#define EVENT_MAX_BYTES (256 * 1024)
#define BATCH_MAX_BYTES (1024 * 1024)
#define PAGE_MAX_BYTES  (1024 * 1024) /* of messages in an answer */
#define PAGE            10000
#define SCAN_MAX        100000 /* events that one call looks at */
#define DAY_MS          (24 * 60 * 60 * 1000ll)
#define TOO_OLD_MS      (14 * DAY_MS)
#define TOO_NEW_MS      (2 * 60 * 60 * 1000ll)
#define MAKE_ROOM       10 /* when all is full, one in so many goes */

/* ---- shapes; group and stream stand first, as in logs.c ---- */

struct put_event {
    int64_t time;
    char *message;
};
static const struct fl_field put_event_fields[] = {
    FL_FIELD(struct put_event, time, "timestamp", FL_REQUIRED),
    FL_FIELD(struct put_event, message, "message", FL_REQUIRED, .limits = { .min = 1 }),
};
static const struct fl_shape put_event_shape =
    FL_SHAPE(struct put_event, "InputLogEvent", put_event_fields);

struct put_in {
    char *group, *stream;
    struct put_event *v;
    size_t n;
    char *token; /* any will do; logposition.h */
};
static const struct fl_field put_in_fields[] = {
    FL_FIELD(struct put_in, group, "logGroupName", FL_REQUIRED, .limits = FL_LOG_GROUP_LIMITS),
    FL_FIELD(struct put_in, stream, "logStreamName", FL_REQUIRED, .limits = FL_LOG_STREAM_LIMITS),
    FL_FIELD_LIST(struct put_in, v, n, "logEvents", FL_REQUIRED, &put_event_shape,
                  .limits = { .min = 1, .max = 10000 }),
    FL_FIELD(struct put_in, token, "sequenceToken", 0),
};
const struct fl_shape fl_log_put_in_shape = FL_SHAPE(struct put_in, "PutLogEvents", put_in_fields);

struct rejected {
    struct fl_opt_int too_new, too_old;
};
static const struct fl_field rejected_fields[] = {
    FL_FIELD(struct rejected, too_new, "tooNewLogEventStartIndex", 0),
    FL_FIELD(struct rejected, too_old, "tooOldLogEventEndIndex", 0),
};
static const struct fl_shape rejected_shape =
    FL_SHAPE(struct rejected, "RejectedLogEventsInfo", rejected_fields);
struct put_out {
    char *token;
    struct rejected *rejected;
};
static const struct fl_field put_out_fields[] = {
    FL_FIELD(struct put_out, token, "nextSequenceToken", 0),
    FL_FIELD_STRUCT(struct put_out, rejected, "rejectedLogEventsInfo", 0, &rejected_shape),
};
const struct fl_shape fl_log_put_out_shape =
    FL_SHAPE(struct put_out, "PutLogEventsResult", put_out_fields);

struct event {
    int64_t time, arrived;
    char *stream, *message, *id;
};
#define F(member, key) FL_FIELD(struct event, member, key, FL_ALWAYS)
static const struct fl_field event_fields[] = {
    F(time, "timestamp"),
    F(message, "message"),
    F(arrived, "ingestionTime"),
};
static const struct fl_field found_fields[] = {
    F(stream, "logStreamName"),  F(time, "timestamp"), F(message, "message"),
    F(arrived, "ingestionTime"), F(id, "eventId"),
};
#undef F
static const struct fl_shape event_shape = FL_SHAPE(struct event, "OutputLogEvent", event_fields);
static const struct fl_shape found_shape = FL_SHAPE(struct event, "FilteredLogEvent", found_fields);

struct get_in {
    char *group, *stream, *token;
    struct fl_opt_int start, end, limit;
    bool from_head;
};
#define RANGE(T)                                                             \
    FL_FIELD(T, start, "startTime", 0), FL_FIELD(T, end, "endTime", 0),      \
        FL_FIELD(T, limit, "limit", 0, .limits = { .min = 1, .max = PAGE }), \
        FL_FIELD(T, token, "nextToken", 0)
static const struct fl_field get_in_fields[] = {
    FL_FIELD(struct get_in, group, "logGroupName", FL_REQUIRED, .limits = FL_LOG_GROUP_LIMITS),
    FL_FIELD(struct get_in, stream, "logStreamName", FL_REQUIRED, .limits = FL_LOG_STREAM_LIMITS),
    FL_FIELD(struct get_in, from_head, "startFromHead", 0),
    RANGE(struct get_in),
};
const struct fl_shape fl_log_get_in_shape = FL_SHAPE(struct get_in, "GetLogEvents", get_in_fields);

struct filter_in {
    char *group, *token, *pattern, *prefix;
    struct fl_strs streams;
    struct fl_opt_int start, end, limit;
};
static const struct fl_field filter_in_fields[] = {
    FL_FIELD(struct filter_in, group, "logGroupName", FL_REQUIRED, .limits = FL_LOG_GROUP_LIMITS),
    FL_FIELD(struct filter_in, streams, "logStreamNames", 0, .limits = { .min = 1, .max = 100 }),
    FL_FIELD(struct filter_in, prefix, "logStreamNamePrefix", 0, .limits = FL_LOG_STREAM_LIMITS),
    FL_FIELD(struct filter_in, pattern, "filterPattern", 0, .limits = { .max = 1024 }),
    RANGE(struct filter_in),
};
const struct fl_shape fl_log_filter_in_shape =
    FL_SHAPE(struct filter_in, "FilterLogEvents", filter_in_fields);

struct events_out {
    struct event *v;
    size_t n;
    char *forward, *backward; /* or: forward alone */
};
static const struct fl_field get_out_fields[] = {
    FL_FIELD_LIST(struct events_out, v, n, "events", FL_ALWAYS, &event_shape),
    FL_FIELD(struct events_out, forward, "nextForwardToken", 0),
    FL_FIELD(struct events_out, backward, "nextBackwardToken", 0),
};
static const struct fl_field filter_out_fields[] = {
    FL_FIELD_LIST(struct events_out, v, n, "events", FL_ALWAYS, &found_shape),
    FL_FIELD(struct events_out, forward, "nextToken", 0),
};
const struct fl_shape fl_log_get_out_shape =
    FL_SHAPE(struct events_out, "GetLogEventsResult", get_out_fields);
const struct fl_shape fl_log_filter_out_shape =
    FL_SHAPE(struct events_out, "FilterLogEventsResult", filter_out_fields);

#define BAD_TOKEN "The specified nextToken is invalid."

static int invalid(struct fl_err *err, const char *text)
{
    return fl_err_set(err, -EINVAL, "InvalidParameterException", "%s", text);
}

/* ---- PutLogEvents ---- */

static int check_batch(const struct put_in *req, struct fl_err *err)
{
    size_t bytes = 0;

    for (size_t i = 0; i < req->n; i++) {
        size_t len = strlen(req->v[i].message) + EVENT_OVERHEAD;

        bytes += len;
        if (len > EVENT_MAX_BYTES)
            return invalid(err, "Log event too large: it exceeds the limit of 262144");
        if (req->v[i].time < 0)
            return invalid(err, "A timestamp is negative");
        if (i && req->v[i].time < req->v[i - 1].time)
            return invalid(err, "Log events in a single PutLogEvents request must be in "
                                "chronological order.");
    }
    return bytes > BATCH_MAX_BYTES
               ? invalid(err, "Upload too large: it exceeds the limit of 1048576")
               : 0;
}

/* The oldest make room for the newest. */
static int make_room(struct fl_call *call, int64_t bytes, struct fl_err *err)
{
    int64_t max = call->plane->conf.logs_max_bytes;
    int64_t used = fl_sql_scalar(call->tx, FL_SQL_log_usage, 0, err);
    int r = 0;

    for (int i = 0; r >= 0 && used + bytes > max && i < 2 * MAKE_ROOM; i++) {
        /* First only counted again: some have gone since. */
        int64_t n = i ? fl_sql_scalar(call->tx, FL_SQL_log_event_count, 0, err) : 0;

        if (i && n == 0)
            return invalid(err, "The events are more than the control plane keeps");
        if (n)
            r = fl_sql_exec(call->tx, FL_SQL_log_event_drop_oldest, err, FL_N(n / MAKE_ROOM + 1));
        if (r >= 0)
            r = fl_sql_exec(call->tx, FL_SQL_log_usage_count, err);
        used = fl_sql_scalar(call->tx, FL_SQL_log_usage, 0, err);
    }
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_log_usage_add, err, FL_N(bytes));
    return r < 0 ? r : 0;
}

/* What comes a second time, as its writer says: 1, and where it is to go on. Otherwise notes how
 * far it comes with this. */
static int is_known(struct fl_call *call, const char *stream, const char *token,
                    struct put_out *res, struct fl_err *err)
{
    struct fl_log_position p;
    fl_autocursor struct fl_cursor *row = NULL;
    char next[FL_LOG_POSITION_BYTES];
    bool known;
    int r;

    if (!fl_log_position_read(token, &p))
        return 0;
    r = fl_sql_open(call->tx, FL_SQL_log_stream_written, &row, err, FL_T(stream));
    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r < 0)
        return r;
    known =
        r > 0 && strcmp(fl_sql_text(row, 0), p.writer) == 0 && (int64_t)p.from < fl_sql_int(row, 1);
    if (known)
        p.to = (uint64_t)fl_sql_int(row, 1);
    p.from = p.to;
    fl_log_position_write(&p, next);
    res->token = fl_arena_strdup(call->arena, next);
    if (!res->token)
        return fl_err_nomem(err);
    if (known)
        return 1;
    r = fl_sql_exec(call->tx, FL_SQL_log_stream_write, err, FL_T(stream), FL_T(p.writer),
                    FL_N((int64_t)p.to));
    return FL_MIN(r, 0);
}

static int reject(struct fl_call *call, const struct put_in *req, struct put_out *res,
                  size_t *first, size_t *end)
{
    struct rejected info = { 0 };

    *first = 0;
    *end = req->n;
    while (*first < req->n && req->v[*first].time < call->now_ms - TOO_OLD_MS)
        ++*first;
    while (*end > *first && req->v[*end - 1].time > call->now_ms + TOO_NEW_MS)
        --*end;
    if (*first)
        info.too_old = (struct fl_opt_int){ true, (int64_t)*first };
    if (*end < req->n)
        info.too_new = (struct fl_opt_int){ true, (int64_t)*end };
    if (!info.too_old.set && !info.too_new.set)
        return 0;
    res->rejected = fl_arena_alloc(call->arena, sizeof(info));
    if (!res->rejected)
        return -ENOMEM;
    *res->rejected = info;
    return 0;
}

int fl_op_put_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct put_in *req = in;
    struct put_out *res = out;
    char *group, *stream, batch[9];
    size_t first, end;
    int64_t bytes = 0;
    int r = check_batch(req, err);

    if (r >= 0)
        r = fl_log_group_find(call, req->group, &group, err);
    if (r >= 0)
        r = fl_log_stream_find(call, group, req->stream, &stream, err);
    res->token = (char *)"1";
    if (r >= 0)
        r = is_known(call, stream, req->token, res, err);
    if (r != 0)
        return FL_MIN(r, 0);
    if (reject(call, req, res, &first, &end) < 0)
        return fl_err_nomem(err);
    for (size_t i = first; i < end; i++)
        bytes += (int64_t)strlen(req->v[i].message) + EVENT_OVERHEAD;
    if (first == end)
        return 0;
    r = make_room(call, bytes, err);
    fl_random_hex(batch, sizeof(batch) - 1);
    for (size_t i = first; r >= 0 && i < end; i++) {
        char id[48];

        snprintf(id, sizeof(id), "%014lld%s%05zu", (long long)call->now_ms, batch, i);
        r = fl_sql_exec(call->tx, FL_SQL_log_event_add, err, FL_T(stream), FL_N(req->v[i].time),
                        FL_T(id), FL_T(group), FL_T(req->stream), FL_T(req->v[i].message),
                        FL_N(call->now_ms),
                        FL_N((int64_t)strlen(req->v[i].message) + EVENT_OVERHEAD));
    }
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_log_stream_touch, err, FL_T(stream),
                        FL_N(req->v[first].time), FL_N(req->v[end - 1].time), FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

int fl_log_append(struct fl_call *call, const char *group, const char *stream,
                  const struct fl_log_line *lines, size_t n, struct fl_err *err)
{
    struct put_in in = { .group = (char *)group, .stream = (char *)stream, .n = n };
    struct put_out out = { 0 };
    char *group_id;
    int r = fl_log_group_find(call, group, &group_id, err);

    if (r >= 0)
        r = fl_log_stream_ensure(call, group_id, stream, err);
    if (r < 0)
        return r;
    in.v = fl_arena_calloc(call->arena, n, sizeof(*in.v));
    if (!in.v)
        return fl_err_nomem(err);
    for (size_t i = 0; i < n; i++)
        in.v[i] = (struct put_event){ lines[i].time_ms, (char *)lines[i].message };
    return fl_op_put_log_events(call, &in, &out, err);
}

/* ---- places between events ---- */

/* "f/<time>/<id>": behind that event; "b/…": before it. The same place is always the same text:
 * clients compare tokens to see the end. */
struct place {
    bool backward;
    int64_t time;
    const char *id;
};

static char *put_place(struct fl_call *call, char way, int64_t time, const char *id)
{
    return fl_arena_printf(call->arena, "%c/%lld/%s", way, (long long)time, id);
}

static int take_place(const char *token, struct place *out, struct fl_err *err)
{
    char *end;

    if ((token[0] != 'f' && token[0] != 'b') || token[1] != '/' || strlen(token) > 128)
        return invalid(err, BAD_TOKEN);
    out->backward = token[0] == 'b';
    out->time = strtoll(token + 2, &end, 10);
    if (end == token + 2 || *end != '/')
        return invalid(err, BAD_TOKEN);
    out->id = end + 1;
    return 0;
}

/* ---- a page of them ---- */

struct page {
    struct events_out *res;
    size_t max, cap, bytes;
};

static bool is_full(const struct page *p)
{
    return p->res->n == p->max || p->bytes >= PAGE_MAX_BYTES;
}

static int add_row(struct fl_call *call, struct fl_cursor *row, struct page *p, struct fl_err *err)
{
    struct events_out *res = p->res;
    int r;

    res->v = fl_list_room(call->arena, res->v, res->n, &p->cap, sizeof(*res->v));
    if (!res->v)
        return fl_err_nomem(err);
    r = fl_sql_row(row, &found_shape, call->arena, &res->v[res->n], err);
    if (r >= 0)
        p->bytes += strlen(res->v[res->n++].message) + EVENT_OVERHEAD;
    return r;
}

/* ---- GetLogEvents ---- */

static int read_events(struct fl_call *call, struct fl_cursor *row, size_t max,
                       struct events_out *res, struct fl_err *err)
{
    struct page page = { res, .max = max };
    int r = 0;

    while (r >= 0 && !is_full(&page) && (r = fl_sql_next(row, err)) > 0)
        r = add_row(call, row, &page, err);
    return r < 0 ? r : 0;
}

static void turn_round(struct events_out *res)
{
    for (size_t i = 0; i < res->n / 2; i++) {
        struct event e = res->v[i];

        res->v[i] = res->v[res->n - 1 - i];
        res->v[res->n - 1 - i] = e;
    }
}

/* Where there is nothing more, that way gets the place that was asked for, and the other all that
 * is between `start` and `end`: what comes later is found. */
static int put_places(struct fl_call *call, const struct place *at, int64_t start, int64_t end,
                      struct events_out *res, struct fl_err *err)
{
    struct place forward = *at, backward = *at;

    if (res->n) {
        forward = (struct place){ .time = res->v[res->n - 1].time, .id = res->v[res->n - 1].id };
        backward = (struct place){ .time = res->v[0].time, .id = res->v[0].id };
    } else if (at->backward) {
        forward = (struct place){ .time = start, .id = "" };
    } else {
        backward = (struct place){ .time = end, .id = "" };
    }
    res->forward = put_place(call, 'f', forward.time, forward.id);
    res->backward = put_place(call, 'b', backward.time, backward.id);
    return res->forward && res->backward ? 0 : fl_err_nomem(err);
}

int fl_op_get_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct get_in *req = in;
    struct events_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    int64_t start = req->start.set ? req->start.v : 0, end = req->end.set ? req->end.v : INT64_MAX;
    size_t max = req->limit.set ? (size_t)req->limit.v : PAGE;
    struct place at = { .backward = !req->from_head,
                        .time = req->from_head ? start : end,
                        .id = "" };
    char *group, *stream;
    int r = fl_log_group_find(call, req->group, &group, err);

    if (r >= 0)
        r = fl_log_stream_find(call, group, req->stream, &stream, err);
    if (r >= 0 && req->token && *req->token)
        r = take_place(req->token, &at, err);
    if (r >= 0)
        r = at.backward
                ? fl_sql_open(call->tx, FL_SQL_log_event_backward, &row, err, FL_T(stream),
                              FL_N(at.time), FL_T(at.id), FL_N(start), FL_N((int64_t)max))
                : fl_sql_open(call->tx, FL_SQL_log_event_forward, &row, err, FL_T(stream),
                              FL_N(FL_MAX(at.time, start)), FL_T(at.time < start ? "" : at.id),
                              FL_N(end), FL_N((int64_t)max));
    if (r >= 0)
        r = read_events(call, row, max, res, err);
    if (r < 0)
        return r;
    if (at.backward)
        turn_round(res);
    return put_places(call, &at, start, end, res, err);
}

/* ---- FilterLogEvents ---- */

static bool is_asked_for(const struct filter_in *req, const char *stream)
{
    if (req->prefix && strncmp(stream, req->prefix, strlen(req->prefix)) != 0)
        return false;
    for (size_t i = 0; i < req->streams.n; i++)
        if (strcmp(req->streams.v[i], stream) == 0)
            return true;
    return req->streams.n == 0;
}

/* Up to a full page, or so many looked at: then *at is the last of them. 1: there is more. */
static int scan(struct fl_call *call, const struct filter_in *req,
                const struct fl_log_pattern *pattern, struct fl_cursor *row, struct place *at,
                struct events_out *res, struct fl_err *err)
{
    struct page page = { res, .max = req->limit.set ? (size_t)req->limit.v : PAGE };
    size_t looked = 0;
    int r;

    while ((r = fl_sql_next(row, err)) > 0) {
        if (is_full(&page) || looked++ == SCAN_MAX)
            return 1;
        at->time = fl_sql_int(row, 0);
        at->id = fl_arena_strdup(call->arena, fl_sql_text(row, 3));
        if (!at->id)
            return fl_err_nomem(err);
        if (!is_asked_for(req, fl_sql_text(row, 4)) ||
            !fl_log_pattern_matches(pattern, fl_sql_text(row, 1)))
            continue;
        r = add_row(call, row, &page, err);
        if (r < 0)
            return r;
    }
    return r;
}

int fl_op_filter_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct filter_in *req = in;
    struct events_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    struct place at = { .time = req->start.set ? req->start.v : 0, .id = "" };
    struct fl_log_pattern pattern;
    char *group, *stream;
    int r = fl_log_pattern_read(req->pattern, call->arena, &pattern, err);

    if (r >= 0 && req->prefix && req->streams.n)
        return invalid(err, "logStreamNamePrefix and logStreamNames cannot both be given.");
    if (r >= 0)
        r = fl_log_group_find(call, req->group, &group, err);
    for (size_t i = 0; i < req->streams.n && r >= 0; i++)
        r = fl_log_stream_find(call, group, req->streams.v[i], &stream, err);
    if (r >= 0 && req->token && *req->token)
        r = take_place(req->token, &at, err);
    if (r >= 0 && at.backward)
        return invalid(err, BAD_TOKEN);
    if (r >= 0)
        r = fl_sql_open(call->tx, FL_SQL_log_event_of_group, &row, err, FL_T(group), FL_N(at.time),
                        FL_T(at.id),
                        FL_N(req->end.set && req->end.v < INT64_MAX ? req->end.v + 1 : INT64_MAX));
    if (r >= 0)
        r = scan(call, req, &pattern, row, &at, res, err);
    if (r <= 0)
        return r;
    res->forward = put_place(call, 'f', at.time, at.id);
    return res->forward ? 0 : fl_err_nomem(err);
}
