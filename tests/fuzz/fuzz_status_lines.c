/* What a user's plugin says on its standard output. The first byte says in how large pieces it
 * comes: however it is cut, it is the same texts, and the same end or the same complaint. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "plugins/user/status_lines.h"

#define TEXTS_MAX_BYTES (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_text(void *arg, enum fl_step_stream stream, const char *text)
{
    if (fl_buf_append(arg, stream == FL_STEP_STDOUT ? "o" : "e", 1) < 0 ||
        fl_buf_puts(arg, text) < 0 || fl_buf_append(arg, "", 1) < 0)
        abort();
}

static void read_in_pieces(const uint8_t *data, size_t size, size_t piece,
                           struct fl_status_lines *s, struct fl_buf *texts, struct fl_err *err)
{
    int r = 0;

    fl_status_lines_init(s);
    for (size_t at = 0; at < size && r == 0; at += piece)
        r = fl_status_lines_feed(s, data + at, FL_MIN(piece, size - at), on_text, texts, err);
    if (r == 0)
        r = fl_status_lines_end(s, on_text, texts, err);
    if (r != err->code || (r < 0 && (r != -EBADMSG || !err->text[0])))
        abort();
}

static void check_end(const struct fl_status_lines *s)
{
    if (!s->has_status)
        return;
    if (s->code < 0 || s->code > 255)
        abort();
    switch (s->status) {
    case FL_STATUS_SUCCESS:
    case FL_STATUS_SUCCESS_AND_REBOOT:
    case FL_STATUS_FAILED:
    case FL_STATUS_TIMED_OUT:
    case FL_STATUS_SKIPPED:
        return;
    default:
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf texts = FL_BUF(TEXTS_MAX_BYTES), again = FL_BUF(TEXTS_MAX_BYTES);
    struct fl_status_lines a, b;
    struct fl_err err = { 0 }, err_again = { 0 };

    if (size < 2)
        return 0;
    read_in_pieces(data + 1, size - 1, size - 1, &a, &texts, &err);
    read_in_pieces(data + 1, size - 1, (size_t)data[0] + 1, &b, &again, &err_again);
    check_end(&a);
    if (err.code != err_again.code || strcmp(err.text, err_again.text) != 0 || a.n != b.n ||
        a.has_status != b.has_status || a.status != b.status || a.code != b.code ||
        texts.len != again.len || (texts.len && memcmp(texts.data, again.data, texts.len) != 0))
        abort();
    fl_status_lines_done(&a);
    fl_status_lines_done(&b);
    return 0;
}
