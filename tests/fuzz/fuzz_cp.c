/* What a node may send in answer to `fairlead cp`: a line, data, a digest. Whatever the pieces it
 * comes in, the same must come of it, and nothing of it is lost or told twice. */
#include <stdint.h>
#include <string.h>
#include "cli/cp_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int collect(void *arg, const char *data, size_t len)
{
    return fl_buf_append(arg, data, len);
}

static void feed(const char *data, size_t size, size_t step, struct fl_cp_tail *t,
                 struct fl_buf *out)
{
    for (size_t at = 0; at < size; at += step)
        if (fl_cp_tail_feed(t, data + at, FL_MIN(step, size - at), collect, out) < 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size ? memchr(data, '\n', FL_MIN(size, (size_t)128)) : NULL;
    struct fl_cp_tail whole = { 0 }, bytes = { 0 };
    char a[FL_CP_TRAILER_BYTES], b[FL_CP_TRAILER_BYTES];
    struct fl_cp_head head;
    size_t skip = 0;

    if (end) {
        fl_autofree char *line = strndup(text, (size_t)(end - text));

        if (line && fl_cp_head_parse(line, &head) == 0 && head.mode > 0777)
            abort();
        skip = (size_t)(end - text) + 1;
    }

    fl_autobuf struct fl_buf one = FL_BUF(size + 1);
    fl_autobuf struct fl_buf two = FL_BUF(size + 1);

    feed(text + skip, size - skip, size + 1, &whole, &one);
    feed(text + skip, size - skip, 1, &bytes, &two);
    if (one.len != two.len || (one.len && memcmp(one.data, two.data, one.len) != 0) ||
        whole.n != bytes.n || memcmp(whole.kept, bytes.kept, whole.n) != 0 ||
        one.len + whole.n != size - skip)
        abort();
    if (fl_cp_tail_digest(&whole, a) != fl_cp_tail_digest(&bytes, b))
        abort();
    return 0;
}
