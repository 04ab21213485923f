/* document_attach.c - the files that belong to a version of a document, mostly of a package.
 *
 * The plane keeps where a file is, and what the package's manifest says of it: {"files": {NAME:
 * {"checksums": {"sha256": …}, "size": …}}} (protocol 4 §5.4). Whoever installs it compares.
 */
#include "server/api/document_ops.h"

#include <errno.h>
#include <string.h>

#include "server/pattern.h"

#define ATTACHMENTS_MAX 100
#define NAME_PATTERN    "^[a-zA-Z0-9_\\-.]{3,128}$"
#define HTTPS           "https://"

struct collection {
    struct fl_call *call;
    struct fl_err *err;
    const json_t *files; /* of the manifest; NULL: none */
    struct fl_document_attachment v[ATTACHMENTS_MAX];
    size_t n;
};

static int refuse(struct collection *c, const char *what, const char *why)
{
    return fl_err_set(c->err, -EINVAL, "ValidationException", "Attachment %.200s: %s.", what, why);
}

static int no_memory(struct collection *c)
{
    return fl_err_set(c->err, -ENOMEM, NULL, "out of memory");
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

/* One file, with what the manifest says of it. */
static int add_file(struct collection *c, const char *name, const char *url)
{
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
        return no_memory(c);
    if (strncmp(url, HTTPS, strlen(HTTPS)) != 0 || strlen(url) == strlen(HTTPS))
        return refuse(c, url, "must be an https URL that nodes can read");
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
        int r = url ? add_file(c, name, url) : no_memory(c);

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
        return no_memory(c);
    if (!file)
        return refuse(c, name, "must be document/version/file");
    *version++ = *file++ = '\0';
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

int fl_document_attachments(struct fl_call *call, const struct fl_document_write_in *req,
                            const json_t *root, struct fl_document_attachment **ret, size_t *ret_n,
                            struct fl_err *err)
{
    struct collection c = { .call = call, .err = err, .files = json_object_get(root, "files") };
    int r = 0;

    for (size_t i = 0; i < req->n_attachments && r == 0; i++)
        r = take(&c, &req->attachments[i]);
    if (r < 0)
        return r;
    *ret = (void *)fl_arena_memdup(call->arena, c.v, c.n * sizeof(*c.v));
    *ret_n = c.n;
    return *ret ? 0 : no_memory(&c);
}
