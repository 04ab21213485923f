/* commands_send.c - SendCommand and CancelCommand.
 *
 * The order of checks, error names and defaults: protocol 6 §3.3, §3.5. What happens afterwards is
 * the engine's (server/command/engine.h).
 */
#include "server/api/commands.h"
#include "common/base/rand.h"
#include "common/codec/json_load.h"
#include "common/wire/control.h"
#include "server/api/documents.h"
#include "server/api/nodes.h"
#include "server/command/engine.h"
#include "server/plane.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_TIMEOUT_S      3600
#define DEFAULT_EXEC_TIMEOUT_S 3600
#define MAX_EXEC_TIMEOUT_S     172800
#define JOB_MAX_BYTES          (256 * 1024) /* 64 KiB of content and parameters, escaped */
#define MAX_CHECKED_NODES      25000        /* a policy is asked about each node of the targets */

/* ---- what the policy is asked about: the document and every node ---- */
struct listing {
    struct fl_call *call;
    struct fl_resources *res;
    size_t n;
};

static int list_node(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct listing *l = arg;

    if (l->n++ == MAX_CHECKED_NODES)
        return fl_err_set(err, -EINVAL, "ValidationException", "Targets: more than %d nodes match",
                          MAX_CHECKED_NODES);
    return fl_node_resource(l->call, fl_sql_text(row, FL_NODE_ID), l->res, err);
}

int fl_op_send_command_resources(struct fl_call *call, const void *in,
                                 struct fl_resources *ret_resources, struct fl_err *err)
{
    const struct fl_send_in *req = in;
    struct listing l = { .call = call, .res = ret_resources };
    int r = fl_document_resource(call, req->document_name, ret_resources, err);

    for (size_t i = 0; i < req->instance_ids.n && r == 0; i++)
        r = fl_node_resource(call, req->instance_ids.v[i], ret_resources, err);
    if (r == 0 && req->n_targets > 0)
        r = fl_targets_resolve(call, req->targets, req->n_targets, NULL, list_node, &l, err);
    return r;
}

/* ---- the checks ---- */
static int check_targets(const struct fl_send_in *req, struct fl_err *err)
{
    if ((req->instance_ids.n > 0) == (req->n_targets > 0))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Exactly one of InstanceIds and Targets must be given.");
    return req->n_targets > 0 ? fl_targets_check(req->targets, req->n_targets, err) : 0;
}

static int find_document(struct fl_call *call, const struct fl_send_in *req,
                         struct fl_document *doc, struct fl_err *err)
{
    int r = fl_document_find(call, req->document_name, req->document_version, doc, err);

    if (r < 0)
        return r;
    if (strcmp(doc->type, "Command") != 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument",
                          "Document %s is of type %s, not Command.", doc->name, doc->type);
    if (req->document_hash &&
        (!req->document_hash_type || strcmp(req->document_hash_type, "Sha256") == 0) &&
        strcasecmp(req->document_hash, doc->hash) != 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument",
                          "The hash of document %s is not the one given.", doc->name);
    if (req->document_hash_type && strcmp(req->document_hash_type, "Sha1") == 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument",
                          "Document hashes of type Sha1 are not kept; use Sha256.");
    return 0;
}

static int check_distinct(const struct fl_strs *ids, struct fl_err *err)
{
    for (size_t i = 0; i < ids->n; i++) /* at most 50 */
        for (size_t j = 0; j < i; j++)
            if (strcmp(ids->v[i], ids->v[j]) == 0)
                return fl_err_set(err, -EINVAL, "DuplicateInstanceId",
                                  "Instance %s is named twice.", ids->v[i]);
    return 0;
}

/* All ids must be registered; then all platforms must fit. */
static int check_nodes(struct fl_call *call, const struct fl_strs *ids,
                       const struct fl_document *doc, struct fl_err *err)
{
    fl_autobuf struct fl_buf unknown = FL_BUF(4096);
    const char *unfit = NULL;

    for (size_t i = 0; i < ids->n; i++) {
        fl_autocursor struct fl_cursor *c = NULL;
        int r = fl_sql_open(call->tx, FL_SQL_node_info_by_id, &c, err, FL_T(call->account),
                            FL_T(call->region), FL_T(ids->v[i]));

        if (r == 0)
            r = fl_sql_next(c, err);
        if (r == 0)
            r = fl_buf_printf(&unknown, "%s%s", unknown.len ? ", " : "", ids->v[i]);
        else if (r > 0 && !fl_document_runs_on(doc, fl_sql_text(c, FL_NODE_PLATFORM_TYPE)))
            unfit = ids->v[i];
        if (r < 0)
            return r;
    }
    if (unknown.len > 0)
        return fl_err_set(err, -EINVAL, "InvalidInstanceId",
                          "Instances [[%s]] not in a valid state for account %s", unknown.data,
                          call->account);
    if (unfit)
        return fl_err_set(err, -EINVAL, "UnsupportedPlatformType",
                          "Document %s does not run on the platform of %s.", doc->name, unfit);
    return 0;
}

/* Outputs may go to any store that nodes are told of; the operator says so (conf.h). */
static int check_output(struct fl_call *call, const char *bucket, struct fl_err *err)
{
    struct fl_err why = { 0 };

    if (!bucket || !*bucket || call->plane->conf.output_buckets_elsewhere ||
        fl_sql_scalar(call->tx, FL_SQL_bucket_exists, 0, &why, FL_T(call->account), FL_T(bucket)))
        return 0;
    if (why.code < 0)
        return fl_err_set(err, why.code, NULL, "%s", why.text);
    return fl_err_set(err, -EINVAL, "InvalidOutputFolder", "The S3 bucket %s does not exist.",
                      bucket);
}

static int check_notification(const struct fl_send_in *req, struct fl_err *err)
{
    const struct fl_notification *n = req->notification;
    const char *role = req->service_role;

    if (n && (n->events.n > 0 || n->type) && !(n->arn && *n->arn))
        return fl_err_set(err, -EINVAL, "InvalidNotificationConfig",
                          "NotificationConfig names events but no NotificationArn.");
    if (role && *role && (strncmp(role, "arn:", 4) != 0 || !strstr(role, ":role/")))
        return fl_err_set(err, -EINVAL, "InvalidRole", "ServiceRoleArn is not the ARN of a role.");
    return 0;
}

/* ---- the job that nodes get ---- */

static int add_step(struct fl_buf *out, const char *name, const char *action)
{
    struct fl_doc_step_name step = { .name = (char *)name, .action = (char *)action };
    int r = fl_buf_puts(out, out->len > 1 ? "," : "");

    return r < 0 ? r : fl_json_encode(&fl_doc_step_name_shape, &step, out);
}

/* The document as one compact JSON text, and the names its results will have, in order. */
static int read_content(struct fl_call *call, const struct fl_document *doc, char **ret_content,
                        char **ret_steps, struct fl_err *err)
{
    json_t *json = fl_json_load_text(doc->json, 0, NULL);
    fl_autofree char *compact = json ? json_dumps(json, JSON_COMPACT) : NULL;
    fl_autobuf struct fl_buf steps = FL_BUF(JOB_MAX_BYTES);
    const char *name;
    json_t *value;
    size_t i;
    int r;

    r = fl_buf_puts(&steps, "[");
    json_array_foreach(json_object_get(json, "mainSteps"), i, value)
    {
        const char *step = json_string_value(json_object_get(value, "name"));
        const char *action = json_string_value(json_object_get(value, "action"));

        if (r == 0 && step)
            r = add_step(&steps, step, action ? action : "");
    }
    json_object_foreach(json_object_get(json, "runtimeConfig"), name, value)
    {
        if (r == 0)
            r = add_step(&steps, name, name);
    }
    json_decref(json);
    if (!compact)
        return fl_err_set(err, -EINVAL, "InvalidDocument", "Document %s is not JSON.", doc->name);
    if (r == 0)
        r = fl_buf_puts(&steps, "]");
    if (r < 0)
        return fl_err_set(err, r, "MaxDocumentSizeExceeded", "Document %s is too large.",
                          doc->name);
    *ret_content = fl_arena_strdup(call->arena, compact);
    *ret_steps = fl_arena_strdup(call->arena, steps.data);
    return *ret_content && *ret_steps ? 0 : fl_err_nomem(err);
}

static int64_t execution_timeout_s(const struct fl_document *doc, const struct fl_listmap *given)
{
    const char *text = fl_document_string(doc, given, "executionTimeout");
    char *end;
    long long v;

    if (!text || !*text)
        return DEFAULT_EXEC_TIMEOUT_S;
    v = strtoll(text, &end, 10);
    if (*end || v <= 0) /* also a reference that only the node can resolve */
        return DEFAULT_EXEC_TIMEOUT_S;
    return FL_MIN(v, MAX_EXEC_TIMEOUT_S);
}

/* ---- the rows ---- */

/* One member of the reply as JSON text, for its column. */
static int column(struct fl_call *call, const struct fl_shape *shape, const void *value,
                  char **ret_text, struct fl_err *err)
{
    fl_autobuf struct fl_buf out = FL_BUF(JOB_MAX_BYTES);
    int r = 0;

    if (value)
        r = fl_json_encode(shape, value, &out);
    if (r < 0)
        return fl_err_set(err, r, NULL, "command does not fit");
    *ret_text = value ? fl_arena_strdup(call->arena, out.data) : NULL;
    return value && !*ret_text ? fl_err_nomem(err) : 0;
}

/* Lists and maps are columns too: each alone in a structure, its JSON cut out of the braces. */
struct columns {
    struct fl_raw parameters, instance_ids, targets, platforms;
};
static const struct fl_field columns_fields[] = {
    FL_FIELD(struct columns, parameters, "Parameters", 0),
    FL_FIELD(struct columns, instance_ids, "InstanceIds", 0),
    FL_FIELD(struct columns, targets, "Targets", 0),
    FL_FIELD(struct columns, platforms, "PlatformTypes", 0),
};
static const struct fl_shape columns_shape = FL_SHAPE(struct columns, "Columns", columns_fields);

struct column_source {
    struct fl_listmap parameters;
    struct fl_strs instance_ids;
    struct fl_target *targets;
    size_t n_targets;
    struct fl_strs platforms;
};
#define T struct column_source
static const struct fl_field column_source_fields[] = {
    FL_FIELD(T, parameters, "Parameters", FL_ALWAYS),
    FL_FIELD(T, instance_ids, "InstanceIds", FL_ALWAYS),
    FL_FIELD_LIST(T, targets, n_targets, "Targets", FL_ALWAYS, &fl_target_shape),
    FL_FIELD(T, platforms, "PlatformTypes", FL_ALWAYS),
};
#undef T
static const struct fl_shape column_source_shape =
    FL_SHAPE(struct column_source, "Columns", column_source_fields);

static int list_columns(struct fl_call *call, const struct fl_send_in *req,
                        const struct fl_document *doc, struct columns *ret, struct fl_err *err)
{
    const struct column_source src = { req->parameters, req->instance_ids, req->targets,
                                       req->n_targets, doc->platform_types };
    fl_autobuf struct fl_buf text = FL_BUF(2 * JOB_MAX_BYTES);
    int r;

    r = fl_json_encode(&column_source_shape, &src, &text);
    if (r == 0)
        r = fl_json_decode(&columns_shape, text.data, text.len, 0, call->arena, ret, NULL);
    return r < 0 ? fl_err_set(err, r, NULL, "command does not fit") : 0;
}

static int insert_job(struct fl_call *call, const struct fl_command_out *cmd,
                      const struct fl_document *doc, const struct fl_listmap *given, char *content,
                      struct fl_err *err)
{
    struct fl_msg_send_content job = {
        .document_content = { content },
        .command_id = cmd->command_id,
        .document_name = cmd->document_name,
        .s3_bucket = cmd->s3_bucket,
        .s3_prefix = cmd->s3_prefix,
        .log_group = cmd->log->group,
        .log_enabled = (char *)(cmd->log->enabled ? "true" : "false"),
    };
    fl_autobuf struct fl_buf text = FL_BUF(JOB_MAX_BYTES);
    int r = fl_document_values(call, doc, given, &job.parameters.text, err);

    if (r < 0)
        return r;
    r = fl_json_encode(&fl_shape_send_content, &job, &text);
    if (r < 0)
        return fl_err_set(err, r, "MaxDocumentSizeExceeded", "Document %s is too large.",
                          cmd->document_name);
    r = fl_sql_exec(call->tx, FL_SQL_command_job_insert, err, FL_T(cmd->command_id),
                    FL_T(text.data));
    return r < 0 ? r : 0;
}

static int insert_command(struct fl_call *call, const struct fl_send_in *req,
                          const struct fl_document *doc, const struct fl_command_out *cmd,
                          const char *steps, struct fl_err *err)
{
    char *notification = NULL, *log = NULL, *alarms = NULL;
    struct columns c = { 0 };
    int r = list_columns(call, req, doc, &c, err);

    if (r == 0)
        r = column(call, &fl_notification_out_shape, cmd->notification, &notification, err);
    if (r == 0)
        r = column(call, &fl_log_config_out_shape, cmd->log, &log, err);
    if (r == 0)
        r = column(call, &fl_alarms_shape, cmd->alarms, &alarms, err);
    if (r < 0)
        return r;
    r = fl_sql_exec(
        call->tx, FL_SQL_command_insert, err, FL_T(cmd->command_id), FL_T(call->account),
        FL_T(call->region), FL_N(cmd->requested.ms), FL_N(cmd->expires_after.ms),
        FL_N(cmd->timeout_s), FL_T(cmd->document_name), FL_T(cmd->document_version),
        FL_T(cmd->comment), FL_T(c.parameters.text), FL_T(c.instance_ids.text),
        FL_T(c.targets.text), FL_T(c.platforms.text), FL_T(steps), FL_T(cmd->max_concurrency),
        FL_T(cmd->max_errors), FL_T(cmd->s3_region ? cmd->s3_region : ""), FL_T(cmd->s3_bucket),
        FL_T(cmd->s3_prefix), FL_T(cmd->service_role), FL_T(notification), FL_T(log), FL_T(alarms));
    return r < 0 ? r : 0;
}

/* ---- the operations ---- */
static char *or_else(char *given, const char *dflt)
{
    return given ? given : (char *)dflt;
}

/* The reply: what was asked for, with every default. */
static int make_command(struct fl_call *call, const struct fl_send_in *req,
                        const struct fl_document *doc, struct fl_command_out **ret,
                        struct fl_err *err)
{
    struct fl_command_out *cmd = fl_arena_alloc(call->arena, sizeof(*cmd));
    int64_t timeout_s = req->timeout_s.set ? req->timeout_s.v : DEFAULT_TIMEOUT_S;
    char id[FL_UUID_BYTES];

    if (!cmd)
        return fl_err_nomem(err);
    fl_uuid4(id);
    *cmd = (struct fl_command_out){
        .command_id = fl_arena_strdup(call->arena, id),
        .document_name = (char *)doc->name,
        .document_version = or_else(req->document_version, "$DEFAULT"),
        .comment = or_else(req->comment, ""),
        .requested = { call->now_ms },
        .expires_after = { call->now_ms +
                           1000 * (timeout_s + execution_timeout_s(doc, &req->parameters)) },
        .parameters = req->parameters,
        .instance_ids = req->instance_ids,
        .targets = req->targets,
        .n_targets = req->n_targets,
        .s3_region = req->s3_region,
        .s3_bucket = or_else(req->s3_bucket, ""),
        .s3_prefix = or_else(req->s3_prefix, ""),
        .max_concurrency = or_else(req->max_concurrency, "50"),
        .max_errors = or_else(req->max_errors, "0"),
        .target_count = (int64_t)req->instance_ids.n,
        .service_role = or_else(req->service_role, ""),
        .notification = req->notification,
        .log = req->log,
        .timeout_s = timeout_s,
        .alarms = req->alarms,
    };
    if (!cmd->command_id)
        return fl_err_nomem(err);
    *ret = cmd;
    return fl_command_complete(call, cmd, FL_CMD_PENDING, err);
}

static int check_size(const struct fl_document *doc, const struct fl_listmap *given,
                      struct fl_err *err)
{
    size_t n = strlen(doc->content);

    for (size_t i = 0; i < given->n; i++) {
        n += strlen(given->v[i].key);
        for (size_t j = 0; j < given->v[i].values.n; j++)
            n += strlen(given->v[i].values.v[j]);
    }
    if (n > FL_DOCUMENT_MAX_BYTES)
        return fl_err_set(err, -EINVAL, "MaxDocumentSizeExceeded",
                          "Document and parameters are %zu bytes, more than %d.", n,
                          FL_DOCUMENT_MAX_BYTES);
    return 0;
}

int fl_op_send_command(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_send_in *req = in;
    struct fl_send_out *res = out;
    struct fl_engine engine = { .call = call };
    struct fl_engine_start start;
    struct fl_document doc = { 0 };
    struct fl_command_out *cmd = NULL;
    char *content = NULL, *steps = NULL;
    int r = check_targets(req, err);

    if (r == 0)
        r = find_document(call, req, &doc, err);
    if (r == 0)
        r = fl_document_check_parameters(&doc, &req->parameters, err);
    if (r == 0)
        r = check_size(&doc, &req->parameters, err);
    if (r == 0)
        r = check_distinct(&req->instance_ids, err);
    if (r == 0)
        r = check_nodes(call, &req->instance_ids, &doc, err);
    if (r == 0)
        r = check_output(call, req->s3_bucket, err);
    if (r == 0)
        r = check_notification(req, err);
    if (r == 0)
        r = read_content(call, &doc, &content, &steps, err);
    if (r == 0)
        r = make_command(call, req, &doc, &cmd, err);
    if (r == 0)
        r = insert_command(call, req, &doc, cmd, steps, err);
    if (r == 0)
        r = insert_job(call, cmd, &doc, &req->parameters, content, err);
    if (r < 0)
        return r;

    start = (struct fl_engine_start){ .command_id = cmd->command_id,
                                      .expires_ms = cmd->expires_after.ms,
                                      .max_concurrency = cmd->max_concurrency,
                                      .max_errors = cmd->max_errors,
                                      .node_ids = req->instance_ids };
    r = fl_engine_start(&engine, &start, err);
    if (r < 0)
        return r;
    fl_engine_count(call->plane, &engine.effects);
    res->command = cmd;
    return 0;
}

int fl_op_cancel_command(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(((const struct fl_cancel_in *)in)->command_id),
                                       FL_T(call->account), FL_T(call->region) };
    const struct fl_cancel_in *req = in;
    struct fl_engine engine = { .call = call };
    int r;

    if (fl_sql_scalar_v(call->tx, FL_SQL_command_belongs, args, 3, 0, err) != 1)
        return fl_err_set(err, -EINVAL, "InvalidCommandId", "Command %s does not exist.",
                          req->command_id);
    r = check_distinct(&req->instance_ids, err);
    for (size_t i = 0; i < req->instance_ids.n && r == 0; i++) {
        struct fl_inv inv;

        r = fl_inv_load(call, req->command_id, req->instance_ids.v[i], &inv, err);
        if (r == 0)
            return fl_err_set(err, -EINVAL, "InvalidInstanceId", "Command %s was not sent to %s.",
                              req->command_id, req->instance_ids.v[i]);
        r = FL_MIN(r, 0);
    }
    if (r == 0)
        r = fl_engine_cancel(&engine, req->command_id, &req->instance_ids, err);
    if (r == 0)
        fl_engine_count(call->plane, &engine.effects);
    return r;
}
