/* uri.c - percent-encoding, the part of sigv4.h that others use too. */
#include <errno.h>
#include <string.h>
#include "common/aws/sigv4.h"

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c));
}

int fl_uri_encode(const char *s, size_t len, bool keep_slash, struct fl_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        int r;

        if (is_unreserved(c) || (keep_slash && c == '/'))
            r = fl_buf_append(out, &s[i], 1);
        else
            r = fl_buf_append(out, (char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
        if (r < 0)
            return r;
    }
    return 0;
}

int fl_uri_decode(const char *s, size_t len, bool form, struct fl_buf *out)
{
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        int r;

        if (c == '%') {
            if (len - i < 3 || fl_hex_value(s[i + 1]) < 0 || fl_hex_value(s[i + 2]) < 0)
                return -EINVAL;
            c = (char)(fl_hex_value(s[i + 1]) << 4 | fl_hex_value(s[i + 2]));
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        r = fl_buf_append(out, &c, 1);
        if (r < 0)
            return r;
    }
    return 0;
}
