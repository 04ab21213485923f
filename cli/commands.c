/* commands.c - `fairlead command …`: commands that were sent. */
#include "cli/commands.h"
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/nodes.h"
#include "cli/term.h"
#include "common/base/clock.h"

#define ARENA_BYTES (8 << 20)
#define FILTERS_MAX 5

static const struct fl_field target_fields[] = {
    FL_FIELD(struct fl_target, key, "Key", 0),
    FL_FIELD(struct fl_target, values, "Values", 0),
};
const struct fl_shape fl_target_shape = FL_SHAPE(struct fl_target, "Target", target_fields);

#define F(member, key) FL_FIELD(struct fl_sent, member, key, 0)
static const struct fl_field sent_fields[] = {
    F(id, "CommandId"),
    F(document, "DocumentName"),
    F(version, "DocumentVersion"),
    F(comment, "Comment"),
    F(status, "Status"),
    F(details, "StatusDetails"),
    F(requested, "RequestedDateTime"),
    F(expires, "ExpiresAfter"),
    F(n_targets, "TargetCount"),
    F(n_completed, "CompletedCount"),
    F(n_errors, "ErrorCount"),
    F(n_lost, "DeliveryTimedOutCount"),
    F(concurrency, "MaxConcurrency"),
    F(max_errors, "MaxErrors"),
    F(nodes, "InstanceIds"),
};
#undef F
const struct fl_shape fl_sent_shape = FL_SHAPE(struct fl_sent, "Command", sent_fields);

#define C(title, member) FL_COLUMN(title, struct fl_sent, member)
static const struct fl_column sent_columns[] = {
    C("COMMAND", id),
    C("SENT", requested),
    C("STATUS", details),
    C("NODES", n_targets),
    C("DONE", n_completed),
    C("FAILED", n_errors),
    FL_COLUMN_CUT("DOCUMENT", struct fl_sent, document),
    FL_COLUMN_CUT("COMMENT", struct fl_sent, comment),
};
static const struct fl_column one_columns[] = {
    C("Command", id),
    C("Document", document),
    C("Version", version),
    C("Comment", comment),
    C("Sent", requested),
    C("Ends at the latest", expires),
    C("Status", details),
    C("Nodes", n_targets),
    C("Finished", n_completed),
    C("Failed", n_errors),
    C("Not delivered", n_lost),
    C("At once", concurrency),
    C("Errors allowed", max_errors),
};
#undef C

const struct fl_list fl_sent_list = {
    .operation = "ListCommands",
    .key = "Commands",
    .shape = &fl_sent_shape,
    .columns = sent_columns,
    .n_columns = FL_ARRAY_LEN(sent_columns),
    .page = 50,
};

static const struct fl_field step_fields[] = {
    FL_FIELD(struct fl_step, name, "Name", 0),
    FL_FIELD(struct fl_step, status, "Status", 0),
    FL_FIELD(struct fl_step, output, "Output", 0),
    FL_FIELD(struct fl_step, code, "ResponseCode", 0),
};
static const struct fl_shape step_shape = FL_SHAPE(struct fl_step, "CommandPlugin", step_fields);

static const struct fl_field invocation_fields[] = {
    FL_FIELD(struct fl_invocation, node, "InstanceId", 0),
    FL_FIELD(struct fl_invocation, name, "InstanceName", 0),
    FL_FIELD(struct fl_invocation, status, "Status", 0),
    FL_FIELD(struct fl_invocation, details, "StatusDetails", 0),
    FL_FIELD(struct fl_invocation, requested, "RequestedDateTime", 0),
    FL_FIELD_LIST(struct fl_invocation, steps, n_steps, "CommandPlugins", 0, &step_shape),
};
static const struct fl_shape invocation_shape =
    FL_SHAPE(struct fl_invocation, "CommandInvocation", invocation_fields);

#define C(title, member) FL_COLUMN(title, struct fl_invocation, member)
static const struct fl_column invocation_columns[] = {
    C("NODE", node),
    FL_COLUMN_CUT("NAME", struct fl_invocation, name),
    C("STATUS", details),
};
#undef C

const struct fl_list fl_invocation_list = {
    .operation = "ListCommandInvocations",
    .key = "CommandInvocations",
    .shape = &invocation_shape,
    .columns = invocation_columns,
    .n_columns = FL_ARRAY_LEN(invocation_columns),
    .page = 50,
};

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_sent_filter, key, "key", 0),
    FL_FIELD(struct fl_sent_filter, value, "value", 0),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct fl_sent_filter, "CommandFilter", filter_fields);
static const struct fl_field query_fields[] = {
    FL_FIELD(struct fl_sent_query, command, "CommandId", 0),
    FL_FIELD(struct fl_sent_query, node, "InstanceId", 0),
    FL_FIELD(struct fl_sent_query, steps, "Details", FL_OMIT_ZERO),
    FL_FIELD_LIST(struct fl_sent_query, filters, n_filters, "Filters", 0, &filter_shape),
};
const struct fl_shape fl_sent_query_shape = FL_SHAPE(struct fl_sent_query, "query", query_fields);

struct sent_page {
    struct fl_sent *commands;
    size_t n;
};
static const struct fl_field sent_page_fields[] = {
    FL_FIELD_LIST(struct sent_page, commands, n, "Commands", 0, &fl_sent_shape),
};
static const struct fl_shape sent_page_shape =
    FL_SHAPE(struct sent_page, "ListCommands", sent_page_fields);
static const struct fl_op op_get = { "ListCommands", &fl_sent_query_shape, &sent_page_shape,
                                     false };

struct cancel_in {
    const char *command;
    struct fl_strs nodes;
};
static const struct fl_field cancel_fields[] = {
    FL_FIELD(struct cancel_in, command, "CommandId", 0),
    FL_FIELD(struct cancel_in, nodes, "InstanceIds", 0),
};
static const struct fl_shape cancel_shape =
    FL_SHAPE(struct cancel_in, "CancelCommand", cancel_fields);
static const struct fl_op op_cancel = { "CancelCommand", &cancel_shape, NULL, false };

bool fl_status_is_final(const char *status)
{
    static const char *const open[] = { "Pending", "InProgress", "Delayed", "Cancelling" };

    for (size_t i = 0; status && i < FL_ARRAY_LEN(open); i++)
        if (strcmp(open[i], status) == 0)
            return false;
    return status != NULL;
}

int fl_sent_get(struct fl_cli *cli, const char *id, struct fl_arena *arena, struct fl_sent *ret,
                struct fl_err *err)
{
    const struct fl_sent_query q = { .command = id };
    struct sent_page page = { 0 };
    int r = fl_api_call(cli, &op_get, &q, arena, &page, err);

    if (r == 0 && (page.n == 0 || !page.commands[0].status))
        r = fl_err_set(err, -ENOENT, NULL, "there is no command %s", id);
    if (r == 0)
        *ret = page.commands[0];
    return r;
}

int fl_sent_cancel(struct fl_cli *cli, const char *id, const struct fl_strs *nodes,
                   struct fl_err *err)
{
    struct cancel_in in = { .command = id };

    if (nodes)
        in.nodes = *nodes;
    return fl_api_call(cli, &op_cancel, &in, NULL, NULL, err);
}

/* ---- command list ---- */

struct list_options {
    const char *status, *document, *node;
    struct fl_seconds since;
    struct fl_number limit;
};
static const struct fl_opt list_options[] = {
#define O(...) FL_OPT(struct list_options, __VA_ARGS__)
    O(status, 0, "status", "STATUS", "those with a status, such as Failed or InProgress"),
    O(document, 0, "document", "NAME", "those that ran a document", FL_COMPLETE_DOCUMENT),
    O(node, 0, "node", "NODE", "those sent to a node", FL_COMPLETE_NODE),
    O(since, 0, "since", "TIME", "those sent within the last TIME: 90, 90s, 5m, 2h, 7d"),
    O(limit, 'n', "limit", "N", "the newest N; 20 without, 0 for all"),
#undef O
};

static int run_list(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(4096);
    const struct list_options *o = options;
    struct fl_sent_filter filters[FILTERS_MAX];
    struct fl_sent_query q = { .filters = filters };
    struct fl_strs ids = { 0 };
    char since[FL_ISO_BYTES];
    struct fl_err err = { 0 };
    struct fl_list list = fl_sent_list;

    (void)args;
    list.limit = o->limit.set ? (size_t)o->limit.v : 20;
    if (o->node) {
        if (fl_nodes_find(cli, (char *const *)&o->node, 1, &arena, &ids, &err) < 0)
            return fl_cli_fail(&err);
        q.node = ids.v[0];
    }
    if (o->status)
        filters[q.n_filters++] = (struct fl_sent_filter){ "Status", o->status };
    if (o->document)
        filters[q.n_filters++] = (struct fl_sent_filter){ "DocumentName", o->document };
    if (o->since.set) {
        fl_time_iso_seconds(fl_now_ms() - 1000 * o->since.v, since);
        filters[q.n_filters++] = (struct fl_sent_filter){ "InvokedAfter", since };
    }
    if (fl_json_encode(&fl_sent_query_shape, &q, &body) < 0)
        return fl_cli_fail(&(struct fl_err){ .text = "the filters are too long" });
    return fl_list_print(cli, &list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_command_list = {
    .name = "command list",
    .args = "",
    .summary = "List commands, the newest first",
    FL_OPTIONS(struct list_options, list_options),
    .run = run_list,
};

/* ---- command show, watch, output, cancel ---- */

static int run_show(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct fl_sent_query q = { .command = args->v[0] };
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(4096);
    struct fl_err err = { 0 };
    struct fl_sent sent;

    (void)options;
    if (fl_json_encode(&fl_sent_query_shape, &q, &body) < 0 ||
        fl_sent_get(cli, args->v[0], &arena, &sent, &err) < 0)
        return fl_cli_fail(&err);
    if (cli->json)
        return fl_list_print(cli, &fl_sent_list, body.data, NULL, NULL);
    if (fl_table_print_one(cli, one_columns, FL_ARRAY_LEN(one_columns), &sent) < 0)
        return FL_EXIT_SERVICE;
    putchar('\n');
    return fl_list_print(cli, &fl_invocation_list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_command_show = {
    .name = "command show",
    .args = "COMMAND-ID",
    .summary = "Tell about a command and its nodes",
    .min_args = 1,
    .max_args = 1,
    .run = run_show,
};

static int follow(struct fl_cli *cli, struct fl_follow *f)
{
    struct fl_err err = { 0 };
    struct fl_signal *on_int = fl_follow_signals(cli, f, &err);
    int status = on_int ? fl_follow(cli, f, &err) : -ENOMEM;

    fl_signal_free(on_int);
    return status < 0 ? fl_cli_fail(&err) : status;
}

struct watch_options {
    bool yes, quiet;
};
static const struct fl_opt watch_options[] = {
    FL_OPT(struct watch_options, yes, 'y', "yes", NULL, "Ctrl-C cancels without a question"),
    FL_OPT(struct watch_options, quiet, 'q', "quiet", NULL,
           "outputs alone: no headings, no progress"),
};

static int run_watch(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct watch_options *o = options;
    struct fl_follow f = { .id = args->v[0], .yes = o->yes, .quiet = o->quiet };

    return follow(cli, &f);
}

const struct fl_command fl_cmd_command_watch = {
    .name = "command watch",
    .args = "COMMAND-ID",
    .summary = "Wait for a command and print outputs as nodes finish",
    .text = "What \"fairlead run\" does once it has sent the command; the exit status is the same.",
    FL_OPTIONS(struct watch_options, watch_options),
    .min_args = 1,
    .max_args = 1,
    .run = run_watch,
};

static int run_output(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct watch_options *o = options;
    struct fl_follow f = { .id = args->v[0], .all = true, .quiet = o->quiet };
    struct fl_err err = { 0 };
    struct fl_strs ids = { 0 };

    if (args->n > 1) {
        if (fl_nodes_find(cli, args->v + 1, 1, &arena, &ids, &err) < 0)
            return fl_cli_fail(&err);
        f.only = ids.v[0];
    }
    return follow(cli, &f);
}

static const struct fl_opt output_options[] = {
    FL_OPT(struct watch_options, quiet, 'q', "quiet", NULL, "outputs alone, without headings"),
};

const struct fl_command fl_cmd_command_output = {
    .name = "command output",
    .args = "COMMAND-ID [NODE]",
    .summary = "Print what a command has put out so far, on all nodes or one",
    FL_OPTIONS(struct watch_options, output_options),
    .min_args = 1,
    .max_args = 2,
    .complete = FL_COMPLETE_NODE,
    .run = run_output,
};

static int run_cancel(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_err err = { 0 };
    struct fl_strs ids = { 0 };
    int r = 0;

    (void)options;
    if (args->n > 1)
        r = fl_nodes_find(cli, args->v + 1, args->n - 1, &arena, &ids, &err);
    if (r == 0)
        r = fl_sent_cancel(cli, args->v[0], &ids, &err);
    return r < 0 ? fl_cli_fail(&err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_command_cancel = {
    .name = "command cancel",
    .args = "COMMAND-ID [NODE...]",
    .summary = "Ask for a command to be cancelled, on all nodes or some",
    .text = "Nodes that have not got the command never get it; where it runs, it is stopped. "
            "\"fairlead command watch\" tells when that is done.",
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .complete = FL_COMPLETE_NODE,
    .run = run_cancel,
};
