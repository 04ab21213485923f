/* endpoint.c - see endpoint.h. */
#include "common/aws/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX_BYTES   253
#define REGION_MAX_BYTES 100

static const char host_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
static const char region_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";

/* protocol 1 §5.2; the first match counts */
static const struct {
    const char *prefix, *domain;
} domains[] = {
    { "cn-", "amazonaws.com.cn" },    { "us-iso-", "c2s.ic.gov" },
    { "us-isob-", "sc2s.sgov.gov" },  { "us-isof-", "csp.hci.ic.gov" },
    { "eu-isoe-", "cloud.adc-e.uk" }, { "eusc-de-", "amazonaws.eu" },
    { "", "amazonaws.com" },
};

static const struct {
    const char *scheme, *default_port;
} schemes[] = {
    { "https", "443" },
    { "http", "80" },
    { "wss", "443" },
    { "ws", "80" },
};

bool fl_region_valid(const char *region)
{
    size_t len = strspn(region, region_chars);

    return len > 0 && len <= REGION_MAX_BYTES && region[len] == '\0';
}

static bool port_valid(const char *s, size_t len)
{
    unsigned port = 0;

    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        port = port * 10 + (unsigned)(s[i] - '0');
    }
    return port > 0 && port <= 65535;
}

/* Takes "host", "host:port", "[v6]" or "[v6]:port" apart; *ret_host_len excludes ":port". */
static bool authority_valid(const char *s, size_t len, size_t *ret_host_len)
{
    size_t host = 0;

    if (len > 0 && s[0] == '[') {
        host = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        if (host < 4 || host >= len || s[host] != ']')
            return false;
        host++;
    } else {
        host = FL_MIN(strspn(s, host_chars), len);
    }
    if (host == 0 || host > HOST_MAX_BYTES)
        return false;
    *ret_host_len = host;
    return host == len || (s[host] == ':' && port_valid(s + host + 1, len - host - 1));
}

/* A URL's or bare authority's parts, pointing into the text. */
struct url {
    size_t scheme; /* index into schemes */
    const char *authority;
    size_t authority_len, host_len;
};

static bool split_url(const char *text, bool need_scheme, struct url *ret_url)
{
    const char *mark = strstr(text, "://");
    struct url u = { .authority = text };

    if (mark) {
        size_t len = (size_t)(mark - text);

        while (u.scheme < FL_ARRAY_LEN(schemes) &&
               (strncasecmp(schemes[u.scheme].scheme, text, len) != 0 ||
                schemes[u.scheme].scheme[len] != '\0'))
            u.scheme++;
        if (u.scheme == FL_ARRAY_LEN(schemes))
            return false;
        u.authority = mark + 3;
    } else if (need_scheme) {
        return false;
    }
    u.authority_len = strcspn(u.authority, "/?#");
    if (!authority_valid(u.authority, u.authority_len, &u.host_len))
        return false;
    *ret_url = u;
    return true;
}

static const char *region_domain(const char *region)
{
    size_t i = 0;

    while (strncmp(region, domains[i].prefix, strlen(domains[i].prefix)) != 0)
        i++;
    return domains[i].domain;
}

int fl_endpoint_url(const char *service, const char *region, const char *domain,
                    const char *override, char **ret_url, struct fl_err *err)
{
    bool channel = strcmp(service, "ssmmessages") == 0;
    struct url u;
    char *text;
    int n;

    if (override && *override) {
        if (!split_url(override, false, &u) ||
            (!channel && strncmp(schemes[u.scheme].scheme, "http", 4) != 0))
            return fl_err_set(err, -EINVAL, NULL, "bad endpoint '%.200s' for %s", override,
                              service);
        n = asprintf(&text, "%s://%.*s", channel ? "https" : schemes[u.scheme].scheme,
                     (int)u.authority_len, u.authority);
    } else {
        if (!fl_region_valid(region))
            return fl_err_set(err, -EINVAL, NULL, "bad region '%.120s'", region);
        if (!domain || !*domain)
            domain = region_domain(region);
        if (strlen(domain) > HOST_MAX_BYTES || domain[strspn(domain, host_chars)] != '\0')
            return fl_err_set(err, -EINVAL, NULL, "bad service domain '%.200s'", domain);
        n = asprintf(&text, "https://%s.%s.%s", service, region, domain);
    }
    if (n < 0)
        return fl_err_nomem(err);
    *ret_url = text;
    return 0;
}

int fl_url_authority(const char *url, bool keep_default, char *out, size_t out_size)
{
    struct url u;
    size_t len;

    if (!split_url(url, true, &u))
        return -EINVAL;
    len = u.authority_len;
    if (!keep_default && len > u.host_len) {
        const char *port = schemes[u.scheme].default_port;

        if (len - u.host_len - 1 == strlen(port) &&
            strncmp(u.authority + u.host_len + 1, port, strlen(port)) == 0)
            len = u.host_len;
    }
    if (len >= out_size)
        return -EINVAL;
    memcpy(out, u.authority, len);
    out[len] = '\0';
    return 0;
}
