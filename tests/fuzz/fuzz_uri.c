/* Percent-encoding, the URLs of connections and of services. What is encoded decodes to the same,
 * and the authority of a URL that is accepted is that of what was taken from it. */
#include <stdio.h>
#include <string.h>
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/net/url.h"

#define OUT_MAX_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_encoding(const char *s, size_t len)
{
    for (int form = 0; form < 2; form++) {
        fl_autobuf struct fl_buf plain = FL_BUF(OUT_MAX_BYTES), coded = FL_BUF(OUT_MAX_BYTES);
        fl_autobuf struct fl_buf again = FL_BUF(OUT_MAX_BYTES);

        if (fl_uri_decode(s, len, form, &plain) < 0)
            continue;
        if (plain.len > len || fl_uri_encode(plain.data, plain.len, form, &coded) < 0 ||
            fl_uri_decode(coded.data, coded.len, form, &again) < 0 || again.len != plain.len ||
            (again.len && memcmp(again.data, plain.data, again.len) != 0))
            abort();
    }
}

static void check_url(const char *text)
{
    char url[FL_HOST_BYTES + 32], authority[FL_HOST_BYTES + 32];
    struct fl_url u, again;

    if (fl_url_parse(text, &u) < 0)
        return;
    if (!u.host[0] || !u.port)
        abort();
    snprintf(url, sizeof(url), strchr(u.host, ':') ? "%s[%s]:%u/x" : "%s%s:%u/x",
             u.tls ? "https://" : "http://", u.host, u.port);
    if (fl_url_parse(url, &again) < 0 || strcmp(again.host, u.host) != 0 || again.port != u.port ||
        again.tls != u.tls)
        abort();
    fl_url_authority(text, true, authority, sizeof(authority));
    fl_url_authority(text, false, authority, sizeof(authority));
}

static void check_endpoint(const char *override)
{
    fl_autofree char *url = NULL;
    struct fl_err err = { 0 };
    struct fl_url u;

    if (fl_endpoint_url("ssm", "eu-west-1", NULL, override, &url, &err) < 0) {
        if (!err.text[0])
            abort();
        return;
    }
    if (strncmp(url, "http", 4) != 0 || url[strcspn(url, " \r\n")])
        abort();
    (void)fl_url_parse(url, &u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *text = strndup((const char *)data, size);

    check_encoding((const char *)data, size);
    if (!text)
        return 0;
    check_url(text);
    check_endpoint(text);
    return 0;
}
