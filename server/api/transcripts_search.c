/* transcripts_search.c - which lines of transcripts have a text.
 *
 *   SearchTranscripts {Text, CaseSensitive?, Target?, Owner?, After?, Before?, NextToken?}
 *                     -> {Matches: [{SessionId, Target, Owner, Time, Stream, Line}], NextToken?}
 *
 * Lines of the output that contain the text; in any letter case (of ASCII) unless CaseSensitive.
 * An answer may be empty and have a NextToken: so much was looked through.
 *
 * First the files of those sessions of which something is not in the index (transcript_index.h),
 * then the index; each from the newest session on. A text of one or two characters has no trigram:
 * it is looked for in all files.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/api/list.h"
#include "server/api/transcripts.h"
#include "server/plane.h"
#include "server/session/transcript.h"
#include "server/session/transcript_index.h"
#include "server/session/transcript_lines.h"

#define OP          "SearchTranscripts"
#define CALL_BYTES  (32 * 1024 * 1024) /* of files, and of chunks, looked through by one call */
#define CALL_ROWS   500
#define CALL_CHUNKS 200000 /* passed over, as they are of other sessions */
#define CALL_FINDS  200

/* ---- shapes ---- */

struct search_in {
    struct fl_transcript_which which;
    char *text, *token;
    bool exact;
};
#define T struct search_in
static const struct fl_field in_fields[] = {
    FL_FIELD(T, text, "Text", FL_REQUIRED, .limits = { .min = 1, .max = 256 }),
    FL_FIELD(T, exact, "CaseSensitive", 0),
    FL_TRANSCRIPT_WHICH(T, which),
    FL_TRANSCRIPT_TOKEN(T, token),
};
const struct fl_shape fl_search_transcripts_in_shape = FL_SHAPE(T, OP, in_fields);
#undef T

struct match {
    char *session_id, *node_id, *owner, *stream, *line;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct match, member, key, FL_ALWAYS)
static const struct fl_field match_fields[] = {
    F(session_id, "SessionId"), F(node_id, "Target"), F(owner, "Owner"), F(time, "Time"),
    F(stream, "Stream"),        F(line, "Line"),
};
#undef F
static const struct fl_shape match_shape = FL_SHAPE(struct match, "Match", match_fields);

struct search_out {
    struct match *matches;
    size_t n, cap;
    char *token;
};
static const struct fl_field out_fields[] = {
    FL_FIELD_LIST(struct search_out, matches, n, "Matches", FL_ALWAYS, &match_shape),
    FL_FIELD(struct search_out, token, "NextToken", 0),
};
const struct fl_shape fl_search_transcripts_out_shape =
    FL_SHAPE(struct search_out, "SearchTranscriptsResult", out_fields);

/* A session, as statements have it. */
struct session {
    char *session_id, *node_id, *owner;
    struct fl_time started;
    int64_t file, indexed, lines[2], chunks;
};
#define F(member, key) FL_FIELD(struct session, member, key, 0)
static const struct fl_field session_fields[] = {
    F(session_id, "SessionId"),  F(node_id, "Target"),        F(owner, "Owner"),
    F(started, "StartDate"),     F(file, "FileBytes"),        F(indexed, "indexed_bytes"),
    F(lines[0], "output_bytes"), F(lines[1], "errors_bytes"), F(chunks, "chunks"),
};
#undef F
static const struct fl_shape session_shape = FL_SHAPE(struct session, "session", session_fields);

/* ---- where a call goes on ---- */

/* "f/<started>/<bytes>/<line>/<line>/<session>": in that session's file, at a struct fl_tl_place,
 * or behind that session, when bytes are UINT64_MAX; "i/<id>": behind that chunk. */
struct place {
    bool in_index;
    int64_t started, id;
    struct fl_tl_place file;
    const char *session_id;
};
#define BEHIND UINT64_MAX

struct search {
    struct fl_call *call;
    const struct search_in *in;
    struct search_out *out;
    struct fl_buf match; /* empty: the text has none */
    struct place at;
    uint64_t budget; /* bytes */
    const struct session *e;
};

static int take_place(struct search *s, struct fl_err *err)
{
    char *text;
    unsigned long long bytes, lines[2];
    long long started;
    int used = 0;
    int r = fl_page_token_decode(s->call, OP, s->in->token, &text, err);

    s->at = (struct place){ .started = INT64_MAX, .id = INT64_MAX, .session_id = "" };
    s->at.file.bytes = BEHIND;
    if (r < 0 || !text)
        return r;
    if (sscanf(text, "i/%lld", &started) == 1) {
        s->at.in_index = true;
        s->at.id = started;
        return 0;
    }
    if (sscanf(text, "f/%lld/%llu/%llu/%llu/%n", &started, &bytes, &lines[0], &lines[1], &used) <
            4 ||
        !used)
        return fl_err_set(err, -EINVAL, "InvalidNextToken", "The specified token is not valid.");
    s->at.started = started;
    s->at.file = (struct fl_tl_place){ bytes, { lines[0], lines[1] } };
    s->at.session_id = text + used;
    return 0;
}

static int put_place(struct search *s, struct fl_err *err)
{
    const struct place *at = &s->at;
    char *text = at->in_index
                     ? fl_arena_printf(s->call->arena, "i/%lld", (long long)at->id)
                     : fl_arena_printf(s->call->arena, "f/%lld/%llu/%llu/%llu/%s",
                                       (long long)at->started, (unsigned long long)at->file.bytes,
                                       (unsigned long long)at->file.line[0],
                                       (unsigned long long)at->file.line[1], at->session_id);

    s->out->token = text ? fl_page_token_encode(s->call, OP, text) : NULL;
    return s->out->token ? 0 : fl_err_nomem(err);
}

static bool enough(const struct search *s)
{
    return !s->budget || s->out->n >= CALL_FINDS;
}

/* ---- lines ---- */

static bool has_text(const struct search_in *in, const char *line)
{
    return in->exact ? strstr(line, in->text) != NULL : strcasestr(line, in->text) != NULL;
}

static int look_at_line(void *arg, const struct fl_tl_line *line)
{
    struct search *s = arg;
    struct fl_arena *arena = s->call->arena;
    struct search_out *out = s->out;

    if (!has_text(s->in, line->text))
        return 0;
    out->matches = fl_list_room(arena, out->matches, out->n, &out->cap, sizeof(*out->matches));
    if (!out->matches)
        return -ENOMEM;
    out->matches[out->n] = (struct match){ s->e->session_id,
                                           s->e->node_id,
                                           s->e->owner,
                                           (char *)(line->errors ? "errors" : "output"),
                                           fl_arena_strdup(arena, line->text),
                                           { line->wall_ms } };
    return out->matches[out->n++].line ? 0 : -ENOMEM;
}

/* ---- in files ---- */

/* From `from` to the end, or until enough was done. 1: there is more, and s->at says where. What
 * was tampered with, or is not there, is not searched: verifying tells. */
static int search_file(struct search *s, const struct fl_tl_place *from, struct fl_err *err)
{
    const struct session *e = s->e;
    struct fl_tl_reader rd = { 0 };
    fl_autofd int fd = fl_transcript_open(s->call, e->session_id, NULL);
    int r = fd;

    if (r >= 0)
        r = fl_tl_open(&rd, fd, fl_transcript_key(s->call->plane->transcripts), e->session_id, from,
                       look_at_line, s, NULL);
    for (bool more = true; r >= 0 && more && !enough(s);) {
        uint64_t before = fl_tl_where(&rd).bytes;

        r = fl_tl_read(&rd, (uint64_t)e->file, FL_TI_COMMIT_BYTES, NULL);
        more = r > 0;
        s->budget -= FL_MIN(s->budget, fl_tl_where(&rd).bytes - before);
        if (r == 0)
            r = fl_tl_flush(&rd);
    }
    s->at = (struct place){ .started = e->started.ms, .session_id = e->session_id };
    s->at.file = fl_tl_where(&rd);
    fl_tl_done(&rd);
    if (r == -ENOMEM)
        return fl_err_nomem(err);
    if (r > 0)
        return 1;
    s->at.file.bytes = BEHIND;
    return 0;
}

static int open_files(struct search *s, const struct place *from, struct fl_cursor **ret_row,
                      struct fl_err *err)
{
    const struct fl_transcript_which *w = &s->in->which;
    const enum fl_sql id = s->match.len ? FL_SQL_transcript_unindexed_page : FL_SQL_transcript_page;

    return fl_sql_open(s->call->tx, id, ret_row, err, FL_T(s->call->account), FL_T(s->call->region),
                       FL_TRANSCRIPT_WHO(w), FL_TRANSCRIPT_WHEN(w), FL_N(from->started),
                       FL_T(from->session_id), FL_N(CALL_ROWS + 1));
}

/* 1: enough for this call. */
static int search_files(struct search *s, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    struct place from = s->at;
    int n = 0, r;

    if (from.file.bytes != BEHIND) { /* in the middle of one: that one again */
        from.session_id = fl_arena_printf(s->call->arena, "%s ", from.session_id);
        if (!from.session_id)
            return fl_err_nomem(err);
    }
    r = open_files(s, &from, &row, err);
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        struct session *e = fl_arena_calloc(s->call->arena, 1, sizeof(*e));
        struct fl_tl_place begin;

        if (n++ == CALL_ROWS || enough(s))
            return 1;
        if (!e)
            return fl_err_nomem(err);
        r = fl_sql_row(row, &session_shape, s->call->arena, e, err);
        if (r < 0)
            return r;
        s->e = e;
        begin = (struct fl_tl_place){ (uint64_t)FL_MAX(e->indexed, (int64_t)0),
                                      { (uint64_t)e->lines[0], (uint64_t)e->lines[1] } };
        if (from.file.bytes != BEHIND && strcmp(e->session_id, s->at.session_id) == 0)
            begin = from.file;
        from.file.bytes = BEHIND;
        r = search_file(s, &begin, err);
        if (r)
            return r;
    }
    return r;
}

/* ---- in the index ---- */

/* The session of a number: 1, and 0 if it is none that is asked for. */
static int find_session(struct search *s, int64_t number, struct session *ret_session,
                        struct fl_err *err)
{
    const struct fl_transcript_which *w = &s->in->which;

    *ret_session = (struct session){ 0 };
    return fl_sql_one(s->call->tx, FL_SQL_transcript_of_number, &session_shape, s->call->arena,
                      ret_session, err, FL_N(number), FL_T(s->call->account), FL_T(s->call->region),
                      FL_TRANSCRIPT_WHO(w), FL_TRANSCRIPT_WHEN(w));
}

static int search_chunk(struct search *s, int64_t id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    const char *line, *end;
    const uint8_t *times;
    int64_t start_ms;
    size_t bytes = 0;
    int r = fl_sql_open(s->call->tx, FL_SQL_transcript_text_get, &row, err, FL_N(id));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    start_ms = fl_sql_int(row, 0);
    line = fl_sql_text(row, 1);
    times = fl_sql_blob(row, 2, &bytes);
    s->budget -= FL_MIN(s->budget, strlen(line));
    if (!has_text(s->in, line))
        return 0;
    for (size_t i = 0; r >= 0 && (end = strchr(line, '\n')) && i + 4 <= bytes; i += 4) {
        fl_autofree char *text = strndup(line, (size_t)(end - line));
        uint32_t time;

        if (!text)
            return fl_err_nomem(err);
        memcpy(&time, times + i, sizeof(time));
        time = le32toh(time);
        r = look_at_line(s, &(struct fl_tl_line){ start_ms + (time >> 1), time & 1, text,
                                                  (size_t)(end - line) });
        line = end + 1;
    }
    return r == -ENOMEM ? fl_err_nomem(err) : FL_MIN(r, 0);
}

/* 1: enough for this call. */
static int search_index(struct search *s, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    struct session *e = NULL;
    struct session one;
    int64_t number = 0;
    int n = 0;
    int r = fl_sql_open(s->call->tx, FL_SQL_transcript_trigram_find, &row, err, FL_T(s->match.data),
                        FL_N(s->at.id));

    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        int64_t id = fl_sql_int(row, 0);

        if (n++ == CALL_CHUNKS || enough(s))
            return 1;
        s->at.id = id;
        if (fl_ti_number(id) != number) {
            number = fl_ti_number(id);
            r = find_session(s, number, &one, err);
            e = r > 0 ? fl_arena_alloc(s->call->arena, sizeof(*e)) : NULL;
            if (r > 0 && !e)
                return fl_err_nomem(err);
            if (e)
                *e = one;
            s->e = e;
        }
        /* One that is not in the row yet is searched in the file. */
        if (r >= 0 && e && fl_ti_chunk(id) < e->chunks)
            r = search_chunk(s, id, err);
    }
    return r;
}

int fl_op_search_transcripts(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    struct search s = { .call = call, .in = in, .out = out, .budget = CALL_BYTES };
    fl_autobuf struct fl_buf match = FL_BUF(FL_TI_MATCH_BYTES);
    int r = fl_ti_match(s.in->text, &match);

    if (r < 0 && r != -ENOENT)
        return fl_err_nomem(err);
    s.match = match;
    r = take_place(&s, err);
    if (r >= 0 && !s.at.in_index) {
        r = search_files(&s, err);
        if (r == 0 && s.match.len)
            s.at = (struct place){ .in_index = true, .id = INT64_MAX };
    }
    if (r == 0 && s.at.in_index)
        r = search_index(&s, err);
    return r > 0 ? put_place(&s, err) : r;
}
