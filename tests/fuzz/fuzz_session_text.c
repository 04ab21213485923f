/* What a terminal was sent, what was typed, and alarms over it; the first byte says which, the
 * second where it is cut in two. Lines are what they are however it is cut. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/buf.h"
#include "server/session/alarm.h"

static void add(void *arg, const char *line, size_t len)
{
    assert(strlen(line) == len);
    fl_buf_append(arg, line, len + 1);
}

static void raised(void *arg, const struct fl_conf_alarm *alarm)
{
    fl_buf_puts(arg, alarm->name);
}

static void lines(bool typed, const uint8_t *data, size_t len, size_t cut, struct fl_buf *out)
{
    struct fl_text t = { 0 };

    (typed ? fl_text_typed : fl_text_output)(&t, data, cut, add, out);
    (typed ? fl_text_typed : fl_text_output)(&t, data + cut, len - cut, add, out);
    fl_text_flush(&t, add, out);
    assert(t.cap <= FL_TEXT_LINE_CELLS && t.n <= t.cap);
    fl_text_done(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fl_conf_alarm row = { (char *)"root", (char *)"sudo\\s+su|rm -rf", false };
    static struct fl_alarms *alarms;
    fl_autobuf struct fl_buf whole = FL_BUF(1 << 26), cut = FL_BUF(1 << 26);
    struct fl_alarm_watch w = { 0 };
    size_t at;

    if (size < 2 || (!alarms && fl_alarms_new(&row, 1, &alarms, NULL) < 0))
        return 0;
    at = FL_MIN((size_t)data[1], size - 2);
    lines(data[0] & 1, data + 2, size - 2, 0, &whole);
    lines(data[0] & 1, data + 2, size - 2, at, &cut);
    if (whole.len != cut.len || (whole.len && memcmp(whole.data, cut.data, cut.len) != 0)) {
        /* A line for which there was no memory is lost: only where there is some, once more, do
         * they have to be the same. */
        fl_autofree void *memory = malloc(1);

        fl_buf_reset(&whole);
        fl_buf_reset(&cut);
        lines(data[0] & 1, data + 2, size - 2, 0, &whole);
        lines(data[0] & 1, data + 2, size - 2, at, &cut);
        assert(!memory || (whole.len == cut.len &&
                           (!whole.len || memcmp(whole.data, cut.data, cut.len) == 0)));
    }
    fl_alarm_input(alarms, &w, data + 2, at, raised, &cut);
    fl_alarm_output(alarms, &w, data + 2 + at, size - 2 - at, raised, &cut);
    fl_alarm_watch_done(&w);
    return 0;
}
