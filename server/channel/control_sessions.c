/* control_sessions.c - sessions on the control channel: interactive_shell, channel_closed, and what
 * the node says at the end (protocol 3 §3, §10, §11).
 *
 * The store is the truth, as for jobs: whoever gets a hint reads what the session is in. There is
 * no acknowledgement of interactive_shell; that it came shows when the agent opens its data
 * channel.
 */
#include "server/channel/control_priv.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"
#include "server/call.h"
#include "server/command/job.h"
#include "server/session/hub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BYTES   (8 * 1024 * 1024)
#define PAYLOAD_BYTES (1024 * 1024)
#define AT_ONCE       64 /* sessions read for a node that connects; it is asked again for more */
#define TASK_BYTES    (64 * 1024)
#define TOPIC         "aws.ssm.startSession"

/* ---- telling ---- */

struct telling {
    struct fl_control *ctl;
    char node_id[32];
    uint64_t gen;
    char id[FL_SESSION_ID_BYTES]; /* "": all that it has missed */
    struct fl_session sessions[AT_ONCE];
    size_t n;
    struct fl_arena arena;
};

static int read_missed(struct fl_tx *tx, struct telling *t, int64_t now_ms)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(tx, FL_SQL_session_of_node, &c, NULL, FL_T(t->node_id),
                        FL_N(now_ms - FL_SESSION_TELL_MS), FL_N(FL_SESS_CONNECTING),
                        FL_N(FL_SESS_TERMINATING), FL_N(AT_ONCE));

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        t->sessions[t->n].id = fl_arena_strdup(&t->arena, fl_sql_text(c, 0));
        if (!t->sessions[t->n++].id)
            return -ENOMEM;
    }
    return r;
}

static int telling_run(struct fl_tx *tx, void *arg)
{
    static const struct fl_identity nobody = { .kind = FL_ID_USER };
    struct telling *t = arg;
    struct fl_call call;
    int r = 0;

    fl_call_init(&call, t->ctl->plane, &t->arena, &nobody, "", fl_now_ms());
    call.tx = tx;
    if (!*t->id)
        r = read_missed(tx, t, call.now_ms);
    else
        t->sessions[t->n++].id = t->id;
    for (size_t i = 0; i < t->n && r >= 0; i++) {
        const char *id = t->sessions[i].id;

        r = fl_session_load(&call, id, &t->sessions[i], NULL);
        if (r == 0)
            t->sessions[i].id = NULL;
    }
    return FL_MIN(r, 0);
}

static int send_start(struct fl_ctl_channel *ch, const struct fl_session *s)
{
    fl_autobuf struct fl_buf payload = FL_BUF(PAYLOAD_BYTES);
    char topic[] = TOPIC;
    const struct fl_msg_task task = {
        .content = s->content, .task_id = s->id, .topic = topic, .schema_version = 1
    };
    int r = fl_json_encode(&fl_shape_task, &task, &payload);

    if (r == 0)
        r = fl_ctl_send(ch, FL_MSG_INTERACTIVE_SHELL, payload.data, payload.len, NULL);
    if (r < 0)
        return r;
    if (!ch->starts_ms)
        ch->deaf_ms = fl_mono_ms();
    ch->starts_ms = fl_mono_ms() + FL_SESSION_START_MS;
    fl_ctl_arm(ch->ctl);
    return 0;
}

static int send_end(struct fl_ctl_channel *ch, const struct fl_session *s)
{
    fl_autobuf struct fl_buf payload = FL_BUF(PAYLOAD_BYTES);
    int r = fl_relay_closed_payload(s->id, s->node_id, s->details, fl_now_ms(), &payload);

    return r < 0 ? r : fl_ctl_send(ch, FL_MSG_CHANNEL_CLOSED, payload.data, payload.len, NULL);
}

static void tell(struct fl_ctl_channel *ch, const struct fl_session *s)
{
    int r = 0;

    if (!s->id || strcmp(s->node_id, ch->node_id) != 0)
        return;
    if (s->status == FL_SESS_CONNECTING && !s->agent_came && s->content)
        r = send_start(ch, s);
    /* With a data channel it is told there. */
    else if (s->status >= FL_SESS_TERMINATING && !s->agent_done &&
             !fl_hubs_has_agent(ch->ctl->plane->hubs, s->id))
        r = send_end(ch, s);
    if (r < 0)
        fl_log_warn("the node is not told of a session", FL_S("node", ch->node_id),
                    FL_S("session", s->id), FL_S("error", strerror(-r)));
}

static void telling_done(void *arg, int r)
{
    struct telling *t = arg;
    struct fl_control *ctl = t->ctl;
    struct fl_ctl_channel *ch = ctl->stopped ? NULL : fl_ctl_find(ctl, t->node_id, t->gen);

    for (size_t i = 0; ch && r == 0 && i < t->n; i++)
        tell(ch, &t->sessions[i]);
    if (ch && r < 0)
        fl_ctl_later(ch, r);
    fl_arena_done(&t->arena);
    free(t);
    fl_ctl_unref(ctl);
}

void fl_ctl_tell_sessions(struct fl_ctl_channel *ch, const char *session_id)
{
    struct fl_control *ctl = ch->ctl;
    struct telling *t = calloc(1, sizeof(*t));

    /* Not told, a session ends by the clock, and its user is told so. */
    if (!t)
        return;
    t->ctl = ctl;
    t->gen = ch->gen;
    memcpy(t->node_id, ch->node_id, sizeof(t->node_id));
    snprintf(t->id, sizeof(t->id), "%s", session_id ? session_id : "");
    fl_arena_init(&t->arena, ARENA_BYTES);
    fl_ctl_ref(ctl);
    /* People wait for one session; a fleet that connects waits for its turn. */
    if ((session_id ? fl_store_submit_first : fl_store_submit)(
            ctl->plane->store, FL_LANE_READ, telling_run, telling_done, t, ctl->loop) == 0)
        return;
    fl_arena_done(&t->arena);
    free(t);
    fl_ctl_unref(ctl);
}

void fl_ctl_on_node_session(void *arg, const char *key)
{
    char node_id[64], session_id[FL_SESSION_ID_BYTES];
    struct fl_ctl_channel *ch;

    if (sscanf(key, "%63s %96s", node_id, session_id) != 2)
        return;
    ch = fl_ctl_find(arg, node_id, 0);
    if (ch)
        fl_ctl_tell_sessions(ch, session_id);
}

/* ---- nodes that do not begin ---- */

struct unheard {
    struct fl_control *ctl;
    char node_id[32];
};

static int unheard_run(struct fl_engine *engine, void *arg, struct fl_err *err)
{
    struct unheard *u = arg;
    int r = fl_session_node_unheard(engine->call, u->node_id, err);

    engine->effects.again = r > 0;
    return FL_MIN(r, 0);
}

static void end_unbegun(struct fl_control *ctl, const char *node_id);

static void unheard_done(void *arg, int r, bool again)
{
    struct unheard *u = arg;

    if (again && !u->ctl->stopped)
        end_unbegun(u->ctl, u->node_id);
    fl_ctl_unref(u->ctl);
    free(u);
}

/* Left undone, the clock ends them. One that has come back by another channel is told again there.
 */
static void end_unbegun(struct fl_control *ctl, const char *node_id)
{
    struct unheard *u =
        fl_presence_connected(ctl->plane->presence, node_id) ? NULL : calloc(1, sizeof(*u));

    if (!u)
        return;
    u->ctl = ctl;
    snprintf(u->node_id, sizeof(u->node_id), "%s", node_id);
    fl_ctl_ref(ctl);
    if (fl_engine_submit(ctl->plane, ctl->loop, "sessions not begun", unheard_run, unheard_done,
                         u) == 0)
        return;
    free(u);
    fl_ctl_unref(ctl);
}

bool fl_ctl_check_starts(struct fl_ctl_channel *ch, int64_t mono_ms)
{
    int64_t silent_ms = mono_ms - FL_MAX(fl_ws_heard_ms(ch->ws), ch->deaf_ms);

    if (mono_ms >= ch->starts_ms)
        return false;
    if (silent_ms > ch->ctl->plane->conf.session_lost_ms) {
        fl_log_info("a node that is to begin a session is not heard of", FL_S("node", ch->node_id));
        fl_ctl_drop(ch, FL_WS_GOING_AWAY);
        end_unbegun(ch->ctl, ch->node_id);
        return false;
    }
    if (!ch->pinged && mono_ms - fl_ws_heard_ms(ch->ws) >= FL_CTL_ASK_MS) {
        ch->pinged = true;
        fl_ctl_ping(ch);
    }
    return true;
}

/* ---- agent_task_complete ---- */

struct task {
    struct fl_control *ctl;
    char node_id[32];
    uint64_t gen;
    uint8_t message_id[16];
    struct fl_msg_task_complete said;
    struct fl_arena arena;
};

static int task_run(struct fl_engine *engine, void *arg, struct fl_err *err)
{
    struct task *t = arg;
    int r = fl_session_complete(engine->call, t->node_id, &t->said, err);

    return FL_MIN(r, 0);
}

static void acknowledge(struct fl_ctl_channel *ch, struct task *t)
{
    fl_autobuf struct fl_buf payload = FL_BUF(TASK_BYTES);
    char id[FL_UUID_BYTES], topic[] = FL_MSG_AGENT_TASK_ACK;
    const struct fl_msg_task_ack ack = {
        .schema_version = 1, .message_id = id, .task_id = t->said.task_id, .topic = topic
    };

    fl_uuid_format(t->message_id, id);
    if (fl_json_encode(&fl_shape_task_ack, &ack, &payload) == 0)
        fl_ctl_send(ch, FL_MSG_AGENT_TASK_ACK, payload.data, payload.len, NULL);
}

static void task_done(void *arg, int r, bool again)
{
    struct task *t = arg;
    struct fl_control *ctl = t->ctl;
    struct fl_ctl_channel *ch = ctl->stopped ? NULL : fl_ctl_find(ctl, t->node_id, t->gen);

    if (ch && r == 0) /* otherwise the agent says it again, or the clock ends the session */
        acknowledge(ch, t);
    fl_arena_done(&t->arena);
    free(t);
    fl_ctl_unref(ctl);
}

void fl_ctl_on_task_complete(struct fl_ctl_channel *ch, const struct fl_frame *frame)
{
    struct fl_control *ctl = ch->ctl;
    struct task *t = frame->payload_len <= TASK_BYTES ? calloc(1, sizeof(*t)) : NULL;

    if (!t)
        return;
    fl_arena_init(&t->arena, 4 * TASK_BYTES);
    if (fl_json_decode(&fl_shape_task_complete, frame->payload, frame->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, &t->arena, &t->said, NULL) < 0 ||
        !t->said.task_id) {
        fl_metrics_count(ctl->plane->metrics, FL_CTR_BAD_FRAMES);
        fl_arena_done(&t->arena);
        free(t);
        return;
    }
    t->ctl = ctl;
    t->gen = ch->gen;
    memcpy(t->node_id, ch->node_id, sizeof(t->node_id));
    memcpy(t->message_id, frame->message_id, sizeof(t->message_id));
    fl_ctl_ref(ctl);
    if (fl_engine_submit(ctl->plane, ctl->loop, "end of a session", task_run, task_done, t) == 0)
        return;
    fl_arena_done(&t->arena);
    free(t);
    fl_ctl_unref(ctl);
}
