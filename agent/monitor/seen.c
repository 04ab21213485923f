/* seen.c - see seen.h. */
#include "agent/monitor/seen.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/base/file.h"

#define CHUNK_ENTRIES   512
#define COMPACT_ENTRIES 4096 /* no compaction below this size */

struct entry {
    uint32_t time_s; /* wraps in 2106 */
    uint32_t check;
    uint64_t hash[2];
};

/* FNV-1a with two offsets, finished by a mixer: ids are no secret and a collision costs a resend.
 */
static uint64_t hash_of(const char *id, uint64_t h)
{
    for (; *id; id++)
        h = (h ^ (unsigned char)*id) * 0x100000001b3u;
    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
    return h ^ (h >> 32);
}

static uint32_t check_of(const struct entry *e)
{
    uint64_t x = (e->hash[0] ^ (e->hash[1] << 1) ^ e->time_s) * 0x9e3779b97f4a7c15u;

    return (uint32_t)(x >> 32);
}

static struct entry entry_of(const char *id, int64_t now_ms)
{
    struct entry e = {
        .time_s = (uint32_t)(now_ms / 1000),
        .hash = { hash_of(id, 0xcbf29ce484222325u), hash_of(id, 0x84222325cbf29ce4u) },
    };

    e.check = check_of(&e);
    return e;
}

/* Calls fn for every whole entry until it returns true. */
static int scan(struct fl_seen *s, bool (*fn)(void *arg, const struct entry *e), void *arg)
{
    struct entry chunk[CHUNK_ENTRIES];
    uint64_t offset = 0;

    for (;;) {
        ssize_t n = fl_fd_pread_upto(s->fd, chunk, sizeof(chunk), offset);

        if (n < 0)
            return (int)n;
        if ((size_t)n < sizeof(chunk[0]))
            return 0;
        for (size_t i = 0; i < (size_t)n / sizeof(chunk[0]); i++)
            if (check_of(&chunk[i]) == chunk[i].check && fn(arg, &chunk[i]))
                return 1;
        offset += (size_t)n / sizeof(chunk[0]) * sizeof(chunk[0]);
    }
}

static bool is_same(void *arg, const struct entry *e)
{
    return memcmp(((struct entry *)arg)->hash, e->hash, sizeof(e->hash)) == 0;
}

struct keep {
    struct fl_buf out;
    int64_t now_ms;
    uint64_t n;    /* whole entries in the file */
    uint64_t left; /* of them behind the one looked at */
    int error;
};

static bool count_one(void *arg, const struct entry *e)
{
    ((struct keep *)arg)->n++;
    return false;
}

/* A clock that was set back makes entries look like the future's: they stay. */
static bool keep_one(void *arg, const struct entry *e)
{
    struct keep *k = arg;

    k->left--;
    if (k->left < FL_SEEN_KEEP_ENTRIES || (k->left < FL_SEEN_MAX_ENTRIES / 2 &&
                                           (int64_t)e->time_s + FL_SEEN_KEEP_S > k->now_ms / 1000))
        k->error = fl_buf_append(&k->out, e, sizeof(*e));
    return k->error < 0;
}

/* The file as it is now; the descriptor of an older one is let go of only then. */
static int open_file(struct fl_seen *s, struct fl_err *err)
{
    fl_autofd int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    off_t size;

    if (fd < 0 && errno == EROFS) /* for looking up */
        fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    if (size < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", s->path, strerror(errno));
    if (s->fd >= 0)
        close(s->fd);
    s->fd = FL_TAKE_FD(fd);
    s->n = (uint64_t)size / sizeof(struct entry);
    return 0;
}

static int compact(struct fl_seen *s, int64_t now_ms, struct fl_err *err)
{
    struct keep k = { .now_ms = now_ms };
    int r = scan(s, count_one, &k);

    fl_buf_init(&k.out, FL_SEEN_MAX_ENTRIES * sizeof(struct entry));
    k.left = k.n;
    /* At once, so that it is mapped and not a heap grown step by step. */
    if (r == 0)
        r = fl_buf_reserve(&k.out,
                           FL_MIN(k.n, (uint64_t)FL_SEEN_MAX_ENTRIES) * sizeof(struct entry));
    if (r == 0)
        r = scan(s, keep_one, &k);
    if (r >= 0)
        r = k.error;
    if (r == 0)
        r = fl_file_replace(s->path, 0600, k.out.len ? k.out.data : "", k.out.len, err);
    fl_buf_done(&k.out);
    /* If the new file cannot be opened, what is added to the old one would be lost. */
    if (r == 0 && open_file(s, err) < 0) {
        close(FL_TAKE_FD(s->fd));
        return -EBADF;
    }
    s->compact_at =
        FL_MIN(FL_MAX(2 * s->n, (uint64_t)COMPACT_ENTRIES), (uint64_t)FL_SEEN_MAX_ENTRIES);
    return r;
}

int fl_seen_open(const char *path, int64_t now_ms, struct fl_seen *ret_seen, struct fl_err *err)
{
    struct fl_seen s = { .path = strdup(path), .fd = -1, .compact_at = COMPACT_ENTRIES };

    if (!s.path)
        return fl_err_nomem(err);
    if (open_file(&s, err) == 0 && s.n >= s.compact_at)
        compact(&s, now_ms, err);
    *ret_seen = s;
    return 0;
}

void fl_seen_close(struct fl_seen *s)
{
    free(s->path);
    s->path = NULL;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int fl_seen_has(struct fl_seen *s, const char *id)
{
    struct entry e = entry_of(id, 0);
    int r = s->fd < 0 ? open_file(s, NULL) : 0;

    return r < 0 ? r : scan(s, is_same, &e);
}

int fl_seen_add(struct fl_seen *s, const char *id, int64_t now_ms)
{
    struct entry e = entry_of(id, now_ms);
    int r = s->fd < 0 ? open_file(s, NULL) : 0;

    /* What could not be compacted (a full disk) goes on as it is. */
    if (r == 0 && s->n >= s->compact_at)
        compact(s, now_ms, NULL);
    if (r == 0 && s->fd < 0)
        r = open_file(s, NULL);
    if (r < 0)
        return r;
    /* At a multiple of the entry's size: a torn entry before it is overwritten. */
    r = fl_fd_pwrite_all(s->fd, &e, sizeof(e), s->n * sizeof(e));
    /* Opened while it could only be read: now it may be otherwise. */
    if (r == -EBADF && open_file(s, NULL) == 0)
        r = fl_fd_pwrite_all(s->fd, &e, sizeof(e), s->n * sizeof(e));
    if (r < 0)
        return r;
    s->n++;
    return 0;
}

int fl_seen_sync(struct fl_seen *s)
{
    return s->fd < 0 || fdatasync(s->fd) < 0 ? -EIO : 0;
}
