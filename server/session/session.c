/* session.c - see session.h. */
#include "server/session/session.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/plane.h"

#include <errno.h>
#include <string.h>

#define DETAILS_MAX       1024
#define NODE_SESSIONS_MAX 200 /* ended in one transaction */

#define F(member, key) FL_FIELD(struct fl_session, member, key, 0)
static const struct fl_field session_fields[] = {
    F(id, "SessionId"),
    F(node_id, "NodeId"),
    F(status, "Status"),
    F(owner, "Owner"),
    F(owner_id, "OwnerId"),
    F(document_name, "DocumentName"),
    F(session_type, "SessionType"),
    F(details, "Details"),
    F(started_ms, "StartedMs"),
    F(idle_minutes, "IdleMinutes"),
    F(ends_ms, "EndsMs"),
    F(due_ms, "DueMs"),
    F(agent_came, "AgentCame"),
    F(agent_done, "AgentDone"),
    F(content, "Content"),
};
#undef F
static const struct fl_shape session_shape = FL_SHAPE(struct fl_session, "session", session_fields);

int fl_session_load(struct fl_call *call, const char *id, struct fl_session *ret_session,
                    struct fl_err *err)
{
    return fl_sql_one(call->tx, FL_SQL_session_get, &session_shape, call->arena, ret_session, err,
                      FL_T(id), FL_T(call->account), FL_T(call->region));
}

/* ---- telling ---- */

static int tell(struct fl_call *call, const struct fl_session *s, bool node, struct fl_err *err)
{
    const char *key = fl_arena_printf(call->arena, "%s %s", s->node_id, s->id);
    int r = key ? fl_call_publish(call, FL_SUBJECT_SESSION, s->id) : -ENOMEM;

    if (r == 0 && node)
        r = fl_call_publish(call, FL_SUBJECT_NODE_SESSION, key);
    if (r == 0)
        r = fl_call_publish(call, FL_SUBJECT_SESSION_DUE, "");
    return r < 0 ? fl_err_set(err, r, NULL, "out of memory") : 0;
}

/* ---- saving ---- */

/* By which time something has to have happened in this state. `back_ms`: by then the agent has to
 * be back, 0: it is not away. */
static int64_t due_of(const struct fl_session *s, int64_t back_ms, int64_t now_ms)
{
    switch ((enum fl_session_status)s->status) {
    case FL_SESS_CONNECTING:
        return s->started_ms + (!s->agent_came && now_ms < s->started_ms + FL_SESSION_AGAIN_MS
                                    ? FL_SESSION_AGAIN_MS
                                    : FL_SESSION_START_MS);
    case FL_SESS_CONNECTED:
    case FL_SESS_DISCONNECTED:
        return back_ms && s->ends_ms ? FL_MIN(back_ms, s->ends_ms) : back_ms + s->ends_ms;
    case FL_SESS_TERMINATING:
        return now_ms + FL_SESSION_END_MS;
    default:
        return 0;
    }
}

static struct fl_sql_arg time_or_null(int64_t ms)
{
    return ms ? FL_N(ms) : FL_NULL;
}

static int save(struct fl_call *call, const struct fl_session *s, struct fl_err *err)
{
    bool over = fl_session_over((enum fl_session_status)s->status);
    int r = fl_sql_exec(call->tx, FL_SQL_session_set, err, FL_T(s->id), FL_N(s->status),
                        FL_T(s->details), over ? FL_N(call->now_ms) : FL_NULL,
                        time_or_null(s->due_ms), FL_N(s->agent_came), FL_N(s->agent_done));

    if (r >= 0 && over)
        r = fl_sql_exec(call->tx, FL_SQL_session_job_delete, err, FL_T(s->id));
    return r < 0 ? r : 0;
}

static bool step(struct fl_session *s, enum fl_session_event event)
{
    int64_t next = fl_session_next((enum fl_session_status)s->status, event);
    bool moved = next != s->status;

    s->status = next;
    return moved;
}

/* Before it is stored: an end that could not be is said once more when it is. */
static void record_end(struct fl_call *call, const struct fl_session *s)
{
    const char *arns[] = { fl_arn(call, "ssm", "session", s->id),
                           fl_arn(call, "ssm", "managed-instance", s->node_id) };
    char request_id[FL_UUID_BYTES];
    const struct fl_audit_entry e = {
        .time_ms = call->now_ms,
        .request_id = request_id,
        .operation = "fairlead:SessionEnded",
        .caller = s->owner,
        .resources = arns,
        .n_resources = arns[0] && arns[1] ? FL_ARRAY_LEN(arns) : 0,
        .status = 200,
        .error = s->status == FL_SESS_FAILED ? "SessionFailed" : NULL,
    };

    fl_uuid4(request_id);
    fl_audit_write(call->plane->audit, &e);
}

/* Ends it, or begins to: saves and tells. */
static int finish(struct fl_call *call, struct fl_session *s, enum fl_session_event event,
                  const char *why, struct fl_err *err)
{
    int r;

    if (!step(s, event))
        return 0;
    if (!*s->details)
        s->details = fl_arena_printf(call->arena, "%.*s", DETAILS_MAX, why);
    if (!s->details)
        return fl_err_nomem(err);
    s->due_ms = due_of(s, 0, call->now_ms);
    if (fl_session_over((enum fl_session_status)s->status))
        record_end(call, s);
    r = save(call, s, err);
    if (r == 0)
        r = tell(call, s, !s->agent_done, err);
    return r;
}

/* 1 with an open session, 0 if there is none. */
static int load_open(struct fl_call *call, const char *id, struct fl_session *s, struct fl_err *err)
{
    int r = fl_session_load(call, id, s, err);

    return r > 0 && fl_session_over((enum fl_session_status)s->status) ? 0 : r;
}

/* ---- what happens to a session ---- */

int fl_session_insert(struct fl_call *call, const struct fl_session *s, const char *reason,
                      int64_t max_minutes, struct fl_err *err)
{
    int64_t ends_ms = max_minutes ? call->now_ms + max_minutes * 60000 : 0;
    int r =
        fl_sql_exec(call->tx, FL_SQL_session_insert, err, FL_T(s->id), FL_T(call->account),
                    FL_T(call->region), FL_T(s->node_id), FL_N(FL_SESS_CONNECTING), FL_T(s->owner),
                    FL_T(s->owner_id), FL_T(s->document_name), FL_T(s->session_type), FL_T(reason),
                    FL_N(call->now_ms), FL_N(max_minutes), FL_N(s->idle_minutes),
                    time_or_null(ends_ms), FL_N(call->now_ms + FL_SESSION_AGAIN_MS));

    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_session_job_insert, err, FL_T(s->id), FL_T(s->content));
    return r < 0 ? r : tell(call, s, true, err);
}

int fl_session_terminate(struct fl_call *call, const char *id, const char *why, struct fl_err *err)
{
    struct fl_session s;
    int r = load_open(call, id, &s, err);

    return r > 0 ? finish(call, &s, FL_SESS_EV_TERMINATE, why, err) : r;
}

/* A client that waits is to know soon that its node is gone. */
static int64_t agent_is_due(const struct fl_call *call, const struct fl_session_seen *seen)
{
    int64_t lost_ms = call->plane->conf.session_lost_ms;

    if (seen->agent)
        return 0;
    if (!seen->client)
        return call->now_ms + FL_MAX(lost_ms, (int64_t)FL_SESSION_LOST_MS);
    return call->now_ms + (seen->silent ? 0 : lost_ms);
}

int fl_session_note(struct fl_call *call, const char *id, const struct fl_session_seen *seen,
                    struct fl_err *err)
{
    struct fl_session s;
    int r = load_open(call, id, &s, err);

    if (r <= 0 || s.status == FL_SESS_TERMINATING)
        return r < 0 ? r : 0;
    s.agent_came = s.agent_came || seen->agent || seen->joined;
    if (seen->joined)
        step(&s, FL_SESS_EV_JOINED);
    if (!seen->client)
        step(&s, FL_SESS_EV_CLIENT_LOST);
    s.due_ms = due_of(&s, agent_is_due(call, seen), call->now_ms);
    r = save(call, &s, err);
    if (r == 0 && s.due_ms && fl_call_publish(call, FL_SUBJECT_SESSION_DUE, "") < 0)
        r = fl_err_nomem(err);
    return r;
}

/* Where its transcript is, as a person would look for it. */
static int save_outputs(struct fl_call *call, const char *id,
                        const struct fl_msg_task_complete *said, struct fl_err *err)
{
    const char *s3 = "", *log = "";
    int r;

    if (said->s3_bucket && *said->s3_bucket)
        s3 = fl_arena_printf(call->arena, "https://s3.%s.amazonaws.com/%s/%s", call->region,
                             said->s3_bucket, said->s3_suffix ? said->s3_suffix : "");
    if (said->log_group && *said->log_group)
        log = fl_arena_printf(call->arena,
                              "https://console.aws.amazon.com/cloudwatch/home?region=%s"
                              "#logEventViewer:group=%s;stream=%s",
                              call->region, said->log_group,
                              said->log_stream ? said->log_stream : "");
    if (!s3 || !log)
        return fl_err_nomem(err);
    if (!*s3 && !*log)
        return 0;
    r = fl_sql_exec(call->tx, FL_SQL_session_outputs_set, err, FL_T(id), FL_T(s3), FL_T(log));
    return r < 0 ? r : 0;
}

int fl_session_complete(struct fl_call *call, const char *node_id,
                        const struct fl_msg_task_complete *said, struct fl_err *err)
{
    bool failed = said->final_status && strcmp(said->final_status, "Failed") == 0;
    const char *output = said->output ? said->output : "";
    struct fl_session s;
    int r = fl_session_load(call, said->task_id, &s, err);

    if (r <= 0 || strcmp(s.node_id, node_id) != 0)
        return FL_MIN(r, 0);
    r = save_outputs(call, s.id, said, err);
    if (r < 0)
        return r;
    s.agent_done = 1;
    if (fl_session_over((enum fl_session_status)s.status)) {
        /* its end was not waited for: only now nobody has to be told any more */
        r = fl_sql_exec(call->tx, FL_SQL_session_done_set, err, FL_T(s.id));
        return FL_MIN(r, 0);
    }
    r = finish(call, &s, failed ? FL_SESS_EV_FAILED : FL_SESS_EV_COMPLETE, output, err);
    return r < 0 ? r : 1;
}

/* The agent is told once more, and then waited for to the end. */
static int start_again(struct fl_call *call, struct fl_session *s, struct fl_err *err)
{
    int r;

    s->due_ms = due_of(s, 0, call->now_ms);
    r = save(call, s, err);
    return r < 0 ? r : tell(call, s, !s->agent_came, err);
}

int fl_session_overdue(struct fl_call *call, const char *id, struct fl_err *err)
{
    struct fl_session s;
    int r = load_open(call, id, &s, err);

    if (r <= 0 || !s.due_ms || s.due_ms > call->now_ms)
        return FL_MIN(r, 0);
    switch ((enum fl_session_status)s.status) {
    case FL_SESS_CONNECTING:
        if (call->now_ms < s.started_ms + FL_SESSION_START_MS)
            return start_again(call, &s, err);
        return finish(call, &s, FL_SESS_EV_FAILED,
                      s.agent_came ? "No client connected to the session in time."
                                   : "The node did not begin the session in time.",
                      err);
    case FL_SESS_TERMINATING:
        return finish(call, &s, FL_SESS_EV_COMPLETE, "", err);
    default:
        return finish(call, &s, FL_SESS_EV_TERMINATE,
                      s.ends_ms && s.ends_ms <= call->now_ms
                          ? "The session reached its maximum duration."
                          : "The connection of the node to the session was lost.",
                      err);
    }
}

int fl_session_restarted(struct fl_call *call, const char *id, struct fl_err *err)
{
    struct fl_session s;
    int r = load_open(call, id, &s, err);

    if (r <= 0)
        return r;
    step(&s, FL_SESS_EV_CLIENT_LOST);
    if (s.status == FL_SESS_CONNECTING) /* it had no fair chance */
        s.due_ms = call->now_ms + FL_SESSION_START_MS;
    else
        s.due_ms = due_of(&s, call->now_ms + FL_SESSION_LOST_MS, call->now_ms);
    return save(call, &s, err);
}

/* Ends those that `c` gives. 1: there may be more. */
static int end_each(struct fl_call *call, struct fl_cursor *c, enum fl_session_event event,
                    const char *why, struct fl_err *err)
{
    char *ids[NODE_SESSIONS_MAX];
    size_t n = 0;
    int r;

    while ((r = fl_sql_next(c, err)) > 0)
        if (!(ids[n++] = fl_arena_strdup(call->arena, fl_sql_text(c, 0))))
            return fl_err_nomem(err);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct fl_session s;

        r = load_open(call, ids[i], &s, err);
        if (r > 0)
            r = finish(call, &s, event, why, err);
    }
    return r < 0 ? r : n == NODE_SESSIONS_MAX;
}

int fl_session_node_gone(struct fl_call *call, const char *node_id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_session_open_of_node, &c, err, FL_T(node_id),
                        FL_N(NODE_SESSIONS_MAX));

    return r < 0 ? r : end_each(call, c, FL_SESS_EV_COMPLETE, "The node was deregistered.", err);
}

int fl_session_node_unheard(struct fl_call *call, const char *node_id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_session_unbegun_of_node, &c, err, FL_T(node_id),
                        FL_N(FL_SESS_CONNECTING), FL_N(NODE_SESSIONS_MAX));

    return r < 0
               ? r
               : end_each(call, c, FL_SESS_EV_FAILED,
                          "The node does not answer: it is off, or cut off from the network.", err);
}

/* ---- policies ---- */

int fl_session_resource(struct fl_call *call, const char *id, struct fl_resources *ret,
                        struct fl_err *err)
{
    struct fl_resource *res = fl_arena_alloc(call->arena, sizeof(*res));
    struct fl_strmap_entry *tags = fl_arena_calloc(call->arena, 2, sizeof(*tags));
    struct fl_session s;
    int r = fl_session_load(call, id, &s, err);

    if (r < 0)
        return r;
    if (!res || !tags || !(res->arn = fl_arn(call, "ssm", "session", id)))
        return fl_err_nomem(err);
    if (r > 0) {
        tags[0] = (struct fl_strmap_entry){ (char *)"aws:ssmmessages:session-id", s.owner_id };
        tags[1] = (struct fl_strmap_entry){ (char *)"aws:ssmmessages:target-id", s.node_id };
        res->tags = (struct fl_strmap){ tags, 2 };
    }
    *ret = (struct fl_resources){ .v = res, .n = 1 };
    return 0;
}
