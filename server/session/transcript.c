/* transcript.c - the tap's side: what loop threads put down for the thread to write. */
#include "server/session/transcript.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/metrics.h"
#include "server/session/transcript_priv.h"

#define ABOUT_BYTES (64 * 1024) /* strings of one session */

/* What it keeps waits from now on; of the rest only numbers are kept. */
static void watch_pass(struct fl_rec *rec, struct fl_pass *pass)
{
    rec->kept[FL_SIDE_AGENT] = rec->bytes_kept;
    rec->kept[FL_SIDE_CLIENT] = rec->bytes_kept && rec->input_kept;
    if (!pass)
        return;
    rec->pass = fl_pass_ref(pass);
    if (rec->t->required)
        fl_pass_set_strict(pass);
    for (int side = 0; side < FL_SIDE__N; side++)
        if (rec->kept[side]) {
            fl_pass_set(pass, (enum fl_side)side, 0, false);
            if (rec->resumed)
                fl_pass_begin(pass, (enum fl_side)side, FL_PASS_ASKED);
        }
}

int fl_transcript_begin(struct fl_transcripts *t, const struct fl_tap_session *session,
                        void **ret_state)
{
    char started[FL_ISO_BYTES];
    struct fl_rec *rec;

    if (!fl_session_id_valid(session->session_id))
        return -EINVAL; /* it is the name of a file */
    rec = calloc(1, sizeof(*rec));
    if (!rec)
        return -ENOMEM;
    rec->t = t;
    rec->fd = -1;
    rec->numbers[0] = rec->numbers[1] = -1;
    rec->resumed = session->resumed;
    rec->started_ms = session->started_ms;
    fl_arena_init(&rec->arena, ABOUT_BYTES);
    fl_buf_init(&rec->body, FL_TRANSCRIPT_HELD_ONE);
    fl_buf_init(&rec->lines, FL_TF_BODY_MAX_BYTES);
    fl_time_iso(session->started_ms, false, started);
    rec->about.session_id = fl_arena_strdup(&rec->arena, session->session_id);
    rec->about.node_id = fl_arena_strdup(&rec->arena, session->node_id);
    rec->about.owner = fl_arena_strdup(&rec->arena, session->owner);
    rec->about.document = fl_arena_strdup(&rec->arena, session->document_name);
    rec->about.started = fl_arena_strdup(&rec->arena, started);
    fl_rec_about(rec, session->content);
    if (!rec->about.session_id || !rec->about.node_id || !rec->about.owner ||
        !rec->about.document || !rec->about.started || !rec->about.type) {
        fl_rec_free(rec);
        return -ENOMEM;
    }
    watch_pass(rec, session->pass);
    pthread_mutex_lock(&t->lock);
    TAILQ_INSERT_TAIL(&t->recs, rec, link);
    fl_rec_queue(rec);
    pthread_mutex_unlock(&t->lock);
    *ret_state = rec;
    return 0;
}

static int tap_start(struct fl_plane *plane, struct fl_loop *loop,
                     const struct fl_tap_session *session, void **ret_state)
{
    struct fl_transcripts *t = plane->transcripts;
    int r = t ? fl_transcript_begin(t, session, ret_state) : 1;

    (void)loop;
    if (r < 0 && t->required) {
        fl_log_error("a session cannot be recorded", FL_S("session", session->session_id),
                     FL_S("error", strerror(-r)));
        return -EACCES;
    }
    return r;
}

/* With the lock held. Some room is left for what must not be lost. */
static void record(struct fl_rec *rec, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct fl_transcripts *t = rec->t;
    size_t bytes = FL_TF_RECORD_BYTES + len;
    bool small = kind != FL_TF_OUTPUT && kind != FL_TF_ERRORS && kind != FL_TF_INPUT;
    const char *why = NULL;

    /* What must be recorded is not sent on before it is, and its sender is held back by that. */
    if (!t->required && (rec->body.len + bytes > FL_TRANSCRIPT_HELD_ONE - (small ? 1024 : 8192) ||
                         t->held_bytes + bytes > FL_TRANSCRIPT_HELD_BYTES))
        why = "the disk was slower";
    else if (fl_tf_record(&rec->body, kind, wall_ms, data, len) < 0)
        why = "out of memory";
    if (why) {
        fl_rec_lose(rec, len, why);
        if (rec->shut)
            fl_rec_end_it(rec, "The session must be recorded, and it cannot be: %s.", why);
        return;
    }
    t->held_bytes += bytes;
    fl_rec_queue(rec);
}

struct raise {
    struct fl_rec *rec;
    int64_t wall_ms;
};

void fl_rec_end_it(struct fl_rec *rec, const char *fmt, ...)
{
    va_list ap;

    rec->end_it = true;
    if (rec->end_text[0]) /* the syncer may be reading it */
        return;
    va_start(ap, fmt);
    vsnprintf(rec->end_text, sizeof(rec->end_text), fmt, ap);
    va_end(ap);
}

/* The line itself goes nowhere: it may be a password. */
static void on_alarm(void *arg, const struct fl_conf_alarm *alarm)
{
    const struct raise *k = arg;
    struct fl_rec *rec = k->rec;
    struct fl_plane *plane = rec->t->plane;
    const char *const resources[] = { rec->about.session_id, rec->about.node_id, alarm->name };
    const struct fl_audit_entry entry = { .time_ms = k->wall_ms,
                                          .operation = "fairlead:SessionAlarm",
                                          .caller = rec->about.owner,
                                          .resources = resources,
                                          .n_resources = FL_ARRAY_LEN(resources) };

    fl_audit_write(plane->audit, &entry);
    fl_metrics_count(plane->metrics, FL_CTR_SESSION_ALARMS);
    fl_log_warn("an alarm was raised in a session", FL_S("session", rec->about.session_id),
                FL_S("node", rec->about.node_id), FL_S("alarm", alarm->name));
    pthread_mutex_lock(&rec->t->lock);
    rec->now.alarms++;
    record(rec, FL_TF_ALARM, k->wall_ms, alarm->name, strlen(alarm->name));
    if (alarm->end)
        fl_rec_end_it(rec, "The session was ended by the alarm %.64s.", alarm->name);
    fl_transcripts_wake(rec->t, true);
    pthread_mutex_unlock(&rec->t->lock);
}

/* Payload types that are recorded; 0: not. */
static char kind_of(const struct fl_rec *rec, const struct fl_tap_message *m)
{
    if (m->type == FL_DATA_TYPE_SIZE)
        return m->input ? FL_TF_SIZE : 0;
    if (m->type == FL_DATA_TYPE_OUTPUT)
        return m->input ? (rec->input_kept ? FL_TF_INPUT : 0) : FL_TF_OUTPUT;
    if (m->type == FL_DATA_TYPE_STDERR)
        return m->input ? 0 : FL_TF_ERRORS;
    return m->type == FL_DATA_TYPE_EXIT_CODE && !m->input ? FL_TF_EXIT : 0;
}

/* "80x24" */
static void record_size(struct fl_rec *rec, const struct fl_tap_message *m)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4096);
    struct fl_msg_size size;
    char text[32];
    int n;

    if (fl_json_decode(&fl_shape_size, m->data, m->len, FL_DECODE_NOCASE, &arena, &size, NULL) < 0)
        return;
    n = snprintf(text, sizeof(text), "%dx%d", (int)(size.cols & 0xFFFF), (int)(size.rows & 0xFFFF));
    record(rec, FL_TF_SIZE, m->wall_ms, text, (size_t)n);
}

/* What comes byte by byte takes far more in the file than it is. */
static bool is_full(const struct fl_rec *rec, size_t len)
{
    uint64_t max = (uint64_t)rec->t->plane->conf.transcript_max_bytes;

    return rec->recorded_bytes + len > max ||
           rec->put.end.bytes >
               FL_MAX(FL_TRANSCRIPT_FILE_TIMES * max, (uint64_t)FL_TRANSCRIPT_FILE_BYTES);
}

static void record_bytes(struct fl_rec *rec, char kind, const struct fl_tap_message *m)
{
    rec->over_limit |= is_full(rec, m->len);
    if (rec->over_limit) {
        fl_rec_lose(rec, m->len, "TranscriptMaxBytes");
        if (rec->shut)
            fl_rec_end_it(rec, "The session must be recorded, and its transcript is full.");
        return;
    }
    rec->recorded_bytes += m->len;
    record(rec, kind, m->wall_ms, m->data, m->len);
}

static void record_lost(struct fl_rec *rec, const struct fl_tap_message *m)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%lld messages never came", (long long)m->lost);

    record(rec, FL_TF_GAP, m->wall_ms, text, (size_t)n);
}

/* With the lock held: it was told. With nothing before it that is to be written, it may pass. */
static void told(struct fl_rec *rec, const struct fl_tap_message *m)
{
    enum fl_side side = m->input ? FL_SIDE_CLIENT : FL_SIDE_AGENT;

    rec->told[side] = m->sequence + 1;
    if (rec->pass && rec->kept[side] && !rec->queued && !rec->writing && !rec->shut)
        fl_pass_set(rec->pass, side, rec->told[side], false);
}

static int tap_message(void *state, const struct fl_tap_message *m)
{
    struct fl_rec *rec = state;
    struct raise k = { rec, m->wall_ms };
    char kind = kind_of(rec, m);
    bool data = m->type == FL_DATA_TYPE_OUTPUT || m->type == FL_DATA_TYPE_STDERR;
    bool much;

    pthread_mutex_lock(&rec->t->lock);
    if (rec->shut) {
        pthread_mutex_unlock(&rec->t->lock);
        return 0;
    }
    if (m->lost)
        record_lost(rec, m);
    if (data)
        rec->now.bytes[m->input ? 0 : 1] += (int64_t)m->len;
    if (kind == FL_TF_SIZE)
        record_size(rec, m);
    else if (kind && rec->bytes_kept)
        record_bytes(rec, kind, m);
    told(rec, m);
    rec->row_due = true;
    fl_transcripts_wake(rec->t, rec->end_it);
    much = rec->t->held_bytes > FL_TRANSCRIPT_HELD_BYTES / 2;
    pthread_mutex_unlock(&rec->t->lock);

    if (!rec->bytes_kept || m->type != FL_DATA_TYPE_OUTPUT)
        return 0;
    if (m->input)
        fl_alarm_input(rec->t->alarms, &rec->watch, m->data, m->len, on_alarm, &k);
    else
        fl_alarm_output(rec->t->alarms, &rec->watch, m->data, m->len, on_alarm, &k);
    return much;
}

static void tap_end(void *state, const struct fl_tap_end *end)
{
    struct fl_rec *rec = state;
    struct fl_transcripts *t = rec->t;
    char text[160];
    int n;

    pthread_mutex_lock(&t->lock);
    n = snprintf(text, sizeof(text), "%s%s%.100s",
                 end->over ? fl_session_status_name(end->status) : "The control plane stopped",
                 end->details && *end->details ? ": " : "", end->details ? end->details : "");
    if (end->over)
        record(rec, FL_TF_END, end->wall_ms, text, FL_MIN((size_t)n, sizeof(text) - 1));
    rec->end_ms = end->wall_ms;
    rec->over = end->over;
    rec->ended = true;
    fl_rec_queue(rec);
    pthread_mutex_unlock(&t->lock);
}

const struct fl_tap fl_tap_transcript = {
    .name = "transcript",
    .start = tap_start,
    .message = tap_message,
    .end = tap_end,
};
