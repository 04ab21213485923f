/* document_attach.c - the files that belong to a version of a document, mostly of a package.
 *
 * An object of this plane is copied (server/s3/kept.h) and compared with the package's manifest:
 * {"files": {NAME: {"checksums": {"sha256": …}, "size": …}}} (protocol 4 §5.4). Of a file elsewhere
 * the plane keeps where it is and what the manifest says; whoever installs it compares.
 *
 * The sources are walked twice: before the call is judged, for what it would read, and when the
 * version is made, for what came of that.
 */
#include "server/api/document_ops.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/pattern.h"
#include "server/plane.h"
#include "server/s3/kept.h"

#define ATTACHMENTS_MAX 100
#define NAME_PATTERN    "^[a-zA-Z0-9_\\-.]{3,128}$"
#define HTTPS           "https://"
#define COPY_MAX_BYTES  (4ull << 30) /* of one call: it is read while the caller waits */

/* An object that is copied; fl_work's argument is a list of them. */
struct copy {
    const char *bucket, *key;
    bool found;
    struct fl_kept kept;
};
struct copies {
    struct fl_blobs *blobs;
    struct copy v[ATTACHMENTS_MAX];
    size_t n, done;
    struct fl_s3_pieces gone; /* of documents that were deleted */
};

struct collection {
    struct fl_call *call;
    struct fl_err *err;
    const json_t *files;       /* of the manifest; NULL: none */
    struct copies *copies;     /* NULL: there are none */
    struct fl_resources *asks; /* the first walk: what is read; else NULL */
    struct fl_document_attachment v[ATTACHMENTS_MAX];
    size_t n;
};

static int refuse(struct collection *c, const char *what, const char *why)
{
    return fl_err_set(c->err, -EINVAL, "ValidationException", "Attachment %.200s: %s.", what, why);
}

static int add(struct collection *c, const struct fl_document_attachment *a)
{
    if (!fl_pattern_match(NULL, NAME_PATTERN, a->name))
        return refuse(c, a->name, "a name has 3 to 128 letters, digits and _ - .");
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->v[i].name, a->name) == 0)
            return refuse(c, a->name, "two have this name");
    if (c->n == ATTACHMENTS_MAX)
        return refuse(c, a->name, "a document has at most 100");
    c->v[c->n++] = *a;
    return 0;
}

/* ---- objects of this plane ---- */
static int ask(struct collection *c, char *arn, const char *action)
{
    int r = arn ? fl_resources_add(c->call, c->asks, arn, "", "", c->err) : fl_err_nomem(c->err);

    if (r == 0)
        c->asks->v[c->asks->n - 1].action = action;
    return r;
}

/* The first walk: whether it is there is told when the caller may know. */
static int plan_copy(struct collection *c, const char *bucket, const char *key)
{
    struct copy *copy = &c->copies->v[c->copies->n];
    int r =
        ask(c, fl_arena_printf(c->call->arena, "arn:aws:s3:::%s/%s", bucket, key), "s3:GetObject");

    if (r < 0 || c->copies->n == ATTACHMENTS_MAX)
        return r;
    *copy = (struct copy){ .bucket = bucket, .key = key, .kept.fd = -1 };
    r = fl_kept_find(c->call, bucket, key, &copy->kept, c->err);
    copy->found = r > 0;
    c->copies->n += r >= 0;
    return FL_MIN(r, 0);
}

static struct copy *find_copy(struct collection *c, const char *bucket, const char *key)
{
    for (size_t i = 0; c->copies && i < c->copies->n; i++)
        if (strcmp(c->copies->v[i].bucket, bucket) == 0 && strcmp(c->copies->v[i].key, key) == 0)
            return &c->copies->v[i];
    return NULL;
}

static int add_copy(struct collection *c, struct fl_document_attachment *a, const char *bucket,
                    const char *key)
{
    struct copy *copy = find_copy(c, bucket, key);
    int r;

    if (!copy || !copy->found)
        return refuse(c, key, "there is no such object in the bucket");
    if (a->hash && strcasecmp(a->hash, copy->kept.sha256) != 0)
        return fl_err_set(c->err, -EINVAL, "ValidationException",
                          "Attachment %.128s: its SHA-256 is %s, the document says %.64s.", a->name,
                          copy->kept.sha256, a->hash);
    r = fl_kept_name(c->call, &copy->kept, c->err);
    if (r < 0)
        return r;
    a->hash = copy->kept.sha256;
    a->hash_type = (char *)"Sha256";
    a->size = (int64_t)copy->kept.bytes;
    a->url = NULL;
    return add(c, a);
}

/* One file, with what the manifest says of it. */
static int add_file(struct collection *c, const char *name, const char *url)
{
    const char *bucket, *key;
    bool own = fl_kept_is_own(c->call, url, &bucket, &key);
    const json_t *file = json_object_get(c->files, name);
    const char *hash =
        json_string_value(json_object_get(json_object_get(file, "checksums"), "sha256"));
    struct fl_arena *arena = c->call->arena;
    struct fl_document_attachment a = {
        .name = fl_arena_strdup(arena, name),
        .url = fl_arena_strdup(arena, url),
        .hash = fl_arena_strdup(arena, hash),
        .hash_type = (char *)(hash ? "Sha256" : NULL),
        .size = json_integer_value(json_object_get(file, "size")),
    };

    if (!a.name || !a.url || (hash && !a.hash))
        return fl_err_nomem(c->err);
    if (c->asks)
        return own && c->copies ? plan_copy(c, bucket, key) : 0;
    if (own)
        return add_copy(c, &a, bucket, key);
    if (strncmp(url, HTTPS, strlen(HTTPS)) != 0 || strlen(url) == strlen(HTTPS))
        return refuse(c, url,
                      "must be s3:// and an object of this plane, or an https URL that "
                      "nodes can read");
    return add(c, &a);
}

/* ---- by key ---- */

/* A folder: every file of the manifest is in it. */
static int from_folder(struct collection *c, const struct fl_attachment_source *src)
{
    const char *folder = src->values.v[0], *name;
    size_t len = strlen(folder);
    json_t *file;

    if (json_object_size(c->files) == 0)
        return refuse(c, folder, "the document has no files that could be there");
    while (len > 0 && folder[len - 1] == '/')
        len--;
    json_object_foreach((json_t *)c->files, name, file)
    {
        char *url = fl_arena_printf(c->call->arena, "%.*s/%s", (int)len, folder, name);
        int r = url ? add_file(c, name, url) : fl_err_nomem(c->err);

        if (r < 0)
            return r;
    }
    return 0;
}

static int from_file(struct collection *c, const struct fl_attachment_source *src)
{
    const char *url = src->values.v[0], *slash = strrchr(url, '/');

    return add_file(c, src->name ? src->name : slash ? slash + 1 : url, url);
}

/* Name/version/file of another document, or of this one before. */
static int from_document(struct collection *c, const struct fl_attachment_source *src)
{
    char *name = fl_arena_strdup(c->call->arena, src->values.v[0]);
    char *version = name ? strchr(name, '/') : NULL;
    char *file = version ? strchr(version + 1, '/') : NULL;
    struct fl_document doc;
    int r;

    if (!name)
        return fl_err_nomem(c->err);
    if (!file)
        return refuse(c, name, "must be document/version/file");
    *version++ = *file++ = '\0';
    if (c->asks) {
        r = fl_document_resource(c->call, name, c->asks, c->err);
        if (r == 0)
            c->asks->v[c->asks->n - 1].action = "ssm:GetDocument";
        return r;
    }
    r = fl_document_find(c->call, name, version, &doc, c->err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < doc.n_attachments; i++)
        if (strcmp(doc.attachments[i].name, file) == 0) {
            if (src->name)
                doc.attachments[i].name = src->name;
            return add(c, &doc.attachments[i]);
        }
    return refuse(c, src->values.v[0], "there is no such attachment");
}

static const struct {
    const char *key;
    int (*take)(struct collection *c, const struct fl_attachment_source *src);
} sources[] = {
    { "SourceUrl", from_folder },
    { "S3FileUrl", from_file },
    { "AttachmentReference", from_document },
};

static int take(struct collection *c, const struct fl_attachment_source *src)
{
    if (!src->key || src->values.n != 1)
        return refuse(c, src->key ? src->key : "", "Key and one of Values must be given");
    for (size_t i = 0; i < FL_ARRAY_LEN(sources); i++)
        if (strcmp(sources[i].key, src->key) == 0)
            return sources[i].take(c, src);
    return refuse(c, src->key, "there is no such Key");
}

/* ---- work on the files ---- */
static int copy_some(void *arg, struct fl_err *err)
{
    struct copies *copies = arg;
    struct copy *copy = &copies->v[copies->done];
    int r;

    if (copies->done == copies->n)
        return 0;
    r = copy->found ? fl_kept_copy(copies->blobs, &copy->kept, err) : 0;
    copies->done += r == 0;
    return r < 0 ? r : 1;
}

static void end_copies(void *arg, bool stored)
{
    struct copies *copies = arg;

    for (size_t i = 0; i < copies->n; i++)
        fl_kept_end(copies->blobs, &copies->v[i].kept, !stored || !copies->v[i].kept.named);
    for (size_t i = 0; stored && i < copies->gone.n; i++)
        fl_blob_remove(copies->blobs, copies->gone.v[i].blob_id, copies->gone.v[i].bytes);
}

static int check_size(const struct copies *copies, struct fl_err *err)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < copies->n; i++)
        bytes += copies->v[i].kept.bytes;
    return bytes <= COPY_MAX_BYTES
               ? 0
               : fl_err_set(err, -EINVAL, "ValidationException",
                            "The attachments have %llu bytes, more than %llu.",
                            (unsigned long long)bytes, (unsigned long long)COPY_MAX_BYTES);
}

/* ---- for the operations ---- */
static int walk(struct collection *c, const struct fl_document_write_in *req)
{
    int r = 0;

    for (size_t i = 0; i < req->n_attachments && r == 0; i++)
        r = take(c, &req->attachments[i]);
    return r;
}

static struct copies *new_copies(struct fl_call *call)
{
    struct copies *copies = call->plane->s3 ? fl_arena_alloc(call->arena, sizeof(*copies)) : NULL;

    if (copies)
        *copies = (struct copies){ .blobs = call->plane->s3->blobs };
    return copies;
}

int fl_document_plan_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                                 const json_t *root, struct fl_resources *ret_resources,
                                 struct fl_err *err)
{
    struct fl_err why = { 0 };
    struct collection c = { .call = call,
                            .err = &why,
                            .files = json_object_get(root, "files"),
                            .copies = new_copies(call),
                            .asks = ret_resources };
    int r = walk(&c, req);

    /* What the request says wrongly is told by the second walk. */
    if (r < 0 && !why.name)
        return fl_err_set(err, r, NULL, "%s", fl_err_text(&why));
    if (!c.copies || c.copies->n == 0)
        return 0;
    call->work = (struct fl_work){ copy_some, end_copies, c.copies };
    return check_size(c.copies, err);
}

int fl_document_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                            const json_t *root, struct fl_document_attachment **ret, size_t *ret_n,
                            struct fl_err *err)
{
    struct collection c = {
        .call = call, .err = err, .files = json_object_get(root, "files"), .copies = call->work.arg
    };
    int r = walk(&c, req);

    if (r < 0)
        return r;
    *ret = (void *)fl_arena_memdup(call->arena, c.v, c.n * sizeof(*c.v));
    *ret_n = c.n;
    return *ret ? 0 : fl_err_nomem(c.err);
}

/* A manifest that does not name a file, or means another one, has lost it. */
static bool fits(const struct fl_document_attachment *a, const json_t *files)
{
    const json_t *file = json_object_get(files, a->name);
    const char *hash =
        json_string_value(json_object_get(json_object_get(file, "checksums"), "sha256"));

    return !files || (file && (!hash || (a->hash && strcasecmp(hash, a->hash) == 0)));
}

void fl_document_inherit_attachments(const struct fl_document *before, const json_t *root,
                                     struct fl_document_attachment *ret, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; i < before->n_attachments; i++)
        if (fits(&before->attachments[i], json_object_get(root, "files")))
            ret[(*ret_n)++] = before->attachments[i];
}

int fl_document_forget_attachments(struct fl_call *call, const struct fl_strs *hashes,
                                   struct fl_err *err)
{
    struct copies *copies = hashes->n ? new_copies(call) : NULL;
    int r = 0;

    if (!copies)
        return hashes->n && call->plane->s3 ? fl_err_nomem(err) : 0;
    for (size_t i = 0; r == 0 && i < hashes->n; i++)
        r = fl_kept_forget(call, hashes->v[i], &copies->gone, err);
    call->work = (struct fl_work){ NULL, end_copies, copies };
    return r;
}

int fl_document_attachment_urls(struct fl_call *call, struct fl_document *doc, struct fl_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < doc->n_attachments; i++)
        if (!doc->attachments[i].url && doc->attachments[i].hash)
            r = fl_kept_url(call, doc->attachments[i].hash, &doc->attachments[i].url, err);
    return r;
}
