/* download_content.c - see download_content.h: inputs, secrets, and files from the source to the
 * destination.
 *
 * What the network process writes to is a file of the step's folder. Only a copy of it becomes a
 * file of the destination: that process could still write to the other.
 */
#include "plugins/download_content/download_content.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/base/file.h"
#include "common/doc/ssm_refs.h"
#include "plugins/download_content/place.h"
#include "plugins/download_content/source.h"
#include "plugins/parameters.h"

#define MEMORY_MAX_BYTES (32u << 20)
#define MAX_FILES        10000
#define MAX_BYTES        (8ull << 30) /* of all files */
#define FILE_TIMEOUT_MS  (3600 * 1000)
#define MAX_SECRETS      4
#define STAGED           "download"

struct in {
    char *source_type, *destination;
    struct fl_raw source_info; /* JSON text or object */
};
static const struct fl_field in_fields[] = {
    FL_FIELD(struct in, source_type, "sourceType", 0),
    FL_FIELD(struct in, source_info, "sourceInfo", 0),
    FL_FIELD(struct in, destination, "destinationPath", 0),
};
static const struct fl_shape in_shape = FL_SHAPE(struct in, "DownloadContentPlugin", in_fields);

struct file {
    struct fl_step_request request; /* method NULL: `text` is the file */
    const char *text, *path;
    bool staged; /* the source has written it */
};

struct fl_download {
    struct fl_step *step;
    struct fl_arena arena;
    const struct fl_download_source *source;
    const char *destination;
    void *info, *own;
    struct file *files;
    size_t n_files, room, next;
    bool single;
    uint64_t left_bytes;
    struct fl_place *place;
    struct fl_timer *turn; /* files are put in place one a turn of the loop */
    int dir_fd;            /* the step's folder */
    bool started;          /* the source is */
    void (*called)(struct fl_download *d, const struct fl_step_answer *answer);
    char *secrets[MAX_SECRETS]; /* names asked for, same order as source->secrets; NULL: none */
};

static const struct fl_download_source *const sources[] = {
    &fl_source_git, &fl_source_github, &fl_source_http, &fl_source_s3, &fl_source_ssm_document,
};

/* ---- for the sources ---- */

struct fl_step *fl_download_step(struct fl_download *d)
{
    return d->step;
}

struct fl_arena *fl_download_arena(struct fl_download *d)
{
    return &d->arena;
}

const void *fl_download_info(struct fl_download *d)
{
    return d->info;
}

void **fl_download_own(struct fl_download *d)
{
    return &d->own;
}

void fl_download_fail(struct fl_download *d, const struct fl_err *err)
{
    fl_step_puts(d->step, FL_STEP_STDERR, fl_err_text(err));
    fl_step_done(d->step, FL_STATUS_FAILED, 1);
}

static struct file *new_file(struct fl_download *d, const char *path, struct fl_err *err)
{
    if (!fl_place_path_valid(path)) {
        fl_err_set(err, -EINVAL, NULL, "%.200s: a path that leads out of the destination", path);
        return NULL;
    }
    if (d->n_files == MAX_FILES) {
        fl_err_set(err, -E2BIG, NULL, "more than %d files", MAX_FILES);
        return NULL;
    }
    if (d->n_files == d->room) {
        size_t room = d->room ? 2 * d->room : 16;
        struct file *more = fl_arena_calloc(&d->arena, room, sizeof(*more));

        if (more && d->n_files)
            memcpy(more, d->files, d->n_files * sizeof(*more));
        d->files = more ? more : d->files;
        d->room = more ? room : d->room;
        if (!more) {
            fl_err_nomem(err);
            return NULL;
        }
    }
    d->files[d->n_files] = (struct file){ .path = fl_arena_strdup(&d->arena, path) };
    return &d->files[d->n_files++];
}

int fl_download_add(struct fl_download *d, const struct fl_step_request *request, const char *path,
                    struct fl_err *err)
{
    struct file *f = new_file(d, path, err);
    struct fl_step_header *headers;

    if (!f)
        return err->code;
    f->request = *request;
    headers = fl_arena_calloc(&d->arena, request->n_headers, sizeof(*headers));
    for (size_t i = 0; headers && i < request->n_headers; i++)
        headers[i] =
            (struct fl_step_header){ fl_arena_strdup(&d->arena, request->headers[i].name),
                                     fl_arena_strdup(&d->arena, request->headers[i].value) };
    f->request.headers = headers;
    f->request.url = fl_arena_strdup(&d->arena, request->url);
    f->request.path = fl_arena_strdup(&d->arena, request->path);
    f->request.bucket = fl_arena_strdup(&d->arena, request->bucket);
    f->request.region = fl_arena_strdup(&d->arena, request->region);
    return headers && !f->request.url == !request->url && !f->request.path == !request->path &&
                   !f->request.bucket == !request->bucket && f->path
               ? 0
               : fl_err_nomem(err);
}

int fl_download_add_text(struct fl_download *d, const char *text, const char *path,
                         struct fl_err *err)
{
    struct file *f = new_file(d, path, err);

    if (!f)
        return err->code;
    f->text = fl_arena_strdup(&d->arena, text);
    return f->text && f->path ? 0 : fl_err_nomem(err);
}

uint64_t fl_download_left_bytes(const struct fl_download *d)
{
    return d->left_bytes;
}

int fl_download_judge(const char *what, const struct fl_step_answer *answer, struct fl_err *err)
{
    if (answer->error)
        return fl_err_set(err, answer->error, NULL, "%.200s: %s", what, answer->error_text);
    if (answer->status != 200)
        return fl_err_set(err, -EREMOTEIO, NULL, "%.200s: HTTP status %d", what, answer->status);
    return 0;
}

static void on_called(void *arg, const struct fl_step_answer *answer)
{
    struct fl_download *d = arg;

    d->called(d, answer);
}

void fl_download_call(struct fl_download *d, const struct fl_step_request *request,
                      void (*done)(struct fl_download *d, const struct fl_step_answer *answer))
{
    struct fl_err err = { 0 };

    d->called = done;
    if (fl_step_call(d->step, request, on_called, d, NULL, &err) < 0)
        fl_download_fail(d, &err);
}

/* ---- from the source into the step's folder ---- */

static void fetch_next(struct fl_download *d);

static void staged_name(size_t index, char out[32])
{
    snprintf(out, 32, STAGED "-%zu", index);
}

static int open_staged(struct fl_download *d, size_t index)
{
    char name[32];
    int fd;

    staged_name(index, name);
    unlinkat(d->dir_fd, name, 0);
    fd = openat(d->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int fl_download_open(struct fl_download *d, const char *path, uint64_t size, int *ret_fd,
                     struct fl_err *err)
{
    struct file *f = size <= d->left_bytes ? new_file(d, path, err) : NULL;
    int fd;

    if (size > d->left_bytes)
        return fl_err_set(err, -EFBIG, NULL, "more than %llu bytes", MAX_BYTES);
    if (!f)
        return err->code;
    if (!f->path)
        return fl_err_nomem(err);
    fd = open_staged(d, d->n_files - 1);
    if (fd < 0)
        return fl_err_set(err, fd, NULL, "cannot make a file: %s", strerror(-fd));
    f->staged = true;
    d->left_bytes -= size;
    *ret_fd = fd;
    return 0;
}

static void on_file(void *arg, const struct fl_step_answer *answer)
{
    struct fl_download *d = arg;
    struct file *f = &d->files[d->next];
    struct fl_err err = { 0 };

    if (fl_download_judge(f->request.url, answer, &err) < 0) {
        fl_download_fail(d, &err);
        return;
    }
    d->left_bytes -= FL_MIN(answer->written, d->left_bytes);
    d->next++;
    fetch_next(d);
}

static int fetch(struct fl_download *d, struct file *f, struct fl_err *err)
{
    fl_autofd int fd = f->staged ? -1 : open_staged(d, d->next);
    const struct fl_step_download to = { .fd = fd, .max_bytes = d->left_bytes };
    int r;

    if (f->staged)
        return 0;
    if (fd < 0)
        return fl_err_set(err, fd, NULL, "cannot make a file: %s", strerror(-fd));
    if (f->text) {
        r = fl_fd_write_all(fd, f->text, strlen(f->text));
        return r < 0 ? fl_err_set(err, r, NULL, "cannot write a file: %s", strerror(-r)) : 0;
    }
    f->request.download = &to;
    f->request.timeout_ms = FILE_TIMEOUT_MS;
    r = fl_step_call(d->step, &f->request, on_file, d, NULL, err);
    f->request.download = NULL;
    return r < 0 ? r : 1;
}

static void put_next(void *arg);

static void fetch_next(struct fl_download *d)
{
    struct fl_err err = { 0 };
    int r = 0;

    while (r == 0 && d->next < d->n_files) {
        r = fetch(d, &d->files[d->next], &err);
        d->next += r == 0;
    }
    if (r == 1)
        return; /* on_file goes on */
    if (r == 0)
        r = fl_place_open(fl_step_context(d->step)->downloads, d->destination,
                          d->single ? d->files[0].path : NULL, &d->place, &err);
    if (r < 0) {
        fl_download_fail(d, &err);
        return;
    }
    d->next = 0;
    fl_timer_start(d->turn, 0);
}

void fl_download_go(struct fl_download *d, bool single)
{
    struct fl_err err = { 0 };

    d->single = single && d->n_files == 1;
    d->next = 0;
    if (d->n_files > 0) {
        fetch_next(d);
        return;
    }
    fl_err_set(&err, -ENOENT, NULL, "the source has no files");
    fl_download_fail(d, &err);
}

/* ---- from there into the destination ---- */

static int put_file(struct fl_download *d, struct fl_err *err)
{
    fl_autofd int fd = -1;
    char name[32];

    staged_name(d->next, name);
    fd = openat(d->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", name, strerror(errno));
    return fl_place_put(d->place, d->single ? NULL : d->files[d->next].path, fd, err);
}

static void put_next(void *arg)
{
    struct fl_download *d = arg;
    struct fl_err err = { 0 };

    if (d->next < d->n_files) {
        if (put_file(d, &err) < 0) {
            fl_download_fail(d, &err);
            return;
        }
        d->next++;
        fl_timer_start(d->turn, 0);
        return;
    }
    if (fl_place_commit(d->place, &err) < 0) {
        fl_download_fail(d, &err);
        return;
    }
    fl_step_puts(d->step, FL_STEP_STDOUT, "Content downloaded to ");
    fl_step_puts(d->step, FL_STEP_STDOUT, fl_place_path(d->place));
    fl_step_done(d->step, FL_STATUS_SUCCESS, 0);
}

/* ---- inputs ---- */

static char **secret_at(struct fl_download *d, size_t i)
{
    return (char **)(void *)((char *)d->info + d->source->secrets[i]);
}

static void start_source(struct fl_download *d)
{
    struct fl_err err = { 0 };

    d->started = true;
    if (d->source->start(d, d->info, &err) < 0)
        fl_download_fail(d, &err);
}

static int take_secret(struct fl_download *d, const struct fl_parameter *p, struct fl_err *err)
{
    for (size_t i = 0; i < MAX_SECRETS; i++) {
        size_t len = d->secrets[i] ? strcspn(d->secrets[i], ":") : 0;

        if (!d->secrets[i] || strlen(p->name) != len || strncmp(d->secrets[i], p->name, len) != 0)
            continue;
        if (strcmp(p->type, "SecureString") != 0)
            return fl_err_set(err, -EINVAL, NULL,
                              "parameter %.200s must be of type SecureString, not %.40s", p->name,
                              p->type);
        *secret_at(d, i) = fl_arena_strdup(&d->arena, p->value);
        if (!*secret_at(d, i))
            return fl_err_nomem(err);
        d->secrets[i] = NULL;
    }
    return 0;
}

static void on_secrets(void *arg, const struct fl_step_reply *reply)
{
    const struct fl_get_parameters_out *out = reply->out;
    struct fl_download *d = arg;
    struct fl_err err = { 0 };
    int r = 0;

    if (reply->error)
        r = fl_err_set(&err, reply->error, NULL, "Parameter Store could not be asked: %s%s%s",
                       reply->name, *reply->name ? ": " : "", reply->text);
    for (size_t i = 0; r == 0 && i < out->n_parameters; i++)
        r = take_secret(d, &out->parameters[i], &err);
    for (size_t i = 0; r == 0 && i < MAX_SECRETS; i++)
        if (d->secrets[i])
            r = fl_err_set(&err, -ENOENT, NULL, "Input contains invalid parameters [%.200s]",
                           d->secrets[i]);
    if (r < 0)
        fl_download_fail(d, &err);
    else
        start_source(d);
}

/* {{ssm-secure:NAME}} in those fields that may have it. 1 if an answer is waited for. */
static int ask_secrets(struct fl_download *d, struct fl_err *err)
{
    char *names[MAX_SECRETS];
    struct fl_get_parameters_in in = { .names.v = names, .with_decryption = true };

    for (size_t i = 0; d->source->secrets && d->source->secrets[i] != SIZE_MAX; i++) {
        fl_autofree char *name = NULL;
        bool twice = false;

        if (!*secret_at(d, i))
            continue;
        name = fl_ssm_ref_whole(*secret_at(d, i), "ssm-secure");
        if (!name && d->source->secrets_only && **secret_at(d, i))
            return fl_err_set(err, -EINVAL, NULL,
                              "invalid input: a secret must be given as {{ ssm-secure:NAME }}");
        if (!name)
            continue;
        d->secrets[i] = fl_arena_strdup(&d->arena, name);
        for (size_t j = 0; j < in.names.n; j++)
            twice |= strcmp(names[j], name) == 0;
        if (!twice)
            names[in.names.n++] = d->secrets[i];
    }
    if (in.names.n == 0)
        return 0;
    return fl_step_ssm(d->step, "GetParameters", &fl_shape_get_parameters_in, &in,
                       &fl_shape_get_parameters_out, on_secrets, d, NULL, err) < 0
               ? err->code
               : 1;
}

static int read_info(struct fl_download *d, const char *text, struct fl_err *err)
{
    fl_autobuf struct fl_buf inner = FL_BUF(1u << 20);
    struct fl_raw_text {
        char *text;
    } wrapped = { NULL };
    static const struct fl_field fields[] = { FL_FIELD(struct fl_raw_text, text, "v", 0) };
    static const struct fl_shape shape = FL_SHAPE(struct fl_raw_text, "sourceInfo", fields);
    int r;
    d->info = fl_arena_alloc(&d->arena, d->source->info->size);
    if (!d->info || fl_buf_printf(&inner, "{\"v\":%s}", text ? text : "null") < 0)
        return fl_err_nomem(err);
    /* The text of a string, or an object as it is. */
    if (fl_json_decode(&shape, inner.data, inner.len, 0, &d->arena, &wrapped, NULL) == 0 &&
        wrapped.text)
        text = wrapped.text;
    r = fl_json_decode(d->source->info, text ? text : "", text ? strlen(text) : 0, FL_DECODE_NOCASE,
                       &d->arena, d->info, err);
    if (r == -EBADMSG)
        fl_err_set(err, r, NULL,
                   "Source Info could not be unmarshalled for source type %s. Please check JSON "
                   "format of sourceInfo",
                   d->source->name);
    return r;
}

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    const struct in *in = input;
    struct fl_download *d = fl_step_state(step);
    int r;

    d->dir_fd = -1;
    d->step = step;
    d->destination = in->destination;
    d->left_bytes = MAX_BYTES;
    fl_arena_init(&d->arena, MEMORY_MAX_BYTES);
    for (size_t i = 0; in->source_type && i < FL_ARRAY_LEN(sources); i++)
        if (strcmp(in->source_type, sources[i]->name) == 0)
            d->source = sources[i];
    if (!d->source)
        return fl_err_set(err, -EINVAL, NULL, "invalid input: Unsupported source type");
    r = read_info(d, in->source_info.text, err);
    if (r < 0)
        return r;
    d->turn = fl_timer_new(fl_step_loop(step), put_next, d);
    d->dir_fd = open(fl_step_context(step)->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!d->turn || d->dir_fd < 0)
        return fl_err_set(err, -errno, NULL, "cannot begin: %s", strerror(errno));
    r = ask_secrets(d, err);
    if (r != 0)
        return FL_MIN(r, 0);
    d->started = true;
    return d->source->start(d, d->info, err);
}

void fl_download_ended(struct fl_download *d)
{
    bool timed_out = fl_step_ending(d->step) == FL_STEP_TIMING_OUT;

    fl_step_done(d->step, timed_out ? FL_STATUS_TIMED_OUT : FL_STATUS_CANCELLED, 1);
}

static void cancel(struct fl_step *step)
{
    struct fl_download *d = fl_step_state(step);

    if (!d->started || !d->source->cancel || !d->source->cancel(d))
        fl_download_ended(d);
}

static void release(struct fl_step *step)
{
    struct fl_download *d = fl_step_state(step);
    char name[32];

    if (d->started && d->source->release)
        d->source->release(d);
    d->turn = fl_timer_free(d->turn);
    d->place = fl_place_free(d->place);
    for (size_t i = 0; d->dir_fd >= 0 && i < d->n_files; i++) {
        staged_name(i, name);
        unlinkat(d->dir_fd, name, 0);
    }
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    fl_arena_done(&d->arena);
}

const struct fl_plugin fl_plugin_download_content = {
    .name = "aws:downloadContent",
    .summary = "Download files to the node",
    .input = &in_shape,
    .state_size = sizeof(struct fl_download),
    .start = start,
    .cancel = cancel,
    .release = release,
};
