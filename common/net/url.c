/* url.c - see url.h. */
#include "common/net/url.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "common/base/util.h"

#define MAX_DIGITS 5

int fl_url_number(const char *text, size_t len, unsigned max, unsigned *ret_number)
{
    unsigned n = 0;

    if (!len || len > MAX_DIGITS)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -EINVAL;
        n = n * 10 + (unsigned)(text[i] - '0');
    }
    if (n > max)
        return -EINVAL;
    *ret_number = n;
    return 0;
}

int fl_url_host_port(const char *text, size_t len, char host[FL_HOST_BYTES], uint16_t *port)
{
    const char *colon, *end = text + len, *name = text;
    size_t name_len = len;
    unsigned n;

    if (len && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (!close || (close + 1 < end && close[1] != ':'))
            return -EINVAL;
        name = text + 1;
        name_len = (size_t)(close - name);
        colon = close + 1 < end ? close + 1 : NULL;
    } else {
        colon = memchr(text, ':', len);
        if (colon && memchr(colon + 1, ':', (size_t)(end - colon) - 1))
            colon = NULL; /* a bare IPv6 address */
        else if (colon)
            name_len = (size_t)(colon - text);
    }
    if (!name_len || name_len >= FL_HOST_BYTES)
        return -EINVAL;
    if (colon) {
        if (fl_url_number(colon + 1, (size_t)(end - colon) - 1, UINT16_MAX, &n) < 0 || !n)
            return -EINVAL;
        *port = (uint16_t)n;
    }
    memcpy(host, name, name_len);
    host[name_len] = '\0';
    return 0;
}

int fl_url_parse(const char *url, struct fl_url *ret_url)
{
    static const struct {
        const char *scheme;
        bool tls;
        uint16_t port;
    } schemes[] = {
        { "http://", false, 80 },
        { "https://", true, 443 },
        { "ws://", false, 80 },
        { "wss://", true, 443 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(schemes); i++) {
        struct fl_url u = { .tls = schemes[i].tls, .port = schemes[i].port };
        const char *authority = url + strlen(schemes[i].scheme), *at;
        size_t len;

        if (strncasecmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
            continue;
        len = strcspn(authority, "/?#");
        at = memrchr(authority, '@', len);
        if (at) {
            len -= (size_t)(at + 1 - authority);
            authority = at + 1;
        }
        if (fl_url_host_port(authority, len, u.host, &u.port) < 0 ||
            (*authority != '[' && strchr(u.host, ':')))
            return -EINVAL;
        *ret_url = u;
        return 0;
    }
    return -EINVAL;
}
