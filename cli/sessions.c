/* sessions.c - `fairlead sessions` and `fairlead session end`. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/list.h"
#include "cli/nodes.h"
#include "cli/session.h"

#define ARENA_BYTES (4 << 20)
#define FILTERS_MAX 4
#define QUERY_BYTES 65536
#define END_MAX     64

struct item {
    char *id, *node, *status, *document, *owner, *reason, *details;
    struct fl_time started, ended;
};
#define F(member, key) FL_FIELD(struct item, member, key, 0)
static const struct fl_field item_fields[] = {
    F(id, "SessionId"),          F(node, "Target"),       F(status, "Status"),
    F(document, "DocumentName"), F(owner, "Owner"),       F(reason, "Reason"),
    F(details, "Details"),       F(started, "StartDate"), F(ended, "EndDate"),
};
#undef F
static const struct fl_shape item_shape = FL_SHAPE(struct item, "Session", item_fields);

#define C(title, member)     FL_COLUMN(title, struct item, member)
#define C_CUT(title, member) FL_COLUMN_CUT(title, struct item, member)
static const struct fl_column active_columns[] = {
    C("SESSION", id),        C("NODE", node),       C("STATUS", status),
    C("STARTED", started),   C_CUT("OWNER", owner), C_CUT("DOCUMENT", document),
    C_CUT("REASON", reason),
};
static const struct fl_column history_columns[] = {
    C("SESSION", id),  C("NODE", node),       C("STATUS", status),         C("STARTED", started),
    C("ENDED", ended), C_CUT("OWNER", owner), C_CUT("DOCUMENT", document), C_CUT("REASON", reason),
};
#undef C
#undef C_CUT

static const struct fl_list active_list = {
    .operation = "DescribeSessions",
    .key = "Sessions",
    .shape = &item_shape,
    .columns = active_columns,
    .n_columns = FL_ARRAY_LEN(active_columns),
    .page = 200,
};

struct filter {
    const char *key, *value;
};
static const struct fl_field filter_fields[] = {
    FL_FIELD(struct filter, key, "key", 0),
    FL_FIELD(struct filter, value, "value", 0),
};
static const struct fl_shape filter_shape = FL_SHAPE(struct filter, "SessionFilter", filter_fields);

struct query {
    const char *state;
    struct filter *filters;
    size_t n_filters;
};
static const struct fl_field query_fields[] = {
    FL_FIELD(struct query, state, "State", 0),
    FL_FIELD_LIST(struct query, filters, n_filters, "Filters", 0, &filter_shape),
};
static const struct fl_shape query_shape = FL_SHAPE(struct query, "DescribeSessions", query_fields);

struct sessions_options {
    bool history;
    const char *node, *owner, *status;
    struct fl_number limit;
};
static const struct fl_opt sessions_options[] = {
#define O(...) FL_OPT(struct sessions_options, __VA_ARGS__)
    O(history, 0, "history", NULL, "those that have ended, newest first"),
    O(node, 0, "node", "NODE", "those with a node", FL_COMPLETE_NODE),
    O(owner, 0, "owner", "ARN", "those of a user or role"),
    O(status, 0, "status", "STATUS", "those with a status, such as Connected or Failed"),
    O(limit, 'n', "limit", "N", "the first N; with --history 20 without, 0 for all"),
#undef O
};

static int run_sessions(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(QUERY_BYTES);
    const struct sessions_options *o = options;
    struct filter filters[FILTERS_MAX];
    struct query q = { o->history ? "History" : "Active", filters, 0 };
    struct fl_list list = active_list;
    struct fl_err err = { 0 };
    struct fl_strs ids = { 0 };
    char *node = (char *)o->node;
    int r = node ? fl_nodes_find(cli, &node, 1, &arena, &ids, &err) : 0;

    (void)args;
    if (r < 0)
        return fl_cli_fail(&err);
    const struct filter wanted[] = { { "Target", node ? ids.v[0] : NULL },
                                     { "Owner", o->owner },
                                     { "Status", o->status } };
    for (size_t i = 0; i < FL_ARRAY_LEN(wanted); i++)
        if (wanted[i].value)
            filters[q.n_filters++] = wanted[i];
    if (fl_json_encode(&query_shape, &q, &body) < 0)
        return fl_cli_failed(-ENOMEM, &err);
    if (o->history) {
        list.columns = history_columns;
        list.n_columns = FL_ARRAY_LEN(history_columns);
        list.limit = 20;
    }
    if (o->limit.set)
        list.limit = (size_t)o->limit.v;
    return fl_list_print(cli, &list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_sessions = {
    .name = "sessions",
    .args = "",
    .summary = "List sessions with nodes",
    .text = "Those that are open, or with --history those that have ended.",
    FL_OPTIONS(struct sessions_options, sessions_options),
    .run = run_sessions,
};

/* ---- session end ---- */

static int run_session_end(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    int status = FL_EXIT_OK;

    (void)options;
    for (size_t i = 0; i < args->n; i++) {
        struct fl_err err = { 0 };

        if (fl_session_terminate(cli, args->v[i], &err) < 0)
            status = fl_cli_fail(&err);
    }
    return status;
}

const struct fl_command fl_cmd_session_end = {
    .name = "session end",
    .args = "SESSION...",
    .summary = "End sessions",
    .text = "What runs in them on their nodes is ended, too.",
    .min_args = 1,
    .max_args = END_MAX,
    .complete = FL_COMPLETE_SESSION,
    .run = run_session_end,
};
