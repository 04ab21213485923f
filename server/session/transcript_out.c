/* transcript_out.c - what a session's document wants kept elsewhere (protocol 3 §10): lines in a
 * log stream while it runs, or all of it in a log stream and an object at its end. What the plane
 * does not have, or cannot read, is the agent's (server/api/sessions_start.c decides). */
#include "server/session/transcript_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/session/log_event.h"
#include "server/api/logs.h"
#include "server/call.h"
#include "server/s3/body.h"
#include "server/s3/s3.h"
#include "server/session/inputs.h"
#include "server/session/session.h"

#define PLAIN_EVENT_BYTES 200000 /* of an event after the end */
#define CALL_BYTES        (16 * 1024 * 1024)
#define PUTS_BYTES        (2 * 1024 * 1024) /* of events, in one transaction */
#define UNSIGNED          "UNSIGNED-PAYLOAD"

/* ---- calls of the plane itself ---- */

struct own_call {
    struct fl_transcripts *t;
    int (*fn)(struct fl_call *call, void *arg, struct fl_err *err);
    void *arg;
    struct fl_arena arena;
    struct fl_call call;
    struct fl_err err;
};

static int run_call(struct fl_tx *tx, void *arg)
{
    struct own_call *c = arg;
    struct fl_plane *plane = c->t->plane;
    const char *account = plane->conf.account;
    const struct fl_identity plane_itself = {
        .kind = FL_ID_USER,
        .account = account,
        .arn = fl_arena_printf(&c->arena, "arn:aws:iam::%s:root", account),
        .user_id = account,
        .name = "root",
    };

    fl_call_init(&c->call, plane, &c->arena, &plane_itself, "transcript", fl_now_ms());
    c->call.tx = tx;
    return c->fn(&c->call, c->arg, &c->err);
}

/* In a transaction of its own; what it published goes out after the commit. The text of an error is
 * in `ret_err`. */
static int call_plane(struct fl_transcripts *t,
                      int (*fn)(struct fl_call *, void *, struct fl_err *), void *arg,
                      struct fl_err *ret_err)
{
    struct own_call c = { .t = t, .fn = fn, .arg = arg };
    int r;

    fl_arena_init(&c.arena, CALL_BYTES);
    r = fl_store_run(t->plane->store, FL_LANE_WRITE, run_call, &c);
    if (r >= 0)
        fl_call_publish_all(&c.call);
    *ret_err = c.err;
    if (r < 0 && !c.err.code)
        fl_err_set(ret_err, r, NULL, "%s", strerror(-r));
    fl_arena_done(&c.arena);
    return r;
}

/* ---- log events ---- */

struct fl_log_put {
    struct fl_rec *rec;
    char *message;
    int r;
    struct fl_err err;
};

/* One that fails (its group is missing) has written nothing, and is no matter of the others. */
static int put_events(struct fl_call *call, void *arg, struct fl_err *err)
{
    struct fl_transcripts *t = arg;

    for (size_t i = 0; i < t->n_puts; i++) {
        struct fl_log_put *put = &t->puts[i];
        const struct fl_log_line line = { call->now_ms, put->message };

        put->r = put->rec->log_failed
                     ? 0
                     : fl_log_append(call, put->rec->log_group, put->rec->about.session_id, &line,
                                     1, &put->err);
        if (fl_store_trouble(put->r) || put->r == -ENOMEM) {
            *err = put->err;
            return put->r;
        }
    }
    return 0;
}

static void log_failed(struct fl_rec *rec, const struct fl_err *err)
{
    rec->log_failed = true;
    fl_log_warn("a transcript does not go to its log group", FL_S("session", rec->about.session_id),
                FL_S("group", rec->log_group), FL_S("error", fl_err_text(err)));
}

void fl_transcripts_send_events(struct fl_transcripts *t)
{
    struct fl_err err;
    int r = t->n_puts ? call_plane(t, put_events, t, &err) : 0;

    if (r < 0) /* the transcripts have them */
        fl_log_warn("lines of sessions do not go to their log groups",
                    FL_I("events", (int64_t)t->n_puts), FL_S("error", fl_err_text(&err)));
    for (size_t i = 0; i < t->n_puts; i++) {
        struct fl_log_put *put = &t->puts[i];

        if (r == 0 && put->r < 0 && !put->rec->log_failed)
            log_failed(put->rec, &put->err);
        free(put->message);
    }
    free(t->puts);
    t->puts = NULL;
    t->n_puts = t->puts_cap = t->puts_bytes = 0;
}

static void send_event(struct fl_rec *rec, const char *message)
{
    struct fl_transcripts *t = rec->t;
    struct fl_log_put *grown = t->puts;
    char *copy = rec->log_failed ? NULL : strdup(message);

    if (!copy)
        return;
    if (t->n_puts == t->puts_cap) {
        grown = realloc(t->puts, (2 * t->puts_cap + 8) * sizeof(*grown));
        if (!grown) {
            free(copy);
            return;
        }
        t->puts = grown;
        t->puts_cap = 2 * t->puts_cap + 8;
    }
    t->puts[t->n_puts++] = (struct fl_log_put){ .rec = rec, .message = copy };
    t->puts_bytes += strlen(copy);
    if (t->puts_bytes > PUTS_BYTES)
        fl_transcripts_send_events(t);
}

static char *known(char *text)
{
    return text ? text : (char *)"";
}

static void send_lines(struct fl_rec *rec)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(CALL_BYTES);
    fl_autobuf struct fl_buf text = FL_BUF(CALL_BYTES);
    struct fl_session_log_event e = { .region = rec->t->plane->conf.region,
                                      .node_id = known(rec->about.node_id),
                                      .owner = known(rec->about.owner),
                                      .run_as = known(rec->run_as),
                                      .session_id = rec->about.session_id };

    if (!rec->lines.len)
        return;
    for (size_t i = 0; i < rec->lines.len; i += strlen(rec->lines.data + i) + 1)
        e.lines.n++;
    e.lines.v = fl_arena_calloc(&arena, e.lines.n, sizeof(*e.lines.v));
    for (size_t i = 0, n = 0; e.lines.v && i < rec->lines.len; i += strlen(rec->lines.data + i) + 1)
        e.lines.v[n++] = rec->lines.data + i;
    if (e.lines.v && fl_session_log_event_encode(&e, fl_now_ms(), &text) >= 0)
        send_event(rec, text.data);
    fl_buf_reset(&rec->lines);
}

static void on_line(void *arg, const char *line, size_t len)
{
    struct fl_rec *rec = arg;

    if (rec->lines.len && rec->lines.len + len > FL_SESSION_EVENT_BYTES)
        send_lines(rec);
    fl_buf_append(&rec->lines, line, len + 1);
}

static int stream_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct fl_rec *rec = arg;

    (void)wall_ms;
    if (kind == FL_TF_OUTPUT || kind == FL_TF_ERRORS)
        fl_text_output(&rec->text, data, len, on_line, rec);
    return 0;
}

void fl_rec_stream(struct fl_rec *rec, const struct fl_tf_end *end)
{
    struct fl_err err = { 0 };
    int r = 1;

    if (!rec->log_group || !rec->log_streams || rec->log_failed)
        return;
    while (r > 0 && rec->streamed.bytes < end->bytes)
        r = fl_tf_read(rec->fd, rec->t->key, rec->about.session_id, &rec->streamed,
                       end->bytes - rec->streamed.bytes, stream_record, rec, &err);
    if (r < 0)
        log_failed(rec, &err);
    send_lines(rec);
}

/* ---- the whole, at the end ---- */

struct whole {
    struct fl_rec *rec;
    struct fl_s3_body *body; /* NULL: no object */
    struct fl_buf event;
    bool logs;
    bool kept; /* as an object */
};

static int give(struct whole *w, const void *data, size_t len)
{
    int r = 0;

    if (w->body)
        r = fl_s3_body_feed(w->body, data, len, NULL);
    for (size_t at = 0, n; r >= 0 && w->logs && at < len; at += n) {
        n = FL_MIN(len - at, PLAIN_EVENT_BYTES - w->event.len);
        r = fl_buf_append(&w->event, (const char *)data + at, n);
        for (char *nul; (nul = memchr(w->event.data, '\0', w->event.len));)
            *nul = ' ';
        if (r >= 0 && w->event.len == PLAIN_EVENT_BYTES) {
            fl_buf_append(&w->event, "", 1);
            send_event(w->rec, w->event.data);
            fl_buf_reset(&w->event);
        }
    }
    return r;
}

static int give_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    (void)wall_ms;
    return kind == FL_TF_OUTPUT || kind == FL_TF_ERRORS ? FL_MIN(give(arg, data, len), 0) : 0;
}

/* As script(1) writes it, which is what the official agent keeps. */
static int give_all(struct whole *w, struct fl_err *err)
{
    struct fl_rec *rec = w->rec;
    struct fl_tf_end at = { 0 };
    char line[FL_SESSION_FRAME_BYTES];
    int r = give(w, line, fl_session_frame_begin(rec->started_ms, line));

    if (r >= 0)
        r = fl_tf_read(rec->fd, rec->t->key, rec->about.session_id, &at, SIZE_MAX, give_record, w,
                       err);
    if (r >= 0)
        r = give(w, line, fl_session_frame_end(rec->end_ms, line));
    if (r >= 0 && w->event.len) {
        fl_buf_append(&w->event, "", 1);
        send_event(rec, w->event.data);
    }
    return r;
}

static int to_blob(void *arg, const void *data, size_t len)
{
    return fl_blob_write(arg, data, len, NULL);
}

struct object_put {
    struct fl_rec *rec;
    struct fl_blob *blob;
    char md5[33];
};

static char *object_key(struct fl_call *call, const struct fl_rec *rec)
{
    return fl_session_object_key(call->arena, rec->prefix, rec->about.session_id);
}

static int put_object(struct fl_call *call, void *arg, struct fl_err *err)
{
    struct object_put *put = arg;
    struct fl_rec *rec = put->rec;
    struct fl_s3_pieces gone; /* only if somebody put something there; swept at the next start */
    char *key = object_key(call, rec);

    if (!key)
        return fl_err_nomem(err);
    return fl_s3_put_own(call, rec->bucket, key, "text/plain", put->blob, put->md5, &gone, err);
}

static void warn_object(struct fl_rec *rec, const struct fl_err *err)
{
    fl_log_warn("a transcript does not go to its bucket", FL_S("session", rec->about.session_id),
                FL_S("bucket", rec->bucket), FL_S("error", fl_err_text(err)));
}

/* True: it is there. */
static bool keep_object(struct whole *w, struct fl_blob *blob)
{
    struct object_put put = { .rec = w->rec, .blob = blob };
    struct fl_err err = { 0 };
    int r = fl_s3_body_end(w->body, &err);

    if (r >= 0)
        r = fl_blob_keep(blob, &err);
    fl_s3_body_md5(w->body, put.md5);
    if (r >= 0)
        r = call_plane(w->rec->t, put_object, &put, &err);
    if (r < 0) {
        warn_object(w->rec, &err);
        fl_blob_drop(blob);
    }
    return r >= 0;
}

/* Where it is, in AWS's form, for DescribeSessions. */
static int tell_places(struct fl_call *call, void *arg, struct fl_err *err)
{
    const struct whole *w = arg;
    const struct fl_rec *rec = w->rec;
    const char *s3 = w->kept ? fl_arena_printf(call->arena, "https://s3.%s.amazonaws.com/%s/%s",
                                               call->region, rec->bucket, object_key(call, rec))
                             : "";
    const char *log =
        rec->log_group && !rec->log_failed
            ? fl_arena_printf(call->arena,
                              "https://console.aws.amazon.com/cloudwatch/home?region=%s"
                              "#logEventViewer:group=%s;stream=%s",
                              call->region, rec->log_group, rec->about.session_id)
            : "";
    int r = s3 && log ? fl_sql_exec(call->tx, FL_SQL_session_outputs_set, err,
                                    FL_T(rec->about.session_id), FL_T(s3), FL_T(log))
                      : fl_err_nomem(err);

    return FL_MIN(r, 0);
}

static void deliver_places(struct whole *w)
{
    struct fl_err err;

    if (w->kept || (w->rec->log_group && !w->rec->log_failed))
        call_plane(w->rec->t, tell_places, w, &err); /* only told: nothing depends on it */
}

void fl_rec_deliver(struct fl_rec *rec)
{
    static const struct fl_s3_body_conf conf = { .payload = UNSIGNED };
    struct fl_s3 *s3 = rec->t->plane->s3;
    struct fl_blob blob = { .fd = -1 };
    struct whole w = { .rec = rec, .logs = rec->log_group && !rec->log_streams };
    struct fl_err err = { 0 };
    int r = 0;

    if (rec->log_group && rec->log_streams) {
        fl_text_flush(&rec->text, on_line, rec);
        send_lines(rec);
        fl_transcripts_send_events(rec->t);
    }
    if (!w.logs && (!rec->bucket || !s3)) {
        deliver_places(&w);
        return;
    }
    fl_buf_init(&w.event, PLAIN_EVENT_BYTES + 1);
    if (rec->bucket && s3) {
        r = fl_blob_begin(s3->blobs, &blob, &err);
        if (r >= 0)
            r = fl_s3_body_new(&conf, to_blob, &blob, &w.body, &err);
        if (r < 0)
            warn_object(rec, &err);
    }
    r = give_all(&w, &err);
    if (r >= 0 && w.body)
        w.kept = keep_object(&w, &blob);
    else if (blob.fd >= 0)
        fl_blob_drop(&blob);
    fl_transcripts_send_events(rec->t);
    fl_s3_body_free(w.body);
    fl_buf_done(&w.event);
    deliver_places(&w);
}

/* ---- ending a session ---- */

static int terminate(struct fl_call *call, void *arg, struct fl_err *err)
{
    const struct fl_rec *rec = arg;

    return fl_session_terminate(call, rec->about.session_id, rec->end_text, err);
}

void fl_rec_end_session(struct fl_rec *rec)
{
    struct fl_err err;

    if (call_plane(rec->t, terminate, rec, &err) < 0)
        fl_log_error("a session could not be ended", FL_S("session", rec->about.session_id),
                     FL_S("error", fl_err_text(&err)));
}
