/* s3_put.c - see s3_put.h. */
#include "agent/calls/s3_put.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/service.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/codec/xml.h"

#define KEY_MAX_BYTES   1024 /* of S3 */
#define PROBE_MS        10000
#define PROBE_TRIES     3
#define LATE_MAX_MS     10000 /* after a step that waited in vain */
#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS  20000
#define NAME_MAX_BYTES  256 /* of an encryption's algorithm and key */
#define ERROR_MAX_BYTES 65536

/* Before the first file: where the bucket is, and how it wants to be written to. */
enum stage { ASK_REGION, ASK_ENCRYPTION, PUT_FILES };

struct file {
    int fd;
    uint64_t bytes;
    char *path; /* "/" and the key, encoded */
};

struct fl_s3_put {
    struct fl_calls *calls;
    char *bucket, *region, *what, *id;
    char *sse, *sse_key; /* NULL: none */
    enum stage stage;    /* of the document: asked once */
    bool moved;          /* the region was learnt */
    struct file files[FL_S3_PUT_MAX_FILES];
    size_t n, at;
    bool failed, busy;
    bool asking;   /* no files: only what the bucket says is wanted */
    bool late;     /* the store did not answer in time, and not well since */
    uint32_t call; /* under way; 0: none */
    struct fl_timer *again, *limit;
    struct fl_backoff backoff;
    fl_s3_put_fn done;
    void *arg;
};

/* Answers that a later try may change. 501 and the like are for good. */
static const int passing[] = { 408, 429, 500, 502, 503, 504 };

static void next(struct fl_s3_put *p);

static void drop_files(struct fl_s3_put *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->files[i].path);
        if (p->files[i].fd >= 0)
            close(p->files[i].fd);
    }
    p->n = p->at = 0;
}

static void finish(struct fl_s3_put *p)
{
    bool all = p->asking ? p->sse != NULL : !p->failed;

    fl_timer_stop(p->again);
    fl_timer_stop(p->limit);
    drop_files(p);
    p->busy = p->asking = false;
    p->done(p->arg, all);
}

static void give_up_file(struct fl_s3_put *p, const char *why)
{
    fl_log_warn("output not uploaded", FL_S(p->what, p->id), FL_S("bucket", p->bucket),
                FL_S("key", p->files[p->at].path + 1), FL_S("error", why));
    p->failed = true;
    p->at++;
    fl_backoff_reset(&p->backoff);
}

static void on_limit(void *arg)
{
    struct fl_s3_put *p = arg;

    fl_calls_cancel(p->calls, p->call);
    p->call = 0;
    p->late = true;
    while (p->at < p->n)
        give_up_file(p, "it took too long");
    finish(p);
}

/* ---- what the bucket says ---- */

static bool learn_region(struct fl_s3_put *p, const struct fl_step_answer *a)
{
    const char *region = a->error ? NULL : fl_step_answer_header(a, "x-amz-bucket-region");
    char *copy;

    if (!region || p->moved || !fl_region_valid(region) || strcmp(region, p->region) == 0)
        return false;
    copy = strdup(region);
    if (!copy)
        return false;
    free(p->region);
    p->region = copy;
    p->moved = true;
    return true;
}

/* A word of the answer that becomes a header: NULL unless it is one. */
static char *word_of(const struct fl_step_answer *a, const char *element)
{
    fl_autobuf struct fl_buf text = FL_BUF(NAME_MAX_BYTES);

    if (fl_xml_find_text(a->body, a->body_len, element, &text) < 0 || text.len == 0 ||
        strspn(text.data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/_.-") !=
            text.len)
        return NULL;
    return fl_buf_take(&text, NULL);
}

/* Whatever else it answers means that it is not encrypted by a rule of its own (protocol 6 §1.6).
 */
static void learn_encryption(struct fl_s3_put *p, const struct fl_step_answer *a)
{
    if (a->error || a->status != 200)
        return;
    p->sse = word_of(a, "SSEAlgorithm");
    p->sse_key = p->sse ? word_of(a, "KMSMasterKeyID") : NULL;
}

/* ---- one call ---- */

static bool may_pass(const struct fl_step_answer *a)
{
    bool passes = a->error != 0 && a->error != -EINVAL && a->error != -EMSGSIZE;

    for (size_t i = 0; i < FL_ARRAY_LEN(passing); i++)
        passes |= a->error == 0 && a->status == passing[i];
    return passes;
}

static void on_again(void *arg)
{
    next(arg);
}

static void judge_file(struct fl_s3_put *p, const struct fl_step_answer *a)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(2 * ERROR_MAX_BYTES);
    char *name = NULL, *text = NULL, why[300];
    if (a->error == 0 && a->status == 200) {
        p->at++;
        p->late = false;
        fl_backoff_reset(&p->backoff);
        return;
    }
    if (a->error == 0)
        fl_service_error(a->body, &arena, &name, &text);
    if (a->error)
        snprintf(why, sizeof(why), "%s", a->error_text);
    else
        snprintf(why, sizeof(why), "HTTP %d %s %s", a->status, name ? name : "", text ? text : "");
    give_up_file(p, why);
}

static void on_answer(void *arg, const struct fl_step_answer *a)
{
    struct fl_s3_put *p = arg;
    bool asking = p->stage != PUT_FILES;
    bool moved = learn_region(p, a);

    p->call = 0;
    /* A file that went to the wrong region goes to the right one at once. */
    if (moved && !asking && a->status != 200) {
        next(p);
        return;
    }
    if (may_pass(a) && (!asking || p->backoff.tries + 1 < PROBE_TRIES)) {
        fl_timer_start(p->again, fl_backoff_next_ms(&p->backoff, fl_random_u32()));
        return;
    }
    if (!asking) {
        judge_file(p, a);
    } else {
        if (p->stage == ASK_ENCRYPTION)
            learn_encryption(p, a);
        p->stage++;
        fl_backoff_reset(&p->backoff);
    }
    next(p);
}

static int ask(struct fl_s3_put *p, struct fl_err *err)
{
    const struct fl_step_request request = {
        .service = "s3",
        .region = p->region,
        .bucket = p->bucket,
        .method = p->stage == ASK_REGION ? "HEAD" : "GET",
        .path = p->stage == ASK_REGION ? "/" : "/?encryption",
        .timeout_ms = PROBE_MS,
    };

    return fl_calls_start(p->calls, &request, on_answer, p, &p->call, err);
}

static int put(struct fl_s3_put *p, struct fl_err *err)
{
    const struct file *f = &p->files[p->at];
    const struct fl_step_upload upload = { .fd = f->fd, .len = f->bytes };
    struct fl_step_header headers[4] = {
        { "Content-Type", "text/plain" },
        { "x-amz-acl", "bucket-owner-full-control" },
    };
    struct fl_step_request request = {
        .service = "s3",
        .region = p->region,
        .bucket = p->bucket,
        .method = "PUT",
        .path = f->path,
        .headers = headers,
        .n_headers = 2,
        .upload = &upload,
        .timeout_ms = UINT32_MAX, /* `limit` ends it */
    };

    if (p->sse)
        headers[request.n_headers++] =
            (struct fl_step_header){ "x-amz-server-side-encryption", p->sse };
    if (p->sse_key)
        headers[request.n_headers++] =
            (struct fl_step_header){ "x-amz-server-side-encryption-aws-kms-key-id", p->sse_key };
    return fl_calls_start(p->calls, &request, on_answer, p, &p->call, err);
}

/* Takes it as far as it goes without waiting. */
static void next(struct fl_s3_put *p)
{
    struct fl_err err = { 0 };

    while (p->at < p->n || (p->asking && p->stage != PUT_FILES)) {
        int r = p->stage == PUT_FILES ? put(p, &err) : ask(p, &err);

        if (r == 0)
            return;
        if (p->stage == PUT_FILES)
            give_up_file(p, fl_err_text(&err));
        else
            p->stage++;
    }
    finish(p);
}

/* ---- begin and end ---- */

static int take_file(const struct fl_s3_file *in, struct file *out)
{
    fl_autobuf struct fl_buf path = FL_BUF(3 * KEY_MAX_BYTES + 2);
    int r = strlen(in->key) > KEY_MAX_BYTES ? -ENAMETOOLONG : fl_buf_puts(&path, "/");

    if (r == 0)
        r = fl_uri_encode(in->key, strlen(in->key), true, &path);
    if (r < 0)
        return r;
    out->bytes = in->bytes;
    out->fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 3);
    if (out->fd < 0)
        return -errno;
    out->path = fl_buf_take(&path, NULL);
    if (out->path)
        return 0;
    close(out->fd);
    return -ENOMEM;
}

int fl_s3_put_start(struct fl_s3_put *p, const struct fl_s3_file *files, size_t n,
                    uint64_t limit_ms, fl_s3_put_fn done, void *arg)
{
    int r = p->busy || n > FL_S3_PUT_MAX_FILES ? -EBUSY : 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        r = take_file(&files[i], &p->files[i]);
        p->n += r == 0;
    }
    if (r < 0) {
        if (!p->busy)
            drop_files(p);
        return r;
    }
    p->busy = true;
    p->failed = false;
    p->done = done;
    p->arg = arg;
    fl_backoff_reset(&p->backoff);
    fl_timer_start(p->limit, p->late ? FL_MIN(limit_ms, (uint64_t)LATE_MAX_MS) : limit_ms);
    fl_timer_start(p->again, 0);
    return 0;
}

int fl_s3_put_ask(struct fl_s3_put *p, uint64_t limit_ms, void (*done)(void *arg, bool encrypted),
                  void *arg)
{
    int r = fl_s3_put_start(p, NULL, 0, limit_ms, done, arg);

    p->asking = r == 0;
    return r;
}

void fl_s3_put_hurry(struct fl_s3_put *p, uint64_t limit_ms)
{
    if (p->busy)
        fl_timer_start(p->limit, limit_ms);
}

int fl_s3_put_new(struct fl_loop *loop, struct fl_calls *calls, const char *bucket,
                  const char *region, const char *what, const char *id, struct fl_s3_put **ret_put)
{
    struct fl_s3_put *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->calls = calls;
    p->backoff = (struct fl_backoff){ .base_ms = BACKOFF_BASE_MS, .cap_ms = BACKOFF_CAP_MS };
    p->bucket = strdup(bucket);
    p->region = strdup(region);
    p->what = strdup(what);
    p->id = strdup(id);
    p->again = fl_timer_new(loop, on_again, p);
    p->limit = fl_timer_new(loop, on_limit, p);
    if (!p->bucket || !p->region || !p->what || !p->id || !p->again || !p->limit) {
        fl_s3_put_free(p);
        return -ENOMEM;
    }
    *ret_put = p;
    return 0;
}

struct fl_s3_put *fl_s3_put_free(struct fl_s3_put *p)
{
    if (!p)
        return NULL;
    fl_calls_cancel(p->calls, p->call);
    drop_files(p);
    fl_timer_free(p->again);
    fl_timer_free(p->limit);
    free(p->bucket);
    free(p->region);
    free(p->what);
    free(p->id);
    free(p->sse);
    free(p->sse_key);
    free(p);
    return NULL;
}
