/* transcript.c - `fairlead transcripts …`: what was said in sessions. */
#include "cli/transcript.h"

#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/list.h"
#include "cli/term.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"

extern const struct fl_command fl_cmd_transcripts_export;

#define ARENA_BYTES (1 << 20)
#define LIMIT       1000 /* rows, unless more are asked for */
#define PART_BYTES  (1 << 20)

/* ---- what the plane answers ---- */

struct transcript {
    char *session_id, *node_id, *owner, *document, *type, *endpoint, *recorded, *note;
    int64_t in, out, alarms;
    struct fl_time started, ended;
};
#define F(member, key) FL_FIELD(struct transcript, member, key, 0)
static const struct fl_field transcript_fields[] = {
    F(session_id, "SessionId"),  F(node_id, "Target"),   F(owner, "Owner"),
    F(document, "DocumentName"), F(type, "SessionType"), F(endpoint, "Endpoint"),
    F(recorded, "Recorded"),     F(note, "Note"),        F(in, "BytesIn"),
    F(out, "BytesOut"),          F(alarms, "Alarms"),    F(started, "StartDate"),
    F(ended, "EndDate"),
};
#undef F
static const struct fl_shape transcript_shape =
    FL_SHAPE(struct transcript, "Transcript", transcript_fields);

struct match {
    char *session_id, *node_id, *owner, *line;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct match, member, key, 0)
static const struct fl_field match_fields[] = {
    F(session_id, "SessionId"),
    F(node_id, "Target"),
    F(owner, "Owner"),
    F(line, "Line"),
    F(time, "Time"),
};
#undef F
static const struct fl_shape match_shape = FL_SHAPE(struct match, "Match", match_fields);

struct record {
    char *kind, *data;
    struct fl_time time;
};
#define F(member, key) FL_FIELD(struct record, member, key, 0)
static const struct fl_field record_fields[] = { F(kind, "Kind"), F(data, "Data"),
                                                 F(time, "Time") };
#undef F
static const struct fl_shape record_shape = FL_SHAPE(struct record, "Record", record_fields);

/* What is asked. */
struct query {
    char *session_id, *text, *node_id, *owner;
    struct fl_time after, before;
    bool exact;
};
#define F(member, key) FL_FIELD(struct query, member, key, 0)
static const struct fl_field query_fields[] = {
    F(session_id, "SessionId"), F(text, "Text"),     F(node_id, "Target"),      F(owner, "Owner"),
    F(after, "After"),          F(before, "Before"), F(exact, "CaseSensitive"),
};
#undef F
static const struct fl_shape query_shape = FL_SHAPE(struct query, "query", query_fields);

#define C(title, member) FL_COLUMN(title, struct transcript, member)
static const struct fl_column transcript_columns[] = {
    C("SESSION", session_id),
    C("NODE", node_id),
    C("STARTED", started),
    C("ENDED", ended),
    C("RECORDED", recorded),
    C("OUT", out),
    C("ALARMS", alarms),
    FL_COLUMN_CUT("DOCUMENT", struct transcript, document),
    FL_COLUMN_CUT("ENDPOINT", struct transcript, endpoint),
    FL_COLUMN_CUT("OWNER", struct transcript, owner),
    FL_COLUMN_CUT("NOTE", struct transcript, note),
};
#undef C
#define C(title, member) FL_COLUMN(title, struct match, member)
static const struct fl_column match_columns[] = {
    C("SESSION", session_id),
    C("NODE", node_id),
    C("TIME", time),
    FL_COLUMN_CUT("LINE", struct match, line),
};
#undef C

/* ---- list and search ---- */

struct which_options {
    const char *node, *owner;
    struct fl_seconds since;
    struct fl_number limit;
};
#define WHICH(T, m)                                                                    \
    FL_OPT(T, m node, 'n', "node", "NODE", "of sessions on a node", FL_COMPLETE_NODE), \
        FL_OPT(T, m owner, 0, "owner", "ARN", "of sessions that somebody started"),    \
        FL_OPT(T, m since, 0, "since", "TIME", "that began within 90s, 5m, 2h, 7d"),   \
        FL_OPT(T, m limit, 0, "limit", "N", "at most so many rows; 1000")
static const struct fl_opt which_options[] = { WHICH(struct which_options, ) };

static int print_rows(struct fl_cli *cli, const struct fl_list *rows, const struct which_options *o,
                      struct query q)
{
    fl_autobuf struct fl_buf body = FL_BUF(65536);
    struct fl_list l = *rows;

    q.node_id = (char *)o->node;
    q.owner = (char *)o->owner;
    q.after.ms = o->since.set ? fl_now_ms() - o->since.v * 1000 : 0;
    l.limit = o->limit.set ? (size_t)o->limit.v : LIMIT;
    if (fl_json_encode(&query_shape, &q, &body) < 0)
        return FL_EXIT_USAGE;
    return fl_list_print(cli, &l, body.data, NULL, NULL);
}

static int run_list(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    static const struct fl_list rows = { .operation = "Fairlead.ListTranscripts",
                                         .key = "Transcripts",
                                         .shape = &transcript_shape,
                                         .columns = transcript_columns,
                                         .n_columns = FL_ARRAY_LEN(transcript_columns) };

    (void)args;
    return print_rows(cli, &rows, options, (struct query){ 0 });
}

const struct fl_command fl_cmd_transcripts_list = {
    .name = "transcripts list",
    .args = "",
    .summary = "List recorded sessions, the newest first",
    .text =
        "Of tunnels, and of sessions that are encrypted with a key of their own, only sizes are "
        "recorded.",
    FL_OPTIONS(struct which_options, which_options),
    .run = run_list,
};

struct search_options {
    struct which_options which;
    bool exact;
};
static const struct fl_opt search_options[] = {
    WHICH(struct search_options, which.),
    FL_OPT(struct search_options, exact, 0, "case-sensitive", NULL,
           "tell upper and lower case apart"),
};

static int run_search(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct search_options *o = options;
    static const struct fl_list rows = { .operation = "Fairlead.SearchTranscripts",
                                         .key = "Matches",
                                         .shape = &match_shape,
                                         .columns = match_columns,
                                         .n_columns = FL_ARRAY_LEN(match_columns) };

    return print_rows(cli, &rows, &o->which,
                      (struct query){ .text = args->v[0], .exact = o->exact });
}

const struct fl_command fl_cmd_transcripts_search = {
    .name = "transcripts search",
    .args = "TEXT",
    .summary = "Find lines of recorded sessions",
    .text =
        "Looks through what the terminals showed, without escape sequences and as it stood when "
        "the line was complete; what was typed and not shown is not in it. A text that begins "
        "with a dash stands behind \"--\".",
    FL_OPTIONS(struct search_options, search_options),
    .min_args = 1,
    .max_args = 1,
    .run = run_search,
};

/* ---- records ---- */

struct each {
    fl_transcript_fn fn;
    void *arg;
};

static int each_record(void *arg, const void *item, const void *json)
{
    const struct each *e = arg;
    const struct record *rec = item;
    fl_autofree uint8_t *data = NULL;
    struct fl_transcript_record out = { .time_ms = rec->time.ms };
    fl_autofree char *text = NULL;

    (void)json;
    if (!rec->kind || !rec->data || fl_base64_decode(rec->data, &data, &out.len) < 0)
        return -EBADMSG;
    text = malloc(out.len + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, data, out.len);
    text[out.len] = '\0';
    out.kind = rec->kind[0];
    out.data = text;
    return e->fn(e->arg, &out);
}

int fl_transcript_each(struct fl_cli *cli, const char *session_id, fl_transcript_fn fn, void *arg,
                       struct fl_err *err)
{
    static const struct fl_list records = { .operation = "Fairlead.GetTranscript",
                                            .key = "Records",
                                            .shape = &record_shape };
    fl_autobuf struct fl_buf body = FL_BUF(4096);
    struct query q = { .session_id = (char *)session_id };
    struct each e = { fn, arg };
    int r = fl_json_encode(&query_shape, &q, &body);

    return r < 0 ? fl_err_set(err, r, NULL, "%s: too long", session_id)
                 : fl_list_each(cli, &records, body.data, each_record, &e, err);
}

bool fl_transcript_size(const struct fl_transcript_record *record, int *ret_cols, int *ret_rows)
{
    return record->kind == 'S' && sscanf(record->data, "%dx%d", ret_cols, ret_rows) == 2 &&
           *ret_cols > 0 && *ret_rows > 0;
}

/* ---- export: asciicast, version 2 (docs.asciinema.org/manual/asciicast/v2) ---- */

struct exporter {
    FILE *out;
    const char *session_id;
    int64_t start_ms;
    int cols, rows;
    struct fl_buf part; /* bytes of a character that is not whole */
};

static int put_json(FILE *out, const char *text, size_t len)
{
    fl_autobuf struct fl_buf quoted = FL_BUF(SIZE_MAX);
    int r = fl_json_quote(&quoted, text, len);

    return r < 0 ? r : (int)fwrite(quoted.data, 1, quoted.len, out);
}

static void put_head(struct exporter *x)
{
    fprintf(x->out,
            "{\"version\": 2, \"width\": %d, \"height\": %d, \"timestamp\": %lld, \"title\": ",
            x->cols, x->rows, (long long)x->start_ms / 1000);
    put_json(x->out, x->session_id, strlen(x->session_id));
    fputs("}\n", x->out);
}

/* How many bytes at the end are the beginning of a character. */
static size_t unfinished(const char *text, size_t len)
{
    for (size_t n = 1; n <= 3 && n <= len; n++) {
        uint8_t c = (uint8_t)text[len - n];

        if (c >= 0xC0)
            return n < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? n : 0;
        if (c < 0x80)
            return 0;
    }
    return 0;
}

static int put_event(struct exporter *x, int64_t time_ms, char kind, const char *text, size_t len)
{
    fprintf(x->out, "[%.3f, \"%c\", ", (double)FL_MAX(time_ms - x->start_ms, (int64_t)0) / 1000.0,
            kind);
    put_json(x->out, text, len);
    return fputs("]\n", x->out) < 0 ? -EIO : 0;
}

static int put_output(struct exporter *x, const struct fl_transcript_record *rec)
{
    size_t rest;
    int r = fl_buf_append(&x->part, rec->data, rec->len);

    if (r < 0)
        return r;
    rest = unfinished(x->part.data, x->part.len);
    if (x->part.len > rest)
        r = put_event(x, rec->time_ms, 'o', x->part.data, x->part.len - rest);
    fl_buf_consume(&x->part, x->part.len - rest);
    return r;
}

/* A client may tell its size only after the first output. */
static int find_size(void *arg, const struct fl_transcript_record *rec)
{
    struct exporter *x = arg;

    return fl_transcript_size(rec, &x->cols, &x->rows) ? 1 : 0;
}

static int export_record(void *arg, const struct fl_transcript_record *rec)
{
    struct exporter *x = arg;
    int cols, rows;
    bool size = fl_transcript_size(rec, &cols, &rows);

    if (rec->kind == 'B') {
        x->start_ms = rec->time_ms;
        put_head(x);
        return 0;
    }
    if (size && cols == x->cols && rows == x->rows)
        return 0;
    if (size) {
        x->cols = cols;
        x->rows = rows;
    }
    switch (rec->kind) {
    case 'O':
    case 'E':
        return put_output(x, rec);
    case 'I':
        return put_event(x, rec->time_ms, 'i', rec->data, rec->len);
    case 'S':
        return size ? put_event(x, rec->time_ms, 'r', rec->data, rec->len) : 0;
    default: /* alarms, gaps, the end */
        return put_event(x, rec->time_ms, 'm', rec->data, rec->len);
    }
}

static int export_raw(void *arg, const struct fl_transcript_record *rec)
{
    struct exporter *x = arg;

    if (rec->kind != 'O' && rec->kind != 'E')
        return 0;
    return fwrite(rec->data, 1, rec->len, x->out) == rec->len ? 0 : -EIO;
}

struct export_options {
    const char *output;
    bool asciicast, raw;
};
static const struct fl_opt export_options[] = {
    FL_OPT(struct export_options, asciicast, 0, "asciicast", NULL,
           "asciicast version 2, which asciinema plays; the default"),
    FL_OPT(struct export_options, raw, 0, "raw", NULL, "the bytes that the terminal got"),
    FL_OPT(struct export_options, output, 'o', "output", "FILE", "to a file; must not be there yet",
           FL_COMPLETE_FILE),
};

static int run_export(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct export_options *o = options;
    struct exporter x = { .out = stdout, .session_id = args->v[0], .cols = 80, .rows = 24 };
    struct fl_err err = { 0 };
    int r;

    if (o->asciicast && o->raw)
        return fl_usage(&fl_cmd_transcripts_export, "one of --asciicast and --raw");
    if (o->output && !(x.out = fopen(o->output, "wxe"))) {
        fprintf(stderr, "fairlead: %s: %s\n", o->output, strerror(errno));
        return FL_EXIT_USAGE;
    }
    fl_buf_init(&x.part, PART_BYTES);
    r = o->raw ? 0 : fl_transcript_each(cli, args->v[0], find_size, &x, &err);
    if (r >= 0)
        r = fl_transcript_each(cli, args->v[0], o->raw ? export_raw : export_record, &x, &err);
    if (r >= 0 && (fflush(x.out) != 0 || ferror(x.out)))
        r = fl_err_set(&err, -EIO, NULL, "%s: cannot be written", o->output ? o->output : "output");
    if (o->output)
        fclose(x.out);
    fl_buf_done(&x.part);
    return r < 0 ? fl_cli_failed(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_transcripts_export = {
    .name = "transcripts export",
    .args = "SESSION",
    .summary = "Write a transcript for other programs",
    FL_OPTIONS(struct export_options, export_options),
    .min_args = 1,
    .max_args = 1,
    .run = run_export,
};
