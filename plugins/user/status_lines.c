/* status_lines.c - see status_lines.h. */
#include "plugins/user/status_lines.h"
#include <errno.h>
#include <string.h>
#include "common/codec/codec.h"

struct line {
    char *out, *err, *status;
    struct fl_opt_int code;
};
static const struct fl_field line_fields[] = {
    FL_FIELD(struct line, out, "stdout", 0),
    FL_FIELD(struct line, err, "stderr", 0),
    FL_FIELD(struct line, status, "status", 0),
    FL_FIELD(struct line, code, "code", 0),
};
static const struct fl_shape line_shape = FL_SHAPE(struct line, "line", line_fields);

/* What a plugin may end with; the other states are the agent's to give. */
static const enum fl_status statuses[] = { FL_STATUS_SUCCESS, FL_STATUS_SUCCESS_AND_REBOOT,
                                           FL_STATUS_FAILED, FL_STATUS_TIMED_OUT,
                                           FL_STATUS_SKIPPED };

void fl_status_lines_init(struct fl_status_lines *s)
{
    *s = (struct fl_status_lines){ .pending = FL_BUF(FL_STATUS_LINE_MAX_BYTES) };
}

void fl_status_lines_done(struct fl_status_lines *s)
{
    fl_buf_done(&s->pending);
}

static int take_status(struct fl_status_lines *s, const struct line *line, struct fl_err *err)
{
    bool known = false;

    if (fl_status_parse(line->status, &s->status) == 0)
        for (size_t i = 0; i < FL_ARRAY_LEN(statuses); i++)
            known |= statuses[i] == s->status;
    if (!known)
        return fl_err_set(err, -EBADMSG, NULL, "line %zu: unknown status %.40s", s->n,
                          line->status);
    if (line->code.set && (line->code.v < 0 || line->code.v > 255))
        return fl_err_set(err, -EBADMSG, NULL, "line %zu: a code outside of 0..255", s->n);
    s->has_status = true;
    s->code = line->code.set ? (int)line->code.v : s->status == FL_STATUS_FAILED;
    return 0;
}

static int take_line(struct fl_status_lines *s, fl_status_text_fn text, void *arg,
                     struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_STATUS_LINE_MAX_BYTES);
    struct fl_err why = { 0 };
    struct line line;
    int r;

    s->n++;
    if (strspn(s->pending.data ? s->pending.data : "", " \t\r") == s->pending.len)
        return 0;
    if (s->has_status)
        return fl_err_set(err, -EBADMSG, NULL, "line %zu: comes after the status", s->n);
    r = fl_json_decode(&line_shape, s->pending.data, s->pending.len, 0, &arena, &line, &why);
    if (r < 0)
        return fl_err_set(err, -EBADMSG, NULL, "line %zu: %s", s->n, fl_err_text(&why));
    if (!line.out && !line.err && !line.status)
        return fl_err_set(err, -EBADMSG, NULL, "line %zu: has no stdout, stderr or status", s->n);
    if (line.out)
        text(arg, FL_STEP_STDOUT, line.out);
    if (line.err)
        text(arg, FL_STEP_STDERR, line.err);
    return line.status ? take_status(s, &line, err) : 0;
}

int fl_status_lines_feed(struct fl_status_lines *s, const void *data, size_t len,
                         fl_status_text_fn text, void *arg, struct fl_err *err)
{
    const char *at = data, *end = at + len;
    int r = 0;

    while (at < end && r == 0) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;

        if (fl_buf_append(&s->pending, at, (size_t)(stop - at)) < 0)
            return fl_err_set(err, -EBADMSG, NULL, "line %zu: has more than %u bytes", s->n + 1,
                              FL_STATUS_LINE_MAX_BYTES);
        if (feed) {
            r = take_line(s, text, arg, err);
            fl_buf_reset(&s->pending);
        }
        at = stop + 1;
    }
    return r;
}

int fl_status_lines_end(struct fl_status_lines *s, fl_status_text_fn text, void *arg,
                        struct fl_err *err)
{
    return s->pending.len > 0 ? take_line(s, text, arg, err) : 0;
}
