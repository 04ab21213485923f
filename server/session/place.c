/* place.c - see place.h. */
#include "server/session/place.h"

#include <errno.h>
#include <string.h>
#include "server/session/session.h"

#define SUFFIX ".log"

struct row {
    const char *node_id, *bucket, *key, *log_group;
    int64_t ended_ms;
    bool object_by_plane, events_by_plane;
};

static const char *text(struct fl_call *call, struct fl_cursor *c, int i, bool *ok)
{
    const char *copy = fl_arena_strdup(call->arena, fl_sql_text(c, i));

    *ok &= copy != NULL;
    return copy;
}

/* 1, 0 for no such session, or <0. */
static int get(struct fl_call *call, const char *session_id, struct row *ret, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    bool ok = true;
    int r = fl_sql_open(call->tx, FL_SQL_session_place_get, &c, err, FL_T(session_id));

    if (r >= 0)
        r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    *ret = (struct row){ .node_id = text(call, c, 0, &ok),
                         .ended_ms = fl_sql_int(c, 1),
                         .bucket = text(call, c, 2, &ok),
                         .key = text(call, c, 3, &ok),
                         .log_group = text(call, c, 4, &ok),
                         .object_by_plane = fl_sql_int(c, 5),
                         .events_by_plane = fl_sql_int(c, 6) };
    return ok ? 1 : fl_err_nomem(err);
}

static int refuse(struct fl_err *err, const char *why)
{
    return fl_err_set(err, -EACCES, "AccessDeniedException", "%s", why);
}

static int judge(const struct fl_call *call, const struct row *row, bool by_plane,
                 const char *node_id, struct fl_err *err)
{
    if (by_plane)
        return refuse(err, "The control plane itself keeps this session's transcript there.");
    if (strcmp(row->node_id, node_id) != 0)
        return refuse(err, "The transcript of a session is its own node's to put there.");
    if (row->ended_ms && row->ended_ms < call->now_ms - FL_SESSION_TELL_MS)
        return refuse(err, "The session has ended long ago.");
    return 1;
}

/* "<prefix>/<session id>.log" */
static char *session_of(struct fl_call *call, const char *key)
{
    const char *slash = key ? strrchr(key, '/') : NULL, *name = slash ? slash + 1 : key;
    size_t len = name ? strlen(name) : 0;

    if (len <= strlen(SUFFIX) || strcmp(name + len - strlen(SUFFIX), SUFFIX) != 0)
        return NULL;
    return fl_arena_memdup(call->arena, name, len - strlen(SUFFIX));
}

int fl_session_object(struct fl_call *call, const char *bucket, const char *key,
                      const char *node_id, struct fl_err *err)
{
    const char *id = session_of(call, key);
    fl_autocursor struct fl_cursor *there = NULL;
    struct row row;
    int r = id ? get(call, id, &row, err) : 0;

    if (r <= 0)
        return r;
    if (strcmp(row.bucket, bucket) != 0 || strcmp(row.key, key) != 0)
        return 0;
    r = judge(call, &row, row.object_by_plane, node_id, err);
    if (r < 0)
        return r;
    r = fl_sql_open(call->tx, FL_SQL_object_get, &there, err, FL_T(call->account), FL_T(bucket),
                    FL_T(key));
    if (r >= 0)
        r = fl_sql_next(there, err);
    return r < 0 ? r : r == 0 ? 1 : refuse(err, "The session's transcript is there already.");
}

int fl_session_stream(struct fl_call *call, const char *group, const char *stream,
                      const char *node_id, struct fl_err *err)
{
    struct row row;
    int r = stream ? get(call, stream, &row, err) : 0;

    if (r <= 0)
        return r;
    return group && strcmp(row.log_group, group) == 0
               ? judge(call, &row, row.events_by_plane, node_id, err)
               : 0;
}

int fl_session_group(struct fl_call *call, const char *group, const char *node_id,
                     struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_session_place_group, &c, err, FL_T(node_id), FL_T(group),
                        FL_N(call->now_ms - FL_SESSION_TELL_MS));

    return r < 0 ? r : fl_sql_next(c, err);
}

int fl_session_place_add(struct fl_call *call, const char *session_id,
                         const struct fl_session_place *place, struct fl_err *err)
{
    int r;

    if (!place->bucket && !place->log_group)
        return 0;
    r = fl_sql_exec(call->tx, FL_SQL_session_place_add, err, FL_T(session_id),
                    FL_T(place->bucket ? place->bucket : ""), FL_T(place->key),
                    FL_T(place->log_group ? place->log_group : ""), FL_N(place->keeps_object),
                    FL_N(place->keeps_events));
    return FL_MIN(r, 0);
}
