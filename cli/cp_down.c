/* cp_down.c - a file or folder that comes from a node: beside its place first, then in it. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "cli/cp_priv.h"
#include "common/base/file.h"

#define PIPE_BYTES (1 << 20) /* waits for tar, then the node waits */
#define TMP_SUFFIX ".fairlead-XXXXXX"

void fl_copy_end_input(struct fl_copy *c)
{
    if (c->conn && fl_conn_queued(c->conn) == 0)
        c->conn = fl_conn_free(c->conn);
}

static void sink_drained(void *arg)
{
    struct fl_copy *c = arg;

    fl_session_hold(c->session, false);
    if (c->ended)
        fl_copy_end_input(c);
}

static void sink_broken(void *arg, int r)
{
    struct fl_copy *c = arg;

    if (!c->done)
        fl_copy_fail(c, r, "tar takes no more: %s", strerror(-r));
}

static const struct fl_conn_events sink_events = { .on_drain = sink_drained,
                                                   .on_broken = sink_broken };

static int put(void *arg, const char *data, size_t len)
{
    struct fl_copy *c = arg;
    int r;

    fl_digest_add(c->sum, data, len);
    c->bytes += len;
    r = c->conn ? fl_conn_write(c->conn, data, len) : fl_fd_write_all(c->fd, data, len);
    if (r < 0 && !c->conn)
        return fl_copy_fail(c, r, "%s: %s", c->target, strerror(-r));
    if (c->conn && fl_conn_queued(c->conn) > PIPE_BYTES)
        fl_session_hold(c->session, true);
    return 0;
}

/* Where it is to be: the path given, or in the folder that it is. */
static int set_target(struct fl_copy *c)
{
    fl_autofree char *copy = strdup(c->remote);
    struct stat st;
    size_t len = strlen(c->local);
    bool slash = len > 0 && c->local[len - 1] == '/';

    if (!copy)
        return -ENOMEM;
    if (stat(c->local, &st) == 0 && S_ISDIR(st.st_mode))
        c->target = fl_path_join(c->local, basename(copy));
    else if (slash)
        return fl_copy_fail(c, -ENOENT, "%s: no such folder", c->local);
    else
        c->target = strdup(c->local);
    if (!c->target)
        return -ENOMEM;
    if (stat(c->target, &st) < 0)
        return 0;
    if (!c->head.folder && S_ISDIR(st.st_mode))
        return fl_copy_fail(c, -EISDIR, "%s: is a folder", c->target);
    if (c->head.folder && !c->force)
        return fl_copy_fail(c, -EEXIST, "%s: exists; --force replaces it", c->target);
    return 0;
}

static int make_tmp(struct fl_copy *c)
{
    if (asprintf(&c->tmp, "%s" TMP_SUFFIX, c->target) < 0) {
        c->tmp = NULL;
        return -ENOMEM;
    }
    c->fd = -1;
    if (c->head.folder ? !mkdtemp(c->tmp) : (c->fd = mkostemp(c->tmp, O_CLOEXEC)) < 0) {
        int r = -errno;

        free(c->tmp);
        c->tmp = NULL;
        return fl_copy_fail(c, r, "%s: %s", c->target, strerror(-r));
    }
    return 0;
}

static int begin_down(struct fl_copy *c)
{
    int fd, r;

    c->line[c->line_len] = '\0';
    if (fl_cp_head_parse(c->line, &c->head) < 0)
        return fl_copy_fail(c, -EBADMSG, "the node answered what is no file");
    c->has_head = true;
    c->size = c->head.size;
    r = set_target(c);
    if (r == 0)
        r = make_tmp(c);
    if (r < 0 || !c->head.folder)
        return r;

    /* Without the last, what is set-user-ID on the node is so here, and root's if we are root. */
    const char *const argv[] = { "tar", "-xof", "-", "-C", c->tmp, "--no-same-permissions", NULL };

    /* Of root's tar: a node's archive may make no device here. Others cannot anyway. */
    prctl(PR_CAPBSET_DROP, CAP_MKNOD);
    r = fl_copy_start_tar(c, argv, STDIN_FILENO, &fd);
    return r < 0 ? r : fl_conn_new(c->loop, fd, &sink_events, c, &c->conn);
}

void fl_copy_take(struct fl_copy *c, const char *data, size_t len)
{
    int r;

    while (len && !c->has_head && c->r == 0) {
        char b = *data++;

        len--;
        if (b == '\n' && (r = begin_down(c)) < 0)
            fl_copy_fail(c, r, "%s: %s", c->local, strerror(-r));
        else if (b == '\n')
            break;
        else if (c->line_len + 1 == sizeof(c->line))
            fl_copy_fail(c, -EBADMSG, "the node answered what is no file");
        else
            c->line[c->line_len++] = b;
    }
    if (len && c->r == 0)
        fl_cp_tail_feed(&c->tail, data, len, put, c);
}

/* The file or folder takes its name; nothing of it was there before. */
static int commit(struct fl_copy *c)
{
    fl_autofree char *old = NULL;
    fl_autofree char *copy = strdup(c->target);
    mode_t mask = umask(0);
    int r;

    umask(mask);
    if (!copy)
        return -ENOMEM;
    if (!c->head.folder && (fchmod(c->fd, c->head.mode & ~mask) < 0 || fsync(c->fd) < 0))
        return fl_copy_fail(c, -errno, "%s: %s", c->target, strerror(errno));
    if (c->head.folder && access(c->target, F_OK) == 0) {
        if (asprintf(&old, "%s.old", c->tmp) < 0) {
            old = NULL;
            return -ENOMEM;
        }
        if (rename(c->target, old) < 0)
            return fl_copy_fail(c, -errno, "%s: %s", c->target, strerror(errno));
    }
    if (rename(c->tmp, c->target) < 0) {
        r = -errno;
        if (old)
            rename(old, c->target);
        return fl_copy_fail(c, r, "%s: %s", c->target, strerror(-r));
    }
    free(c->tmp);
    c->tmp = NULL;
    fl_dir_sync(dirname(copy), NULL);
    return old ? fl_dir_remove(old, &c->err) : 0;
}

int fl_copy_end_down(struct fl_copy *c)
{
    char mine[FL_DIGEST_MAX_HEX_BYTES], nodes[FL_CP_TRAILER_BYTES];

    fl_digest_end_hex(c->sum, mine);
    if (!c->has_head || fl_cp_tail_digest(&c->tail, nodes) < 0 || strcmp(mine, nodes) != 0)
        return fl_copy_fail(c, -EBADMSG, "%s: what came is not what was sent",
                            c->target ? c->target : "");
    return commit(c);
}
