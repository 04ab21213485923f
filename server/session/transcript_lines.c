/* transcript_lines.c - blocks of a transcript to lines of text. */
#include "server/session/transcript_lines.h"

#include <errno.h>

#define NONE UINT64_MAX

int fl_tl_open(struct fl_tl_reader *rd, int fd, const uint8_t *key, const char *session_id,
               const struct fl_tl_place *from, fl_tl_fn fn, void *arg, struct fl_err *err)
{
    uint64_t line = FL_MIN(from->line[0], from->line[1]);

    *rd = (struct fl_tl_reader){ .fd = fd,
                                 .key = key,
                                 .session_id = session_id,
                                 .fn = fn,
                                 .arg = arg,
                                 .told = from->bytes,
                                 .streams = { { .began = NONE, .from = from->line[0] },
                                              { .began = NONE, .from = from->line[1] } } };
    return line ? fl_tf_seek(fd, session_id, line, &rd->at, err) : 0;
}

void fl_tl_done(struct fl_tl_reader *rd)
{
    for (int i = 0; i < 2; i++)
        fl_text_done(&rd->streams[i].text);
}

static void on_line(void *arg, const char *text, size_t len)
{
    struct fl_tl_reader *rd = arg;
    const struct fl_tl_line line = { rd->wall_ms, rd->errors, text, len };

    rd->streams[rd->errors].began = rd->block;
    if (rd->r == 0 && rd->block >= rd->told)
        rd->r = rd->fn(rd->arg, &line);
}

static int on_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct fl_tl_reader *rd = arg;
    struct fl_tl_stream *s;

    if (kind != FL_TF_OUTPUT && kind != FL_TF_ERRORS)
        return 0;
    rd->wall_ms = wall_ms;
    rd->errors = kind == FL_TF_ERRORS;
    s = &rd->streams[rd->errors];
    if (rd->block < s->from)
        return 0;
    if (s->began == NONE)
        s->began = rd->block;
    fl_text_output(&s->text, data, len, on_line, rd);
    if (fl_text_empty(&s->text))
        s->began = NONE;
    return rd->r ? rd->r : s->text.no_memory ? -ENOMEM : 0;
}

int fl_tl_flush(struct fl_tl_reader *rd)
{
    rd->r = 0;
    for (int i = 0; i < 2; i++) {
        rd->errors = i;
        fl_text_flush(&rd->streams[i].text, on_line, rd);
        fl_text_done(&rd->streams[i].text);
        rd->streams[i].began = NONE;
    }
    return rd->r;
}

struct fl_tl_place fl_tl_where(const struct fl_tl_reader *rd)
{
    struct fl_tl_place place = { .bytes = FL_MAX(rd->at.bytes, rd->told) };

    for (int i = 0; i < 2; i++) {
        const struct fl_tl_stream *s = &rd->streams[i];

        place.line[i] = s->began != NONE ? s->began : FL_MAX(rd->at.bytes, s->from);
    }
    return place;
}

/* How far its oldest line goes back. */
static uint64_t line_bytes(const struct fl_tl_reader *rd)
{
    struct fl_tl_place place = fl_tl_where(rd);

    return rd->at.bytes - FL_MIN(rd->at.bytes, FL_MIN(place.line[0], place.line[1]));
}

int fl_tl_read(struct fl_tl_reader *rd, uint64_t end, uint64_t max_bytes, struct fl_err *err)
{
    uint64_t from = FL_MAX(rd->at.bytes, rd->told);

    while (rd->at.bytes < end && rd->at.bytes < from + max_bytes) {
        int r;

        rd->block = rd->at.bytes;
        rd->r = 0;
        r = fl_tf_read(rd->fd, rd->key, rd->session_id, &rd->at, 1, on_record, rd, err);
        if (r >= 0 && rd->at.bytes == rd->block)
            r = fl_err_set(err, -ENODATA, NULL, "the file ends at byte %llu",
                           (unsigned long long)rd->block);
        if (r >= 0 && line_bytes(rd) > FL_TL_LINE_BYTES)
            r = fl_tl_flush(rd);
        if (r < 0)
            return r;
    }
    return rd->at.bytes < end;
}
