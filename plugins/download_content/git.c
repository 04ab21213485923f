/* git.c - the files of a Git repository, without its history.
 *
 * The repository is fetched as all else is, by calls of this step: two or three requests of Git's
 * own protocol, whose last answer is a pack. Only then comes git, to read the pack: programs with
 * no rights and no need of the network, in a folder of their own, with no configuration but ours.
 * Nothing is checked out by them. They tell the tree and the contents, so no hook, filter, link or
 * submodule of the repository ever comes to life, and user and password are in no other process
 * than fetch.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/file.h"
#include "common/net/url.h"
#include "plugins/download_content/git_run.h"
#include "plugins/download_content/git_wire.h"
#include "plugins/download_content/source.h"

#define FOLDER            "git" /* in the step's */
#define PACK              "objects/pack/pack-1.pack"
#define REFS_MAX_BYTES    (3u << 20)
#define LISTING_MAX_BYTES (8u << 20)
#define URL_MAX_BYTES     4096
#define REF_MAX_BYTES     1000
#define FETCH_TIMEOUT_MS  (3600 * 1000)
#define TURN_BYTES        (1u << 20)

struct info {
    char *repository, *get_options, *username, *password, *key;
    struct fl_raw skip_host_key_checking; /* of ssh */
};
#define F(member, key, flags) FL_FIELD(struct info, member, key, flags)
static const struct fl_field fields[] = {
    F(repository, "repository", FL_REQUIRED),
    F(get_options, "getOptions", 0),
    F(username, "username", 0),
    F(password, "password", FL_SECRET),
    F(key, "privateSSHKey", FL_SECRET),
    F(skip_host_key_checking, "skipHostKeyChecking", 0),
};
#undef F
static const struct fl_shape shape = FL_SHAPE(struct info, "GitRepositoryInfo", fields);
static const size_t secrets[] = { offsetof(struct info, username), offsetof(struct info, password),
                                  SIZE_MAX };

struct blob {
    char oid[FL_GIT_OID_BYTES];
    uint64_t size;
    const char *path;
};

struct git {
    struct fl_download *d;
    const char *url, *ref;
    char oid[FL_GIT_OID_BYTES]; /* the commit, or a tag of it */
    bool named;                 /* by the document: no ref is looked up */
    bool suffixed;              /* ".git" was tried, too */
    int version;
    char *folder;
    int folder_fd;

    /* the answer, the pack in it */
    int answer_fd, pack_fd;
    uint64_t answer_at;
    struct fl_git_pack pack;
    struct fl_timer *turn;

    struct fl_git_run run;
    void (*next)(struct git *g); /* when the program ended well */

    struct fl_buf listing;
    struct blob *blobs;
    size_t n_blobs, left_out;

    /* the contents, as they come */
    size_t at_blob;
    char head[FL_GIT_OID_BYTES + 40];
    size_t head_len;
    uint64_t left; /* of this blob, with the newline behind it */
    int blob_fd;
};

static void fail(struct git *g, const struct fl_err *err)
{
    fl_download_fail(g->d, err);
}

/* ---- git, the program ---- */

static int take_content(struct git *g, const char *data, size_t len, struct fl_err *err);

static int on_output(void *arg, const char *data, size_t len, struct fl_err *err)
{
    struct git *g = arg;

    if (g->blobs)
        return take_content(g, data, len, err);
    return fl_buf_append(&g->listing, data, len) < 0
               ? fl_err_set(err, -E2BIG, NULL, "the list of the repository's files is too long")
               : 0;
}

static void on_over(void *arg, const struct fl_err *err)
{
    struct git *g = arg;

    if (fl_step_ending(fl_download_step(g->d)) != FL_STEP_NOT_ENDING)
        fl_download_ended(g->d);
    else if (err)
        fail(g, err);
    else
        g->next(g);
}

/* `next` runs when it has ended well; else the step fails. */
static int run(struct git *g, const char *const *args, const void *input, size_t input_len,
               void (*next)(struct git *g), struct fl_err *err)
{
    g->next = next;
    return fl_git_run_start(&g->run, g->folder, args, input, input_len, err);
}

/* ---- the contents ---- */

static void on_contents(struct git *g)
{
    struct fl_err err = { 0 };
    char text[100];

    if (g->at_blob < g->n_blobs) {
        fl_err_set(&err, -EBADMSG, NULL, "git told fewer files than there are");
        fail(g, &err);
        return;
    }
    if (g->left_out > 0) {
        snprintf(text, sizeof(text), "%zu links and submodules of the repository were left out\n",
                 g->left_out);
        fl_step_puts(fl_download_step(g->d), FL_STEP_STDERR, text);
    }
    fl_download_go(g->d, false);
}

/* "OID blob SIZE\n", for the blob whose turn it is. */
static size_t expected_head(const struct git *g, char *out, size_t out_size)
{
    const struct blob *b = &g->blobs[g->at_blob];

    return (size_t)snprintf(out, out_size, "%s blob %llu\n", b->oid, (unsigned long long)b->size);
}

static int begin_blob(struct git *g, const char *data, size_t len, size_t *used, struct fl_err *err)
{
    const struct blob *b = &g->blobs[g->at_blob];
    char want[sizeof(g->head)];
    size_t n = expected_head(g, want, sizeof(want));

    *used = FL_MIN(len, n - g->head_len);
    memcpy(g->head + g->head_len, data, *used);
    g->head_len += *used;
    if (memcmp(g->head, want, g->head_len) != 0)
        return fl_err_set(err, -EBADMSG, NULL, "%.200s: git cannot tell what is in it", b->path);
    if (g->head_len < n)
        return 0;
    g->left = b->size + 1;
    return fl_download_open(g->d, b->path, b->size, &g->blob_fd, err);
}

static int take_content(struct git *g, const char *data, size_t len, struct fl_err *err)
{
    int r = 0;

    while (len > 0 && r == 0) {
        size_t used = 0, n;

        if (g->at_blob == g->n_blobs)
            return fl_err_set(err, -EBADMSG, NULL, "git told more files than there are");
        if (g->left == 0) {
            r = begin_blob(g, data, len, &used, err);
        } else {
            used = (size_t)FL_MIN((uint64_t)len, g->left);
            n = used - (used == g->left); /* the newline is none of it */
            r = fl_fd_write_all(g->blob_fd, data, n);
            if (r < 0)
                return fl_err_set(err, r, NULL, "cannot write a file: %s", strerror(-r));
            g->left -= used;
            if (g->left == 0) {
                close(FL_TAKE_FD(g->blob_fd));
                g->head_len = 0;
                g->at_blob++;
            }
        }
        data += used;
        len -= used;
    }
    return r;
}

/* ---- the list of files ---- */

static int read_listing(struct git *g, struct fl_err *err)
{
    struct fl_arena *arena = fl_download_arena(g->d);
    uint64_t left = fl_download_left_bytes(g->d);
    struct fl_git_entry e;
    size_t at = 0, n = 0;
    int r;

    for (size_t i = 0; i < g->listing.len; i++)
        n += g->listing.data[i] == '\0';
    g->blobs = fl_arena_calloc(arena, n + 1, sizeof(*g->blobs));
    if (!g->blobs)
        return fl_err_nomem(err);
    while ((r = fl_git_tree_next(g->listing.data, g->listing.len, &at, &e)) == 1) {
        struct blob *b = &g->blobs[g->n_blobs];

        if (!e.file) {
            g->left_out++;
            continue;
        }
        /* Before anything is unpacked: a small pack can hold the same file many times. */
        if (e.size > left)
            return fl_err_set(err, -EFBIG, NULL, "the repository's files are too large");
        left -= e.size;
        *b = (struct blob){ .size = e.size, .path = e.path };
        memcpy(b->oid, e.oid, sizeof(e.oid));
        g->n_blobs++;
    }
    return r < 0 ? fl_err_set(err, r, NULL, "git lists what it should not") : 0;
}

static void on_listing(struct git *g)
{
    fl_autobuf struct fl_buf oids = FL_BUF(LISTING_MAX_BYTES);
    struct fl_err err = { 0 };
    int r = read_listing(g, &err);

    for (size_t i = 0; r == 0 && i < g->n_blobs; i++)
        if (fl_buf_printf(&oids, "%s\n", g->blobs[i].oid) < 0)
            r = fl_err_nomem(&err);
    if (r == 0)
        r = run(g, (const char *const[]){ "cat-file", "--batch", NULL }, oids.data ? oids.data : "",
                oids.len, on_contents, &err);
    if (r < 0)
        fail(g, &err);
}

static void on_index(struct git *g)
{
    const char *const args[] = { "ls-tree", "-r", "-z", "-l", "--full-tree", g->oid, NULL };
    struct fl_err err = { 0 };

    fl_buf_reset(&g->listing); /* the pack's name */
    if (run(g, args, NULL, 0, on_listing, &err) < 0)
        fail(g, &err);
}

/* ---- the pack ---- */

static int unwrap(struct git *g, const char *data, size_t len, size_t *used, struct fl_err *err)
{
    struct fl_git_pkt pkt;
    int r;

    while ((r = fl_git_pkt_next(data, len, used, &pkt)) == 1) {
        const char *part;
        size_t n;

        r = fl_git_pack_take(&g->pack, &pkt, &part, &n, err);
        if (r == 0 && n > 0)
            r = fl_fd_write_all(g->pack_fd, part, n);
        if (r < 0)
            return err->code ? r : fl_err_set(err, r, NULL, "the pack: %s", strerror(-r));
    }
    return r < 0 ? fl_err_set(err, r, NULL, "the server's answer is not Git's") : 0;
}

/* A piece of the answer a turn of the loop. */
static void on_turn(void *arg)
{
    struct git *g = arg;
    fl_autofree char *data = malloc(TURN_BYTES);
    ssize_t n = data ? fl_fd_pread_upto(g->answer_fd, data, TURN_BYTES, g->answer_at) : -ENOMEM;
    struct fl_err err = { 0 };
    size_t used = 0;
    int r = n < 0 ? fl_err_set(&err, (int)n, NULL, "the answer: %s", strerror((int)-n)) : 0;

    if (r == 0)
        r = unwrap(g, data, (size_t)n, &used, &err);
    g->answer_at += used;
    if (r == 0 && used > 0) {
        fl_timer_start(g->turn, 0);
        return;
    }
    if (r == 0 && (n > 0 || !g->pack.ended))
        r = fl_err_set(&err, -EBADMSG, NULL, "the server's answer is cut off");
    if (r == 0) {
        close(FL_TAKE_FD(g->answer_fd));
        close(FL_TAKE_FD(g->pack_fd));
        r = run(g, (const char *const[]){ "index-pack", PACK, NULL }, NULL, 0, on_index, &err);
    }
    if (r < 0)
        fail(g, &err);
}

static void on_pack(void *arg, const struct fl_step_answer *answer)
{
    struct git *g = arg;
    struct fl_err err = { 0 };

    if (fl_download_judge(g->url, answer, &err) < 0)
        fail(g, &err);
    else
        fl_timer_start(g->turn, 0);
}

/* ---- requests ---- */

/* A POST to git-upload-pack if there is a body, else the GET that comes first. */
static int call(struct git *g, const struct fl_buf *body, int to_fd, fl_step_answer_fn done,
                struct fl_err *err)
{
    static const struct fl_step_header headers[] = {
        { "Git-Protocol", "version=2" },
        { "Accept", "*/*" },
        { "Content-Type", "application/x-git-upload-pack-request" },
    };
    const struct info *info = fl_download_info(g->d);
    const struct fl_step_download to = { .fd = to_fd, .max_bytes = fl_download_left_bytes(g->d) };
    const bool login = (info->username && *info->username) || (info->password && *info->password);
    const struct fl_step_request request = {
        .method = body ? "POST" : "GET",
        .url = fl_arena_printf(fl_download_arena(g->d), "%s%s", g->url,
                               body ? "/git-upload-pack" : "/info/refs?service=git-upload-pack"),
        .headers = headers + (g->version == 0 && body), /* asks for none it did not offer */
        .n_headers = FL_ARRAY_LEN(headers) - !body - (g->version == 0 && body),
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
        .download = to_fd >= 0 ? &to : NULL,
        .max_body_bytes = REFS_MAX_BYTES,
        .auth = login ? FL_STEP_AUTH_BASIC : FL_STEP_AUTH_NONE,
        .user = login ? (info->username ? info->username : "") : NULL,
        .password = login ? (info->password ? info->password : "") : NULL,
        .timeout_ms = to_fd >= 0 ? FETCH_TIMEOUT_MS : 0,
    };

    if (!request.url)
        return fl_err_nomem(err);
    return fl_step_call(fl_download_step(g->d), &request, done, g, NULL, err);
}

static int ask_pack(struct git *g, struct fl_err *err)
{
    fl_autobuf struct fl_buf body = FL_BUF(REF_MAX_BYTES);

    if (fl_git_ask_pack(&body, g->version, g->oid) < 0)
        return fl_err_nomem(err);
    return call(g, &body, g->answer_fd, on_pack, err);
}

static int take_ref(struct git *g, const struct fl_step_answer *answer, struct fl_err *err)
{
    int r = fl_git_find_ref(answer->body, answer->body_len, g->ref, g->oid, err);

    return r < 0 ? r : ask_pack(g, err);
}

static void on_ref(void *arg, const struct fl_step_answer *answer)
{
    struct git *g = arg;
    struct fl_err err = { 0 };
    int r = fl_download_judge(g->url, answer, &err);

    if (r == 0)
        r = take_ref(g, answer, &err);
    if (r < 0)
        fail(g, &err);
}

static int ask_ref(struct git *g, struct fl_err *err)
{
    fl_autobuf struct fl_buf body = FL_BUF(2 * REF_MAX_BYTES);

    if (fl_git_ask_ref(&body, g->ref) < 0)
        return fl_err_nomem(err);
    return call(g, &body, -1, on_ref, err);
}

static void on_hello(void *arg, const struct fl_step_answer *answer)
{
    struct git *g = arg;
    struct fl_err err = { 0 };
    bool moved = answer->status / 100 == 3;
    int r;

    /* Some hosts have a repository under its full name only, and send others there. */
    if (!answer->error && (moved || answer->status == 404) && !g->suffixed) {
        g->suffixed = true;
        g->url = fl_arena_printf(fl_download_arena(g->d), "%s.git", g->url);
        r = g->url ? call(g, NULL, -1, on_hello, &err) : -ENOMEM;
    } else if (!answer->error && moved) {
        r = fl_err_set(&err, -EREMOTEIO, NULL,
                       "%.200s: the server redirects (HTTP status %d): give the repository's "
                       "present URL",
                       g->url, answer->status);
    } else {
        r = fl_download_judge(g->url, answer, &err);
        if (r == 0)
            r = g->version = fl_git_version(answer->body, answer->body_len, &err);
        if (r >= 0)
            r = g->named          ? ask_pack(g, &err)
                : g->version == 2 ? ask_ref(g, &err)
                                  : take_ref(g, answer, &err);
    }
    if (r < 0)
        fail(g, &err);
}

/* ---- inputs ---- */

/* "branch:X" (a branch, or any ref by its full name) or "commitID:X"; else HEAD. */
static int find_ref(struct git *g, const char *options, struct fl_err *err)
{
    static const char branch[] = "branch:", commit[] = "commitID:", full[] = "refs/";
    const char *name;

    g->ref = "HEAD";
    if (!options || !*options)
        return 0;
    if (strncmp(options, commit, strlen(commit)) == 0) {
        name = options + strlen(commit);
        if (!fl_git_oid_valid(name, strlen(name)))
            return fl_err_set(err, -EINVAL, NULL,
                              "invalid input: getOptions %.100s: a commit's ID has 40 digits, 0-9 "
                              "and a-f",
                              options);
        memcpy(g->oid, name, sizeof(g->oid));
        g->named = true;
        return 0;
    }
    name = options + strlen(branch);
    if (strncmp(options, branch, strlen(branch)) != 0 || !*name || strlen(name) > REF_MAX_BYTES ||
        strpbrk(name, " \t\r\n"))
        return fl_err_set(err, -EINVAL, NULL,
                          "invalid input: getOptions %.100s: neither branch:NAME nor commitID:ID",
                          options);
    g->ref = fl_arena_printf(fl_download_arena(g->d), "%s%s",
                             strncmp(name, full, strlen(full)) == 0 ? "" : "refs/heads/", name);
    return g->ref ? 0 : fl_err_nomem(err);
}

static int check_url(struct git *g, const struct info *info, struct fl_err *err)
{
    size_t len = strlen(info->repository);
    const char *host = info->repository + FL_MIN(len, strcspn(info->repository, ":") + 3);
    struct fl_url u;

    if (info->key && *info->key)
        return fl_err_set(err, -EOPNOTSUPP, NULL,
                          "fairlead: privateSSHKey is not supported: this agent downloads from Git "
                          "over https, with username and password");
    if ((strncasecmp(info->repository, "https://", 8) != 0 &&
         strncasecmp(info->repository, "http://", 7) != 0) ||
        len > URL_MAX_BYTES || fl_url_parse(info->repository, &u) < 0)
        return fl_err_set(err, -EINVAL, NULL,
                          "invalid input: repository: not an http or https URL (fairlead does not "
                          "download from Git by other ways)");
    if (strpbrk(info->repository, "?# ") || memchr(host, '@', strcspn(host, "/")))
        return fl_err_set(err, -EINVAL, NULL,
                          "invalid input: repository: a URL without query, user and password");
    while (len > 0 && info->repository[len - 1] == '/')
        len--;
    g->url = fl_arena_printf(fl_download_arena(g->d), "%.*s", (int)len, info->repository);
    g->suffixed = len > 4 && strncmp(info->repository + len - 4, ".git", 4) == 0;
    return g->url ? 0 : fl_err_nomem(err);
}

/* A repository with nothing in it but a pack to come, the program's own. */
static int make_folder(struct git *g, struct fl_err *err)
{
    static const char *const folders[] = { "refs", "objects", "objects/pack" };
    struct fl_step *step = fl_download_step(g->d);
    fl_autofd int head = -1;
    uid_t uid;
    gid_t gid;
    int r = fl_step_unprivileged(step, &uid, &gid, err);

    if (r < 0)
        return r;
    g->folder = fl_path_join(fl_step_context(step)->dir, FOLDER);
    if (!g->folder)
        return fl_err_nomem(err);
    r = fl_dir_remove(g->folder, err);
    if (r < 0)
        return r;
    if (mkdir(g->folder, 0700) < 0)
        goto failed;
    g->folder_fd = open(g->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (g->folder_fd < 0 || fchown(g->folder_fd, uid, gid) < 0)
        goto failed;
    for (size_t i = 0; i < FL_ARRAY_LEN(folders); i++)
        if (mkdirat(g->folder_fd, folders[i], 0700) < 0 ||
            fchownat(g->folder_fd, folders[i], uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
            goto failed;
    head = openat(g->folder_fd, "HEAD", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    g->pack_fd = openat(g->folder_fd, PACK, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    g->answer_fd = openat(g->folder_fd, "answer", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (head < 0 || g->pack_fd < 0 || g->answer_fd < 0 || fchmod(head, 0644) < 0 ||
        fchown(g->pack_fd, uid, gid) < 0 ||
        fl_fd_write_all(head, "ref: refs/heads/none\n", strlen("ref: refs/heads/none\n")) < 0)
        goto failed;
    return 0;
failed:
    return fl_err_set(err, -errno, NULL, "%s: %s", g->folder, strerror(errno));
}

static int start(struct fl_download *d, const void *in, struct fl_err *err)
{
    struct git *g = fl_arena_calloc(fl_download_arena(d), 1, sizeof(*g));
    struct fl_loop *loop = fl_step_loop(fl_download_step(d));
    const struct info *info = in;
    int r;

    if (!g)
        return fl_err_nomem(err);
    *fl_download_own(d) = g;
    g->d = d;
    g->folder_fd = g->answer_fd = g->pack_fd = g->blob_fd = -1;
    g->listing = (struct fl_buf)FL_BUF(LISTING_MAX_BYTES);
    g->turn = fl_timer_new(loop, on_turn, g);
    r = g->turn ? fl_git_run_init(&g->run, fl_download_step(d), on_output, on_over, g, err)
                : fl_err_nomem(err);
    if (r == 0)
        r = check_url(g, info, err);
    if (r == 0)
        r = find_ref(g, info->get_options, err);
    if (r == 0)
        r = fl_git_run_find(&g->run, err);
    if (r == 0)
        r = make_folder(g, err);
    return r < 0 ? r : call(g, NULL, -1, on_hello, err);
}

static bool cancel(struct fl_download *d)
{
    struct git *g = *fl_download_own(d);

    return g && fl_git_run_kill(&g->run);
}

static void release(struct fl_download *d)
{
    struct git *g = *fl_download_own(d);

    if (!g)
        return;
    fl_git_run_done(&g->run);
    g->turn = fl_timer_free(g->turn);
    for (int *fd = (int[]){ g->folder_fd, g->answer_fd, g->pack_fd, g->blob_fd, -2 }; *fd != -2;
         fd++)
        if (*fd >= 0)
            close(*fd);
    fl_buf_done(&g->listing);
    if (g->folder)
        fl_dir_remove(g->folder, NULL);
    free(g->folder);
}

const struct fl_download_source fl_source_git = { .name = "Git",
                                                  .info = &shape,
                                                  .secrets = secrets,
                                                  .start = start,
                                                  .cancel = cancel,
                                                  .release = release };
