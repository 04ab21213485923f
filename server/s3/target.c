/* target.c - see target.h. */
#include "server/s3/target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "common/aws/sigv4.h"
#include "common/codec/utf8.h"

#define HOST_MAX_BYTES 320

static bool is_address(const char *s)
{
    struct in_addr v4;

    return inet_pton(AF_INET, s, &v4) == 1;
}

bool fl_s3_bucket_valid(const char *name)
{
    static const char ends[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(name);

    return len >= 3 && len <= 63 &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-")] == '\0' &&
           strchr(ends, name[0]) && strchr(ends, name[len - 1]) && !strstr(name, "..") &&
           !is_address(name);
}

static bool is_ours(const char *host, const struct fl_strs *hosts)
{
    for (size_t i = 0; i < hosts->n; i++)
        if (strcasecmp(host, hosts->v[i]) == 0)
            return true;
    return is_address(host);
}

/* What stands before the first '.' behind which one of our names begins; 0: nothing does. */
static size_t bucket_len(const char *host, const struct fl_strs *hosts)
{
    if (is_ours(host, hosts))
        return 0;
    for (const char *dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.'))
        if (is_ours(dot + 1, hosts))
            return (size_t)(dot - host);
    return 0;
}

static bool is_utf8(const char *s)
{
    size_t len = strlen(s), n;

    for (size_t i = 0; i < len; i += n)
        if ((n = fl_utf8_len(s + i, len - i)) == 0)
            return false;
    return true;
}

static int take_key(const char *raw, struct fl_arena *arena, struct fl_s3_target *out,
                    struct fl_err *err)
{
    fl_autobuf struct fl_buf key = FL_BUF(FL_S3_KEY_MAX_BYTES);
    int r = *raw ? fl_uri_decode(raw, strlen(raw), false, &key) : 0;

    if (r == -EMSGSIZE)
        return fl_err_set(err, -EINVAL, "KeyTooLongError", "Your key is too long");
    if (r == -EINVAL || (key.len && (strlen(key.data) != key.len || !is_utf8(key.data))))
        return fl_err_set(err, -EINVAL, "InvalidURI", "Couldn't parse the specified URI.");
    if (r == 0 && key.len)
        out->key = fl_arena_strdup(arena, key.data);
    return r < 0 || (key.len && !out->key) ? fl_err_nomem(err) : 0;
}

int fl_s3_target_read(const char *host, const struct fl_strs *hosts, const char *path,
                      struct fl_arena *arena, struct fl_s3_target *ret_target, struct fl_err *err)
{
    struct fl_s3_target out = { 0 };
    char name[HOST_MAX_BYTES] = "";
    size_t len = host ? strcspn(host, ":") : 0;
    int r;

    if (len < sizeof(name) && len)
        memcpy(name, host, len);
    len = bucket_len(name, hosts);
    path += *path == '/';
    if (len) {
        out.bucket = fl_arena_memdup(arena, name, len);
    } else if (*path) {
        len = strcspn(path, "/");
        out.bucket = fl_arena_memdup(arena, path, len);
        path += len;
        path += *path == '/';
    }
    if (len && !out.bucket)
        return fl_err_nomem(err);
    if (out.bucket && !fl_s3_bucket_valid(out.bucket))
        return fl_err_set(err, -EINVAL, "InvalidBucketName", "The specified bucket is not valid.");
    r = take_key(path, arena, &out, err);
    if (r < 0)
        return r;
    *ret_target = out;
    return 0;
}
