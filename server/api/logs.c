/* logs.c - the logs subset (protocol 6 §1.6): groups and streams, and who may. */
#include "server/api/logs.h"

#include <errno.h>
#include <string.h>
#include "common/base/rand.h"
#include "server/api/list.h"
#include "server/command/place.h"
#include "server/session/place.h"

#define PAGE 50

/* Every request names a group first and perhaps a stream. */
struct name_in {
    char *group, *stream, *key_id;
    struct fl_opt_int days;
};
#define T      struct name_in
#define GROUP  FL_FIELD(T, group, "logGroupName", FL_REQUIRED, .limits = FL_LOG_GROUP_LIMITS)
#define STREAM FL_FIELD(T, stream, "logStreamName", FL_REQUIRED, .limits = FL_LOG_STREAM_LIMITS)
static const struct fl_field group_fields[] = { GROUP };
static const struct fl_field create_group_fields[] = { GROUP, FL_FIELD(T, key_id, "kmsKeyId", 0) };
static const struct fl_field stream_fields[] = { GROUP, STREAM };
static const struct fl_field days_fields[] = {
    GROUP,
    FL_FIELD(T, days, "retentionInDays", FL_REQUIRED, .limits = { .min = 1, .max = 3653 }),
};
static const struct fl_shape group_shape = FL_SHAPE(T, "LogGroup", group_fields);
static const struct fl_shape create_group_shape =
    FL_SHAPE(T, "CreateLogGroup", create_group_fields);
static const struct fl_shape stream_shape = FL_SHAPE(T, "LogStream", stream_fields);
static const struct fl_shape days_shape = FL_SHAPE(T, "PutRetentionPolicy", days_fields);
#undef T

struct list_in {
    char *group, *prefix, *pattern, *order, *next_token;
    bool descending;
    struct fl_opt_int limit;
};
#define T struct list_in
#define PAGES                                                          \
    FL_FIELD(T, limit, "limit", 0, .limits = { .min = 1, .max = 50 }), \
        FL_FIELD(T, next_token, "nextToken", 0)
static const char *const orders[] = { "LogStreamName", "LastEventTime", NULL };
static const struct fl_field groups_in_fields[] = {
    FL_FIELD(T, prefix, "logGroupNamePrefix", 0, .limits = FL_LOG_GROUP_LIMITS),
    FL_FIELD(T, pattern, "logGroupNamePattern", 0, .limits = { .max = 512 }), PAGES
};
static const struct fl_field streams_in_fields[] = {
    FL_FIELD(T, group, "logGroupName", FL_REQUIRED, .limits = FL_LOG_GROUP_LIMITS),
    FL_FIELD(T, prefix, "logStreamNamePrefix", 0, .limits = FL_LOG_STREAM_LIMITS),
    FL_FIELD(T, order, "orderBy", 0, .limits = { .enums = orders }),
    FL_FIELD(T, descending, "descending", 0), PAGES
};
static const struct fl_shape groups_in_shape = FL_SHAPE(T, "DescribeLogGroups", groups_in_fields);
static const struct fl_shape streams_in_shape =
    FL_SHAPE(T, "DescribeLogStreams", streams_in_fields);
#undef T

/* A group or a stream; times are plain milliseconds in this service. */
struct entry {
    char *name, *arn, *token;
    int64_t created;
    struct fl_opt_int days, first, last, arrived;
    int64_t bytes;
};
#define F(member, key, flags) FL_FIELD(struct entry, member, key, flags)
static const struct fl_field group_out_fields[] = {
    F(name, "logGroupName", 0),
    F(created, "creationTime", FL_ALWAYS),
    F(days, "retentionInDays", 0),
    F(arn, "arn", 0),
};
static const struct fl_field stream_out_fields[] = {
    F(name, "logStreamName", 0),
    F(created, "creationTime", FL_ALWAYS),
    F(first, "firstEventTimestamp", 0),
    F(last, "lastEventTimestamp", 0),
    F(arrived, "lastIngestionTime", 0),
    F(token, "uploadSequenceToken", 0),
    F(arn, "arn", 0),
    F(bytes, "storedBytes", FL_ALWAYS),
};
#undef F
static const struct fl_shape group_out_shape = FL_SHAPE(struct entry, "LogGroup", group_out_fields);
static const struct fl_shape stream_out_shape =
    FL_SHAPE(struct entry, "LogStream", stream_out_fields);

struct list_out {
    struct entry *v;
    size_t n;
    char *next_token;
};
static const struct fl_field groups_out_fields[] = {
    FL_FIELD_LIST(struct list_out, v, n, "logGroups", FL_ALWAYS, &group_out_shape),
    FL_FIELD(struct list_out, next_token, "nextToken", 0),
};
static const struct fl_field streams_out_fields[] = {
    FL_FIELD_LIST(struct list_out, v, n, "logStreams", FL_ALWAYS, &stream_out_shape),
    FL_FIELD(struct list_out, next_token, "nextToken", 0),
};
static const struct fl_shape groups_out_shape =
    FL_SHAPE(struct list_out, "DescribeLogGroupsResult", groups_out_fields);
static const struct fl_shape streams_out_shape =
    FL_SHAPE(struct list_out, "DescribeLogStreamsResult", streams_out_fields);

/* ---- finding ---- */

/* The first column of the first row: 1, 0 none, <0. */
static int take_id(struct fl_call *call, struct fl_cursor *row, char **ret_id, struct fl_err *err)
{
    int r = fl_sql_next(row, err);

    if (r <= 0)
        return r;
    *ret_id = fl_arena_strdup(call->arena, fl_sql_text(row, 0));
    return *ret_id ? 1 : fl_err_nomem(err);
}

static int look_up_group(struct fl_call *call, const char *group, char **ret_id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_log_group_get, &row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(group));

    return r < 0 ? r : take_id(call, row, ret_id, err);
}

static int look_up_stream(struct fl_call *call, const char *group_id, const char *stream,
                          char **ret_id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_log_stream_get, &row, err, FL_T(group_id), FL_T(stream));

    return r < 0 ? r : take_id(call, row, ret_id, err);
}

int fl_log_group_find(struct fl_call *call, const char *group, char **ret_id, struct fl_err *err)
{
    int r = look_up_group(call, group, ret_id, err);

    return r != 0 ? FL_MIN(r, 0)
                  : fl_err_set(err, -ENOENT, "ResourceNotFoundException",
                               "The specified log group does not exist.");
}

int fl_log_stream_find(struct fl_call *call, const char *group_id, const char *stream,
                       char **ret_id, struct fl_err *err)
{
    int r = look_up_stream(call, group_id, stream, ret_id, err);

    return r != 0 ? FL_MIN(r, 0)
                  : fl_err_set(err, -ENOENT, "ResourceNotFoundException",
                               "The specified log stream does not exist.");
}

/* ---- who may ---- */

static char *arn_of(struct fl_call *call, const char *group, const char *stream)
{
    return fl_arena_printf(call->arena, "arn:aws:logs:%s:%s:log-group:%s:%s%s", call->region,
                           call->account, group ? group : "", stream ? "log-stream:" : "*",
                           stream ? stream : "");
}

/* A node needs no policy for its own streams, in the group its command names, and for groups in
 * which it has some. */
static int add_resource(struct fl_call *call, const char *group, const char *stream,
                        struct fl_resources *ret, struct fl_err *err)
{
    const char *node_id = call->who->node_id;
    struct fl_output_place place;
    int r = 0;

    ret->v = fl_arena_calloc(call->arena, 1, sizeof(*ret->v));
    if (!ret->v || !(ret->v[0].arn = arn_of(call, group, stream)))
        return fl_err_nomem(err);
    ret->n = 1;
    if (call->who->kind != FL_ID_NODE)
        return 0;
    if (stream) {
        r = fl_output_place(call, stream, node_id, &place, err);
        ret->builtin = r > 0 && place.log_group && group && strcmp(group, place.log_group) == 0;
    } else if (group) {
        r = fl_output_group(call, group, node_id, err);
        if (r == 0)
            r = fl_session_group(call, group, node_id, err);
        ret->builtin = r > 0;
    }
    return r < 0 ? r : 0;
}

/* For requests that begin with the members of struct name_in: those that make groups and streams
 * and put events, which nodes do … */
static int stream_made(struct fl_call *call, const void *in, struct fl_resources *ret,
                       struct fl_err *err)
{
    const struct name_in *req = in;
    int r = add_resource(call, req->group, req->stream, ret, err);

    if (r < 0 || ret->builtin || call->who->kind != FL_ID_NODE)
        return r;
    r = fl_session_stream(call, req->group, req->stream, call->who->node_id, err);
    ret->builtin = r > 0;
    return FL_MIN(r, 0);
}

static int group_made(struct fl_call *call, const void *in, struct fl_resources *ret,
                      struct fl_err *err)
{
    const struct name_in *req = in;

    return add_resource(call, req->group, NULL, ret, err);
}

/* … and all others, for which a node needs a policy. */
static int name_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                         struct fl_err *err)
{
    const struct name_in *req = in;
    int r = add_resource(call, req->group, req->stream, ret, err);

    ret->builtin = false;
    return r;
}

static int group_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                          struct fl_err *err)
{
    int r = group_made(call, in, ret, err);

    ret->builtin = false;
    return r;
}

static int groups_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                           struct fl_err *err)
{
    const struct list_in *req = in;

    return add_resource(call, req->prefix, NULL, ret, err);
}

/* ---- groups ---- */

static int exists(struct fl_err *err, const char *what)
{
    return fl_err_set(err, -EEXIST, "ResourceAlreadyExistsException",
                      "The specified log %s already exists", what);
}

static int op_create_group(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;
    char id[FL_UUID_BYTES], *there;
    int r = req->key_id ? fl_err_set(err, -EINVAL, "InvalidParameterException",
                                     "Log groups are not encrypted here.")
                        : 0;

    if (r < 0)
        return r;
    r = look_up_group(call, req->group, &there, err);

    if (r != 0)
        return r < 0 ? r : exists(err, "group");
    fl_uuid4(id);
    r = fl_sql_exec(call->tx, FL_SQL_log_group_add, err, FL_T(call->account), FL_T(call->region),
                    FL_T(req->group), FL_T(id), FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

static int op_delete_group(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;
    char *id;
    int r = fl_log_group_find(call, req->group, &id, err);

    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_log_group_delete, err, FL_T(id));
    return r < 0 ? r : 0;
}

static int set_days(struct fl_call *call, const char *group, int64_t days, struct fl_err *err)
{
    char *id;
    int r = fl_log_group_find(call, group, &id, err);

    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_log_group_retention, err, FL_T(id), FL_N(days));
    return r < 0 ? r : 0;
}

static int op_put_retention(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;

    return set_days(call, req->group, req->days.v, err);
}

static int op_delete_retention(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;

    return set_days(call, req->group, 0, err);
}

/* ---- streams ---- */

static int op_create_stream(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;
    char id[FL_UUID_BYTES], *group, *there;
    int r = fl_log_group_find(call, req->group, &group, err);

    if (r >= 0)
        r = look_up_stream(call, group, req->stream, &there, err);
    if (r != 0)
        return r < 0 ? r : exists(err, "stream");
    fl_uuid4(id);
    r = fl_sql_exec(call->tx, FL_SQL_log_stream_add, err, FL_T(group), FL_T(req->stream), FL_T(id),
                    FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

int fl_log_stream_ensure(struct fl_call *call, const char *group_id, const char *stream,
                         struct fl_err *err)
{
    char id[FL_UUID_BYTES], *there;
    int r = look_up_stream(call, group_id, stream, &there, err);

    if (r != 0)
        return r < 0 ? r : 0;
    fl_uuid4(id);
    r = fl_sql_exec(call->tx, FL_SQL_log_stream_add, err, FL_T(group_id), FL_T(stream), FL_T(id),
                    FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

static int op_delete_stream(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct name_in *req = in;
    char *group, *id;
    int r = fl_log_group_find(call, req->group, &group, err);

    if (r >= 0)
        r = fl_log_stream_find(call, group, req->stream, &id, err);
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_log_stream_delete, err, FL_T(id));
    return r < 0 ? r : 0;
}

/* ---- lists ---- */

/* Rows that begin with the prefix into the page; the cursor is at its start. */
static int fill_page(struct fl_call *call, struct fl_cursor *row, const struct fl_shape *shape,
                     const char *prefix, size_t max, struct list_out *res, bool *ret_more,
                     struct fl_err *err)
{
    int r;

    *ret_more = false;
    res->v = fl_arena_calloc(call->arena, max + 1, sizeof(*res->v));
    if (!res->v)
        return fl_err_nomem(err);
    while ((r = fl_sql_next(row, err)) > 0) {
        if (prefix && strncmp(fl_sql_text(row, 0), prefix, strlen(prefix)) != 0)
            break;
        if (res->n == max) {
            *ret_more = true;
            break;
        }
        r = fl_sql_row(row, shape, call->arena, &res->v[res->n++], err);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : 0;
}

/* Names from the prefix on: it comes before all that begin with it, but equals one of them. */
static const char *before(struct fl_call *call, const char *prefix)
{
    char *s = fl_arena_strdup(call->arena, prefix ? prefix : "");
    size_t len = s ? strlen(s) : 0;

    if (len)
        s[len - 1]--;
    return s && len ? fl_arena_printf(call->arena, "%s\xf4\x8f\xbf\xbf", s) : s;
}

/* Names up to those with the prefix: it comes behind all of these. */
static const char *behind(struct fl_call *call, const char *prefix)
{
    return fl_arena_printf(call->arena, "%s\xf4\x8f\xbf\xbf", prefix ? prefix : "");
}

static int take_token(struct fl_call *call, const char *what, const char *token, char **ret_after,
                      struct fl_err *err)
{
    int r = fl_page_token_decode(call, what, token, ret_after, NULL);

    return r == -EINVAL ? fl_err_set(err, r, "InvalidParameterException",
                                     "The specified nextToken is invalid.")
           : r < 0      ? fl_err_nomem(err)
                        : r;
}

static int op_groups(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct list_in *req = in;
    struct list_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->limit.set ? (size_t)req->limit.v : PAGE;
    char *after = NULL;
    bool more;
    int r = take_token(call, "DescribeLogGroups", req->next_token, &after, err);

    if (r >= 0 && req->prefix && req->pattern)
        return fl_err_set(err, -EINVAL, "InvalidParameterException",
                          "LogGroup name prefix and LogGroup name pattern are mutually exclusive.");

    if (r >= 0)
        r = fl_sql_open(call->tx, FL_SQL_log_group_page, &row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(after ? after : before(call, req->prefix)),
                        FL_N((int64_t)max + 1), FL_T(req->pattern ? req->pattern : ""));
    if (r >= 0)
        r = fill_page(call, row, &group_out_shape, req->prefix, max, res, &more, err);
    for (size_t i = 0; r >= 0 && i < res->n; i++)
        if (!(res->v[i].arn = arn_of(call, res->v[i].name, NULL)))
            return fl_err_nomem(err);
    if (r < 0 || !more)
        return r;
    res->next_token = fl_page_token_encode(call, "DescribeLogGroups", res->v[res->n - 1].name);
    return res->next_token ? 0 : fl_err_nomem(err);
}

/* A token is good for the order in which it was given. */
static const struct stream_order {
    const char *what; /* fl_page_token_encode */
    enum fl_sql by;
    bool time, back;
} stream_orders[] = {
    { "DescribeLogStreams", FL_SQL_log_stream_by_name, false, false },
    { "DescribeLogStreams back", FL_SQL_log_stream_by_name_back, false, true },
    { "DescribeLogStreams time", FL_SQL_log_stream_by_time, true, false },
    { "DescribeLogStreams time back", FL_SQL_log_stream_by_time_back, true, true },
};

/* Pages go by "<time> <name>" of the last stream. */
static int open_streams(struct fl_call *call, const struct list_in *req,
                        const struct stream_order *order, const char *group, const char *after,
                        size_t max, struct fl_cursor **ret_row, struct fl_err *err)
{
    const char *name = after ? strchr(after, ' ') : NULL;
    int64_t time = after ? strtoll(after, NULL, 10) : order->back ? INT64_MAX : -1;

    if (name)
        name++;
    else
        name = order->back ? behind(call, req->prefix) : before(call, req->prefix);
    if (!name)
        return fl_err_nomem(err);
    if (order->time)
        return fl_sql_open(call->tx, order->by, ret_row, err, FL_T(group), FL_T(name),
                           FL_N((int64_t)max + 1), FL_N(time));
    return fl_sql_open(call->tx, order->by, ret_row, err, FL_T(group), FL_T(name),
                       FL_N((int64_t)max + 1));
}

static int op_streams(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct list_in *req = in;
    struct list_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->limit.set ? (size_t)req->limit.v : PAGE;
    bool by_time = req->order && strcmp(req->order, "LastEventTime") == 0;
    const struct stream_order *order = &stream_orders[2 * by_time + req->descending];
    char *after = NULL, *group;
    bool more;
    int r = fl_log_group_find(call, req->group, &group, err);

    if (r >= 0 && by_time && req->prefix)
        return fl_err_set(err, -EINVAL, "InvalidParameterException",
                          "Cannot order by LastEventTime with a logStreamNamePrefix.");
    if (r >= 0)
        r = take_token(call, order->what, req->next_token, &after, err);
    if (r >= 0)
        r = open_streams(call, req, order, group, after, max, &row, err);
    if (r >= 0)
        r = fill_page(call, row, &stream_out_shape, req->prefix, max, res, &more, err);
    for (size_t i = 0; r >= 0 && i < res->n; i++) {
        res->v[i].token = (char *)"1"; /* any is accepted */
        if (!(res->v[i].arn = arn_of(call, req->group, res->v[i].name)))
            return fl_err_nomem(err);
    }
    if (r >= 0 && more) {
        const struct entry *last = &res->v[res->n - 1];
        const char *at =
            fl_arena_printf(call->arena, "%lld %s", (long long)last->last.v, last->name);

        res->next_token = at ? fl_page_token_encode(call, order->what, at) : NULL;
        return res->next_token ? 0 : fl_err_nomem(err);
    }
    return r;
}

static int streams_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                            struct fl_err *err)
{
    const struct list_in *req = in;
    int r = add_resource(call, req->group, NULL, ret, err);

    /* What others log is not for a node: only what it may write itself. */
    if (r >= 0 && call->who->kind == FL_ID_NODE && ret->builtin) {
        struct fl_output_place place;

        r = fl_output_place(call, req->prefix, call->who->node_id, &place, err);
        if (r == 0)
            r = fl_session_stream(call, req->group, req->prefix, call->who->node_id, err);
        ret->builtin = r > 0;
    }
    return r < 0 ? r : 0;
}

#define READ  FL_LANE_READ
#define WRITE FL_LANE_WRITE
static const struct fl_op ops[] = {
    { "CreateLogGroup", &create_group_shape, &fl_shape_empty, op_create_group, WRITE, FL_AUTH_SIGV4,
      group_made },
    { "DeleteLogGroup", &group_shape, &fl_shape_empty, op_delete_group, WRITE, FL_AUTH_SIGV4,
      group_resource },
    { "PutRetentionPolicy", &days_shape, &fl_shape_empty, op_put_retention, WRITE, FL_AUTH_SIGV4,
      group_resource },
    { "DeleteRetentionPolicy", &group_shape, &fl_shape_empty, op_delete_retention, WRITE,
      FL_AUTH_SIGV4, group_resource },
    { "CreateLogStream", &stream_shape, &fl_shape_empty, op_create_stream, WRITE, FL_AUTH_SIGV4,
      stream_made },
    { "DeleteLogStream", &stream_shape, &fl_shape_empty, op_delete_stream, WRITE, FL_AUTH_SIGV4,
      name_resource },
    { "DescribeLogGroups", &groups_in_shape, &groups_out_shape, op_groups, READ, FL_AUTH_SIGV4,
      groups_resource },
    { "DescribeLogStreams", &streams_in_shape, &streams_out_shape, op_streams, READ, FL_AUTH_SIGV4,
      streams_resource },
    { "PutLogEvents", &fl_log_put_in_shape, &fl_log_put_out_shape, fl_op_put_log_events, WRITE,
      FL_AUTH_SIGV4, stream_made },
    { "GetLogEvents", &fl_log_get_in_shape, &fl_log_get_out_shape, fl_op_get_log_events, READ,
      FL_AUTH_SIGV4, name_resource },
    { "FilterLogEvents", &fl_log_filter_in_shape, &fl_log_filter_out_shape, fl_op_filter_log_events,
      READ, FL_AUTH_SIGV4, group_resource },
};

const struct fl_op_table fl_ops_logs = { "logs", "Logs_20140328.", ops, FL_ARRAY_LEN(ops) };
