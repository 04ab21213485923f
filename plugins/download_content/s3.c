/* s3.c - an object of S3, or all below a prefix, fetched with the node's credentials. */
#include <errno.h>
#include <string.h>
#include "common/aws/sigv4.h"
#include "common/codec/xml.h"
#include "plugins/download_content/s3_path.h"
#include "plugins/download_content/source.h"

#define LIST_MAX_BYTES (2u << 20)

struct info {
    char *path;
};
static const struct fl_field fields[] = { FL_FIELD(struct info, path, "path", FL_REQUIRED) };
static const struct fl_shape shape = FL_SHAPE(struct info, "S3Info", fields);

struct s3 {
    struct fl_s3_path path;
    const char *prefix;
    const char *marker; /* last key of the page before; NULL at first */
    bool moved;         /* the bucket's region was learnt */
    size_t n;           /* files below the prefix */
};

/* A GET of what fl_s3_path_url made. */
static struct fl_step_request get(const struct s3 *s, const char *url)
{
    bool ours = !s->path.domain;

    return (struct fl_step_request){ .service = "s3",
                                     .region = s->path.region,
                                     .method = "GET",
                                     .url = ours ? NULL : url,
                                     .path = ours ? url : NULL,
                                     .bucket = ours ? s->path.bucket : NULL };
}

static int add_key(struct fl_download *d, const char *key, const char *name, struct fl_err *err)
{
    const struct s3 *s = *fl_download_own(d);
    const char *url = fl_s3_path_url(&s->path, s->path.region, key, fl_download_arena(d));
    const struct fl_step_request request = get(s, url);

    return url ? fl_download_add(d, &request, name, err)
               : fl_err_set(err, -EINVAL, NULL, "%.200s: not a key", key);
}

static int list(struct fl_download *d, struct fl_err *err);

/* The keys of a page. Names that end in '/' stand for folders: they hold nothing. */
static int take_page(struct fl_download *d, const struct fl_step_answer *answer, bool *ret_more,
                     struct fl_err *err)
{
    fl_autobuf struct fl_buf more = FL_BUF(16);
    struct s3 *s = *fl_download_own(d);
    size_t at = 0, prefix_len = strlen(s->prefix);
    char *key = NULL;
    int r;
    while ((r = fl_s3_list_next(answer->body, answer->body_len, &at, fl_download_arena(d), &key)) ==
           1) {
        s->marker = key;
        if (strncmp(key, s->prefix, prefix_len) != 0)
            return fl_err_set(err, -EBADMSG, NULL, "S3 lists %.200s below %.200s", key, s->prefix);
        if (key[strlen(key) - 1] == '/')
            continue;
        r = add_key(d, key, key + prefix_len, err);
        if (r < 0)
            return r;
        s->n++;
    }
    if (r < 0)
        return fl_err_set(err, r, NULL, "S3 answers with a list that cannot be read");
    *ret_more = s->marker &&
                fl_xml_find_text(answer->body, answer->body_len, "IsTruncated", &more) == 0 &&
                more.len == 4 && memcmp(more.data, "true", 4) == 0;
    return 0;
}

static void on_list(struct fl_download *d, const struct fl_step_answer *answer)
{
    struct s3 *s = *fl_download_own(d);
    const char *region = fl_step_answer_header(answer, "x-amz-bucket-region");
    const char *slash = strrchr(s->path.key, '/');
    struct fl_err err = { 0 };
    bool more = false;
    int r;

    if (answer->error == 0 && answer->status != 200 && region && !s->moved && s->path.region &&
        strcmp(region, s->path.region) != 0) {
        s->moved = true;
        s->path.region = fl_arena_strdup(fl_download_arena(d), region);
        r = s->path.region ? list(d, &err) : fl_err_nomem(&err);
        if (r < 0)
            fl_download_fail(d, &err);
        return;
    }
    r = fl_download_judge(s->path.bucket, answer, &err);
    if (r == 0)
        r = take_page(d, answer, &more, &err);
    if (r == 0 && more)
        r = list(d, &err);
    else if (r == 0 && s->n > 0)
        fl_download_go(d, false);
    else if (r == 0) {
        r = add_key(d, s->path.key, slash ? slash + 1 : s->path.key, &err);
        if (r == 0)
            fl_download_go(d, true);
    }
    if (r < 0)
        fl_download_fail(d, &err);
}

static int list(struct fl_download *d, struct fl_err *err)
{
    struct s3 *s = *fl_download_own(d);
    struct fl_arena *arena = fl_download_arena(d);
    fl_autobuf struct fl_buf query = FL_BUF(16384);
    const char *base = fl_s3_path_url(&s->path, s->path.region, "", arena);
    struct fl_step_request request;
    const char *url;
    int r = fl_buf_puts(&query, s->marker ? "marker=" : "");

    if (r == 0 && s->marker)
        r = fl_uri_encode(s->marker, strlen(s->marker), false, &query);
    if (r == 0)
        r = fl_buf_puts(&query, s->marker ? "&prefix=" : "prefix=");
    if (r == 0)
        r = fl_uri_encode(s->prefix, strlen(s->prefix), false, &query);
    url = r == 0 && base ? fl_arena_printf(arena, "%s?%s", base, query.data) : NULL;
    if (!url)
        return fl_err_nomem(err);
    request = get(s, url);
    request.max_body_bytes = LIST_MAX_BYTES;
    fl_download_call(d, &request, on_list);
    return 0;
}

static int start(struct fl_download *d, const void *in, struct fl_err *err)
{
    const struct info *info = in;
    struct fl_arena *arena = fl_download_arena(d);
    struct s3 *s = fl_arena_alloc(arena, sizeof(*s));
    size_t len;
    int r = s ? fl_s3_path_parse(info->path, arena, &s->path, err) : -ENOMEM;

    if (r < 0)
        return r;
    len = strlen(s->path.key);
    s->prefix = len == 0 || s->path.key[len - 1] == '/'
                    ? s->path.key
                    : fl_arena_printf(arena, "%s/", s->path.key);
    if (!s->prefix)
        return fl_err_nomem(err);
    *fl_download_own(d) = s;
    return list(d, err);
}

const struct fl_download_source fl_source_s3 = { .name = "S3", .info = &shape, .start = start };
