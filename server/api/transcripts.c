/* transcripts.c - reading transcripts of sessions: operations of our own, target "Fairlead.",
 * action "fairlead:ListTranscripts" and so on, on arn:aws:ssm:REGION:ACCOUNT:session/ID.
 *
 *   ListTranscripts   {SessionId?, Target?, Owner?, After?, Before?, MaxResults?, NextToken?}
 *                     -> {Transcripts: [{SessionId, Target, Owner, ...}], NextToken?}, newest first
 *   SearchTranscripts transcripts_search.c
 *   GetTranscript     {SessionId, NextToken?}
 *                     -> {Records: [{Kind, Time, Data (base64)}], NextToken?}
 *   VerifyTranscript  {SessionId} -> {Valid, Error?, Missing, Ended, FileBytes, Blocks, Head, Tail}
 *                     Missing: the file is so many bytes shorter than it was; Tail: behind the last
 *                     block of one that has not ended, what is being written or was cut short
 *
 * None changes anything.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/api/list.h"
#include "server/api/registry.h"
#include "server/api/transcripts.h"
#include "server/plane.h"
#include "server/session/transcript.h"

#define PAGE          50
#define RECORDS_BYTES (1024 * 1024) /* of file, in an answer */
#define VERIFY_BYTES  (64 * 1024 * 1024)
#define SESSION_ID_LIMITS                                 \
    {                                                     \
        .min = 1, .max = 96, .pattern = "[A-Za-z0-9._-]+" \
    }

/* ---- shapes ---- */

struct query {
    struct fl_transcript_which which;
    char *session_id, *token;
    struct fl_opt_int max;
};
#define T                 struct query
#define SESSION_ID(flags) FL_FIELD(T, session_id, "SessionId", flags, .limits = SESSION_ID_LIMITS)
#define TOKEN             FL_TRANSCRIPT_TOKEN(T, token)
static const struct fl_field list_in_fields[] = {
    SESSION_ID(0),
    FL_TRANSCRIPT_WHICH(T, which),
    TOKEN,
    FL_FIELD(T, max, "MaxResults", 0, .limits = { .min = 1, .max = PAGE }),
};
static const struct fl_field get_in_fields[] = { SESSION_ID(FL_REQUIRED), TOKEN };
static const struct fl_field verify_in_fields[] = { SESSION_ID(FL_REQUIRED) };
static const struct fl_shape list_in_shape = FL_SHAPE(T, "ListTranscripts", list_in_fields);
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

struct record {
    char *kind, *data;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct record, member, key, FL_ALWAYS)
static const struct fl_field record_fields[] = { F(kind, "Kind"), F(time, "Time"),
                                                 F(data, "Data") };
#undef F
static const struct fl_shape record_shape = FL_SHAPE(struct record, "Record", record_fields);

/* One of the two lists. */
struct answer {
    struct entry *entries;
    struct record *records;
    size_t n, cap;
    char *token;
};
#define LIST(member, key, shape) FL_FIELD_LIST(struct answer, member, n, key, FL_ALWAYS, shape)
#define NEXT                     FL_FIELD(struct answer, token, "NextToken", 0)
static const struct fl_field list_out_fields[] = { LIST(entries, "Transcripts", &entry_shape),
                                                   NEXT };
static const struct fl_field get_out_fields[] = { LIST(records, "Records", &record_shape), NEXT };
static const struct fl_shape list_out_shape =
    FL_SHAPE(struct answer, "ListTranscriptsResult", list_out_fields);
static const struct fl_shape get_out_shape =
    FL_SHAPE(struct answer, "GetTranscriptResult", get_out_fields);

struct verdict {
    bool valid, ended;
    char *error, *head;
    int64_t bytes, blocks, missing, tail;
};
#define F(member, key, flags) FL_FIELD(struct verdict, member, key, flags)
static const struct fl_field verdict_fields[] = {
    F(valid, "Valid", FL_ALWAYS),
    F(error, "Error", 0),
    F(missing, "Missing", FL_ALWAYS),
    F(ended, "Ended", FL_ALWAYS),
    F(bytes, "FileBytes", FL_ALWAYS),
    F(blocks, "Blocks", FL_ALWAYS),
    F(head, "Head", 0),
    F(tail, "Tail", FL_ALWAYS),
};
#undef F
static const struct fl_shape verdict_shape =
    FL_SHAPE(struct verdict, "VerifyTranscriptResult", verdict_fields);

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
    return *ret_token ? 0 : fl_err_nomem(err);
}

static int open_page(struct fl_call *call, const struct query *q, const struct place *at,
                     int64_t max, struct fl_cursor **ret_row, struct fl_err *err)
{
    return fl_sql_open(call->tx, FL_SQL_transcript_page, ret_row, err, FL_T(call->account),
                       FL_T(call->region), FL_TRANSCRIPT_WHO(&q->which),
                       FL_TRANSCRIPT_WHEN(&q->which), FL_N(at->started), FL_T(at->session_id),
                       FL_N(max));
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
        return fl_err_nomem(err);
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

int fl_transcript_open(struct fl_call *call, const char *session_id, struct fl_err *err)
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

    if (kind == FL_TF_NUMBERS)
        return 0; /* for the plane alone */
    res->records = fl_list_room(c->call->arena, res->records, res->n, &res->cap, sizeof(*rec));
    if (!res->records || !text)
        return -ENOMEM;
    rec = &res->records[res->n++];
    *rec = (struct record){ fl_arena_memdup(c->call->arena, &kind, 1),
                            fl_arena_strdup(c->call->arena, text),
                            { wall_ms } };
    return rec->kind && rec->data ? 0 : -ENOMEM;
}

/* Reads on, as fl_tf_read does, to where the row says that the file ends. One whose session goes on
 * may have more blocks, which are as good, and then half a one. -ENODATA: the end is missing. */
static int read_blocks(struct fl_call *call, const struct entry *e, int fd, struct fl_tf_end *at,
                       uint64_t max, fl_tf_fn fn, void *arg, struct fl_err *err)
{
    uint64_t known = (uint64_t)e->bytes;
    int r;

    if (at->bytes >= known && e->ended.ms)
        return 0;
    r = fl_tf_read(fd, fl_transcript_key(call->plane->transcripts), e->session_id, at,
                   e->ended.ms ? FL_MIN(max, known - at->bytes) : max, fn, arg, err);
    if (r >= 0 && at->bytes >= known && e->ended.ms)
        return 0;
    if (at->bytes >= known && (r == -EBADMSG || r == -ENODATA))
        return 0;
    if (r == 0 && at->bytes < known)
        return fl_err_set(err, -ENODATA, NULL, "the file ends at byte %llu",
                          (unsigned long long)at->bytes);
    return r;
}

static int op_get(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct collect c = { call, out };
    struct fl_tf_end at = { 0 };
    struct fl_err why = { 0 };
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
    fd = fl_transcript_open(call, q->session_id, err);
    r = fd;
    if (r >= 0 && place.bytes)
        r = fl_tf_seek(fd, q->session_id, place.bytes, &at, &why);
    if (r >= 0)
        r = read_blocks(call, &e, fd, &at, RECORDS_BYTES, add_record, &c, &why);
    if (r == -EBADMSG || r == -ENODATA)
        return fl_err_set(err, r, "InvalidTranscript",
                          "The transcript is not as it was written: %s", fl_err_text(&why));
    if (r < 0)
        return r;
    place = (struct place){ 0, q->session_id, at.bytes };
    return r > 0 ? put_place(call, "GetTranscript", &place, &c.res->token, err) : 0;
}

/* To the end, which must be where the row says, or of one that goes on, behind that. */
static int check_blocks(struct fl_call *call, const struct entry *e, int fd, struct verdict *res,
                        struct fl_err *why)
{
    struct fl_tf_end at = { 0 };
    char head[FL_SHA256_HEX_BYTES];
    uint64_t known = (uint64_t)e->bytes;
    bool same = false;
    int64_t size;
    int r = 1;

    while (r > 0) {
        r = read_blocks(call, e, fd, &at, at.bytes < known ? known - at.bytes : VERIFY_BYTES, NULL,
                        NULL, why);
        fl_hex_encode(at.mac, sizeof(at.mac), head);
        if (r >= 0 && at.bytes == known)
            same = strcmp(head, e->head) == 0;
    }
    size = lseek(fd, 0, SEEK_END);
    if (r == -ENODATA) {
        res->missing = e->bytes - FL_MIN(size, e->bytes);
        return fl_err_set(why, r, NULL, "%lld bytes are missing at the end",
                          (long long)res->missing);
    }
    if (r >= 0 && !same)
        return fl_err_set(why, -EBADMSG, NULL, "it does not end as it did when it was written");
    if (r >= 0 && e->ended.ms && size != e->bytes)
        return fl_err_set(why, -EBADMSG, NULL, "something was added at its end");
    if (r < 0)
        return r;
    res->bytes = (int64_t)at.bytes;
    res->blocks = (int64_t)at.blocks;
    res->tail = FL_MAX(size, res->bytes) - res->bytes;
    res->head = fl_arena_strdup(call->arena, head);
    return res->head ? 0 : -ENOMEM;
}

static int op_verify(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct query *q = in;
    struct verdict *res = out;
    struct fl_err why = { 0 };
    fl_autofd int fd = -1;
    struct entry e;
    int r = get_entry(call, q->session_id, &e, err);

    if (r < 0)
        return r;
    *res = (struct verdict){
        .bytes = e.bytes, .blocks = e.blocks, .head = e.head, .ended = e.ended.ms != 0
    };
    fd = fl_transcript_open(call, q->session_id, &why);
    if (fd == -ENOENT)
        res->missing = e.bytes;
    r = fd < 0 ? fd : check_blocks(call, &e, fd, res, &why);
    if (r == -ENOMEM)
        return fl_err_nomem(err);
    if (r >= 0 && e.note)
        r = fl_err_set(&why, -EBADMSG, NULL, "%s", e.note);
    res->valid = r >= 0;
    if (r < 0) {
        res->error = fl_arena_strdup(call->arena, fl_err_text(&why));
        if (!res->error)
            return fl_err_nomem(err);
    }
    return 0;
}

/* ---- the table ---- */

static int name_session(struct fl_call *call, const char *session_id,
                        struct fl_resources *ret_resources, struct fl_err *err)
{
    struct fl_resource *res = fl_arena_calloc(call->arena, 1, sizeof(*res));

    if (res)
        res->arn = fl_arn(call, "ssm", "session", session_id ? session_id : "*");
    if (!res || !res->arn)
        return fl_err_nomem(err);
    *ret_resources = (struct fl_resources){ .v = res, .n = 1 };
    return 0;
}

static int one_session(struct fl_call *call, const void *in, struct fl_resources *ret_resources,
                       struct fl_err *err)
{
    const struct query *q = in;

    return name_session(call, q->session_id, ret_resources, err);
}

static int every_session(struct fl_call *call, const void *in, struct fl_resources *ret_resources,
                         struct fl_err *err)
{
    (void)in;
    return name_session(call, NULL, ret_resources, err);
}

static const struct fl_op ops[] = {
    { "ListTranscripts", &list_in_shape, &list_out_shape, op_list, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
    { "SearchTranscripts", &fl_search_transcripts_in_shape, &fl_search_transcripts_out_shape,
      fl_op_search_transcripts, FL_LANE_READ, FL_AUTH_SIGV4, every_session },
    { "GetTranscript", &get_in_shape, &get_out_shape, op_get, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
    { "VerifyTranscript", &verify_in_shape, &verdict_shape, op_verify, FL_LANE_READ, FL_AUTH_SIGV4,
      one_session },
};
const struct fl_op_table fl_ops_transcripts = { "fairlead", "Fairlead.", ops, FL_ARRAY_LEN(ops) };
