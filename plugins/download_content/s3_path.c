/* s3_path.c - see s3_path.h. */
#include "plugins/download_content/s3_path.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/codec/xml.h"
#include "common/net/url.h"

#define KEY_MAX_BYTES  1024
#define NAME_MAX_BYTES 255
#define BUCKET_CHARS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

static const char *const domains[] = { "amazonaws.com", "amazonaws.com.cn" };

static bool ends_with(const char *s, size_t len, const char *end)
{
    size_t n = strlen(end);

    return len > n && strncasecmp(s + len - n, end, n) == 0;
}

/* "s3", or "s3-" and more. */
static bool names_s3(const char *part, size_t len)
{
    return (len == 2 || (len > 3 && part[2] == '-')) && strncasecmp(part, "s3", 2) == 0;
}

/* "s3", "s3.REGION", "s3-REGION", "s3.dualstack.REGION"; before it "BUCKET." in virtual-host style.
 * What stands before the domain and its dot. */
static int split_host(const char *host, size_t len, struct fl_arena *arena, struct fl_s3_path *p)
{
    const char *s3 = NULL, *region;
    size_t region_len;

    /* The last part that is s3 or begins with "s3-": a bucket may be called so, too. */
    for (const char *at = host; at < host + len;) {
        size_t n = strcspn(at, ".");

        n = FL_MIN(n, (size_t)(host + len - at));
        if (names_s3(at, n))
            s3 = at;
        at += n + 1;
    }
    if (!s3)
        return -EINVAL;
    region = s3 + 2;
    region += region < host + len;
    region_len = (size_t)(host + len - region);
    if (region_len > 10 && strncasecmp(region, "dualstack.", 10) == 0) {
        region += 10;
        region_len -= 10;
    }
    p->region = region_len ? fl_arena_memdup(arena, region, region_len)
                           : fl_arena_strdup(arena, "us-east-1");
    if (s3 > host)
        p->bucket = fl_arena_memdup(arena, host, (size_t)(s3 - host) - 1);
    /* A region of such a name would be taken for the service in the URL made of it. */
    return p->region && fl_region_valid(p->region) && !names_s3(p->region, strlen(p->region))
               ? 0
               : -EINVAL;
}

static bool bucket_good(const char *bucket)
{
    size_t n = strlen(bucket);

    return n > 0 && n <= NAME_MAX_BYTES && strspn(bucket, BUCKET_CHARS) == n &&
           strcmp(bucket, ".") != 0 && strcmp(bucket, "..") != 0;
}

/* BUCKET/KEY of an s3:// URL. */
static int split_plain(const char *path, struct fl_arena *arena, struct fl_s3_path *p)
{
    size_t n = strcspn(path, "/");
    const char *key = path + n + (path[n] == '/');

    p->bucket = fl_arena_memdup(arena, path, n);
    p->key = strlen(key) <= KEY_MAX_BYTES ? fl_arena_strdup(arena, key) : NULL;
    return p->bucket && p->key && bucket_good(p->bucket) ? 0 : -EINVAL;
}

static int split_path(const char *path, struct fl_arena *arena, struct fl_s3_path *p)
{
    fl_autobuf struct fl_buf key = FL_BUF(KEY_MAX_BYTES);
    size_t n;
    path += *path == '/';
    if (!p->bucket) {
        n = strcspn(path, "/?#");
        p->bucket = fl_arena_memdup(arena, path, n);
        path += n;
        path += *path == '/';
    }
    if (!p->bucket || fl_uri_decode(path, strcspn(path, "?#"), true, &key) < 0)
        return -EINVAL;
    if (key.len && memchr(key.data, '\0', key.len))
        return -EINVAL;
    p->key = fl_arena_memdup(arena, key.data ? key.data : "", key.len);
    return p->key && bucket_good(p->bucket) ? 0 : -EINVAL;
}

int fl_s3_path_parse(const char *url, struct fl_arena *arena, struct fl_s3_path *ret_path,
                     struct fl_err *err)
{
    struct fl_s3_path p = { 0 };
    struct fl_url u;
    bool plain = strncmp(url, "s3://", 5) == 0;
    size_t len = 0;
    int r = plain                                  ? split_plain(url + 5, arena, &p)
            : strncasecmp(url, "https://", 8) == 0 ? fl_url_parse(url, &u)
                                                   : -EINVAL;

    if (plain && r == 0) {
        *ret_path = p;
        return 0;
    }
    if (r == 0)
        len = strlen(u.host);
    for (size_t i = 0; r == 0 && !p.domain && i < FL_ARRAY_LEN(domains); i++)
        if (ends_with(u.host, len, domains[i]) && u.host[len - strlen(domains[i]) - 1] == '.') {
            p.domain = fl_arena_strdup(arena, domains[i]);
            len -= strlen(domains[i]) + 1;
        }
    if (r == 0)
        r = p.domain && u.port == 443 ? split_host(u.host, len, arena, &p) : -EINVAL;
    if (r == 0)
        r = split_path(url + 8 + strcspn(url + 8, "/?#"), arena, &p);
    if (r < 0)
        return fl_err_set(err, -EINVAL, NULL, "invalid S3 path parameter");
    *ret_path = p;
    return 0;
}

char *fl_s3_path_url(const struct fl_s3_path *path, const char *region, const char *key,
                     struct fl_arena *arena)
{
    fl_autobuf struct fl_buf encoded = FL_BUF(4 * KEY_MAX_BYTES);
    if (fl_uri_encode(key, strlen(key), true, &encoded) < 0)
        return NULL;
    if (!path->domain)
        return fl_arena_printf(arena, "/%.*s", (int)encoded.len, encoded.data ? encoded.data : "");
    return fl_arena_printf(arena, "https://s3.%s.%s/%s/%.*s", region, path->domain, path->bucket,
                           (int)encoded.len, encoded.data ? encoded.data : "");
}

int fl_s3_list_next(const char *xml, size_t len, size_t *at, struct fl_arena *arena, char **ret_key)
{
    static const char open[] = "<Contents>", close[] = "</Contents>";
    fl_autobuf struct fl_buf key = FL_BUF(4 * KEY_MAX_BYTES);
    const char *from = memmem(xml + *at, len - *at, open, sizeof(open) - 1);
    const char *to =
        from ? memmem(from, (size_t)(xml + len - from), close, sizeof(close) - 1) : NULL;
    int r;
    if (!from)
        return 0;
    if (!to)
        return -EBADMSG;
    r = fl_xml_find_text(from, (size_t)(to - from), "Key", &key);
    if (r < 0 || key.len == 0 || memchr(key.data, '\0', key.len))
        return -EBADMSG;
    *at = (size_t)(to - xml) + sizeof(close) - 1;
    *ret_key = fl_arena_memdup(arena, key.data, key.len);
    return *ret_key ? 1 : -ENOMEM;
}
