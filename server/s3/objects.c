/* objects.c - putting, getting and deleting objects. */
#include "server/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/codec/xml.h"
#include "server/s3/range.h"

#define DELETE_MAX 1000

/* What is kept with an object and given back; lower case. */
static const char *const kept[] = { "content-type",     "cache-control",    "content-disposition",
                                    "content-encoding", "content-language", "expires" };

struct kept_headers {
    struct fl_strmap headers;
};
static const struct fl_field kept_fields[] = {
    FL_FIELD(struct kept_headers, headers, "Headers", FL_ALWAYS),
};
static const struct fl_shape kept_shape = FL_SHAPE(struct kept_headers, "object", kept_fields);

struct object {
    const char *id, *etag, *headers;
    uint64_t bytes;
    int64_t modified_ms;
};

/* ---- headers ---- */

static bool is_kept(const char *name)
{
    if (strncmp(name, "x-amz-meta-", strlen("x-amz-meta-")) == 0)
        return true;
    for (size_t i = 0; i < FL_ARRAY_LEN(kept); i++)
        if (strcmp(name, kept[i]) == 0)
            return true;
    return false;
}

/* "aws-chunked" is how it came, not what it is. */
static const char *without_chunked(struct fl_s3_call *c, const char *coding)
{
    static const char word[] = "aws-chunked";

    if (strncmp(coding, word, strlen(word)) != 0)
        return coding;
    coding += strlen(word);
    coding += strspn(coding, ", ");
    return *coding ? coding : NULL;
}

char *fl_s3_kept_headers(struct fl_s3_call *c)
{
    struct kept_headers k = { .headers.v = fl_arena_calloc(c->call.arena, c->headers.n + 2,
                                                           sizeof(*k.headers.v)) };
    fl_autobuf struct fl_buf text = FL_BUF(64 * 1024);

    if (!k.headers.v)
        return NULL;
    for (size_t i = 0; i < c->headers.n; i++) {
        struct fl_strmap_entry e = c->headers.v[i];

        if (!is_kept(e.key))
            continue;
        if (strcmp(e.key, "content-encoding") == 0)
            e.value = (char *)without_chunked(c, e.value);
        if (e.value)
            k.headers.v[k.headers.n++] = e;
    }
    if (c->sum)
        k.headers.v[k.headers.n++] =
            (struct fl_strmap_entry){ (char *)c->sum_name, (char *)c->sum };
    return fl_json_encode(&kept_shape, &k, &text) < 0 ? NULL
                                                      : fl_arena_strdup(c->call.arena, text.data);
}

static char *http_date(struct fl_s3_call *c, int64_t ms)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    return fl_arena_printf(c->call.arena, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT",
                           days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
                           tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static char *quoted(struct fl_s3_call *c, const char *etag)
{
    return fl_arena_printf(c->call.arena, "\"%s\"", etag);
}

/* A presigned URL may ask for other headers; a range's checksum would be another. */
static int put_kept(struct fl_s3_call *c, const char *json, bool whole)
{
    struct kept_headers k;
    int r = fl_json_decode(&kept_shape, json, strlen(json), 0, c->call.arena, &k, NULL);

    for (size_t i = 0; r >= 0 && i < k.headers.n; i++) {
        const char *name = k.headers.v[i].key, *value = k.headers.v[i].value, *other;

        if (strncmp(name, "x-amz-checksum-", strlen("x-amz-checksum-")) == 0 &&
            (!whole || !fl_s3_header(c, "x-amz-checksum-mode")))
            continue;
        other = fl_form_get(&c->query, fl_arena_printf(c->call.arena, "response-%s", name));
        r = fl_s3_put_header(c, name, other ? other : value);
    }
    return r < 0 ? r : 0;
}

/* ---- conditions ---- */

static bool etag_matches(const char *list, const char *etag)
{
    size_t len = strlen(etag), n;

    for (const char *p = list; *p; p += n) {
        p += strspn(p, " ,\t");
        n = strcspn(p, ", \t");
        if (n == 1 && *p == '*')
            return true;
        if (n >= 2 && strncmp(p, "W/", 2) == 0) {
            p += 2;
            n -= 2;
        }
        if ((n == len && memcmp(p, etag, n) == 0) ||
            (n == len + 2 && *p == '"' && memcmp(p + 1, etag, len) == 0))
            return true;
    }
    return false;
}

/* ms of an HTTP date, or -1. */
static int64_t parse_date(const char *text)
{
    struct tm tm = { 0 };
    const char *end = text ? strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) : NULL;

    return end && !*end ? (int64_t)timegm(&tm) * 1000 : -1;
}

static int precondition(struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "PreconditionFailed",
                      "At least one of the pre-conditions you specified did not hold");
}

/* RFC 9110 §13.2.2. 0: go on; 1: 304; <0. */
static int check_conditions(struct fl_s3_call *c, const struct object *o, struct fl_err *err)
{
    const char *match = fl_s3_header(c, "if-match"), *none = fl_s3_header(c, "if-none-match");
    int64_t since = parse_date(fl_s3_header(c, "if-modified-since"));
    int64_t until = parse_date(fl_s3_header(c, "if-unmodified-since"));
    int64_t modified = o->modified_ms / 1000 * 1000;

    if (match ? !etag_matches(match, o->etag) : until >= 0 && modified > until)
        return precondition(err);
    if (none ? etag_matches(none, o->etag) : since >= 0 && modified <= since)
        return 1;
    return 0;
}

/* ---- reading ---- */

/* 1, 0 not found, <0. */
static int find(struct fl_s3_call *c, const char *key, struct object *o, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(c->call.tx, FL_SQL_object_get, &row, err, FL_T(c->call.account),
                        FL_T(c->bucket), FL_T(key));

    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    *o = (struct object){ .id = fl_arena_strdup(c->call.arena, fl_sql_text(row, 0)),
                          .bytes = (uint64_t)fl_sql_int(row, 1),
                          .etag = fl_arena_strdup(c->call.arena, fl_sql_text(row, 2)),
                          .modified_ms = fl_sql_int(row, 3),
                          .headers = fl_arena_strdup(c->call.arena, fl_sql_text(row, 4)) };
    return o->id && o->etag && o->headers ? 1 : fl_s3_nomem(err);
}

static int put_content_range(struct fl_s3_call *c, const struct object *o)
{
    c->status = 206;
    return fl_s3_put_header(
        c, "Content-Range",
        fl_arena_printf(c->call.arena, "bytes %llu-%llu/%llu", (unsigned long long)c->first,
                        (unsigned long long)(c->first + c->len - 1), (unsigned long long)o->bytes));
}

/* One of the parts it was put in. */
static int choose_part(struct fl_s3_call *c, const struct object *o, const char *number,
                       struct fl_err *err)
{
    const struct fl_s3_pieces *p = &c->pieces;
    size_t i = 0;

    if (fl_s3_header(c, "range"))
        return fl_err_set(err, -EINVAL, "InvalidRequest",
                          "Cannot specify both Range header and partNumber query parameter");
    for (c->first = 0; i < p->n && p->v[i].number != strtoll(number, NULL, 10); i++)
        c->first += p->v[i].bytes;
    if (i == p->n)
        return fl_err_set(err, -ERANGE, "InvalidPartNumber",
                          "The requested partnumber is not satisfiable");
    c->len = p->v[i].bytes;
    if (strchr(o->etag, '-'))
        fl_s3_put_header(c, "x-amz-mp-parts-count", fl_arena_printf(c->call.arena, "%zu", p->n));
    return c->len ? put_content_range(c, o) : 0;
}

/* Which bytes, and the headers that say so. */
static int choose_range(struct fl_s3_call *c, const struct object *o, bool *ret_whole,
                        struct fl_err *err)
{
    const char *only_if = fl_s3_header(c, "if-range");
    const char *header =
        only_if && !etag_matches(only_if, o->etag) ? NULL : fl_s3_header(c, "range");
    int r = fl_s3_range(header, o->bytes, &c->first, &c->len);

    *ret_whole = r == 0;
    if (r == -ERANGE) {
        fl_s3_put_header(
            c, "Content-Range",
            fl_arena_printf(c->call.arena, "bytes */%llu", (unsigned long long)o->bytes));
        return fl_err_set(err, -ERANGE, "InvalidRange", "The requested range is not satisfiable");
    }
    if (r == 0) {
        c->first = 0;
        c->len = o->bytes;
        return 0;
    }
    return put_content_range(c, o);
}

int fl_s3_get_object(struct fl_s3_call *c, struct fl_err *err)
{
    const char *part = fl_form_get(&c->query, "partNumber");
    struct object o;
    bool whole = false;
    int r = fl_s3_need_bucket(c, err);

    if (r >= 0)
        r = find(c, c->key, &o, err);
    if (r == 0)
        return fl_err_set(err, -ENOENT, "NoSuchKey", "The specified key does not exist.");
    if (r > 0)
        r = fl_s3_put_header(c, "ETag", quoted(c, o.etag));
    if (r >= 0)
        r = fl_s3_put_header(c, "Last-Modified", http_date(c, o.modified_ms));
    if (r >= 0)
        r = check_conditions(c, &o, err);
    if (r > 0) {
        c->status = 304;
        return 0;
    }
    if (r >= 0)
        r = fl_s3_put_header(c, "Accept-Ranges", "bytes");
    if (r >= 0)
        r = fl_s3_pieces_of(c, o.id, &c->pieces, err);
    if (r >= 0)
        r = part ? choose_part(c, &o, part, err) : choose_range(c, &o, &whole, err);
    if (r >= 0)
        r = put_kept(c, o.headers, whole);
    if (r < 0)
        return err->code ? r : fl_s3_nomem(err);
    c->has_data = true;
    return 0;
}

/* ---- writing ---- */

int fl_s3_name_object(struct fl_s3_call *c, const char *object_id, uint64_t bytes, const char *etag,
                      const char *headers, struct fl_err *err)
{
    struct object old;
    int r = find(c, c->key, &old, err);

    if (r > 0)
        r = fl_s3_forget(c, old.id, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_object_put, err, FL_T(c->call.account), FL_T(c->bucket),
                        FL_T(c->key), FL_T(object_id), FL_N((int64_t)bytes), FL_T(etag),
                        FL_N(c->call.now_ms), FL_T(headers));
    return r < 0 ? r : 0;
}

/* Put only what is not there, or what replaces a certain one. */
static int check_put_conditions(struct fl_s3_call *c, struct fl_err *err)
{
    const char *match = fl_s3_header(c, "if-match"), *none = fl_s3_header(c, "if-none-match");
    struct object old;
    int r = match || none ? find(c, c->key, &old, err) : 0;

    if (r < 0)
        return r;
    if ((none && r > 0 && etag_matches(none, old.etag)) ||
        (match && (r == 0 || !etag_matches(match, old.etag))))
        return precondition(err);
    return 0;
}

int fl_s3_put_object(struct fl_s3_call *c, struct fl_err *err)
{
    const char *headers = fl_s3_kept_headers(c);
    int r = headers ? fl_s3_need_bucket(c, err) : fl_s3_nomem(err);

    if (r >= 0)
        r = check_put_conditions(c, err);
    if (r >= 0)
        r = fl_s3_name_object(c, c->blob.id, c->blob.bytes, c->md5, headers, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_blob_put, err, FL_T(c->blob.id), FL_N(1),
                        FL_T(c->blob.id), FL_N((int64_t)c->blob.bytes), FL_T(c->md5),
                        FL_N(c->call.now_ms));
    if (r < 0)
        return r;
    if (c->sum)
        fl_s3_put_header(c, c->sum_name, c->sum);
    return fl_s3_put_header(c, "ETag", quoted(c, c->md5)) < 0 ? fl_s3_nomem(err) : 0;
}

int fl_s3_put_own(struct fl_call *call, const char *bucket, const char *key, const char *type,
                  const struct fl_blob *blob, const char md5[33], struct fl_s3_pieces *ret_gone,
                  struct fl_err *err)
{
    struct fl_strmap_entry header = { (char *)"content-type", (char *)type };
    struct fl_s3_call c = { .call = *call,
                            .s3 = call->plane->s3,
                            .bucket = bucket,
                            .key = key,
                            .headers = { .v = &header, .n = 1 },
                            .blob = *blob };
    int r;

    memcpy(c.md5, md5, sizeof(c.md5));
    r = fl_s3_put_object(&c, err);
    *ret_gone = c.gone;
    return r;
}

static int delete_one(struct fl_s3_call *c, const char *key, struct fl_err *err)
{
    struct object o;
    int r = find(c, key, &o, err);

    if (r <= 0)
        return r;
    r = fl_s3_forget(c, o.id, err);
    if (r >= 0)
        r = fl_sql_exec(c->call.tx, FL_SQL_object_delete, err, FL_T(c->call.account),
                        FL_T(c->bucket), FL_T(key));
    return r < 0 ? r : 0;
}

int fl_s3_delete_object(struct fl_s3_call *c, struct fl_err *err)
{
    int r = fl_s3_need_bucket(c, err);

    c->status = 204;
    return r < 0 ? r : delete_one(c, c->key, err);
}

/* One <Object>: deleted, or why not. */
static int delete_listed(struct fl_s3_call *c, const char *xml, size_t len, bool quiet,
                         struct fl_err *err)
{
    fl_autobuf struct fl_buf key = FL_BUF(4096);
    struct fl_err why = { 0 };
    int r = fl_xml_find_text(xml, len, "Key", &key);

    if (r < 0 || !key.len)
        return fl_err_set(err, -EINVAL, "MalformedXML",
                          "The XML you provided was not well-formed or did not validate.");
    r = fl_s3_allowed(c, c->op->action, key.data, &why);
    if (r >= 0) {
        r = delete_one(c, key.data, err);
        if (r < 0 || quiet)
            return r;
    } else if (r != -EACCES) {
        *err = why;
        return r;
    }
    fl_buf_puts(&c->reply, r < 0 ? "<Error>" : "<Deleted>");
    fl_xml_element(&c->reply, "Key", key.data);
    if (r < 0) {
        fl_xml_element(&c->reply, "Code", "AccessDenied");
        fl_xml_element(&c->reply, "Message", "Access Denied");
    }
    r = fl_buf_puts(&c->reply, r < 0 ? "</Error>" : "</Deleted>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

int fl_s3_delete_objects(struct fl_s3_call *c, struct fl_err *err)
{
    fl_autobuf struct fl_buf word = FL_BUF(16);
    const char *p = c->body, *end = c->body + c->body_len, *xml;
    bool quiet = fl_xml_find_text(c->body, c->body_len, "Quiet", &word) == 0 && word.len &&
                 strcmp(word.data, "true") == 0;
    unsigned n = 0;
    size_t len;
    int r = fl_s3_need_bucket(c, err);

    fl_buf_puts(&c->reply, "<DeleteResult " FL_S3_XML_NS ">");
    while (r >= 0 && fl_xml_next(&p, end, "Object", &xml, &len) > 0)
        r = ++n > DELETE_MAX ? fl_err_set(err, -EINVAL, "MalformedXML", "More than 1000 objects.")
                             : delete_listed(c, xml, len, quiet, err);
    if (r >= 0 && n == 0)
        r = fl_err_set(err, -EINVAL, "MalformedXML",
                       "The XML you provided was not well-formed or did not validate.");
    if (r < 0)
        return r;
    r = fl_buf_puts(&c->reply, "</DeleteResult>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}
