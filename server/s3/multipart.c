/* multipart.c - uploads in parts: each part is a file, and completing one moves no bytes. */
#include "server/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/aws/crypto.h"
#include "common/aws/digest.h"
#include "common/base/rand.h"
#include "common/codec/xml.h"
#include "server/api/list.h"

#define PART_MIN_BYTES (5 << 20) /* of all but the last */
#define LIST_MAX       1000
#define BEHIND_ALL_IDS "~" /* they are hex digits */

static int malformed(struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "MalformedXML",
                      "The XML you provided was not well-formed or did not validate.");
}

/* 0 with the headers that the object will have (in the arena), or NoSuchUpload. */
static int find_upload(struct fl_s3_call *c, const char **ret_id, char **ret_headers,
                       struct fl_err *err)
{
    const char *id = fl_form_get(&c->query, "uploadId");
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(c->call.tx, FL_SQL_upload_get, &row, err, FL_T(id), FL_T(c->call.account),
                        FL_T(c->bucket), FL_T(c->key));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r < 0)
        return r;
    if (r == 0)
        return fl_err_set(err, -ENOENT, "NoSuchUpload",
                          "The specified upload does not exist. The upload ID may be invalid, or "
                          "the upload may have been aborted or completed.");
    *ret_id = id;
    *ret_headers = fl_arena_strdup(c->call.arena, fl_sql_text(row, 0));
    return *ret_headers ? 0 : fl_s3_nomem(err);
}

int fl_s3_create_upload(struct fl_s3_call *c, struct fl_err *err)
{
    const char *headers = fl_s3_kept_headers(c);
    char id[FL_BLOB_ID_BYTES];
    int r = headers ? fl_s3_need_bucket(c, err) : fl_s3_nomem(err);

    fl_random_hex(id, sizeof(id) - 1);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_upload_add, err, FL_T(id), FL_T(c->call.account),
                        FL_T(c->bucket), FL_T(c->key), FL_N(c->call.now_ms), FL_T(headers));
    if (r < 0)
        return r;
    fl_buf_puts(&c->reply, "<InitiateMultipartUploadResult " FL_S3_XML_NS ">");
    fl_xml_element(&c->reply, "Bucket", c->bucket);
    fl_xml_element(&c->reply, "Key", c->key);
    fl_xml_element(&c->reply, "UploadId", id);
    r = fl_buf_puts(&c->reply, "</InitiateMultipartUploadResult>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

static int part_number(const char *text, int64_t *ret)
{
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;

    if (!text || end == text || *end || n < 1 || n > FL_S3_PART_MAX)
        return -EINVAL;
    *ret = n;
    return 0;
}

/* A part that comes again replaces the one before. */
static int forget_part(struct fl_s3_call *c, const char *id, int64_t number, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    struct fl_s3_pieces *gone = &c->gone;
    struct fl_s3_piece p;
    int r = fl_sql_open(c->call.tx, FL_SQL_blob_one, &row, err, FL_T(id), FL_N(number));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    p = (struct fl_s3_piece){ .number = number,
                              .blob_id = fl_arena_strdup(c->call.arena, fl_sql_text(row, 1)),
                              .bytes = (uint64_t)fl_sql_int(row, 2) };
    gone->v = fl_list_room(c->call.arena, gone->v, gone->n, &gone->cap, sizeof(p));
    if (!gone->v || !p.blob_id)
        return fl_s3_nomem(err);
    gone->v[gone->n++] = p;
    r = fl_sql_exec(c->call.tx, FL_SQL_blob_delete_one, err, FL_T(id), FL_N(number));
    return r < 0 ? r : 0;
}

int fl_s3_upload_part(struct fl_s3_call *c, struct fl_err *err)
{
    const char *id;
    char *headers;
    int64_t number;
    int r = find_upload(c, &id, &headers, err);

    if (r >= 0 && part_number(fl_form_get(&c->query, "partNumber"), &number) < 0)
        return fl_err_set(err, -EINVAL, "InvalidArgument",
                          "Part number must be an integer between 1 and %d.", FL_S3_PART_MAX);
    if (r >= 0)
        r = forget_part(c, id, number, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_blob_put, err, FL_T(id), FL_N(number), FL_T(c->blob.id),
                        FL_N((int64_t)c->blob.bytes), FL_T(c->md5), FL_N(c->call.now_ms));
    if (r < 0)
        return r;
    if (c->sum)
        fl_s3_put_header(c, c->sum_name, c->sum);
    return fl_s3_put_header(c, "ETag", fl_arena_printf(c->call.arena, "\"%s\"", c->md5)) < 0
               ? fl_s3_nomem(err)
               : 0;
}

/* ---- completing ---- */

struct completion {
    struct fl_s3_call *c;
    const char *id;
    struct fl_digest *md5;
    int64_t number; /* the last that was named */
    unsigned n;
    uint64_t bytes, last_bytes;
};

static const char *bare_etag(struct fl_buf *text)
{
    char *s = text->data ? text->data : (char *)"";
    size_t len = strlen(s);

    if (len >= 2 && s[0] == '"' && s[len - 1] == '"') {
        s[len - 1] = '\0';
        s++;
    }
    return s;
}

/* What was uploaded under numbers that the list leaves out goes. */
static int drop_between(struct completion *x, int64_t from, int64_t to, struct fl_err *err)
{
    int r = 0;

    for (int64_t n = from + 1; r >= 0 && n < to; n++)
        r = forget_part(x->c, x->id, n, err);
    return r;
}

static int add_part(struct completion *x, int64_t number, const char *etag, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    uint8_t md5[16];
    int r = fl_sql_open(x->c->call.tx, FL_SQL_blob_one, &row, err, FL_T(x->id), FL_N(number));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r < 0)
        return r;
    if (r == 0 || strcmp(fl_sql_text(row, 3), etag) != 0 ||
        fl_hex_decode(etag, md5, sizeof(md5)) < 0)
        return fl_err_set(err, -EINVAL, "InvalidPart",
                          "One or more of the specified parts could not be found.");
    if (x->n && x->last_bytes < PART_MIN_BYTES)
        return fl_err_set(err, -EINVAL, "EntityTooSmall",
                          "Your proposed upload is smaller than the minimum allowed size");
    x->last_bytes = (uint64_t)fl_sql_int(row, 2);
    x->bytes += x->last_bytes;
    x->number = number;
    x->n++;
    fl_digest_add(x->md5, md5, sizeof(md5));
    return 0;
}

static int take_parts(struct completion *x, struct fl_err *err)
{
    const char *p = x->c->body, *end = p + x->c->body_len, *xml;
    size_t len;
    int r = 0, found;

    while (r >= 0 && (found = fl_xml_next(&p, end, "Part", &xml, &len)) != 0) {
        fl_autobuf struct fl_buf number = FL_BUF(32), etag = FL_BUF(128);
        int64_t n, before = x->number;

        if (found < 0 || fl_xml_find_text(xml, len, "PartNumber", &number) < 0 ||
            fl_xml_find_text(xml, len, "ETag", &etag) < 0 || part_number(number.data, &n) < 0)
            return malformed(err);
        if (n <= before)
            return fl_err_set(err, -EINVAL, "InvalidPartOrder",
                              "The list of parts was not in ascending order.");
        r = add_part(x, n, bare_etag(&etag), err);
        if (r >= 0)
            r = drop_between(x, before, n, err);
    }
    if (r >= 0 && x->n == 0)
        return malformed(err);
    return r >= 0 ? drop_between(x, x->number, FL_S3_PART_MAX + 1, err) : r;
}

static int complete(struct completion *x, const char *headers, struct fl_err *err)
{
    struct fl_s3_call *c = x->c;
    uint8_t hash[FL_DIGEST_MAX_BYTES];
    char hex[33], etag[48];
    int r = take_parts(x, err);

    if (r < 0)
        return r;
    fl_hex_encode(hash, fl_digest_end(x->md5, hash), hex);
    snprintf(etag, sizeof(etag), "%s-%u", hex, x->n);
    r = fl_s3_name_object(c, x->id, x->bytes, etag, headers, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_upload_delete, err, FL_T(x->id));
    if (r < 0)
        return r;
    fl_buf_puts(&c->reply, "<CompleteMultipartUploadResult " FL_S3_XML_NS ">");
    fl_buf_printf(&c->reply, "<Location>/%s/", c->bucket);
    fl_xml_text(&c->reply, c->key, strlen(c->key));
    fl_buf_puts(&c->reply, "</Location>");
    fl_xml_element(&c->reply, "Bucket", c->bucket);
    fl_xml_element(&c->reply, "Key", c->key);
    fl_buf_printf(&c->reply, "<ETag>&quot;%s&quot;</ETag>", etag);
    r = fl_buf_puts(&c->reply, "</CompleteMultipartUploadResult>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

int fl_s3_complete_upload(struct fl_s3_call *c, struct fl_err *err)
{
    struct completion x = { .c = c, .md5 = fl_digest_new(FL_DIGEST_MD5) };
    char *headers;
    int r = x.md5 ? find_upload(c, &x.id, &headers, err) : fl_s3_nomem(err);

    if (r >= 0)
        r = complete(&x, headers, err);
    fl_digest_free(x.md5);
    return r;
}

int fl_s3_abort_upload(struct fl_s3_call *c, struct fl_err *err)
{
    const char *id;
    char *headers;
    int r = find_upload(c, &id, &headers, err);

    if (r >= 0)
        r = fl_s3_forget(c, id, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_upload_delete, err, FL_T(id));
    c->status = 204;
    return r < 0 ? r : 0;
}

int fl_s3_list_parts(struct fl_s3_call *c, struct fl_err *err)
{
    const char *marker = fl_form_get(&c->query, "part-number-marker"), *id;
    int64_t after = marker ? strtol(marker, NULL, 10) : 0;
    fl_autocursor struct fl_cursor *row = NULL;
    unsigned n = 0, max;
    char *headers;
    int r = find_upload(c, &id, &headers, err);

    if (r >= 0)
        r = fl_s3_take_max(c, "max-parts", LIST_MAX, &max, err);
    if (r >= 0)
        r = fl_sql_open(c->call.tx, FL_SQL_blob_list, &row, err, FL_T(id), FL_N(after));
    if (r < 0)
        return r;
    fl_buf_puts(&c->reply, "<ListPartsResult " FL_S3_XML_NS ">");
    fl_xml_element(&c->reply, "Bucket", c->bucket);
    fl_xml_element(&c->reply, "Key", c->key);
    fl_xml_element(&c->reply, "UploadId", id);
    while ((r = fl_sql_next(row, err)) > 0 && n++ < max) {
        after = fl_sql_int(row, 0);
        fl_buf_printf(&c->reply,
                      "<Part><PartNumber>%lld</PartNumber><ETag>&quot;%s&quot;</ETag>"
                      "<Size>%lld</Size>",
                      (long long)after, fl_sql_text(row, 3), (long long)fl_sql_int(row, 2));
        fl_s3_put_time(&c->reply, "LastModified", fl_sql_int(row, 4));
        fl_buf_puts(&c->reply, "</Part>");
    }
    if (r < 0)
        return r;
    r = fl_buf_printf(&c->reply,
                      "<NextPartNumberMarker>%lld</NextPartNumberMarker><MaxParts>%u</MaxParts>"
                      "<IsTruncated>%s</IsTruncated></ListPartsResult>",
                      (long long)after, max, r > 0 && max ? "true" : "false");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

/* ---- those that are not complete ---- */

static const char *param(const struct fl_s3_call *c, const char *name)
{
    const char *v = fl_form_get(&c->query, name);

    return v ? v : "";
}

/* Up to `max` from ("key", "id") on, which becomes the last. 1: there is more. */
static int put_uploads(struct fl_s3_call *c, unsigned max, const char **key, const char **id,
                       struct fl_err *err)
{
    const char *prefix = param(c, "prefix");
    fl_autocursor struct fl_cursor *row = NULL;
    unsigned n = 0;
    int r = fl_sql_open(c->call.tx, FL_SQL_upload_page, &row, err, FL_T(c->call.account),
                        FL_T(c->bucket), FL_T(*key), FL_T(*id), FL_N((int64_t)max + 1));

    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        if (strncmp(fl_sql_text(row, 0), prefix, strlen(prefix)) != 0)
            return 0;
        if (n++ == max)
            return max > 0;
        *key = fl_arena_strdup(c->call.arena, fl_sql_text(row, 0));
        *id = fl_arena_strdup(c->call.arena, fl_sql_text(row, 1));
        if (!*key || !*id)
            return fl_s3_nomem(err);
        fl_buf_puts(&c->reply, "<Upload>");
        fl_s3_put_name(&c->reply, "Key", *key, fl_s3_is_encoded(c));
        fl_xml_element(&c->reply, "UploadId", *id);
        fl_s3_put_time(&c->reply, "Initiated", fl_sql_int(row, 2));
        fl_buf_puts(&c->reply, "<StorageClass>STANDARD</StorageClass></Upload>");
    }
    return r;
}

int fl_s3_list_uploads(struct fl_s3_call *c, struct fl_err *err)
{
    const char *prefix = param(c, "prefix"), *key = param(c, "key-marker"),
               *id = *key ? param(c, "upload-id-marker") : "";
    bool encoded = fl_s3_is_encoded(c);
    unsigned max;
    int r = fl_s3_need_bucket(c, err);

    if (r >= 0 && *param(c, "delimiter"))
        return fl_err_set(err, -ENOSYS, "NotImplemented", "Uploads are not listed by delimiter.");
    if (r >= 0)
        r = fl_s3_take_max(c, "max-uploads", LIST_MAX, &max, err);
    if (r < 0)
        return r;
    fl_buf_puts(&c->reply, "<ListMultipartUploadsResult " FL_S3_XML_NS ">");
    fl_xml_element(&c->reply, "Bucket", c->bucket);
    fl_s3_put_name(&c->reply, "KeyMarker", key, encoded);
    fl_xml_element(&c->reply, "UploadIdMarker", id);
    fl_s3_put_name(&c->reply, "Prefix", prefix, encoded);
    if (encoded)
        fl_buf_puts(&c->reply, "<EncodingType>url</EncodingType>");
    if (strcmp(key, prefix) < 0) {
        key = prefix;
        id = "";
    } else if (*key && !*id) {
        id = BEHIND_ALL_IDS;
    }
    r = put_uploads(c, max, &key, &id, err);
    if (r > 0) {
        fl_s3_put_name(&c->reply, "NextKeyMarker", key, encoded);
        fl_xml_element(&c->reply, "NextUploadIdMarker", id);
    }
    if (r >= 0 && fl_buf_printf(&c->reply,
                                "<MaxUploads>%u</MaxUploads><IsTruncated>%s</IsTruncated>"
                                "</ListMultipartUploadsResult>",
                                max, r > 0 ? "true" : "false") < 0)
        return fl_s3_nomem(err);
    return FL_MIN(r, 0);
}
