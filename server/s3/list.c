/* list.c - ListObjects, both versions: prefix, delimiter, pages. */
#include "server/s3/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/aws/sigv4.h"
#include "common/codec/xml.h"

#define PAGE 1000

/* Behind every key that begins with what stands before it. */
#define LAST_CHARACTER "\xf4\x8f\xbf\xbf"

struct listing {
    struct fl_s3_call *c;
    const char *prefix, *delimiter;
    bool v2, encoded;
    unsigned max, n;
    bool truncated;
    struct fl_buf entries, prefixes;
    char *last; /* the key or common prefix that was listed last */
};

static const char *param(const struct fl_s3_call *c, const char *name)
{
    const char *v = fl_form_get(&c->query, name);

    return v ? v : "";
}

int fl_s3_put_name(struct fl_buf *out, const char *element, const char *name, bool encoded)
{
    fl_autobuf struct fl_buf text = FL_BUF(16 * 1024);

    if (!encoded)
        return fl_xml_element(out, element, name);
    if (fl_uri_encode(name, strlen(name), true, &text) < 0)
        return -ENOMEM;
    return fl_xml_element(out, element, text.data ? text.data : "");
}

bool fl_s3_is_encoded(const struct fl_s3_call *c)
{
    return strcmp(param(c, "encoding-type"), "url") == 0;
}

int fl_s3_take_max(const struct fl_s3_call *c, const char *name, unsigned max, unsigned *ret,
                   struct fl_err *err)
{
    const char *text = fl_form_get(&c->query, name);

    if (text && (!*text || text[strspn(text, "0123456789")]))
        return fl_err_set(err, -EINVAL, "InvalidArgument", "%s is no number.", name);
    *ret = text ? (unsigned)FL_MIN(strtoul(text, NULL, 10), (unsigned long)max) : max;
    return 0;
}

static int put_name(const struct listing *l, struct fl_buf *out, const char *element,
                    const char *name)
{
    return fl_s3_put_name(out, element, name, l->encoded);
}

static int put_key(struct listing *l, struct fl_cursor *row)
{
    struct fl_buf *out = &l->entries;

    fl_buf_puts(out, "<Contents>");
    put_name(l, out, "Key", fl_sql_text(row, 0));
    fl_s3_put_time(out, "LastModified", fl_sql_int(row, 3));
    fl_buf_printf(out, "<ETag>&quot;%s&quot;</ETag><Size>%lld</Size>", fl_sql_text(row, 2),
                  (long long)fl_sql_int(row, 1));
    return fl_buf_puts(out, "<StorageClass>STANDARD</StorageClass></Contents>");
}

static int put_prefix(struct listing *l, const char *name)
{
    fl_buf_puts(&l->prefixes, "<CommonPrefixes>");
    put_name(l, &l->prefixes, "Prefix", name);
    return fl_buf_puts(&l->prefixes, "</CommonPrefixes>");
}

/* Lists one key, or the prefix that it shares with others: 1 with the place to go on in *from. */
static int list_row(struct listing *l, struct fl_cursor *row, char **from, bool *ret_jump,
                    struct fl_err *err)
{
    struct fl_arena *arena = l->c->call.arena;
    const char *key = fl_sql_text(row, 0), *cut;
    size_t prefix_len = strlen(l->prefix);
    int r;

    cut = *l->delimiter ? strstr(key + prefix_len, l->delimiter) : NULL;
    if (cut) {
        l->last = fl_arena_memdup(arena, key, (size_t)(cut - key) + strlen(l->delimiter));
        *from = l->last ? fl_arena_printf(arena, "%s" LAST_CHARACTER, l->last) : NULL;
        r = l->last ? put_prefix(l, l->last) : -ENOMEM;
        *ret_jump = true;
    } else {
        l->last = *from = fl_arena_strdup(arena, key);
        r = put_key(l, row);
    }
    l->n++;
    return r < 0 || !*from ? fl_s3_nomem(err) : 0;
}

/* From one place on, up to a common prefix: 1 to go on at *from, 0 at the end. */
static int list_some(struct listing *l, char **from, bool at, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    size_t prefix_len = strlen(l->prefix);
    bool jump = false;
    int r = fl_sql_open(l->c->call.tx, at ? FL_SQL_object_page_from : FL_SQL_object_page, &row, err,
                        FL_T(l->c->call.account), FL_T(l->c->bucket), FL_T(*from),
                        FL_N((int64_t)l->max - l->n + 1));

    while (r >= 0 && !jump && (r = fl_sql_next(row, err)) > 0) {
        if (strncmp(fl_sql_text(row, 0), l->prefix, prefix_len) != 0)
            return 0;
        if (l->n == l->max) {
            l->truncated = l->max > 0;
            return 0;
        }
        r = list_row(l, row, from, &jump, err);
    }
    return r < 0 ? r : jump;
}

static int list_all(struct listing *l, const char *after, struct fl_err *err)
{
    /* What comes after a common prefix comes after all that begins with it. */
    size_t d = strlen(l->delimiter), len = strlen(after);
    bool at = strcmp(after, l->prefix) < 0;
    bool behind = !at && d && len > strlen(l->prefix) && len >= d &&
                  strcmp(after + len - d, l->delimiter) == 0;
    char *from = behind ? fl_arena_printf(l->c->call.arena, "%s" LAST_CHARACTER, after)
                        : fl_arena_strdup(l->c->call.arena, at ? l->prefix : after);
    int r = from ? 1 : fl_s3_nomem(err);

    while (r > 0) {
        r = list_some(l, &from, at, err);
        at = false;
    }
    return r;
}

static void put_v2(struct listing *l, struct fl_buf *out, const char *token, const char *next)
{
    fl_buf_printf(out, "<KeyCount>%u</KeyCount>", l->n);
    if (*token)
        fl_xml_element(out, "ContinuationToken", token);
    if (next)
        fl_xml_element(out, "NextContinuationToken", next);
    if (*param(l->c, "start-after"))
        put_name(l, out, "StartAfter", param(l->c, "start-after"));
}

static int put_result(struct listing *l, const char *token, struct fl_err *err)
{
    struct fl_s3_call *c = l->c;
    struct fl_buf *out = &c->reply;
    const char *next =
        l->v2 && l->truncated ? fl_page_token_encode(&c->call, "s3:ListObjectsV2", l->last) : NULL;
    int r;

    if (l->v2 && l->truncated && !next)
        return fl_s3_nomem(err);
    fl_buf_puts(out, "<ListBucketResult " FL_S3_XML_NS ">");
    fl_xml_element(out, "Name", c->bucket);
    put_name(l, out, "Prefix", l->prefix);
    if (*l->delimiter)
        put_name(l, out, "Delimiter", l->delimiter);
    fl_buf_printf(out, "<MaxKeys>%u</MaxKeys><IsTruncated>%s</IsTruncated>", l->max,
                  l->truncated ? "true" : "false");
    if (l->encoded)
        fl_buf_puts(out, "<EncodingType>url</EncodingType>");
    if (l->v2) {
        put_v2(l, out, token, next);
    } else {
        put_name(l, out, "Marker", param(c, "marker"));
        if (l->truncated)
            put_name(l, out, "NextMarker", l->last);
    }
    r = fl_buf_append(out, l->entries.data, l->entries.len);
    if (r >= 0)
        r = fl_buf_append(out, l->prefixes.data, l->prefixes.len);
    if (r >= 0)
        r = fl_buf_puts(out, "</ListBucketResult>");
    return r < 0 ? fl_s3_nomem(err) : 0;
}

static int take_params(struct listing *l, struct fl_err *err)
{
    l->prefix = param(l->c, "prefix");
    l->delimiter = param(l->c, "delimiter");
    l->encoded = fl_s3_is_encoded(l->c);
    l->v2 = strcmp(param(l->c, "list-type"), "2") == 0;
    return fl_s3_take_max(l->c, "max-keys", PAGE, &l->max, err);
}

int fl_s3_list_objects(struct fl_s3_call *c, struct fl_err *err)
{
    struct listing l = { .c = c };
    const char *token = param(c, "continuation-token");
    char *after = NULL;
    int r = fl_s3_need_bucket(c, err);

    if (r >= 0)
        r = take_params(&l, err);
    if (r >= 0 && l.v2 && *token &&
        fl_page_token_decode(&c->call, "s3:ListObjectsV2", token, &after, err) < 0)
        return fl_err_set(err, -EINVAL, "InvalidArgument",
                          "The continuation token provided is incorrect");
    if (r < 0)
        return r;
    fl_buf_init(&l.entries, FL_S3_REPLY_MAX_BYTES);
    fl_buf_init(&l.prefixes, FL_S3_REPLY_MAX_BYTES);
    r = list_all(&l, after ? after : param(c, l.v2 ? "start-after" : "marker"), err);
    if (r >= 0)
        r = put_result(&l, token, err);
    fl_buf_done(&l.entries);
    fl_buf_done(&l.prefixes);
    return r < 0 ? r : 0;
}
