/* transcript.c - the tap's side, and the thread's rounds. */
#include "server/session/transcript.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/metrics.h"
#include "server/session/transcript_priv.h"

#define ABOUT_BYTES  (64 * 1024) /* strings of one session */
#define PARSE_BYTES  (4 * 1024 * 1024)
#define RETIRE_MS    (60 * 60 * 1000)
#define TRY_AGAIN_MS 5000

#define F(member, key) FL_FIELD(struct fl_tf_about, member, key, 0)
static const struct fl_field about_fields[] = {
    F(session_id, "SessionId"),  F(node_id, "Target"),   F(owner, "Owner"),
    F(document, "DocumentName"), F(type, "SessionType"), F(endpoint, "Endpoint"),
    F(started, "StartDate"),     F(kept, "Recorded"),
};
#undef F
const struct fl_shape fl_tf_about_shape = FL_SHAPE(struct fl_tf_about, "about", about_fields);

/* ---- what the session's document says ---- */

struct inputs {
    char *bucket, *prefix, *log_group, *key_id, *run_as;
    struct fl_raw streams;
};
struct endpoint {
    char *host, *port;
};
struct document {
    char *type;
    struct inputs *inputs;
    struct endpoint *properties;
};
#define F(member, key) FL_FIELD(struct inputs, member, key, 0)
static const struct fl_field inputs_fields[] = {
    F(bucket, "s3BucketName"),
    F(prefix, "s3KeyPrefix"),
    F(log_group, "cloudWatchLogGroupName"),
    F(key_id, "kmsKeyId"),
    F(run_as, "runAsDefaultUser"),
    F(streams, "cloudWatchStreamingEnabled"),
};
#undef F
static const struct fl_shape inputs_shape = FL_SHAPE(struct inputs, "inputs", inputs_fields);
static const struct fl_field endpoint_fields[] = {
    FL_FIELD(struct endpoint, host, "host", 0),
    FL_FIELD(struct endpoint, port, "portNumber", 0),
};
static const struct fl_shape endpoint_shape =
    FL_SHAPE(struct endpoint, "properties", endpoint_fields);
static const struct fl_field document_fields[] = {
    FL_FIELD(struct document, type, "sessionType", 0),
    FL_FIELD_STRUCT(struct document, inputs, "inputs", 0, &inputs_shape),
};
static const struct fl_field port_fields[] = {
    FL_FIELD_STRUCT(struct document, properties, "properties", 0, &endpoint_shape),
};
static const struct fl_shape document_shape =
    FL_SHAPE(struct document, "document", document_fields);
static const struct fl_shape port_shape = FL_SHAPE(struct document, "document", port_fields);

/* NULL for what is empty. */
static char *kept(struct fl_rec *rec, const char *text)
{
    return text && *text ? fl_arena_strdup(&rec->arena, text) : NULL;
}

static const char *fixed(const char *text)
{
    return text && !strstr(text, "{{") ? text : NULL;
}

static void take_endpoint(struct fl_rec *rec, const struct fl_msg_session_content *c,
                          struct fl_arena *arena)
{
    struct document doc = { 0 };
    struct endpoint given = { 0 }, none = { 0 }, *p = &none;
    const char *host, *port;

    if (c->document_content.text &&
        fl_json_decode(&port_shape, c->document_content.text, strlen(c->document_content.text), 0,
                       arena, &doc, NULL) == 0 &&
        doc.properties)
        p = doc.properties;
    if (c->parameters.text &&
        fl_json_decode(&endpoint_shape, c->parameters.text, strlen(c->parameters.text), 0, arena,
                       &given, NULL) < 0)
        given = none;
    host = given.host ? given.host : fixed(p->host);
    port = given.port ? given.port : fixed(p->port);
    rec->about.endpoint = fl_arena_printf(&rec->arena, "%s:%s", host && *host ? host : "localhost",
                                          port && *port ? port : "?");
}

/* What cannot be read is recorded as what it most likely is: a shell. */
static void take_content(struct fl_rec *rec, const char *content)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(PARSE_BYTES);
    struct fl_msg_session_content c = { 0 };
    struct document doc = { 0 };
    bool encrypted = false;

    rec->about.type = (char *)"Standard_Stream";
    if (fl_json_decode(&fl_shape_session_content, content, strlen(content), FL_DECODE_LAX, &arena,
                       &c, NULL) == 0 &&
        c.document_content.text)
        fl_json_decode(&document_shape, c.document_content.text, strlen(c.document_content.text), 0,
                       &arena, &doc, NULL);
    if (doc.type)
        rec->about.type = kept(rec, doc.type);
    rec->bytes_kept = strcmp(rec->about.type, "Port") != 0;
    if (!rec->bytes_kept)
        take_endpoint(rec, &c, &arena);
    if (doc.inputs) {
        encrypted = rec->bytes_kept && doc.inputs->key_id && *doc.inputs->key_id;
        rec->bucket = kept(rec, doc.inputs->bucket);
        rec->prefix = kept(rec, doc.inputs->prefix);
        rec->log_group = kept(rec, doc.inputs->log_group);
        rec->run_as =
            kept(rec, c.run_as_user && *c.run_as_user ? c.run_as_user : doc.inputs->run_as);
        rec->log_streams = doc.inputs->streams.text &&
                           strcmp(doc.inputs->streams.text, "true") == 0 &&
                           strcmp(rec->about.type, "Standard_Stream") == 0;
    }
    rec->bytes_kept &= !encrypted;
    rec->input_kept = rec->bytes_kept && rec->t->plane->conf.transcript_input;
    rec->about.kept = (char *)(!rec->bytes_kept  ? "counts"
                               : rec->input_kept ? "output and input"
                                                 : "output");
    if (!rec->bytes_kept) /* there is nothing to put there */
        rec->bucket = rec->log_group = NULL;
}

/* ---- the tap; loop threads ---- */

static void rec_free(struct fl_rec *rec)
{
    fl_alarm_watch_done(&rec->watch);
    fl_text_done(&rec->text);
    fl_buf_done(&rec->body);
    fl_buf_done(&rec->lines);
    fl_arena_done(&rec->arena);
    if (rec->fd >= 0)
        close(rec->fd);
    free(rec);
}

/* With the lock held: the thread has something to do. */
static void wake(struct fl_transcripts *t, bool urgent)
{
    if ((t->dirty && !urgent) || t->urgent)
        return;
    t->dirty = true;
    t->urgent = urgent;
    pthread_cond_broadcast(&t->changed);
}

static int tap_start(struct fl_plane *plane, struct fl_loop *loop,
                     const struct fl_tap_session *session, void **ret_state)
{
    struct fl_transcripts *t = plane->transcripts;
    char started[FL_ISO_BYTES];
    struct fl_rec *rec;

    (void)loop;
    if (!t)
        return 1;
    if (!fl_session_id_valid(session->session_id))
        return -EINVAL; /* it is the name of a file */
    rec = calloc(1, sizeof(*rec));
    if (!rec)
        return -ENOMEM;
    rec->t = t;
    rec->fd = -1;
    rec->resumed = session->resumed;
    rec->started_ms = session->started_ms;
    fl_arena_init(&rec->arena, ABOUT_BYTES);
    fl_buf_init(&rec->body, FL_TF_BODY_MAX_BYTES);
    fl_buf_init(&rec->lines, FL_TF_BODY_MAX_BYTES);
    fl_time_iso(session->started_ms, false, started);
    rec->about.session_id = fl_arena_strdup(&rec->arena, session->session_id);
    rec->about.node_id = fl_arena_strdup(&rec->arena, session->node_id);
    rec->about.owner = fl_arena_strdup(&rec->arena, session->owner);
    rec->about.document = fl_arena_strdup(&rec->arena, session->document_name);
    rec->about.started = fl_arena_strdup(&rec->arena, started);
    take_content(rec, session->content);
    if (!rec->about.session_id || !rec->about.node_id || !rec->about.owner ||
        !rec->about.document || !rec->about.started || !rec->about.type) {
        rec_free(rec);
        return -ENOMEM;
    }
    pthread_mutex_lock(&t->lock);
    TAILQ_INSERT_TAIL(&t->recs, rec, link);
    wake(t, false);
    pthread_mutex_unlock(&t->lock);
    *ret_state = rec;
    return 0;
}

/* With the lock held. */
static void note_gap(struct fl_rec *rec, size_t len, const char *why)
{
    rec->gap_bytes += len;
    rec->gap_why = why;
}

/* With the lock held. Some room is left for what must not be lost. */
static void record(struct fl_rec *rec, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct fl_transcripts *t = rec->t;
    size_t bytes = FL_TF_RECORD_BYTES + len;
    bool small = kind != FL_TF_OUTPUT && kind != FL_TF_ERRORS && kind != FL_TF_INPUT;

    if (rec->body.len + bytes > FL_TF_BODY_MAX_BYTES - (small ? 1024 : 8192) ||
        t->held_bytes + bytes > FL_TRANSCRIPT_HELD_BYTES) {
        note_gap(rec, len, "the disk was slower");
        return;
    }
    if (fl_tf_record(&rec->body, kind, wall_ms, data, len) < 0) {
        note_gap(rec, len, "out of memory");
        return;
    }
    t->held_bytes += bytes;
    wake(t, rec->body.len > FL_TRANSCRIPT_FLUSH_BYTES);
}

struct raise {
    struct fl_rec *rec;
    int64_t wall_ms;
};

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
    rec->n_alarms++;
    record(rec, FL_TF_ALARM, k->wall_ms, alarm->name, strlen(alarm->name));
    if (alarm->end && !rec->end_it) {
        rec->end_it = true;
        snprintf(rec->end_text, sizeof(rec->end_text), "alarm %s", alarm->name);
    }
    wake(rec->t, true);
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

static void record_bytes(struct fl_rec *rec, char kind, const struct fl_tap_message *m)
{
    const struct fl_plane_conf *conf = &rec->t->plane->conf;

    rec->over_limit |= rec->recorded_bytes + m->len > (uint64_t)conf->transcript_max_bytes;
    if (rec->over_limit) {
        note_gap(rec, m->len, "TranscriptMaxBytes");
        return;
    }
    rec->recorded_bytes += m->len;
    record(rec, kind, m->wall_ms, m->data, m->len);
}

static void tap_message(void *state, const struct fl_tap_message *m)
{
    struct fl_rec *rec = state;
    struct raise k = { rec, m->wall_ms };
    char kind = kind_of(rec, m);
    bool data = m->type == FL_DATA_TYPE_OUTPUT || m->type == FL_DATA_TYPE_STDERR;

    pthread_mutex_lock(&rec->t->lock);
    if (data)
        rec->bytes[m->input ? 0 : 1] += (int64_t)m->len;
    if (kind == FL_TF_SIZE)
        record_size(rec, m);
    else if (kind && rec->bytes_kept)
        record_bytes(rec, kind, m);
    else if (data)
        wake(rec->t, false); /* for the numbers */
    if (m->lost)
        note_gap(rec, 0, "messages were lost on the way");
    rec->row_due = true;
    pthread_mutex_unlock(&rec->t->lock);

    if (!rec->bytes_kept || m->type != FL_DATA_TYPE_OUTPUT)
        return;
    if (m->input)
        fl_alarm_input(rec->t->alarms, &rec->watch, m->data, m->len, on_alarm, &k);
    else
        fl_alarm_output(rec->t->alarms, &rec->watch, m->data, m->len, on_alarm, &k);
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
    wake(t, true);
    pthread_mutex_unlock(&t->lock);
}

const struct fl_tap fl_tap_transcript = {
    .name = "transcript",
    .start = tap_start,
    .message = tap_message,
    .end = tap_end,
};

/* ---- the thread ---- */

/* What a round took from a session. */
struct batch {
    struct fl_rec *rec;
    struct fl_buf body;
    uint64_t gap;
    const char *gap_why;
    bool ended, end_it;
};

static void audit_file(struct fl_rec *rec, const char *operation, const char *what)
{
    const char *const resources[] = { rec->about.session_id, what };
    const struct fl_audit_entry entry = { .time_ms = fl_now_ms(),
                                          .operation = operation,
                                          .caller = rec->about.owner,
                                          .resources = resources,
                                          .n_resources = FL_ARRAY_LEN(resources) };

    fl_audit_write(rec->t->plane->audit, &entry);
}

/* It could not be written: what is lost of it stands in the transcript once it can be. */
static void failed(struct batch *b, int r, const struct fl_err *err)
{
    struct fl_rec *rec = b->rec;
    struct fl_transcripts *t = rec->t;
    bool first = !t->full_disk;

    if (rec->broken && rec->note[0] == '\0') {
        snprintf(rec->note, sizeof(rec->note), "%.150s", fl_err_text(err));
        audit_file(rec, "fairlead:TranscriptBroken", rec->note);
        fl_log_error("a transcript does not go on", FL_S("session", rec->about.session_id),
                     FL_S("error", rec->note));
    } else if (!rec->broken && first) {
        t->full_disk = true;
        fl_log_error("transcripts cannot be written", FL_S("error", fl_err_text(err)));
    }
    (void)r;
    pthread_mutex_lock(&t->lock);
    note_gap(rec, b->body.len, "it could not be written");
    pthread_mutex_unlock(&t->lock);
    b->gap = 0;
    fl_buf_reset(&b->body);
    b->end_it |= t->required;
}

static void append_gap(struct batch *b)
{
    char text[128];
    int n;

    if (!b->gap)
        return;
    n = snprintf(text, sizeof(text), "%llu bytes are not recorded: %s", (unsigned long long)b->gap,
                 b->gap_why);
    fl_tf_record(&b->body, FL_TF_GAP, fl_now_ms(), text, (size_t)n);
    fl_metrics_count(b->rec->t->plane->metrics, FL_CTR_TRANSCRIPT_GAPS);
}

static void write_batch(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    struct fl_err err = { 0 };
    int r = rec->opened || rec->broken ? 0 : fl_rec_open(rec, &err);

    if (rec->broken) {
        if (b->body.len)
            failed(b, r, &err);
        return;
    }
    if (r < 0) {
        failed(b, r, &err);
        return;
    }
    append_gap(b);
    if (!b->body.len)
        return;
    r = fl_rec_append(rec, b->body.data, b->body.len, &err);
    if (r < 0)
        failed(b, r, &err);
}

static void sync_batch(struct batch *b)
{
    struct fl_rec *rec = b->rec;

    if (!b->body.len || rec->fd < 0)
        return;
    if (fdatasync(rec->fd) < 0) { /* what is on the disk is not known any more */
        struct fl_err err = { 0 };

        rec->broken = true;
        fl_err_set(&err, -errno, NULL, "fdatasync: %s", strerror(errno));
        failed(b, err.code, &err);
        return;
    }
    if (rec->t->full_disk)
        fl_log_info("transcripts can be written again");
    rec->t->full_disk = false;
    fl_rec_stream(rec, b->body.data, b->body.len);
}

/* With the lock held: what sessions have, or NULL without memory. A session whose end is told stays
 * until all of it is taken. */
static struct batch *take_batches(struct fl_transcripts *t, size_t *ret_n)
{
    struct fl_rec *rec;
    struct batch *v;
    size_t n = 0;

    TAILQ_FOREACH (rec, &t->recs, link)
        n++;
    v = calloc(n + 1, sizeof(*v));
    *ret_n = 0;
    if (!v)
        return NULL;
    TAILQ_FOREACH (rec, &t->recs, link) {
        struct batch *b = &v[*ret_n];
        bool begins = !rec->opened && !rec->broken;

        if (!rec->body.len && !rec->ended && !rec->row_due && !begins && !rec->end_it)
            continue;
        *b = (struct batch){ .rec = rec,
                             .body = rec->body,
                             .gap = rec->body.len || rec->ended ? rec->gap_bytes : 0,
                             .gap_why = rec->gap_why,
                             .ended = rec->ended,
                             .end_it = rec->end_it };
        t->held_bytes -= FL_MIN(t->held_bytes, rec->body.len);
        fl_buf_init(&rec->body, FL_TF_BODY_MAX_BYTES);
        if (b->gap)
            rec->gap_bytes = 0;
        rec->end_it = false;
        rec->row_due = true;
        rec->shown[0] = rec->bytes[0];
        rec->shown[1] = rec->bytes[1];
        rec->shown_alarms = rec->n_alarms;
        ++*ret_n;
    }
    return v;
}

/* Rows that could not be put are due again. */
static bool put_rows(struct fl_transcripts *t, struct batch *v, size_t n)
{
    struct fl_rec **due = calloc(n + 1, sizeof(struct fl_rec *));
    size_t n_due = 0;
    int r = due ? 0 : -ENOMEM;

    for (size_t i = 0; due && i < n; i++)
        if (v[i].rec->opened || v[i].rec->broken)
            due[n_due++] = v[i].rec;
    if (r == 0 && n_due)
        r = fl_rec_put_rows(t, due, n_due);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; r == 0 && i < n_due; i++)
        if (due[i]->shown[0] == due[i]->bytes[0] && due[i]->shown[1] == due[i]->bytes[1])
            due[i]->row_due = false;
    pthread_mutex_unlock(&t->lock);
    free(due);
    return r == 0;
}

static void finish(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    char head[FL_SHA256_HEX_BYTES];

    if (rec->opened && !rec->broken && rec->over) {
        fl_hex_encode(rec->end.mac, sizeof(rec->end.mac), head);
        audit_file(rec, "fairlead:TranscriptEnded", head);
        fl_rec_deliver(rec);
    }
    pthread_mutex_lock(&rec->t->lock);
    TAILQ_REMOVE(&rec->t->recs, rec, link);
    pthread_mutex_unlock(&rec->t->lock);
    rec_free(rec);
}

/* True: something is left that can be done later. */
static bool run_round(struct fl_transcripts *t, struct batch *v, size_t n)
{
    bool rows;

    for (size_t i = 0; i < n; i++)
        write_batch(&v[i]);
    for (size_t i = 0; i < n; i++)
        sync_batch(&v[i]);
    rows = put_rows(t, v, n);
    for (size_t i = 0; i < n; i++) {
        if (v[i].end_it && !v[i].ended)
            fl_rec_end_session(v[i].rec);
        fl_buf_done(&v[i].body);
        if (v[i].ended && (rows || t->closing))
            finish(&v[i]);
    }
    return !rows;
}

/* With the lock held, until there is something to write, or the time has come. */
static void wait_for_work(struct fl_transcripts *t)
{
    struct timespec until;
    bool waited = false;

    while (!t->urgent && !t->closing && !(t->dirty && waited)) {
        int64_t ms =
            t->dirty ? FL_TRANSCRIPT_FLUSH_MS : FL_MAX(t->retire_at_ms - fl_mono_ms(), (int64_t)1);

        waited = t->dirty;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ms / 1000;
        until.tv_nsec += ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        if (pthread_cond_timedwait(&t->changed, &t->lock, &until) == ETIMEDOUT && !t->dirty)
            return;
    }
}

static void *thread_main(void *arg)
{
    struct fl_transcripts *t = arg;
    bool closing = false, again = false;

    while (!closing) {
        struct batch *v;
        uint64_t asked;
        size_t n;

        pthread_mutex_lock(&t->lock);
        if (again && !t->closing) { /* the store is not there: what comes meanwhile waits */
            t->dirty = true;
            t->urgent = false;
        }
        wait_for_work(t);
        closing = t->closing;
        asked = t->asked;
        v = take_batches(t, &n);
        t->dirty = t->urgent = false;
        pthread_mutex_unlock(&t->lock);

        again = !v || run_round(t, v, n);
        free(v);
        if (fl_mono_ms() >= t->retire_at_ms && !closing) {
            fl_transcripts_retire(t);
            t->retire_at_ms = fl_mono_ms() + RETIRE_MS;
        }
        pthread_mutex_lock(&t->lock);
        t->done = asked;
        pthread_cond_broadcast(&t->written);
        pthread_mutex_unlock(&t->lock);
    }
    return NULL;
}

void fl_transcripts_settle(struct fl_transcripts *t)
{
    pthread_mutex_lock(&t->lock);
    for (uint64_t mine = ++t->asked; t->done < mine;) {
        t->dirty = t->urgent = true;
        pthread_cond_broadcast(&t->changed);
        pthread_cond_wait(&t->written, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- beginning and end ---- */

int fl_transcripts_open(struct fl_plane *plane, struct fl_err *err)
{
    const struct fl_plane_conf *conf = &plane->conf;
    static const char purpose[] = "fairlead transcripts 1";
    struct fl_transcripts *t;
    pthread_condattr_t attr;
    int r;

    if (conf->transcripts && strcmp(conf->transcripts, "off") == 0)
        return 0;
    t = calloc(1, sizeof(*t));
    if (!t)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    *t = (struct fl_transcripts){ .plane = plane,
                                  .dir_fd = -1,
                                  .required = conf->transcripts &&
                                              strcmp(conf->transcripts, "required") == 0 };
    TAILQ_INIT(&t->recs);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_cond_init(&t->written, &attr);
    pthread_condattr_destroy(&attr);
    t->retire_at_ms = fl_mono_ms() + FL_TRANSCRIPT_FLUSH_MS;
    fl_hmac_sha256(plane->seal_key, sizeof(plane->seal_key), purpose, sizeof(purpose) - 1, t->key);
    t->dir = fl_transcripts_dir(conf->data_dir);
    r = t->dir ? fl_dir_make(t->dir, 0700, err) : fl_err_set(err, -ENOMEM, NULL, "out of memory");
    if (r >= 0)
        r = fl_alarms_new(conf->alarms, conf->n_alarms, &t->alarms, err);
    if (r >= 0) {
        t->dir_fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = t->dir_fd < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", t->dir, strerror(errno))
                          : -pthread_create(&t->thread, NULL, thread_main, t);
        t->running = r == 0;
    }
    if (r < 0) {
        fl_transcripts_free(t);
        return err && err->code ? r : fl_err_set(err, r, NULL, "transcripts: %s", strerror(-r));
    }
    plane->transcripts = t;
    return 0;
}

struct fl_transcripts *fl_transcripts_free(struct fl_transcripts *t)
{
    struct fl_rec *rec;

    if (!t)
        return NULL;
    if (t->running) {
        pthread_mutex_lock(&t->lock);
        t->closing = true;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
        pthread_join(t->thread, NULL);
    }
    while ((rec = TAILQ_FIRST(&t->recs))) {
        TAILQ_REMOVE(&t->recs, rec, link);
        rec_free(rec);
    }
    fl_alarms_free(t->alarms);
    if (t->dir_fd >= 0)
        close(t->dir_fd);
    free(t->dir);
    fl_wipe(t->key, sizeof(t->key));
    pthread_cond_destroy(&t->changed);
    pthread_cond_destroy(&t->written);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}

int fl_transcript_fd(const struct fl_transcripts *t, const char *session_id)
{
    int fd = fl_session_id_valid(session_id)
                 ? openat(t->dir_fd, session_id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;

    return fd < 0 ? -ENOENT : fd;
}

const uint8_t *fl_transcript_key(const struct fl_transcripts *t)
{
    return t->key;
}
