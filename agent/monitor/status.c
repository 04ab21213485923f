/* status.c - what `fairlead-agent status` shows, gathered. */
#include "agent/monitor/monitor_priv.h"
#include "common/base/clock.h"

static char *iso(struct fl_arena *arena, int64_t ms)
{
    char text[FL_ISO_BYTES];

    if (ms == 0)
        return NULL;
    fl_time_iso(ms, false, text);
    return fl_arena_strdup(arena, text);
}

struct document_list {
    struct fl_arena *arena;
    struct fl_agent_status *status;
    size_t room;
};

static void add_document(void *arg, const char *command_id, const char *document_name,
                         int64_t accepted_ms, const char *state)
{
    struct document_list *l = arg;

    if (l->status->n_documents == l->room)
        return;
    l->status->documents[l->status->n_documents++] = (struct fl_agent_status_doc){
        .command_id = fl_arena_strdup(l->arena, command_id),
        .document_name = fl_arena_strdup(l->arena, document_name),
        .state = fl_arena_strdup(l->arena, state),
        .accepted_at = iso(l->arena, accepted_ms),
    };
}

static void add_session(void *arg, const struct fl_session_view *view)
{
    struct document_list *l = arg;

    if (l->status->n_sessions == FL_STATUS_MAX_SESSIONS)
        return;
    l->status->sessions[l->status->n_sessions++] = (struct fl_agent_status_session){
        .session_id = fl_arena_strdup(l->arena, view->session_id),
        .document_name = fl_arena_strdup(l->arena, view->document_name),
        .owner = fl_arena_printf(l->arena, "%.*s", FL_STATUS_MAX_OWNER, view->owner),
        .state = fl_arena_strdup(l->arena, view->state),
        .since = iso(l->arena, view->accepted_ms),
    };
}

void fl_monitor_status(void *arg, struct fl_arena *arena, struct fl_agent_status *out)
{
    struct monitor *m = arg;
    struct fl_jobs_counts counts = fl_jobs_count(m->jobs);
    struct document_list list = { .arena = arena,
                                  .status = out,
                                  .room = counts.running + counts.queued + counts.waiting };
    const char *why = fl_identity_keeper_error(m->keeper);
    char policy[FL_ERR_TEXT_BYTES + 64];

    fl_policyfile_describe(&m->policy, policy, sizeof(policy));
    *out = (struct fl_agent_status){
        .registered = true,
        .node_id = m->reg.node_id,
        .region = m->start.region,
        .online = m->online,
        .since = iso(arena, m->since_ms),
        .last_ping = iso(arena, m->last_ping_ms),
        .last_error = m->last_error[0] ? m->last_error : NULL,
        .last_error_at = iso(arena, m->last_error_ms),
        .credentials_until = iso(arena, fl_identity_keeper_expires_ms(m->keeper)),
        .credentials_error = fl_arena_strdup(arena, why),
        .policy = fl_arena_strdup(arena, policy),
        .unacknowledged_replies = (int64_t)counts.unacked_replies,
        .version = fl_arena_strdup(arena, FL_VERSION),
        .wire_version = fl_arena_strdup(arena, FL_AGENT_WIRE_VERSION),
        .pid = getpid(),
        .started_at = iso(arena, m->started_ms),
    };
    out->documents = fl_arena_calloc(arena, list.room, sizeof(*out->documents));
    if (out->documents)
        fl_jobs_each(m->jobs, add_document, &list);
    out->sessions = fl_arena_calloc(arena, FL_STATUS_MAX_SESSIONS, sizeof(*out->sessions));
    if (out->sessions)
        fl_sessions_each(m->sessions, add_session, &list);
}
