/* proxy.c - see proxy.h. */
#include "common/net/proxy.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_PROXY_PORT 80
#define HTTP_FORBIDDEN     403

/* A stretch of text that is not NUL-terminated. */
struct span {
    const char *at;
    size_t len;
};

struct address {
    int family; /* AF_INET or AF_INET6; 0: not an address */
    uint8_t bytes[16];
};

/* The target of the request. */
struct target {
    struct fl_url url; /* its host without trailing dot */
    struct address address;
};

static int copy_span(struct span s, char *out, size_t size)
{
    if (s.len >= size)
        return -EINVAL;
    memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return 0;
}

static void parse_address(const char *host, struct address *ret)
{
    *ret = (struct address){ 0 };
    if (inet_pton(AF_INET, host, ret->bytes) == 1)
        ret->family = AF_INET;
    else if (inet_pton(AF_INET6, host, ret->bytes) == 1)
        ret->family = AF_INET6;
    /* ::ffff:1.2.3.4 is 1.2.3.4 */
    if (ret->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)ret->bytes)) {
        ret->family = AF_INET;
        memmove(ret->bytes, ret->bytes + 12, 4);
    }
}

static bool is_loopback(const struct target *t)
{
    static const uint8_t v6_loopback[16] = { [15] = 1 };

    if (t->address.family == AF_INET)
        return t->address.bytes[0] == 127;
    if (t->address.family == AF_INET6)
        return !memcmp(t->address.bytes, v6_loopback, sizeof(v6_loopback));
    return !strcasecmp(t->url.host, "localhost");
}

static int parse_target(const char *url, struct target *ret)
{
    size_t len;

    if (fl_url_parse(url, &ret->url) < 0)
        return -EINVAL;
    len = strlen(ret->url.host);
    if (len > 1 && ret->url.host[len - 1] == '.')
        ret->url.host[len - 1] = '\0';
    parse_address(ret->url.host, &ret->address);
    return 0;
}

/* ---- no_proxy ---- */

static unsigned address_bits(const struct address *a)
{
    return a->family == AF_INET ? 32 : 128;
}

static bool in_block(const struct address *a, const struct address *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a->bytes, net->bytes, whole))
        return false;
    return !rest || !((a->bytes[whole] ^ net->bytes[whole]) >> (8 - rest));
}

/* "10.0.0.0/8": 1 if it holds the target, 0 if not, -EINVAL if it is no block. */
static int match_block(const char *entry, const struct target *t)
{
    const char *slash = strchr(entry, '/');
    struct address net;
    unsigned bits;
    char text[64];

    if (!slash || copy_span((struct span){ entry, (size_t)(slash - entry) }, text, sizeof(text)))
        return -EINVAL;
    parse_address(text, &net);
    if (!net.family || fl_url_number(slash + 1, strlen(slash + 1), address_bits(&net), &bits) < 0)
        return -EINVAL;
    return t->address.family == net.family && in_block(&t->address, &net, bits);
}

/* Go's rule (golang.org/x/net/http/httpproxy): "foo.com" is itself and what is below it, ".foo.com"
 * and "*.foo.com" only what is below. */
static bool match_domain(const char *entry, const char *host)
{
    size_t n, len = strlen(host);

    if (!strncmp(entry, "*.", 2))
        entry++;
    n = strlen(entry);
    if (*entry == '.')
        return n > 1 && len > n && !strcasecmp(host + len - n, entry);
    if (!strcasecmp(host, entry))
        return true;
    return len > n && host[len - n - 1] == '.' && !strcasecmp(host + len - n, entry);
}

static bool match_entry(struct span s, const struct target *t)
{
    char entry[300], host[FL_HOST_BYTES];
    struct address address;
    uint16_t port = 0;
    int r;

    if (copy_span(s, entry, sizeof(entry)) < 0)
        return false;
    if (!strcmp(entry, "*"))
        return true;
    r = match_block(entry, t);
    if (r >= 0)
        return r;
    if (fl_url_host_port(s.at, s.len, host, &port) < 0 || (port && port != t->url.port))
        return false;
    parse_address(host, &address);
    if (address.family)
        return address.family == t->address.family &&
               in_block(&t->address, &address, address_bits(&address));
    return !t->address.family && match_domain(host, t->url.host);
}

static bool is_exempt(const char *no_proxy, const struct target *t)
{
    static const char blanks[] = ", \t\r\n";

    while (no_proxy && *no_proxy) {
        struct span entry;

        no_proxy += strspn(no_proxy, blanks);
        entry = (struct span){ no_proxy, strcspn(no_proxy, blanks) };
        if (entry.len && match_entry(entry, t))
            return true;
        no_proxy += entry.len;
    }
    return false;
}

/* ---- the proxy's own URL ---- */

static int percent_decode(struct span s, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        int ch = (unsigned char)s.at[i];

        if (ch == '%') {
            int hi = s.len - i > 2 ? fl_hex_value(s.at[i + 1]) : -1;
            int lo = s.len - i > 2 ? fl_hex_value(s.at[i + 2]) : -1;

            if (hi < 0 || lo < 0)
                return -EINVAL;
            ch = hi << 4 | lo;
            i += 2;
        }
        if (!ch || n + 1 >= size)
            return -EINVAL;
        out[n++] = (char)ch;
    }
    out[n] = '\0';
    return 0;
}

static int parse_credentials(struct span s, struct fl_proxy *p)
{
    const char *colon = memchr(s.at, ':', s.len);
    struct span user = { s.at, colon ? (size_t)(colon - s.at) : s.len };
    struct span password = { s.at + s.len, 0 };

    if (colon)
        password = (struct span){ colon + 1, s.len - user.len - 1 };
    if (percent_decode(user, p->user, sizeof(p->user)) < 0)
        return -EINVAL;
    return percent_decode(password, p->password, sizeof(p->password));
}

static int parse_proxy(const char *url, struct fl_proxy *ret, struct fl_err *err)
{
    struct fl_proxy p = { .port = DEFAULT_PROXY_PORT };
    const char *scheme_end = strstr(url, "://"), *at;
    struct span rest;

    if (strlen(url) >= sizeof(p.url))
        return fl_err_set(err, -EINVAL, NULL, "the proxy URL is too long");
    strcpy(p.url, url);
    if (scheme_end && strncasecmp(url, "http://", 7))
        return fl_err_set(err, -EINVAL, NULL,
                          "a proxy of type \"%.*s\" is not supported, only http://",
                          (int)FL_MIN(scheme_end - url, 16), url);
    if (scheme_end)
        url = scheme_end + 3;
    rest = (struct span){ url, strcspn(url, "/?#") };
    at = memrchr(rest.at, '@', rest.len);
    if (at) {
        if (parse_credentials((struct span){ rest.at, (size_t)(at - rest.at) }, &p) < 0)
            return fl_err_set(err, -EINVAL, NULL, "the proxy URL's user or password is malformed");
        rest = (struct span){ at + 1, (size_t)(rest.at + rest.len - at) - 1 };
    }
    if (fl_url_host_port(rest.at, rest.len, p.host, &p.port) < 0)
        return fl_err_set(err, -EINVAL, NULL, "the proxy URL has no valid host and port");
    *ret = p;
    return 0;
}

/* ---- public ---- */

static int take_env(char **slot, const char *const *names)
{
    for (; !*slot && *names; names++) {
        const char *value = getenv(*names);

        if (value && *value) {
            *slot = strdup(value);
            return *slot ? 0 : -ENOMEM;
        }
    }
    return 0;
}

int fl_proxy_from_env(struct fl_proxy_conf *conf)
{
    static const char *const http[] = { "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY",
                                        NULL };
    static const char *const https[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                         NULL };
    static const char *const no[] = { "no_proxy", "NO_PROXY", NULL };

    if (take_env(&conf->http, http) < 0 || take_env(&conf->https, https) < 0 ||
        take_env(&conf->no_proxy, no) < 0)
        return -ENOMEM;
    return 0;
}

void fl_proxy_conf_done(struct fl_proxy_conf *conf)
{
    free(conf->http);
    free(conf->https);
    free(conf->no_proxy);
    *conf = (struct fl_proxy_conf){ 0 };
}

int fl_proxy_pick(const struct fl_proxy_conf *conf, const char *url, struct fl_proxy *ret_proxy,
                  struct fl_err *err)
{
    struct target t = { 0 };
    const char *proxy;
    int r;

    if (parse_target(url, &t) < 0)
        return fl_err_set(err, -EINVAL, NULL, "not an http, https, ws or wss URL with a host");
    proxy = t.url.tls ? conf->https : conf->http;
    if (!proxy || !*proxy || is_loopback(&t) || is_exempt(conf->no_proxy, &t))
        return 0;
    r = parse_proxy(proxy, ret_proxy, err);
    return r < 0 ? r : 1;
}

int fl_proxy_refused(const char *proxy, const char *target, int status, struct fl_err *err)
{
    bool asks = status == FL_PROXY_AUTH_REQUIRED;

    return fl_err_set(err, asks || status == HTTP_FORBIDDEN ? -EACCES : -EHOSTUNREACH, NULL,
                      "%s: proxy %s refused (%d)%s", target, proxy, status,
                      asks ? ": it wants a user and password" : "");
}
