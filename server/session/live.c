/* live.c - one session on its relay's thread: what comes and goes, what the store is told and says,
 * limits of time.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/call.h"
#include "server/command/job.h"
#include "server/session/hub_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINGER_MS   30000 /* a client that has its token already may still come */
#define LAST_MS     10000 /* for an agent to hang up when its session is over */
#define WORD_MS     1000  /* between an agent's "Terminating" and the client's end, for its task */
#define STUCK_MS    60000 /* a peer that takes nothing for so long is dropped */
#define WAIT_MS     1000  /* for a tap that need not have everything */
#define PONG_MS     (FL_DATA_QUIET_MS / 3) /* to a peer that is not read, nor its pings */
#define ARENA_BYTES (256 * 1024)

#define REPLACED 4000 /* a code of our own: a newer connection has taken its place */

static struct fl_session *session_of(const struct fl_live *live)
{
    return &live->info->session;
}

/* ---- work in the store ---- */

/* Names its session, as the relay may be gone when it is done. */
struct errand {
    struct fl_hub *hub;
    int (*fn)(struct fl_call *call, const struct errand *e, struct fl_err *err);
    void (*done)(struct fl_live *live, struct errand *e, int r);
    char id[FL_SESSION_ID_BYTES];
    char why[256];
    struct fl_session_seen seen;
    struct fl_session found; /* strings in `arena` */
    struct fl_arena arena;
};

static int errand_run(struct fl_engine *engine, void *arg, struct fl_err *err)
{
    struct errand *e = arg;

    return e->fn(engine->call, e, err);
}

static void errand_end(struct errand *e, int r)
{
    struct fl_hub *hub = e->hub;
    struct fl_live *live = hub->stopped ? NULL : fl_hub_find(hub, e->id);

    if (live)
        e->done(live, e, r);
    fl_arena_done(&e->arena);
    free(e);
    fl_hub_unref(hub);
}

static void errand_done(void *arg, int r, bool again)
{
    errand_end(arg, r);
}

static struct errand *errand_new(struct fl_live *live,
                                 void (*done)(struct fl_live *live, struct errand *e, int r))
{
    struct errand *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->hub = live->hub;
    e->done = done;
    snprintf(e->id, sizeof(e->id), "%s", session_of(live)->id);
    fl_arena_init(&e->arena, ARENA_BYTES);
    return e;
}

static bool errand_write(struct errand *e)
{
    fl_hub_ref(e->hub);
    if (fl_engine_submit(e->hub->plane, e->hub->loop, "session", errand_run, errand_done, e) == 0)
        return true;
    fl_hub_unref(e->hub);
    fl_arena_done(&e->arena);
    free(e);
    return false;
}

/* ---- who is there ---- */

static void note(struct fl_live *live);

static int note_run(struct fl_call *call, const struct errand *e, struct fl_err *err)
{
    return fl_session_note(call, e->id, &e->seen, err);
}

static void note_done(struct fl_live *live, struct errand *e, int r)
{
    live->noting = false;
    if (r < 0) {
        live->note_again = true; /* the clock tries again */
        live->joined = live->joined || e->seen.joined;
    } else if (live->note_again) {
        note(live);
    }
}

static void note(struct fl_live *live)
{
    struct errand *e;

    live->note_again = true;
    live->joined = live->joined || (live->ends[FL_SIDE_AGENT] && live->ends[FL_SIDE_CLIENT]);
    if (live->noting || live->ending)
        return;
    e = errand_new(live, note_done);
    if (!e)
        return;
    e->fn = note_run;
    e->seen = (struct fl_session_seen){ .agent = live->ends[FL_SIDE_AGENT],
                                        .client = live->ends[FL_SIDE_CLIENT],
                                        .joined = live->joined,
                                        .silent = live->agent_silent };
    live->noting = errand_write(e);
    live->note_again = !live->noting;
    live->joined = live->joined && !live->noting;
}

/* ---- ending it ---- */

static int terminate_run(struct fl_call *call, const struct errand *e, struct fl_err *err)
{
    return fl_session_terminate(call, e->id, e->why, err);
}

static void terminate_done(struct fl_live *live, struct errand *e, int r)
{
    live->asked = r == 0; /* else the clock asks again */
}

static void ask_end(struct fl_live *live)
{
    struct errand *e = live->asked ? NULL : errand_new(live, terminate_done);

    if (!e)
        return;
    e->fn = terminate_run;
    snprintf(e->why, sizeof(e->why), "%s", live->why);
    live->asked = errand_write(e);
}

static void close_end(struct fl_live *live, enum fl_side side, int code)
{
    if (live->ends[side])
        fl_hub_close(live->ends[side], code);
}

/* What the store has just said about it. */
static void end_as(struct fl_live *live, const struct fl_session *now)
{
    int64_t mono_ms = fl_mono_ms(), wall_ms = fl_now_ms();
    bool over = fl_session_over((enum fl_session_status)now->status);

    if (now->status != FL_SESS_TERMINATING && !over)
        return;
    live->ending = true;
    if (!live->agent_ends)
        fl_relay_close(&live->relay, FL_SIDE_AGENT, now->details, wall_ms);
    if (live->agent_ends && !over)
        live->close_ms = live->close_ms ? live->close_ms : mono_ms + WORD_MS;
    else
        fl_relay_close(&live->relay, FL_SIDE_CLIENT, now->details, wall_ms);
    if (over && !live->over) {
        const struct fl_tap_end end = { .over = true,
                                        .status = (enum fl_session_status)now->status,
                                        .details = now->details,
                                        .wall_ms = wall_ms };

        live->over = true;
        live->linger_ms = mono_ms + (live->relay.came[FL_SIDE_CLIENT] ? LAST_MS : LINGER_MS);
        fl_tapped_end(&live->taps, &end);
        fl_log_info("session ended", FL_S("session", now->id), FL_S("node", now->node_id),
                    FL_S("status", fl_session_status_name((enum fl_session_status)now->status)),
                    FL_S("why", now->details));
    }
}

static int load_run(struct fl_tx *tx, void *arg)
{
    static const struct fl_identity nobody = { .kind = FL_ID_USER };
    struct errand *e = arg;
    struct fl_call call;

    fl_call_init(&call, e->hub->plane, &e->arena, &nobody, "", fl_now_ms());
    call.tx = tx;
    return fl_session_load(&call, e->id, &e->found, NULL);
}

static void load_done(struct fl_live *live, struct errand *e, int r)
{
    live->loading = false;
    if (r > 0)
        end_as(live, &e->found);
    if (live->load_again)
        fl_live_changed(live);
}

static void load_end(void *arg, int r)
{
    errand_end(arg, r);
}

void fl_live_changed(struct fl_live *live)
{
    struct errand *e;

    live->load_again = true;
    if (live->loading)
        return;
    e = errand_new(live, load_done);
    if (!e)
        return;
    fl_hub_ref(e->hub);
    live->loading = fl_store_submit(live->hub->plane->store, FL_LANE_READ, load_run, load_end, e,
                                    live->hub->loop) == 0;
    live->load_again = !live->loading; /* the clock tries again */
    if (live->loading)
        return;
    fl_hub_unref(e->hub);
    fl_arena_done(&e->arena);
    free(e);
}

/* ---- the relay's events ---- */

static int on_send(void *arg, enum fl_side to, struct fl_msg *m)
{
    struct fl_live *live = arg;
    struct fl_end *end = live->ends[to];

    if (end->outstanding > 0 && end->outstanding + m->len > FL_HUB_WINDOW)
        return -ENOBUFS;
    if (end->outstanding == 0)
        end->moved_ms = fl_mono_ms();
    end->outstanding += m->len;
    fl_metrics_count(live->hub->plane->metrics, FL_CTR_SESSION_MESSAGES);
    fl_hub_send(end, m);
    return 0;
}

static void on_pause(void *arg, enum fl_side from, bool paused)
{
    struct fl_live *live = arg;

    if (live->ends[from])
        fl_hub_pause(live->ends[from], paused);
}

static void on_word(void *arg, enum fl_relay_word word)
{
    struct fl_live *live = arg;

    if (word != FL_RELAY_TERMINATING || live->agent_ends)
        return; /* "Connected" says no more than its connection did */
    live->agent_ends = true;
    ask_end(live);
}

/* All that came from there was put down. */
static bool has_all(const struct fl_live *live, enum fl_side from)
{
    const struct fl_flow *to =
        &live->relay.to[from == FL_SIDE_AGENT ? FL_SIDE_CLIENT : FL_SIDE_AGENT];

    return fl_pass_get(live->pass, from) > to->newest;
}

static void look_at_pass(struct fl_live *live)
{
    fl_tapped_moved(&live->taps);
    if (live->waited && has_all(live, FL_SIDE_AGENT) && has_all(live, FL_SIDE_CLIENT))
        live->waited = false;
    if (fl_pass_is_shut(live->pass))
        fl_relay_shut(&live->relay);
    for (int side = 0; side < FL_SIDE__N && !live->waited; side++)
        fl_relay_let(&live->relay, (enum fl_side)side, fl_pass_get(live->pass, (enum fl_side)side));
}

static void on_passed(void *arg)
{
    struct fl_live *live = arg;

    live->waits_ms = 0; /* it goes on */
    look_at_pass(live);
}

/* A disk that is stuck does not hold those up whose transcript may have gaps. */
static void check_waiting(struct fl_live *live, int64_t mono_ms)
{
    look_at_pass(live);
    if (!fl_relay_waits(&live->relay) || fl_pass_is_strict(live->pass)) {
        live->waits_ms = 0;
        return;
    }
    if (!live->waits_ms)
        live->waits_ms = mono_ms;
    if (mono_ms - live->waits_ms < WAIT_MS)
        return;
    live->waited = true;
    for (int side = 0; side < FL_SIDE__N; side++)
        fl_relay_let(&live->relay, (enum fl_side)side, INT64_MAX);
}

static int on_stream(void *arg, enum fl_side from, const struct fl_msg *m, const char *payload,
                     size_t len)
{
    struct fl_live *live = arg;
    int r;

    if (live->taps.n == 0)
        return 0;
    r = fl_tapped_message(&live->taps, from, m->sequence, m->payload_type, payload, len,
                          fl_now_ms());
    if (!live->waited)
        live->relay.before[from] = fl_pass_get(live->pass, from);
    return r;
}

static const struct fl_relay_events relay_events = { on_send, on_pause, on_word, on_stream };

/* ---- making and freeing ---- */

struct fl_live *fl_live_new(struct fl_hub *hub, struct fl_session_info *info)
{
    struct fl_live *live = calloc(1, sizeof(*live));
    const struct fl_session *s = &info->session;
    bool shell = strcmp(s->session_type, "Standard_Stream") == 0 ||
                 strcmp(s->session_type, "InteractiveCommands") == 0;
    const struct fl_relay_conf conf = {
        .session_id = s->id,
        .node_id = s->node_id,
        .no_pause = strcmp(s->session_type, "NonInteractiveCommands") == 0,
        .any_counts = !shell, /* a forwarded port may be read for hours and nothing be sent */
        .resumed = s->status != FL_SESS_CONNECTING,
    };
    struct fl_tap_session tapped = {
        .session_id = s->id,
        .node_id = s->node_id,
        .owner = s->owner,
        .document_name = s->document_name,
        .content = s->content,
        .started_ms = s->started_ms,
        .resumed = s->status != FL_SESS_CONNECTING,
    };

    if (!live)
        return NULL;
    live->pass = fl_pass_new(hub->loop, on_passed, live);
    if (!live->pass) {
        free(live);
        return NULL;
    }
    tapped.pass = live->pass;
    live->hub = hub;
    live->info = info;
    fl_relay_init(&live->relay, &conf, &relay_events, live, fl_mono_ms());
    if (fl_tapped_start(&live->taps, hub->plane, hub->loop, &tapped) < 0) { /* the clock ends it */
        snprintf(live->why, sizeof(live->why), "The session must be recorded, and it cannot be.");
        for (int side = 0; side < FL_SIDE__N; side++)
            fl_pass_set(live->pass, (enum fl_side)side, 0, false);
        fl_pass_shut(live->pass);
    }
    look_at_pass(live);
    return live;
}

void fl_live_free(struct fl_live *live, bool over)
{
    const struct fl_tap_end end = { .over = over, .details = "", .wall_ms = fl_now_ms() };

    fl_tapped_end(&live->taps, &end); /* nothing, if they have had it */
    fl_pass_leave(live->pass);
    fl_pass_unref(live->pass);
    fl_relay_done(&live->relay);
    fl_session_info_free(live->info);
    free(live);
}

/* ---- sockets ---- */

static void detach(struct fl_live *live, enum fl_side side)
{
    live->ends[side] = NULL;
    fl_relay_detach(&live->relay, side, fl_now_ms());
    if (side == FL_SIDE_AGENT)
        fl_hub_set_agent(live->hub, session_of(live)->id, false);
}

void fl_live_attach(struct fl_live *live, struct fl_end *end)
{
    struct fl_end *older = live->ends[end->side];

    live->n_ends++;
    if (older) {
        detach(live, end->side);
        fl_hub_close(older, REPLACED);
    }
    live->ends[end->side] = end;
    if (end->side == FL_SIDE_AGENT)
        fl_hub_set_agent(live->hub, session_of(live)->id, true);
    else
        live->relay.active_ms = fl_mono_ms();
    fl_relay_attach(&live->relay, end->side, fl_now_ms());
    note(live);
    /* It may have ended between the socket's look at the store and now. */
    fl_live_changed(live);
}

void fl_live_input(struct fl_live *live, struct fl_end *end, struct fl_msg *m)
{
    if (live->ends[end->side] != end)
        fl_msg_unref(m); /* of a connection that was replaced */
    else if (fl_relay_input(&live->relay, end->side, m, fl_now_ms(), fl_mono_ms()) < 0) {
        fl_metrics_count(live->hub->plane->metrics, FL_CTR_BAD_FRAMES);
        fl_hub_close(end, FL_WS_BAD_DATA);
    }
}

void fl_live_drained(struct fl_live *live, struct fl_end *end, size_t bytes)
{
    end->outstanding -= bytes;
    end->moved_ms = fl_mono_ms();
    if (live->ends[end->side] == end)
        fl_relay_room(&live->relay, end->side);
}

/* Whether it has read its channel_closed is not known: the control channel brings one, too. */
static void tell_elsewhere(struct fl_live *live)
{
    const struct fl_session *s = session_of(live);
    char key[FL_SESSION_ID_BYTES + 64];

    snprintf(key, sizeof(key), "%s %s", s->node_id, s->id);
    fl_bus_publish(live->hub->plane->bus, FL_SUBJECT_NODE_SESSION, key);
}

void fl_live_gone(struct fl_live *live, struct fl_end *end)
{
    live->n_ends--;
    if (live->ends[end->side] == end) {
        detach(live, end->side);
        if (end->side == FL_SIDE_AGENT)
            live->agent_silent = end->silent;
        note(live);
        if (end->side == FL_SIDE_AGENT && live->ending && !live->agent_ends && !live->over)
            tell_elsewhere(live);
    }
    fl_hub_release(end);
}

/* ---- the clock ---- */

static void check_idle(struct fl_live *live, int64_t mono_ms)
{
    int64_t minutes = session_of(live)->idle_minutes;

    if (live->ending || minutes == 0 || mono_ms - live->relay.active_ms < minutes * 60000)
        return;
    if (!*live->why)
        fl_log_info("session is idle", FL_S("session", session_of(live)->id));
    snprintf(live->why, sizeof(live->why),
             "The session timed out: there was no activity for %d minute%s.", (int)minutes,
             minutes == 1 ? "" : "s");
}

static void check_ends(struct fl_live *live, int64_t mono_ms)
{
    bool pong = mono_ms - live->ponged_ms >= PONG_MS;

    for (int side = 0; side < FL_SIDE__N; side++) {
        struct fl_end *end = live->ends[side];

        if (!end)
            continue;
        if (pong && live->relay.paused[side])
            fl_hub_pong(end);
        if (end->outstanding > 0 && mono_ms - end->moved_ms > STUCK_MS) {
            end->moved_ms = mono_ms;
            fl_hub_close(end, FL_WS_POLICY);
        }
    }
    if (pong)
        live->ponged_ms = mono_ms;
}

bool fl_live_tick(struct fl_live *live, int64_t mono_ms)
{
    check_idle(live, mono_ms);
    check_waiting(live, mono_ms);
    check_ends(live, mono_ms);
    if (live->note_again && !live->noting)
        note(live);
    if (live->load_again && !live->loading)
        fl_live_changed(live);
    if ((*live->why || live->agent_ends) && !live->asked && !live->ending)
        ask_end(live);
    if (live->close_ms && mono_ms >= live->close_ms)
        fl_relay_close(&live->relay, FL_SIDE_CLIENT, "", fl_now_ms());
    if (!live->over)
        return true;
    if (live->n_ends == 0)
        return mono_ms < live->linger_ms && !live->relay.came[FL_SIDE_CLIENT];
    if (mono_ms >= live->linger_ms)
        for (int side = 0; side < FL_SIDE__N; side++)
            close_end(live, (enum fl_side)side, FL_WS_NORMAL);
    return true;
}
