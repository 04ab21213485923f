/* github.c - a file of a GitHub repository, or a folder with all below it, by the contents API. */
#include <errno.h>
#include <string.h>
#include "common/aws/sigv4.h"
#include "common/doc/ssm_refs.h"
#include "plugins/download_content/place.h"
#include "plugins/download_content/source.h"

#define LIST_MAX_BYTES (2u << 20)
#define MAX_FOLDERS    1000
#define MAX_REDIRECTS  5

struct info {
    char *owner, *repository, *path, *get_options, *token;
};
#define F(member, key, flags) FL_FIELD(struct info, member, key, flags)
static const struct fl_field fields[] = {
    F(owner, "owner", FL_REQUIRED),  F(repository, "repository", FL_REQUIRED), F(path, "path", 0),
    F(get_options, "getOptions", 0), F(token, "tokenInfo", FL_SECRET),
};
#undef F
static const struct fl_shape shape = FL_SHAPE(struct info, "GitInfo", fields);
static const size_t secrets[] = { offsetof(struct info, token), SIZE_MAX };

/* What the contents API says of one file or folder; of a folder itself it gives a list. */
struct content {
    char *type, *path;
};
static const struct fl_field content_fields[] = {
    FL_FIELD(struct content, type, "type", FL_REQUIRED),
    FL_FIELD(struct content, path, "path", FL_REQUIRED),
};
static const struct fl_shape content_shape = FL_SHAPE(struct content, "content", content_fields);

struct contents {
    struct content *v;
    size_t n;
};
static const struct fl_field contents_fields[] = {
    FL_FIELD_LIST(struct contents, v, n, "v", 0, &content_shape),
};
static const struct fl_shape contents_shape =
    FL_SHAPE(struct contents, "contents", contents_fields);

struct github {
    const char *root, *ref, *authorization;
    const char *folders[MAX_FOLDERS]; /* to be looked into */
    size_t n_folders, next;
    bool folder; /* the root is one */
};

static const char *contents_url(struct fl_download *d, const char *path)
{
    const struct info *info = fl_download_info(d);
    const struct github *g = *fl_download_own(d);
    struct fl_arena *arena = fl_download_arena(d);
    const struct {
        const char *text;
        bool keep_slash;
    } parts[] = {
        { info->owner, false }, { info->repository, false }, { path, true }, { g->ref, false }
    };
    const char *encoded[FL_ARRAY_LEN(parts)];

    for (size_t i = 0; i < FL_ARRAY_LEN(parts); i++) {
        fl_autobuf struct fl_buf b = FL_BUF(16384);
        if (fl_uri_encode(parts[i].text, strlen(parts[i].text), parts[i].keep_slash, &b) < 0)
            return NULL;
        encoded[i] = fl_arena_memdup(arena, b.data ? b.data : "", b.len);
        if (!encoded[i])
            return NULL;
    }
    return fl_arena_printf(arena, "https://api.github.com/repos/%s/%s/contents%s%s?ref=%s",
                           encoded[0], encoded[1], *encoded[2] ? "/" : "", encoded[2], encoded[3]);
}

/* A request for what stands at `path`: the description of it, or the file itself. */
static int make_request(struct fl_download *d, const char *path, bool raw,
                        struct fl_step_header headers[3], struct fl_step_request *out,
                        struct fl_err *err)
{
    const struct github *g = *fl_download_own(d);
    size_t n = 0;

    headers[n++] = (struct fl_step_header){ "Accept", raw ? "application/vnd.github.raw"
                                                          : "application/vnd.github+json" };
    if (g->authorization)
        headers[n++] = (struct fl_step_header){ "Authorization", g->authorization };
    *out = (struct fl_step_request){ .method = "GET",
                                     .url = contents_url(d, path),
                                     .headers = headers,
                                     .n_headers = n,
                                     .max_redirects = MAX_REDIRECTS,
                                     .max_body_bytes = LIST_MAX_BYTES };
    return out->url ? 0 : fl_err_set(err, -EINVAL, NULL, "%.200s: not a path", path);
}

static int add_file(struct fl_download *d, const char *path, const char *name, struct fl_err *err)
{
    struct fl_step_header headers[3];
    struct fl_step_request request;
    int r = make_request(d, path, true, headers, &request, err);

    return r < 0 ? r : fl_download_add(d, &request, name, err);
}

static void on_contents(struct fl_download *d, const struct fl_step_answer *answer);

static int look(struct fl_download *d, const char *path, struct fl_err *err)
{
    struct fl_step_header headers[3];
    struct fl_step_request request;
    int r = make_request(d, path, false, headers, &request, err);

    if (r == 0)
        fl_download_call(d, &request, on_contents);
    return r;
}

static int take_folder(struct fl_download *d, const struct contents *list, struct fl_err *err)
{
    struct github *g = *fl_download_own(d);
    size_t root = strlen(g->root);

    for (size_t i = 0; i < list->n; i++) {
        const struct content *c = &list->v[i];
        int r = 0;

        /* What lies below the root, by its path from there. */
        if (strncmp(c->path, g->root, root) != 0 || (root && c->path[root] != '/'))
            return fl_err_set(err, -EBADMSG, NULL, "GitHub lists %.200s below %.200s", c->path,
                              g->root);
        if (strcmp(c->type, "file") == 0) {
            r = add_file(d, c->path, c->path + root + (root > 0), err);
        } else if (strcmp(c->type, "dir") == 0) {
            if (g->n_folders == MAX_FOLDERS)
                return fl_err_set(err, -E2BIG, NULL, "more than %d folders", MAX_FOLDERS);
            if (!fl_place_path_valid(c->path))
                return fl_err_set(err, -EINVAL, NULL,
                                  "%.200s: a path that leads out of the destination", c->path);
            g->folders[g->n_folders++] = fl_arena_strdup(fl_download_arena(d), c->path);
            r = g->folders[g->n_folders - 1] ? 0 : fl_err_nomem(err);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* A list is a folder, an object what it says. */
static int take_contents(struct fl_download *d, const struct fl_step_answer *answer,
                         struct fl_err *err)
{
    fl_autobuf struct fl_buf wrapped = FL_BUF(LIST_MAX_BYTES + 64);
    struct github *g = *fl_download_own(d);
    const char *slash = strrchr(g->root, '/');
    struct contents list = { 0 };
    struct content one = { 0 };
    const char *body = answer->body + strspn(answer->body, " \t\r\n");
    int r;
    if (*body != '[') {
        r = fl_json_decode(&content_shape, body, strlen(body), 0, fl_download_arena(d), &one, err);
        if (r == 0 && (g->folder || strcmp(one.type, "file") != 0))
            r = fl_err_set(err, -EBADMSG, NULL, "%.200s is neither a file nor a folder", g->root);
        return r < 0 ? r : add_file(d, g->root, slash ? slash + 1 : g->root, err);
    }
    g->folder = true;
    r = fl_buf_printf(&wrapped, "{\"v\":%s}", body);
    if (r == 0)
        r = fl_json_decode(&contents_shape, wrapped.data, wrapped.len, 0, fl_download_arena(d),
                           &list, err);
    return r < 0 ? r : take_folder(d, &list, err);
}

static void on_contents(struct fl_download *d, const struct fl_step_answer *answer)
{
    const struct info *info = fl_download_info(d);
    struct github *g = *fl_download_own(d);
    struct fl_err err = { 0 };
    const char *what =
        fl_arena_printf(fl_download_arena(d), "GitHub %s/%s", info->owner, info->repository);
    int r = fl_download_judge(what ? what : "GitHub", answer, &err);

    if (r == 0)
        r = take_contents(d, answer, &err);
    if (r == 0 && g->next < g->n_folders)
        r = look(d, g->folders[g->next++], &err);
    else if (r == 0)
        fl_download_go(d, !g->folder);
    if (r < 0)
        fl_download_fail(d, &err);
}

/* "branch:X" or "commitID:X". */
static int find_ref(const char *options, const char **ret_ref, struct fl_err *err)
{
    static const char *const prefixes[] = { "branch:", "commitID:" };

    *ret_ref = "master";
    if (!options || !*options)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(prefixes); i++) {
        size_t n = strlen(prefixes[i]);

        if (strncmp(options, prefixes[i], n) == 0 && options[n]) {
            *ret_ref = options + n;
            return 0;
        }
    }
    return fl_err_set(err, -EINVAL, NULL,
                      "invalid input: getOptions %.100s: neither branch:NAME nor commitID:ID",
                      options);
}

static int start(struct fl_download *d, const void *in, struct fl_err *err)
{
    const struct info *info = in;
    struct fl_arena *arena = fl_download_arena(d);
    struct github *g = fl_arena_alloc(arena, sizeof(*g));
    char *root = fl_arena_strdup(arena, info->path ? info->path : "");
    size_t len = root ? strlen(root) : 0;
    int r = g && root ? find_ref(info->get_options, &g->ref, err) : -ENOMEM;

    if (r < 0)
        return r;
    while (len > 0 && root[len - 1] == '/')
        root[--len] = '\0';
    if (len > 0 && !fl_place_path_valid(root))
        return fl_err_set(err, -EINVAL, NULL, "invalid input: path %.200s", root);
    g->root = root;
    if (info->token && *info->token)
        g->authorization = fl_arena_printf(arena, "Bearer %s", info->token);
    *fl_download_own(d) = g;
    return look(d, root, err);
}

const struct fl_download_source fl_source_github = {
    .name = "GitHub", .info = &shape, .secrets = secrets, .secrets_only = true, .start = start
};
