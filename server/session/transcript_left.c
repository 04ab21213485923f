/* transcript_left.c - what earlier runs of the plane have left: transcripts without a row, and
 * those whose session ended while the plane was away. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/wire/datachannel.h"
#include "server/call.h"
#include "server/session/session.h"
#include "server/session/transcript_priv.h"

#define PER_RUN       200
#define UNENDED_MS    (10 * 60 * 1000) /* a relay has told of its end by then */
#define SESSION_BYTES (256 * 1024)

/* ---- files without a row ---- */

struct orphan {
    struct fl_transcripts *t;
    struct fl_arena arena;
    const char *name;
    struct fl_session session;
};

static int find_session(struct fl_tx *tx, void *arg)
{
    static const struct fl_identity nobody = { .kind = FL_ID_USER };
    struct orphan *o = arg;
    struct fl_call call;
    int r = (int)fl_sql_scalar(tx, FL_SQL_transcript_known, -EIO, NULL, FL_T(o->name));

    if (r != 0) /* it has a row */
        return FL_MIN(r, 0);
    fl_call_init(&call, o->t->plane, &o->arena, &nobody, "", fl_now_ms());
    call.tx = tx;
    return FL_MIN(fl_session_load(&call, o->name, &o->session, NULL), 0);
}

static bool adopt(struct orphan *o)
{
    static const struct fl_tap_end stops = { .over = false, .details = "" };
    const struct fl_session *s = &o->session;
    const struct fl_tap_session tapped = {
        .session_id = s->id,
        .node_id = s->node_id,
        .owner = s->owner,
        .document_name = s->document_name,
        .content = s->content ? s->content : "{}",
        .started_ms = s->started_ms,
        .resumed = true,
    };
    void *rec;

    if (fl_transcript_begin(o->t, &tapped, &rec) < 0)
        return false;
    fl_tap_transcript.end(rec, &stops);
    return true;
}

void fl_transcripts_adopt(struct fl_transcripts *t)
{
    int fd = openat(t->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    bool some = false;

    while (dir && (entry = readdir(dir))) {
        struct orphan o = { .t = t, .name = entry->d_name };

        if (!fl_session_id_valid(o.name))
            continue;
        fl_arena_init(&o.arena, SESSION_BYTES);
        if (fl_store_run(t->plane->store, FL_LANE_READ, find_session, &o) == 0 && o.session.id)
            some |= adopt(&o);
        fl_arena_done(&o.arena);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    if (some)
        fl_transcripts_settle(t);
}

/* ---- sessions that ended while nobody relayed them ---- */

struct unended {
    struct fl_arena arena;
    struct fl_tap_session sessions[PER_RUN];
    struct fl_tap_end ends[PER_RUN];
    size_t n;
};

static int find_unended(struct fl_tx *tx, void *arg)
{
    struct unended *u = arg;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(tx, FL_SQL_transcript_unended, &row, NULL, FL_N(fl_now_ms() - UNENDED_MS),
                        FL_N(PER_RUN));

    while (r >= 0 && u->n < PER_RUN && (r = fl_sql_next(row, NULL)) > 0) {
        struct fl_tap_session *s = &u->sessions[u->n];

        *s = (struct fl_tap_session){
            .session_id = fl_arena_strdup(&u->arena, fl_sql_text(row, 0)),
            .node_id = fl_arena_strdup(&u->arena, fl_sql_text(row, 1)),
            .owner = fl_arena_strdup(&u->arena, fl_sql_text(row, 2)),
            .document_name = fl_arena_strdup(&u->arena, fl_sql_text(row, 3)),
            .content = "{}",
            .started_ms = fl_sql_int(row, 4),
            .resumed = true,
        };
        u->ends[u->n] = (struct fl_tap_end){
            .over = true,
            .status = fl_sql_is_null(row, 5) ? FL_SESS_TERMINATED
                                             : (enum fl_session_status)fl_sql_int(row, 5),
            .details =
                fl_arena_strdup(&u->arena, fl_sql_is_null(row, 6) ? "" : fl_sql_text(row, 6)),
            .wall_ms = fl_sql_is_null(row, 7) ? fl_now_ms() : fl_sql_int(row, 7),
        };
        if (!s->session_id || !s->node_id || !s->owner || !s->document_name ||
            !u->ends[u->n].details)
            return -ENOMEM;
        u->n++;
    }
    return FL_MIN(r, 0);
}

static bool is_recorded(struct fl_transcripts *t, const char *session_id)
{
    struct fl_rec *rec;

    pthread_mutex_lock(&t->lock);
    TAILQ_FOREACH (rec, &t->recs, link)
        if (strcmp(rec->about.session_id, session_id) == 0)
            break;
    pthread_mutex_unlock(&t->lock);
    return rec != NULL;
}

/* A plane was killed, and neither side came back: the clock ended the session. */
void fl_transcripts_end_left(struct fl_transcripts *t)
{
    struct unended *u = calloc(1, sizeof(*u));

    if (!u)
        return;
    fl_arena_init(&u->arena, PER_RUN * 8192);
    if (fl_store_run(t->plane->store, FL_LANE_READ, find_unended, u) == 0)
        for (size_t i = 0; i < u->n; i++) {
            void *rec;

            if (!is_recorded(t, u->sessions[i].session_id) &&
                fl_transcript_begin(t, &u->sessions[i], &rec) == 0)
                fl_tap_transcript.end(rec, &u->ends[i]);
        }
    fl_arena_done(&u->arena);
    free(u);
}
