/* kept.c - see kept.h. */
#include "server/s3/kept.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include "common/base/file.h"
#include "server/api/list.h"
#include "server/auth/presigned.h"
#include "server/auth/token.h"
#include "server/s3/target.h"

#define TURN_BYTES (16u << 20) /* hashed in one go; others wait for the thread too */
#define READ_BYTES (128u << 10)

/* ---- which object ---- */

static char *own_authority(struct fl_call *call)
{
    if (call->host)
        return fl_arena_strdup(call->arena, call->host);
    return fl_arena_printf(call->arena, "%s:%u", call->plane->conf.public_host,
                           call->plane->conf.port);
}

static bool split(struct fl_call *call, const char *path, const char **ret_bucket,
                  const char **ret_key)
{
    static const struct fl_strs none = { 0 };
    struct fl_s3_target t;

    if (fl_s3_target_read(NULL, &none, path, call->arena, &t, NULL) < 0 || !t.bucket || !t.key)
        return false;
    *ret_bucket = t.bucket;
    *ret_key = t.key;
    return true;
}

bool fl_kept_is_own(struct fl_call *call, const char *url, const char **ret_bucket,
                    const char **ret_key)
{
    static const char https[] = "https://", s3[] = "s3://";
    const char *authority = own_authority(call), *rest;
    size_t len, own_len;

    if (strncmp(url, s3, strlen(s3)) == 0) {
        const char *slash = strchr(url + strlen(s3), '/');

        /* a key as it is, not as a path spells it */
        if (!slash || !slash[1])
            return false;
        *ret_bucket =
            fl_arena_memdup(call->arena, url + strlen(s3), (size_t)(slash - url) - strlen(s3));
        *ret_key = slash + 1;
        return *ret_bucket && fl_s3_bucket_valid(*ret_bucket);
    }
    if (!authority || strncmp(url, https, strlen(https)) != 0)
        return false;
    url += strlen(https);
    len = strcspn(url, "/");
    own_len = strlen(authority);
    rest = url + len;
    if (len == own_len && strncasecmp(url, authority, len) == 0)
        return split(call, rest, ret_bucket, ret_key);
    if (len <= own_len + 1 || url[len - own_len - 1] != '.' ||
        strncasecmp(rest - own_len, authority, own_len) != 0)
        return false;
    rest = fl_arena_printf(call->arena, "/%.*s%s", (int)(len - own_len - 1), url, rest);
    return rest && split(call, rest, ret_bucket, ret_key);
}

static struct fl_s3_call s3_call(struct fl_call *call, const char *bucket, const char *key)
{
    return (
        struct fl_s3_call){ .call = *call, .s3 = call->plane->s3, .bucket = bucket, .key = key };
}

/* The id of an object's files; 1, 0 not found, <0. */
static int object_id(struct fl_call *call, const char *bucket, const char *key, char **ret_id,
                     struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_object_get, &row, err, FL_T(call->account), FL_T(bucket),
                        FL_T(key));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    *ret_id = fl_arena_strdup(call->arena, fl_sql_text(row, 0));
    return *ret_id ? 1 : fl_s3_nomem(err);
}

int fl_kept_find(struct fl_call *call, const char *bucket, const char *key, struct fl_kept *ret,
                 struct fl_err *err)
{
    struct fl_s3_call c = s3_call(call, bucket, key);
    struct fl_kept k = { .fd = -1 };
    char *id;
    int r = object_id(call, bucket, key, &id, err);

    if (r <= 0)
        return r;
    r = fl_s3_pieces_of(&c, id, &k.from, err);
    if (r < 0)
        return r;
    k.made.v = fl_arena_calloc(call->arena, k.from.n + 1, sizeof(*k.made.v));
    for (size_t i = 0; k.made.v && i < k.from.n; i++) {
        k.made.v[i] = k.from.v[i];
        k.made.v[i].blob_id = fl_arena_alloc(call->arena, FL_BLOB_ID_BYTES);
        if (!k.made.v[i].blob_id)
            return fl_s3_nomem(err);
        k.bytes += k.from.v[i].bytes;
    }
    if (!k.made.v)
        return fl_s3_nomem(err);
    *ret = k;
    return 1;
}

/* ---- copying ---- */

static int link_next(struct fl_blobs *blobs, struct fl_kept *k, struct fl_err *err)
{
    const struct fl_s3_piece *from = &k->from.v[k->made.n];
    struct fl_s3_piece *to = &k->made.v[k->made.n];
    int r = fl_blob_link(blobs, from->blob_id, from->bytes, to->blob_id, err);

    if (r == -ENOENT)
        return fl_err_set(err, -EBUSY, "ValidationException",
                          "An object changes while it is attached; please try again.");
    if (r < 0)
        return r;
    k->made.n++;
    k->at = 0;
    k->fd = fl_blob_open(blobs, to->blob_id);
    return k->fd < 0 ? fl_err_set(err, k->fd, NULL, "an object's file: %s", strerror(-k->fd)) : 0;
}

/* Up to TURN_BYTES of the piece that is open. */
static int hash_some(struct fl_kept *k, struct fl_err *err)
{
    char data[READ_BYTES];

    for (size_t done = 0; done < TURN_BYTES; done += sizeof(data)) {
        ssize_t n = fl_fd_pread_upto(k->fd, data, sizeof(data), k->at);

        if (n < 0)
            return fl_err_set(err, (int)n, NULL, "an object's file: %s", strerror((int)-n));
        fl_digest_add(k->hash, data, (size_t)n);
        k->at += (uint64_t)n;
        if ((size_t)n < sizeof(data)) {
            close(FL_TAKE_FD(k->fd));
            return k->at == k->made.v[k->made.n - 1].bytes
                       ? 0
                       : fl_err_set(err, -EIO, NULL, "an object's file is not as long as it was");
        }
    }
    return 0;
}

int fl_kept_copy(struct fl_blobs *blobs, struct fl_kept *k, struct fl_err *err)
{
    int r = 0;

    if (!k->hash && !(k->hash = fl_digest_new(FL_DIGEST_SHA256)))
        return fl_s3_nomem(err);
    if (k->fd < 0 && k->made.n < k->from.n)
        r = link_next(blobs, k, err);
    if (r == 0 && k->fd >= 0)
        r = hash_some(k, err);
    if (r < 0)
        return r;
    if (k->fd >= 0 || k->made.n < k->from.n)
        return 1;
    fl_digest_end_hex(k->hash, k->sha256);
    return 0;
}

void fl_kept_end(struct fl_blobs *blobs, struct fl_kept *k, bool remove)
{
    k->hash = fl_digest_free(k->hash);
    if (k->fd >= 0)
        close(FL_TAKE_FD(k->fd));
    for (size_t i = 0; remove && i < k->made.n; i++)
        fl_blob_remove(blobs, k->made.v[i].blob_id, k->made.v[i].bytes);
    k->made.n = 0;
}

/* ---- in the store ---- */

int fl_kept_name(struct fl_call *call, struct fl_kept *k, struct fl_err *err)
{
    const char *id;
    char *there;
    int r = object_id(call, FL_KEPT_BUCKET, k->sha256, &there, err);

    if (r != 0)
        return FL_MIN(r, 0);
    id = k->made.n ? k->made.v[0].blob_id : k->sha256; /* an empty object has no files */
    r = fl_sql_exec(call->tx, FL_SQL_object_put, err, FL_T(call->account), FL_T(FL_KEPT_BUCKET),
                    FL_T(k->sha256), FL_T(id), FL_N((int64_t)k->bytes), FL_T(k->sha256),
                    FL_N(call->now_ms), FL_T("{}"));
    for (size_t i = 0; r >= 0 && i < k->made.n; i++)
        r = fl_sql_exec(call->tx, FL_SQL_blob_put, err, FL_T(id), FL_N((int64_t)i + 1),
                        FL_T(k->made.v[i].blob_id), FL_N((int64_t)k->made.v[i].bytes), FL_T(""),
                        FL_N(call->now_ms));
    k->named = r >= 0;
    return r < 0 ? r : 0;
}

int fl_kept_forget(struct fl_call *call, const char *sha256, struct fl_s3_pieces *gone,
                   struct fl_err *err)
{
    struct fl_s3_call c = s3_call(call, FL_KEPT_BUCKET, sha256);
    struct fl_err why = { 0 };
    char *id;
    int r;

    if (fl_sql_scalar(call->tx, FL_SQL_document_attachment_used, 0, &why, FL_T(call->account),
                      FL_T(sha256)) ||
        why.code < 0)
        return why.code < 0 ? fl_err_set(err, why.code, NULL, "%s", why.text) : 0;
    r = object_id(call, FL_KEPT_BUCKET, sha256, &id, err);
    if (r <= 0)
        return r;
    c.gone = *gone;
    r = fl_s3_forget(&c, id, err);
    *gone = c.gone;
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_object_delete, err, FL_T(call->account),
                        FL_T(FL_KEPT_BUCKET), FL_T(sha256));
    return r < 0 ? r : 0;
}

/* ---- reading ---- */

int fl_kept_url(struct fl_call *call, const char *sha256, char **ret_url, struct fl_err *err)
{
    struct fl_credentials creds;
    const char *host = own_authority(call);
    char *policy =
        fl_arena_printf(call->arena,
                        "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"s3:"
                        "GetObject\",\"Resource\":\"arn:aws:s3:::" FL_KEPT_BUCKET "/%s\"}}",
                        sha256);
    char *path = fl_arena_printf(call->arena, "/" FL_KEPT_BUCKET "/%s", sha256);
    int r = host && policy && path
                ? fl_token_issue_grant(call, policy, FL_KEPT_URL_S * 1000, &creds, err)
                : fl_s3_nomem(err);

    if (r < 0)
        return r;
    return fl_presigned_make(call, &creds, host, path, FL_KEPT_URL_S, ret_url, err);
}
