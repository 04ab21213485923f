/* output.c - see output.h. */
#include "agent/worker/output.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/codec/codec.h"

#define STREAM_MARK "--output truncated--"
#define ERROR_TITLE "\n----------ERROR-------\n"
#define OUTPUT_MARK "\n---Output truncated---"
#define ERROR_MARK  "\n---Error truncated----"
#define LEN(s)      (sizeof(s) - 1)

void fl_output_init(struct fl_output *s, int dir_fd, const char *file_name, uint64_t file_max_bytes)
{
    *s = (struct fl_output){
        .dir_fd = dir_fd, .file_name = file_name, .fd = -1, .file_max_bytes = file_max_bytes
    };
    fl_buf_init(&s->head, FL_OUTPUT_STREAM_BYTES + 1);
}

void fl_output_done(struct fl_output *s)
{
    fl_buf_done(&s->head);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

/* A file that cannot be written is given up with one line; the reply still has its bytes. */
static void give_up_file(struct fl_output *s, int error)
{
    fl_log_warn("output file given up", FL_S("file", s->file_name), FL_S("error", strerror(error)));
    s->file_failed = true;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void write_file(struct fl_output *s, const char *data, size_t len)
{
    int r;

    len = FL_MIN(len, s->file_max_bytes - s->file_bytes);
    if (len == 0 || s->file_failed)
        return;
    if (s->fd < 0)
        s->fd = openat(s->dir_fd, s->file_name,
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = s->fd < 0 ? -errno : fl_fd_write_all(s->fd, data, len);
    if (r < 0)
        give_up_file(s, -r);
    else
        s->file_bytes += len;
}

static void take(struct fl_output *s, const char *data, size_t len)
{
    fl_buf_append(&s->head, data, FL_MIN(len, s->head.max_bytes - s->head.len));
    write_file(s, data, len);
    s->total_bytes += len;
}

void fl_output_write(struct fl_output *s, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (s->separate)
        take(s, "\n", 1);
    s->separate = false;
    take(s, data, len);
}

void fl_output_next_run(struct fl_output *s)
{
    s->separate = s->total_bytes > 0;
}

void fl_output_recover(struct fl_output *s)
{
    fl_autofd int fd = openat(s->dir_fd, s->file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || fl_buf_reserve(&s->head, s->head.max_bytes) < 0)
        return;
    s->head.len += fl_fd_read_upto(fd, s->head.data + s->head.len, s->head.max_bytes - s->head.len);
    s->head.data[s->head.len] = '\0';
    s->total_bytes = s->file_bytes = (uint64_t)st.st_size;
}

/* The first `keep` bytes and then the mark. */
static int cut(const struct fl_buf *in, size_t keep, const char *mark, struct fl_buf *out)
{
    int r = fl_buf_append(out, in->data, keep);

    return r < 0 ? r : fl_buf_puts(out, mark);
}

int fl_output_stream_text(const struct fl_buf *head, struct fl_buf *out)
{
    if (head->len < FL_OUTPUT_STREAM_BYTES)
        return fl_buf_append(out, head->data, head->len);
    return cut(head, FL_OUTPUT_STREAM_BYTES - LEN(STREAM_MARK), STREAM_MARK, out);
}

int fl_output_join(const struct fl_buf *o, const struct fl_buf *e, struct fl_buf *out)
{
    const char *title = e->len ? ERROR_TITLE : "";
    size_t room = FL_OUTPUT_TEXT_BYTES - strlen(title);
    size_t half = (room - LEN(OUTPUT_MARK) - LEN(ERROR_MARK)) / 2;
    size_t keep_out = o->len, keep_err = e->len;
    int r;

    /* The official agent's cases, first match (protocol 4 §4.2). */
    if (o->len + e->len < room) {
        /* fits */
    } else if (o->len > room / 2 && e->len > room / 2) {
        keep_out = keep_err = half;
    } else if (o->len <= room / 2) {
        keep_err = room - LEN(ERROR_MARK) - o->len;
    } else {
        keep_out = room - LEN(OUTPUT_MARK) - e->len;
    }
    r = cut(o, keep_out, keep_out < o->len ? OUTPUT_MARK : "", out);
    if (r == 0)
        r = fl_buf_puts(out, title);
    if (r == 0)
        r = cut(e, keep_err, keep_err < e->len ? ERROR_MARK : "", out);
    return r;
}

/* The length that each of the three may have so that all fit: short ones leave their share to long
 * ones. */
static size_t fair_share(const struct fl_buf json[3], size_t max_bytes)
{
    size_t left = max_bytes, share = 0, n = 3;

    for (bool given = true; given && n > 0;) {
        given = false;
        share = left / n;
        left = max_bytes;
        n = 0;
        for (size_t i = 0; i < 3; i++)
            if (json[i].len <= share)
                left -= json[i].len;
            else
                n++;
        given = n > 0 && left / n > share;
    }
    return share;
}

/* Cuts the text so that its JSON has about `max_json` bytes; always by more than the mark adds. */
static int shorten(struct fl_buf *text, struct fl_buf *json, size_t max_json)
{
    size_t keep = text->len * max_json / json->len;
    int r = 0;

    text->len = keep - FL_MIN(keep, 2 * LEN(STREAM_MARK));
    if (text->len > 0)
        r = fl_buf_puts(text, STREAM_MARK);
    fl_buf_reset(json);
    return r < 0 ? r : fl_json_quote(json, text->len ? text->data : "", text->len);
}

int fl_output_quote(struct fl_buf texts[3], size_t max_bytes, char *ret_json[3])
{
    struct fl_buf json[3];
    int r = 0;

    for (size_t i = 0; i < 3; i++) {
        fl_buf_init(&json[i], 6 * texts[i].len + 16);
        if (r == 0)
            r = fl_json_quote(&json[i], texts[i].len ? texts[i].data : "", texts[i].len);
    }
    /* A beginning may need more escapes than the whole did on average: again until it fits. */
    while (r == 0 && json[0].len + json[1].len + json[2].len > max_bytes) {
        size_t share = fair_share(json, max_bytes);

        for (size_t i = 0; i < 3 && r == 0; i++)
            if (json[i].len > share)
                r = shorten(&texts[i], &json[i], share);
    }
    for (size_t i = 0; i < 3; i++) {
        ret_json[i] = r == 0 ? fl_buf_take(&json[i], NULL) : NULL;
        fl_buf_done(&json[i]);
        if (r == 0 && !ret_json[i])
            r = -ENOMEM;
    }
    for (size_t i = 0; r < 0 && i < 3; i++) {
        free(ret_json[i]);
        ret_json[i] = NULL;
    }
    return r;
}
