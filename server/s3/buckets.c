/* buckets.c - operations on buckets, and small things that all handlers share. */
#include "server/s3/s3.h"

#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/codec/xml.h"
#include "server/api/list.h"
#include "server/s3/kept.h"

/* ---- shared ---- */

int fl_s3_nomem(struct fl_err *err)
{
    return fl_err_nomem(err);
}

static const char *map_get(const struct fl_strmap *map, const char *name)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->v[i].key, name) == 0)
            return map->v[i].value;
    return NULL;
}

const char *fl_s3_header(const struct fl_s3_call *c, const char *name)
{
    return map_get(&c->headers, name);
}

int fl_s3_put_header(struct fl_s3_call *c, const char *name, const char *value)
{
    if (!name || !value)
        return -ENOMEM;
    if (c->n_out < FL_S3_HEADERS_MAX)
        c->out[c->n_out++] = (struct fl_http_header){ name, value };
    return 0;
}

/* A bucket of the plane's own is there for the bearers of its URLs alone. */
int fl_s3_need_bucket(struct fl_s3_call *c, struct fl_err *err)
{
    int64_t n = c->caller.id.kind == FL_ID_GRANT
                    ? 1
                    : fl_sql_scalar(c->call.tx, FL_SQL_bucket_exists, 0, err, FL_T(c->call.account),
                                    FL_T(c->bucket));

    if (n < 0)
        return (int)n;
    return n ? 0 : fl_err_set(err, -ENOENT, "NoSuchBucket", "The specified bucket does not exist");
}

int fl_s3_put_time(struct fl_buf *out, const char *name, int64_t ms)
{
    char text[FL_ISO_BYTES];

    fl_time_iso(ms, false, text);
    return fl_xml_element(out, name, text);
}

int fl_s3_pieces_of(struct fl_s3_call *c, const char *object_id, struct fl_s3_pieces *list,
                    struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(c->call.tx, FL_SQL_blob_list, &row, err, FL_T(object_id), FL_N(0));

    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        struct fl_s3_piece p = { .number = fl_sql_int(row, 0),
                                 .blob_id = fl_arena_strdup(c->call.arena, fl_sql_text(row, 1)),
                                 .bytes = (uint64_t)fl_sql_int(row, 2) };

        list->v = fl_list_room(c->call.arena, list->v, list->n, &list->cap, sizeof(p));
        if (!list->v || !p.blob_id)
            return fl_s3_nomem(err);
        list->v[list->n++] = p;
    }
    return r;
}

int fl_s3_forget(struct fl_s3_call *c, const char *object_id, struct fl_err *err)
{
    int r = fl_s3_pieces_of(c, object_id, &c->gone, err);

    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_blob_delete, err, FL_T(object_id));
    return r < 0 ? r : 0;
}

/* ---- operations ---- */

int fl_s3_list_buckets(struct fl_s3_call *c, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    struct fl_buf *out = &c->reply;
    int r = fl_sql_open(c->call.tx, FL_SQL_bucket_list, &row, err, FL_T(c->call.account));

    if (r < 0)
        return r;
    fl_buf_puts(out, "<ListAllMyBucketsResult " FL_S3_XML_NS "><Owner>");
    fl_xml_element(out, "ID", c->call.account);
    fl_buf_puts(out, "</Owner><Buckets>");
    while ((r = fl_sql_next(row, err)) > 0) {
        fl_buf_puts(out, "<Bucket>");
        fl_xml_element(out, "Name", fl_sql_text(row, 0));
        fl_s3_put_time(out, "CreationDate", fl_sql_int(row, 1));
        fl_buf_puts(out, "</Bucket>");
    }
    if (r < 0)
        return r;
    r = fl_buf_puts(out, "</Buckets></ListAllMyBucketsResult>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

int fl_s3_create_bucket(struct fl_s3_call *c, struct fl_err *err)
{
    int64_t n = fl_sql_scalar(c->call.tx, FL_SQL_bucket_exists, 0, err, FL_T(c->call.account),
                              FL_T(c->bucket));
    int r;

    if (strcmp(c->bucket, FL_KEPT_BUCKET) == 0)
        return fl_err_set(err, -EEXIST, "BucketAlreadyExists",
                          "The requested bucket name is not available.");
    if (n != 0)
        return n < 0 ? (int)n
                     : fl_err_set(err, -EEXIST, "BucketAlreadyOwnedByYou",
                                  "Your previous request to create the named bucket succeeded and "
                                  "you already own it.");
    r = fl_sql_exec(c->call.tx, FL_SQL_bucket_add, err, FL_T(c->call.account), FL_T(c->bucket),
                    FL_T(c->call.region), FL_N(c->call.now_ms));
    if (r >= 0)
        r = fl_s3_put_header(c, "Location", fl_arena_printf(c->call.arena, "/%s", c->bucket));
    return r < 0 ? r : 0;
}

int fl_s3_delete_bucket(struct fl_s3_call *c, struct fl_err *err)
{
    int r = fl_s3_need_bucket(c, err);
    int64_t used;

    if (r < 0)
        return r;
    used = fl_sql_scalar(c->call.tx, FL_SQL_bucket_in_use, 0, err, FL_T(c->call.account),
                         FL_T(c->bucket));
    if (used != 0)
        return used < 0 ? (int)used
                        : fl_err_set(err, -ENOTEMPTY, "BucketNotEmpty",
                                     "The bucket you tried to delete is not empty");
    r = fl_sql_exec(c->call.tx, FL_SQL_bucket_delete, err, FL_T(c->call.account), FL_T(c->bucket));
    c->status = 204;
    return r < 0 ? r : 0;
}

int fl_s3_head_bucket(struct fl_s3_call *c, struct fl_err *err)
{
    int r = fl_s3_need_bucket(c, err);

    return r < 0 ? r : fl_s3_put_header(c, "x-amz-bucket-region", c->call.region);
}

int fl_s3_bucket_location(struct fl_s3_call *c, struct fl_err *err)
{
    int r = fl_s3_need_bucket(c, err);

    if (r < 0)
        return r;
    fl_buf_puts(&c->reply, "<LocationConstraint " FL_S3_XML_NS ">");
    fl_xml_text(&c->reply, c->call.region, strlen(c->call.region));
    r = fl_buf_puts(&c->reply, "</LocationConstraint>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

int fl_s3_bucket_encryption(struct fl_s3_call *c, struct fl_err *err)
{
    int r = fl_s3_need_bucket(c, err);

    return r < 0 ? r
                 : fl_err_set(err, -ENOENT, "ServerSideEncryptionConfigurationNotFoundError",
                              "The server side encryption configuration was not found");
}
