/* commands_read.c - ListCommands, ListCommandInvocations, GetCommandInvocation.
 *
 * Source: protocol 6 §3.4, §3.5.
 */
#include "server/api/commands.h"
#include "common/base/clock.h"
#include "server/api/list.h"
#include "server/command/record.h"
#include "server/plane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_DEFAULT  50
#define ELAPSED_BYTES 48

/* ---- filters ---- */
struct wanted {
    int64_t after_ms, before_ms; /* requested between them, ends not included */
    uint32_t mask;               /* 1 << state */
    const char *document_name;   /* "" any */
};

struct filter_rules {
    uint32_t (*mask)(const char *status);
    uint32_t open, complete; /* what ExecutionStage means; 0: the key is refused */
};

static uint32_t cmd_mask(bool terminal)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < FL_CMD__N; i++)
        if (fl_cmd_info[i].terminal == terminal)
            mask |= 1u << i;
    return mask;
}

static int bad_value(const struct fl_command_filter *f, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "ValidationException",
                      "The value \"%.128s\" is not valid for the filter key %s.", f->value, f->key);
}

static int take_filter(const struct fl_command_filter *f, const struct filter_rules *rules,
                       struct wanted *w, struct fl_err *err)
{
    int64_t ms;

    if (strcmp(f->key, "DocumentName") == 0) {
        w->document_name = f->value;
    } else if (strcmp(f->key, "Status") == 0) {
        if ((fl_cmd_mask(f->value) | fl_inv_mask(f->value)) == 0)
            return bad_value(f, err);
        w->mask &= rules->mask(f->value);
    } else if (strcmp(f->key, "ExecutionStage") == 0) {
        if (rules->open == 0)
            return fl_err_set(err, -EINVAL, "InvalidFilterKey",
                              "The filter key ExecutionStage is not valid for invocations.");
        if (strcmp(f->value, "Executing") == 0)
            w->mask &= rules->open;
        else if (strcmp(f->value, "Complete") == 0)
            w->mask &= rules->complete;
        else
            return bad_value(f, err);
    } else if (fl_time_parse_iso(f->value, &ms) < 0) {
        return bad_value(f, err);
    } else if (strcmp(f->key, "InvokedAfter") == 0) {
        w->after_ms = FL_MAX(w->after_ms, ms);
    } else {
        w->before_ms = FL_MIN(w->before_ms, ms);
    }
    return 0;
}

static int take_filters(const struct fl_list_commands_in *req, const struct filter_rules *rules,
                        struct wanted *w, struct fl_err *err)
{
    *w = (struct wanted){
        .after_ms = -1, .before_ms = INT64_MAX, .mask = UINT32_MAX, .document_name = ""
    };
    for (size_t i = 0; i < req->n_filters; i++) {
        int r = take_filter(&req->filters[i], rules, w, err);

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- pages ---- */
struct place {
    int64_t ms; /* a page holds what stands before this row, newest first */
    char command_id[64], node_id[64];
};

static int read_place(struct fl_call *call, const char *what, const char *token,
                      struct place *ret_place, struct fl_err *err)
{
    struct place p = { .ms = INT64_MAX };
    char *after;
    int r = fl_page_token_decode(call, what, token, &after, err);

    if (r < 0)
        return r;
    if (after && sscanf(after, "%" SCNd64 " %63s %63s", &p.ms, p.command_id, p.node_id) < 2)
        return fl_err_set(err, -EINVAL, "InvalidNextToken", "The specified token is not valid.");
    *ret_place = p;
    return 0;
}

static int write_place(struct fl_call *call, const char *what, int64_t ms, const char *command_id,
                       const char *node_id, char **ret_token, struct fl_err *err)
{
    const char *text = fl_arena_printf(call->arena, "%" PRId64 " %s %s", ms, command_id, node_id);

    *ret_token = text ? fl_page_token_encode(call, what, text) : NULL;
    return *ret_token ? 0 : fl_err_nomem(err);
}

/* ---- rows ---- */
struct extra { /* columns that are no members */
    int64_t state;
    struct fl_doc_step_name *steps;
    size_t n_steps;
    char *s3_region, *s3_bucket, *s3_prefix;
};
#define T struct extra
static const struct fl_field extra_fields[] = {
    FL_FIELD(T, state, "state", 0),
    FL_FIELD_LIST(T, steps, n_steps, "steps", 0, &fl_doc_step_name_shape),
    FL_FIELD(T, s3_region, "s3_region", 0),
    FL_FIELD(T, s3_bucket, "s3_bucket", 0),
    FL_FIELD(T, s3_prefix, "s3_prefix", 0),
};
#undef T
static const struct fl_shape extra_shape = FL_SHAPE(struct extra, "Row", extra_fields);

static int read_command(struct fl_call *call, struct fl_cursor *c, struct fl_command_out *out,
                        int64_t *ret_state, struct fl_err *err)
{
    struct extra extra = { 0 };
    int r = fl_sql_row(c, &fl_command_out_shape, call->arena, out, err);

    if (r == 0)
        r = fl_sql_row(c, &extra_shape, call->arena, &extra, err);
    if (r < 0)
        return r;
    *ret_state = extra.state;
    return fl_command_complete(call, out, extra.state, err);
}

/* ---- ListCommands ---- */
static int get_one_command(struct fl_call *call, const struct fl_list_commands_in *req,
                           const struct wanted *w, struct fl_list_commands_out *res,
                           struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_command_out *cmd = fl_arena_alloc(call->arena, sizeof(*cmd));
    struct fl_inv inv;
    int64_t state;
    int r;

    if (!cmd)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_command_get, &c, err, FL_T(req->command_id),
                    FL_T(call->account), FL_T(call->region));
    if (r == 0)
        r = fl_sql_next(c, err);
    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvalidCommandId", "Command %s does not exist.",
                          req->command_id);
    if (r > 0)
        r = read_command(call, c, cmd, &state, err);
    if (r < 0)
        return r;
    if (req->instance_id) {
        r = fl_inv_load(call, req->command_id, req->instance_id, &inv, err);
        if (r <= 0)
            return r;
    }
    if ((w->mask & (1u << state)) && cmd->requested.ms > w->after_ms &&
        cmd->requested.ms < w->before_ms &&
        (!*w->document_name || strcmp(w->document_name, cmd->document_name) == 0)) {
        res->commands = cmd;
        res->n_commands = 1;
    }
    return 0;
}

int fl_op_list_commands(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    static const char what[] = "ListCommands";
    const struct filter_rules rules = { fl_cmd_mask, cmd_mask(false), cmd_mask(true) };
    const struct fl_list_commands_in *req = in;
    struct fl_list_commands_out *res = out;
    int64_t max = req->max_results.set ? req->max_results.v : PAGE_DEFAULT;
    fl_autocursor struct fl_cursor *c = NULL;
    struct wanted w;
    struct place p = { 0 };
    size_t cap = 0;
    int r = take_filters(req, &rules, &w, err);

    for (size_t i = 0; i < req->n_filters && req->instance_id && r == 0; i++)
        if (strcmp(req->filters[i].key, "Status") == 0 &&
            strcmp(req->filters[i].value, "Pending") == 0)
            r = fl_err_set(err, -EINVAL, "InvalidFilterKey",
                           "InstanceId cannot be combined with the filter Status=Pending.");
    if (r == 0)
        r = read_place(call, what, req->next_token, &p, err);
    if (r < 0)
        return r;
    if (req->command_id)
        return get_one_command(call, req, &w, res, err);

    const struct fl_sql_arg args[] = {
        FL_T(call->account),   FL_T(call->region),     FL_N(p.ms),        FL_T(p.command_id),
        FL_T(w.document_name), FL_N(w.after_ms),       FL_N(w.before_ms), FL_N(w.mask),
        FL_N(max + 1),         FL_T(req->instance_id),
    };
    r = fl_sql_open_v(call->tx,
                      req->instance_id ? FL_SQL_command_page_of_node : FL_SQL_command_page, args,
                      req->instance_id ? 10 : 9, &c, err);
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        struct fl_command_out *room =
            fl_list_room(call->arena, res->commands, res->n_commands, &cap, sizeof(*room));
        int64_t state;

        if (!room)
            return fl_err_nomem(err);
        res->commands = room;
        if ((int64_t)res->n_commands == max)
            return write_place(call, what, room[max - 1].requested.ms, room[max - 1].command_id, "",
                               &res->next_token, err);
        r = read_command(call, c, &room[res->n_commands], &state, err);
        if (r < 0)
            return r;
        res->n_commands++;
    }
    return r;
}

/* ---- steps of an invocation ---- */

/* What the node said about each step of the document, in its order; NULL where it said nothing. */
struct steps {
    struct fl_step_result **results;
    const struct extra *row;
};

/* Which step a result is of, by its key. The updater of official agents ends the step that started
 * it under the action's name, whatever the step is called (protocol 4 §5.5). */
static size_t step_of(const struct extra *row, const char *key)
{
    for (size_t i = 0; i < row->n_steps; i++)
        if (strcmp(row->steps[i].name, key) == 0)
            return i;
    for (size_t i = 0; i < row->n_steps; i++)
        if (strcmp(row->steps[i].action, key) == 0)
            return i;
    return row->n_steps;
}

static int load_steps(struct fl_call *call, const char *command_id, const char *node_id,
                      const struct extra *row, struct steps *ret, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r;

    ret->row = row;
    ret->results = fl_arena_calloc(call->arena, row->n_steps, sizeof(struct fl_step_result *));
    if (!ret->results)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_step_list, &c, err, FL_T(command_id), FL_T(node_id));
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        struct fl_step_result *s = fl_arena_alloc(call->arena, sizeof(*s));
        size_t i;

        if (!s)
            return fl_err_nomem(err);
        r = fl_step_read(call->arena, c, s, err);
        if (r < 0)
            return r;
        i = step_of(row, s->step);
        if (i < row->n_steps && (!ret->results[i] || fl_step_replaces(ret->results[i], s)))
            ret->results[i] = s;
    }
    return r;
}

/* A step the node has not spoken of: the first of them is what it is at. */
static enum fl_inv_state silent_state(const struct steps *steps, size_t i)
{
    enum fl_inv_state state = (enum fl_inv_state)steps->row->state;
    bool first = true;

    for (size_t j = 0; j < i; j++)
        first = first && steps->results[j];
    if (fl_inv_info[state].terminal)
        return state;
    if (state == FL_INV_PENDING || state == FL_INV_DELAYED || !first)
        return FL_INV_PENDING;
    return FL_INV_IN_PROGRESS;
}

/* What a step shows, and whether it has ended. One that was running when its invocation came to an
 * end without it, such as a node that did not come back from a reboot, has come to that end too. */
static enum fl_inv_state state_of(const struct steps *steps, size_t i, bool *ret_ended)
{
    const struct fl_step_result *s = steps->results[i];
    enum fl_inv_state state = FL_INV_PENDING;

    *ret_ended = false;
    if (s)
        state = fl_inv_state_of_step(s->status, ret_ended);
    return s && (*ret_ended || !fl_inv_info[steps->row->state].terminal) ? state
                                                                         : silent_state(steps, i);
}

static char *output_url(struct fl_call *call, const struct extra *row,
                        const struct fl_step_result *s, const char *stream)
{
    if (!s || !*s->s3_bucket)
        return fl_arena_strdup(call->arena, "");
    if (fl_sql_scalar(call->tx, FL_SQL_bucket_exists, 0, NULL, FL_T(call->account),
                      FL_T(s->s3_bucket)) > 0)
        return fl_arena_printf(call->arena, "https://%s:%u/%s/%s/%s", call->plane->conf.public_host,
                               call->plane->conf.port, s->s3_bucket, s->s3_prefix, stream);
    return fl_arena_printf(call->arena, "https://s3.%s.amazonaws.com/%s/%s/%s",
                           row->s3_region && *row->s3_region ? row->s3_region : call->region,
                           s->s3_bucket, s->s3_prefix, stream);
}

static int make_plugins(struct fl_call *call, const struct steps *steps,
                        struct fl_invocation_out *out, struct fl_err *err)
{
    const struct extra *row = steps->row;

    out->plugins = fl_arena_calloc(call->arena, row->n_steps, sizeof(*out->plugins));
    if (!out->plugins)
        return fl_err_nomem(err);
    out->n_plugins = row->n_steps;
    for (size_t i = 0; i < row->n_steps; i++) {
        const struct fl_step_result *s = steps->results[i];
        bool ended;
        enum fl_inv_state state = state_of(steps, i, &ended);

        out->plugins[i] = (struct fl_plugin_out){
            .name = row->steps[i].name,
            .status = (char *)fl_inv_info[state].status,
            .status_details = (char *)fl_inv_info[state].details,
            .response_code = ended ? s->code : -1,
            .started = { s ? s->started_ms : 0 },
            .finished = { ended ? s->finished_ms : 0 },
            .output = ended ? s->output : NULL,
            .stdout_url = output_url(call, row, ended ? s : NULL, "stdout"),
            .stderr_url = output_url(call, row, ended ? s : NULL, "stderr"),
            .s3_region = row->s3_region && *row->s3_region ? row->s3_region : NULL,
            .s3_bucket = row->s3_bucket,
            .s3_prefix = row->s3_prefix,
        };
    }
    return 0;
}

/* ---- ListCommandInvocations ---- */
static int read_invocation(struct fl_call *call, struct fl_cursor *c, bool details,
                           struct fl_invocation_out *out, struct fl_err *err)
{
    struct extra row = { 0 };
    struct steps steps;
    int r = fl_sql_row(c, &fl_invocation_out_shape, call->arena, out, err);

    if (r == 0)
        r = fl_sql_row(c, &extra_shape, call->arena, &row, err);
    if (r == 0)
        r = fl_notification_complete(call, &out->notification, err);
    if (r == 0)
        r = fl_log_config_complete(call, &out->log, err);
    if (r < 0)
        return r;
    if (row.state < 0 || row.state >= FL_INV__N)
        return fl_err_set(err, -EINVAL, NULL, "command %s: unknown state", out->command_id);
    out->status = (char *)fl_inv_info[row.state].status;
    out->status_details = (char *)fl_inv_info[row.state].details;
    if (!details && !*row.s3_bucket)
        return 0;

    r = load_steps(call, out->command_id, out->instance_id, &row, &steps, err);
    if (r == 0 && row.n_steps == 1) {
        out->stdout_url = output_url(call, &row, steps.results[0], "stdout");
        out->stderr_url = output_url(call, &row, steps.results[0], "stderr");
    }
    return r == 0 && details ? make_plugins(call, &steps, out, err) : r;
}

int fl_op_list_command_invocations(struct fl_call *call, const void *in, void *out,
                                   struct fl_err *err)
{
    static const char what[] = "ListCommandInvocations";
    const struct filter_rules rules = { fl_inv_mask, 0, 0 };
    const struct fl_list_commands_in *req = in;
    struct fl_list_invocations_out *res = out;
    int64_t max = req->max_results.set ? req->max_results.v : PAGE_DEFAULT;
    enum fl_sql sql = req->command_id    ? FL_SQL_invocation_page_of_command
                      : req->instance_id ? FL_SQL_invocation_page_of_node
                                         : FL_SQL_invocation_page;
    fl_autocursor struct fl_cursor *c = NULL;
    struct wanted w;
    struct place p = { 0 };
    size_t cap = 0;
    int r = take_filters(req, &rules, &w, err);

    if (r == 0)
        r = read_place(call, what, req->next_token, &p, err);
    if (r < 0)
        return r;

    const struct fl_sql_arg args[] = {
        FL_T(call->account),
        FL_T(call->region),
        FL_N(p.ms),
        FL_T(p.command_id),
        FL_T(p.node_id),
        FL_T(w.document_name),
        FL_N(w.after_ms),
        FL_N(w.before_ms),
        FL_N(w.mask),
        FL_N(max + 1),
        FL_T(req->command_id ? req->command_id : req->instance_id),
        FL_T(req->instance_id ? req->instance_id : ""),
    };
    r = fl_sql_open_v(call->tx, sql, args,
                      req->command_id    ? 12
                      : req->instance_id ? 11
                                         : 10,
                      &c, err);
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        struct fl_invocation_out *room =
            fl_list_room(call->arena, res->invocations, res->n_invocations, &cap, sizeof(*room));

        if (!room)
            return fl_err_nomem(err);
        res->invocations = room;
        if ((int64_t)res->n_invocations == max) {
            const struct fl_invocation_out *last = &room[max - 1];

            return write_place(call, what, last->requested.ms, last->command_id, last->instance_id,
                               &res->next_token, err);
        }
        r = read_invocation(call, c, req->details, &room[res->n_invocations], err);
        if (r < 0)
            return r;
        res->n_invocations++;
    }
    return r;
}

/* ---- GetCommandInvocation ---- */

/* "PT1H2M3.5S": what is zero is left out, but for the seconds. */
static void write_elapsed(int64_t ms, char out[ELAPSED_BYTES])
{
    int64_t h = ms / 3600000, m = ms / 60000 % 60, s = ms / 1000 % 60;
    char hours[16] = "", minutes[8] = "", fraction[8] = "";

    if (h > 0)
        snprintf(hours, sizeof(hours), "%dH", (int)FL_MIN(h, 99999999));
    if (m > 0)
        snprintf(minutes, sizeof(minutes), "%dM", (int)m);
    if (ms % 1000 > 0) {
        size_t len = (size_t)snprintf(fraction, sizeof(fraction), ".%03d", (int)(ms % 1000));

        while (fraction[len - 1] == '0')
            fraction[--len] = 0;
    }
    snprintf(out, ELAPSED_BYTES, "PT%s%s%d%sS", hours, minutes, (int)s, fraction);
}

static char *iso(struct fl_call *call, int64_t ms)
{
    char text[FL_ISO_BYTES];

    fl_time_iso(ms, false, text);
    return fl_arena_strdup(call->arena, text);
}

/* Which step is meant: its index, -1 for the invocation as a whole. */
static int choose_step(const struct fl_get_invocation_in *req, const struct extra *row,
                       long *ret_step, struct fl_err *err)
{
    *ret_step = row->n_steps == 1 ? 0 : -1;
    if (!req->plugin_name)
        return 0;
    for (size_t i = 0; i < row->n_steps; i++)
        if (strcmp(row->steps[i].name, req->plugin_name) == 0) {
            *ret_step = (long)i;
            return 0;
        }
    return fl_err_set(err, -EINVAL, "InvalidPluginName",
                      "Command %s has no step or plugin named %.128s.", req->command_id,
                      req->plugin_name);
}

static int fill_result(struct fl_call *call, const struct steps *steps, size_t i,
                       struct fl_get_invocation_out *out, struct fl_err *err)
{
    const struct fl_step_result *s = steps->results[i];
    char elapsed[ELAPSED_BYTES];
    bool ended;
    enum fl_inv_state state = state_of(steps, i, &ended);

    out->status = (char *)fl_inv_info[state].status;
    out->status_details = (char *)fl_inv_info[state].details;
    if (s->started_ms > 0)
        out->started = iso(call, s->started_ms);
    if (!ended)
        return 0;
    out->response_code = s->code;
    if (s->finished_ms > 0)
        out->finished = iso(call, s->finished_ms);
    if (s->started_ms > 0 && s->finished_ms >= s->started_ms) {
        write_elapsed(s->finished_ms - s->started_ms, elapsed);
        out->elapsed = fl_arena_strdup(call->arena, elapsed);
    }
    out->out = s->out;
    out->err = fl_step_show_stderr(call->arena, s->err);
    out->out_url = output_url(call, steps->row, s, "stdout");
    out->err_url = output_url(call, steps->row, s, "stderr");
    return out->err && out->out_url && out->err_url ? 0 : fl_err_nomem(err);
}

int fl_op_get_command_invocation(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err)
{
    const struct fl_get_invocation_in *req = in;
    struct fl_get_invocation_out *res = out;
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_invocation_out inv = { 0 };
    struct extra row = { 0 };
    struct steps steps;
    long step = -1;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_invocation_info_get, &c, err, FL_T(req->command_id),
                    FL_T(req->instance_id), FL_T(call->account), FL_T(call->region));
    if (r == 0)
        r = fl_sql_next(c, err);
    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvocationDoesNotExist",
                          "Command %s has no invocation on %s.", req->command_id, req->instance_id);
    if (r > 0)
        r = read_invocation(call, c, false, &inv, err);
    if (r == 0)
        r = fl_sql_row(c, &extra_shape, call->arena, &row, err);
    if (r == 0)
        r = choose_step(req, &row, &step, err);
    if (r == 0)
        r = load_steps(call, req->command_id, req->instance_id, &row, &steps, err);
    if (r < 0)
        return r;

    *res = (struct fl_get_invocation_out){
        .command_id = inv.command_id,
        .instance_id = inv.instance_id,
        .comment = inv.comment,
        .document_name = inv.document_name,
        .document_version = inv.document_version,
        .plugin_name = step < 0 ? NULL : row.steps[step].name,
        .response_code = -1,
        .status = inv.status,
        .status_details = inv.status_details,
        .log = inv.log,
    };
    if (step >= 0 && steps.results[step])
        return fill_result(call, &steps, (size_t)step, res, err);
    if (step >= 0 && row.n_steps > 1) {
        enum fl_inv_state state = silent_state(&steps, (size_t)step);

        res->status = (char *)fl_inv_info[state].status;
        res->status_details = (char *)fl_inv_info[state].details;
    }
    return 0;
}
