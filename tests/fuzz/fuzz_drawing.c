/* What is left of a terminal's bytes: the same however they are cut, nothing more once it has been
 * through, and none of the bytes that begin what does more than draw. The first byte says where it
 * is cut. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "cli/drawing.h"

/* False: there was no memory for it. */
static bool draw(const char *data, size_t len, size_t cut, struct fl_buf *out)
{
    struct fl_drawing d = { 0 };
    int r = fl_drawing_feed(&d, data, cut, out);

    if (r == 0)
        r = fl_drawing_feed(&d, data + cut, len - cut, out);
    assert(r == 0 || r == -ENOMEM);
    return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf whole = FL_BUF(1 << 26), cut = FL_BUF(1 << 26),
                             again = FL_BUF(1 << 26);

    if (size < 1)
        return 0;
    if (!draw((const char *)data + 1, size - 1, 0, &whole) ||
        !draw((const char *)data + 1, size - 1, FL_MIN((size_t)data[0], size - 1), &cut))
        return 0;
    assert(whole.len == cut.len && (!whole.len || memcmp(whole.data, cut.data, cut.len) == 0));
    if (!draw(whole.data ? whole.data : "", whole.len, 0, &again))
        return 0;
    assert(whole.len == again.len &&
           (!whole.len || memcmp(whole.data, again.data, again.len) == 0));
    for (size_t i = 0; i < whole.len; i++) {
        char c = whole.data[i], next = i + 1 < whole.len ? whole.data[i + 1] : '\0';

        assert(c != '\x05' && c != '\x7f' && (c != '\x1b' || !next || !strchr("]PX^_Z", next)));
        assert(c != '\xc2' || (uint8_t)next >= 0xa0);
    }
    return 0;
}
