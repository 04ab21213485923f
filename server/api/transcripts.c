/* transcripts.c - reading transcripts of sessions: operations of our own, target "Fairlead.",
 * action "fairlead:ListTranscripts" and so on, on arn:aws:ssm:REGION:ACCOUNT:session/ID.
 *
 *   ListTranscripts   {SessionId?, Target?, Owner?, After?, Before?, MaxResults?, NextToken?}
 *                     -> {Transcripts: [{SessionId, Target, Owner, …}], NextToken?}, newest first
 *   SearchTranscripts {Text, Target?, Owner?, After?, Before?, NextToken?}
 *                     -> {Matches: [{SessionId, Target, Owner, Time, Line}], NextToken?}: lines of
 * the output that contain the text, in any letter case (of ASCII). An answer may be empty and have
 * a NextToken: so much was looked through GetTranscript     {SessionId, NextToken?} -> {Records:
 * [{Kind, Time, Data (base64)}], NextToken?} VerifyTranscript  {SessionId} -> {Valid, Error?,
 * FileBytes, Blocks, Head}
 *
 * None changes anything.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "server/api/list.h"
#include "server/api/registry.h"
#include "server/plane.h"
#include "common/session/text.h"
#include "server/session/transcript.h"

#define PAGE          50
#define RECORDS_BYTES (1024 * 1024)      /* of file, in an answer */
#define SEARCH_BYTES  (32 * 1024 * 1024) /* of files, looked through by one call */
#define SEARCH_ROWS   500
#define SEARCH_FINDS  200

#define SESSION_ID_LIMITS                                 \
    {                                                     \
        .min = 1, .max = 96, .pattern = "[A-Za-z0-9._-]+" \
    }

/* ---- shapes ---- */

struct query {
    char *session_id, *node_id, *owner, *text, *token;
    struct fl_time after, before;
    struct fl_opt_int max;
};
#define T                 struct query
#define SESSION_ID(flags) FL_FIELD(T, session_id, "SessionId", flags, .limits = SESSION_ID_LIMITS)
#define TOKEN             FL_FIELD(T, token, "NextToken", 0, .limits = { .max = 1024 })
#define WHICH                                                                \
    FL_FIELD(T, node_id, "Target", 0, .limits = { .min = 1, .max = 400 }),   \
        FL_FIELD(T, owner, "Owner", 0, .limits = { .min = 1, .max = 2048 }), \
        FL_FIELD(T, after, "After", 0), FL_FIELD(T, before, "Before", 0)
static const struct fl_field list_in_fields[] = {
    SESSION_ID(0),
    WHICH,
    TOKEN,
    FL_FIELD(T, max, "MaxResults", 0, .limits = { .min = 1, .max = PAGE }),
};
static const struct fl_field search_in_fields[] = {
    FL_FIELD(T, text, "Text", FL_REQUIRED, .limits = { .min = 1, .max = 256 }), WHICH, TOKEN
};
static const struct fl_field get_in_fields[] = { SESSION_ID(FL_REQUIRED), TOKEN };
static const struct fl_field verify_in_fields[] = { SESSION_ID(FL_REQUIRED) };
static const struct fl_shape list_in_shape = FL_SHAPE(T, "ListTranscripts", list_in_fields);
static const struct fl_shape search_in_shape = FL_SHAPE(T, "SearchTranscripts", search_in_fields);
static const struct fl_shape get_in_shape = FL_SHAPE(T, "GetTranscript", get_in_fields);
static const struct fl_shape verify_in_shape = FL_SHAPE(T, "VerifyTranscript", verify_in_fields);
#undef T

struct entry {
    char *session_id, *node_id, *owner, *document, *type, *endpoint, *recorded, *head, *note;
    int64_t bytes, blocks, in, out, alarms;
    struct fl_time started, ended;
};
#define F(member, key, flags) FL_FIELD(struct entry, member, key, flags)
static const struct fl_field entry_fields[] = {
    F(session_id, "SessionId", 0),
    F(node_id, "Target", 0),
    F(owner, "Owner", 0),
    F(document, "DocumentName", 0),
    F(type, "SessionType", 0),
    F(endpoint, "Endpoint", 0),
    F(recorded, "Recorded", 0),
    F(started, "StartDate", 0),
    F(ended, "EndDate", 0),
    F(in, "BytesIn", FL_ALWAYS),
    F(out, "BytesOut", FL_ALWAYS),
    F(alarms, "Alarms", FL_ALWAYS),
    F(bytes, "FileBytes", FL_ALWAYS),
    F(blocks, "Blocks", FL_ALWAYS),
    F(head, "Head", 0),
    F(note, "Note", 0),
};
#undef F
static const struct fl_shape entry_shape = FL_SHAPE(struct entry, "Transcript", entry_fields);

struct match {
    char *session_id, *node_id, *owner, *line;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct match, member, key, FL_ALWAYS)
static const struct fl_field match_fields[] = {
    F(session_id, "SessionId"),
    F(node_id, "Target"),
    F(owner, "Owner"),
    F(time, "Time"),
    F(line, "Line"),
};
#undef F
static const struct fl_shape match_shape = FL_SHAPE(struct match, "Match", match_fields);

struct record {
    char *kind, *data;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct record, member, key, FL_ALWAYS)
static const struct fl_field record_fields[] = { F(kind, "Kind"), F(time, "Time"),
                                                 F(data, "Data") };
#undef F
static const struct fl_shape record_shape = FL_SHAPE(struct record, "Record", record_fields);

/* One of the three lists. */
struct answer {
    struct entry *entries;
    struct match *matches;
    struct record *records;
    size_t n, cap;
    char *token;
};
#define LIST(member, key, shape) FL_FIELD_LIST(struct answer, member, n, key, FL_ALWAYS, shape)
#define NEXT                     FL_FIELD(struct answer, token, "NextToken", 0)
static const struct fl_field list_out_fields[] = { LIST(entries, "Transcripts", &entry_shape),
                                                   NEXT };
static const struct fl_field search_out_fields[] = { LIST(matches, "Matches", &match_shape), NEXT };
static const struct fl_field get_out_fields[] = { LIST(records, "Records", &record_shape), NEXT };
static const struct fl_shape list_out_shape =
    FL_SHAPE(struct answer, "ListTranscriptsResult", list_out_fields);
static const struct fl_shape search_out_shape =
    FL_SHAPE(struct answer, "SearchTranscriptsResult", search_out_fields);
static const struct fl_shape get_out_shape =
    FL_SHAPE(struct answer, "GetTranscriptResult", get_out_fields);

struct verdict {
    bool valid;
    char *error, *head;
    int64_t bytes, blocks;
};
#define F(member, key, flags) FL_FIELD(struct verdict, member, key, flags)
static const struct fl_field verdict_fields[] = {
    F(valid, "Valid", FL_ALWAYS),   F(error, "Error", 0), F(bytes, "FileBytes", FL_ALWAYS),
    F(blocks, "Blocks", FL_ALWAYS), F(head, "Head", 0),
};
#undef F
static const struct fl_shape verdict_shape =
    FL_SHAPE(struct verdict, "VerifyTranscriptResult", verdict_fields);

static int nomem(struct fl_err *err)
{
    return fl_err_set(err, -ENOMEM, NULL, "out of memory");
}

/* ---- rows ---- */

static int not_there(struct fl_err *err, const char *session_id)
{
    return fl_err_set(err, -ENOENT, "DoesNotExistException", "Session %s has no transcript",
                      session_id);
}

static int get_entry(struct fl_call *call, const char *session_id, struct entry *ret_entry,
                     struct fl_err *err)
{
    int r = fl_sql_one(call->tx, FL_SQL_transcript_get, &entry_shape, call->arena, ret_entry, err,
                       FL_T(session_id), FL_T(call->account), FL_T(call->region));

    return r == 0 ? not_there(err, session_id) : r;
}

/* "<started>/<session>/<bytes>": behind that session, or in it. */
struct place {
    int64_t started;
    const char *session_id;
    uint64_t bytes;
};

static int take_place(struct fl_call *call, const char *what, const char *token, struct place *out,
                      struct fl_err *err)
{
    char *text, *slash, *last;
    int r = fl_page_token_decode(call, what, token, &text, err);

    *out = (struct place){ .started = INT64_MAX, .session_id = "" };
    if (r < 0 || !text)
        return r;
    slash = strchr(text, '/');
    last = slash ? strchr(slash + 1, '/') : NULL;
    if (!last)
        return fl_err_set(err, -EINVAL, "InvalidNextToken", "The specified token is not valid.");
    *last = '\0';
    *out = (struct place){ strtoll(text, NULL, 10), slash + 1, strtoull(last + 1, NULL, 10) };
    return 0;
}

static int put_place(struct fl_call *call, const char *what, const struct place *at,
                     char **ret_token, struct fl_err *err)
{
    char *text = fl_arena_printf(call->arena, "%lld/%s/%llu", (long long)at->started,
                                 at->session_id, (unsigned long long)at->bytes);

    *ret_token = text ? fl_page_token_encode(call, what, text) : NULL;
    return *ret_token ? 0 : nomem(err);
}

static int open_page(struct fl_call *call, const struct query *q, const struct place *at,
                     int64_t max, struct fl_cursor **ret_row, struct fl_err *err)
{
    return fl_sql_open(call->tx, FL_SQL_transcript_page, ret_row, err, FL_T(call->account),
                       FL_T(call->region), FL_T(q->node_id ? q->node_id : ""),
                       FL_T(q->owner ? q->owner : ""), FL_N(q->after.ms),
                       FL_N(q->before.ms ? q->before.ms : INT64_MAX), FL_N(at->started),
                       FL_T(at->session_id), FL_N(max));
}

static int op_list(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct answer *res = out;
    int64_t max = q->max.set ? q->max.v : PAGE;
    fl_autocursor struct fl_cursor *row = NULL;
    struct place at;
    int r = take_place(call, "ListTranscripts", q->token, &at, err);

    if (r < 0)
        return r;
    res->entries = fl_arena_calloc(call->arena, (size_t)max + 1, sizeof(*res->entries));
    if (!res->entries)
        return nomem(err);
    if (q->session_id) {
        res->n = 1;
        r = get_entry(call, q->session_id, res->entries, err);
        if (r == -ENOENT)
            res->n = 0;
        return r == -ENOENT ? 0 : FL_MIN(r, 0);
    }
    r = open_page(call, q, &at, max + 1, &row, err);
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        struct entry *e = &res->entries[res->n];

        if (res->n == (size_t)max) {
            at = (struct place){ e[-1].started.ms, e[-1].session_id, 0 };
            return put_place(call, "ListTranscripts", &at, &res->token, err);
        }
        r = fl_sql_row(row, &entry_shape, call->arena, e, err);
        res->n++;
    }
    return r;
}

/* ---- records ---- */

static int open_file(struct fl_call *call, const char *session_id, struct fl_err *err)
{
    int fd =
        call->plane->transcripts ? fl_transcript_fd(call->plane->transcripts, session_id) : -ENOENT;

    return fd < 0 ? fl_err_set(err, fd, "DoesNotExistException",
                               "The file of the transcript of %s is not there", session_id)
                  : fd;
}

struct collect {
    struct fl_call *call;
    struct answer *res;
};

static int add_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct collect *c = arg;
    struct answer *res = c->res;
    fl_autofree char *text = fl_base64_encode(data, len);
    struct record *rec;

    res->records = fl_list_room(c->call->arena, res->records, res->n, &res->cap, sizeof(*rec));
    if (!res->records || !text)
        return -ENOMEM;
    rec = &res->records[res->n++];
    *rec = (struct record){ fl_arena_memdup(c->call->arena, &kind, 1),
                            fl_arena_strdup(c->call->arena, text),
                            { wall_ms } };
    return rec->kind && rec->data ? 0 : -ENOMEM;
}

static int op_get(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct collect c = { call, out };
    struct fl_tf_end at = { 0 };
    struct place place;
    struct entry e;
    fl_autofd int fd = -1;
    int r = get_entry(call, q->session_id, &e, err);

    if (r >= 0)
        r = take_place(call, "GetTranscript", q->token, &place, err);
    if (r < 0)
        return r;
    if (q->token && strcmp(place.session_id, q->session_id) != 0)
        return fl_err_set(err, -EINVAL, "InvalidNextToken", "The token is of another session.");
    fd = open_file(call, q->session_id, err);
    r = fd;
    if (r >= 0 && place.bytes)
        r = fl_tf_seek(fd, q->session_id, place.bytes, &at, err);
    /* What the row does not know yet may be half written. */
    if (r >= 0 && at.bytes < (uint64_t)e.bytes)
        r = fl_tf_read(fd, fl_transcript_key(call->plane->transcripts), q->session_id, &at,
                       FL_MIN(RECORDS_BYTES, (uint64_t)e.bytes - at.bytes), add_record, &c, err);
    if (r == -EBADMSG || r == -ENODATA)
        return fl_err_set(err, r, "InvalidTranscript", "The transcript was tampered with: %s",
                          fl_err_text(err));
    if (r < 0)
        return r;
    place = (struct place){ 0, q->session_id, at.bytes };
    return at.bytes < (uint64_t)e.bytes
               ? put_place(call, "GetTranscript", &place, &c.res->token, err)
               : 0;
}

static int op_verify(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct verdict *res = out;
    struct fl_tf_end at = { 0 };
    struct fl_err why = { 0 };
    char head[FL_SHA256_HEX_BYTES];
    fl_autofd int fd = -1;
    struct entry e;
    int r = get_entry(call, q->session_id, &e, err);

    if (r < 0)
        return r;
    *res = (struct verdict){ .bytes = e.bytes, .blocks = e.blocks, .head = e.head };
    fd = open_file(call, q->session_id, &why);
    r = fd;
    while (r >= 0 && at.bytes < (uint64_t)e.bytes) {
        uint64_t before = at.bytes;

        r = fl_tf_read(fd, fl_transcript_key(call->plane->transcripts), q->session_id, &at,
                       (uint64_t)e.bytes - at.bytes, NULL, NULL, &why);
        if (r >= 0 && at.bytes == before)
            r = fl_err_set(&why, -EBADMSG, NULL, "%llu bytes are missing at the end",
                           (unsigned long long)e.bytes - at.bytes);
    }
    fl_hex_encode(at.mac, sizeof(at.mac), head);
    if (r >= 0 && (at.bytes != (uint64_t)e.bytes || strcmp(head, e.head) != 0))
        r = fl_err_set(&why, -EBADMSG, NULL, "it does not end as it did when it was written");
    if (r >= 0 && e.ended.ms && lseek(fd, 0, SEEK_END) != e.bytes)
        r = fl_err_set(&why, -EBADMSG, NULL, "something was added at its end");
    if (r >= 0 && e.note)
        r = fl_err_set(&why, -EBADMSG, NULL, "%s", e.note);
    res->valid = r >= 0;
    if (r < 0) {
        res->error = fl_arena_strdup(call->arena, fl_err_text(&why));
        if (!res->error)
            return nomem(err);
    }
    return 0;
}

/* ---- searching ---- */

struct search {
    struct fl_call *call;
    const char *text;
    const struct entry *e;
    struct answer *res;
    struct fl_text lines;
    int64_t time;
    int r;
};

static void look_at_line(void *arg, const char *line, size_t len)
{
    struct search *s = arg;
    struct match *m;

    (void)len;
    if (s->r < 0 || !strcasestr(line, s->text))
        return;
    s->res->matches =
        fl_list_room(s->call->arena, s->res->matches, s->res->n, &s->res->cap, sizeof(*m));
    if (!s->res->matches) {
        s->r = -ENOMEM;
        return;
    }
    m = &s->res->matches[s->res->n++];
    *m = (struct match){ s->e->session_id,
                         s->e->node_id,
                         s->e->owner,
                         fl_arena_strdup(s->call->arena, line),
                         { s->time } };
    if (!m->line)
        s->r = -ENOMEM;
}

static int look_at_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct search *s = arg;

    s->time = wall_ms;
    if (kind == FL_TF_OUTPUT || kind == FL_TF_ERRORS)
        fl_text_output(&s->lines, data, len, look_at_line, s);
    return s->r;
}

/* From at->bytes on, to the end, or until `budget` is used up. What was tampered with is not
 * searched: verifying tells. 1: there is more. */
static int search_one(struct search *s, struct place *at, uint64_t *budget, struct fl_err *err)
{
    struct fl_tf_end end = { 0 };
    fl_autofd int fd = open_file(s->call, s->e->session_id, NULL);
    uint64_t from;
    int r = FL_MIN(fd, 0);

    if (r >= 0 && at->bytes)
        r = fl_tf_seek(fd, s->e->session_id, at->bytes, &end, NULL);
    from = end.bytes;
    s->r = 0;
    if (r >= 0 && end.bytes < (uint64_t)s->e->bytes)
        r = fl_tf_read(fd, fl_transcript_key(s->call->plane->transcripts), s->e->session_id, &end,
                       FL_MIN(*budget, (uint64_t)s->e->bytes - end.bytes), look_at_record, s, NULL);
    fl_text_flush(&s->lines, look_at_line, s);
    fl_text_done(&s->lines);
    if (s->r < 0 || r == -ENOMEM)
        return nomem(err);
    *budget -= FL_MIN(*budget, end.bytes - from);
    at->bytes = end.bytes;
    return r >= 0 && end.bytes < (uint64_t)s->e->bytes;
}

static int op_search(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct search s = { .call = call, .text = q->text, .res = out };
    fl_autocursor struct fl_cursor *row = NULL;
    uint64_t budget = SEARCH_BYTES;
    struct place at, from;
    int n = 0, r = take_place(call, "SearchTranscripts", q->token, &at, err);

    if (r < 0)
        return r;
    from = at;
    if (at.bytes) { /* in the middle of one: that one again */
        char *next = fl_arena_printf(call->arena, "%s ", at.session_id);

        if (!next)
            return nomem(err);
        from.session_id = next;
    }
    r = open_page(call, q, &from, SEARCH_ROWS + 1, &row, err);
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        struct entry e = { 0 };

        if (n++ == SEARCH_ROWS || !budget || s.res->n >= SEARCH_FINDS)
            return put_place(call, "SearchTranscripts", &at, &s.res->token, err);
        r = fl_sql_row(row, &entry_shape, call->arena, &e, err);
        if (r < 0)
            return r;
        s.e = &e;
        at =
            (struct place){ e.started.ms, e.session_id,
                            from.bytes && strcmp(e.session_id, at.session_id) == 0 ? at.bytes : 0 };
        from.bytes = 0;
        r = search_one(&s, &at, &budget, err);
        if (r > 0)
            return put_place(call, "SearchTranscripts", &at, &s.res->token, err);
        at.bytes = 0;
    }
    return r;
}

/* ---- the table ---- */

static int one_session(struct fl_call *call, const void *in, struct fl_resources *ret_resources,
                       struct fl_err *err)
{
    const struct query *q = in;
    struct fl_resource *res = fl_arena_calloc(call->arena, 1, sizeof(*res));

    if (res)
        res->arn = fl_arn(call, "ssm", "session", q->session_id ? q->session_id : "*");
    if (!res || !res->arn)
        return nomem(err);
    *ret_resources = (struct fl_resources){ .v = res, .n = 1 };
    return 0;
}

static const struct fl_op ops[] = {
    { "ListTranscripts", &list_in_shape, &list_out_shape, op_list, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
    { "SearchTranscripts", &search_in_shape, &search_out_shape, op_search, FL_LANE_READ,
      FL_AUTH_SIGV4, one_session },
    { "GetTranscript", &get_in_shape, &get_out_shape, op_get, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
    { "VerifyTranscript", &verify_in_shape, &verdict_shape, op_verify, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
};
const struct fl_op_table fl_ops_transcripts = { "fairlead", "Fairlead.", ops, FL_ARRAY_LEN(ops) };
