/* cp_up.c - a file or folder on its way to a node: pieces behind their lengths (cp_plan.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "cli/cp_priv.h"

int fl_copy_open_source(struct fl_copy *c)
{
    c->fd = open(c->local, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (c->fd < 0 || fstat(c->fd, &c->st) < 0)
        return fl_err_set(&c->err, -errno, NULL, "%s: %s", c->local, strerror(errno));
    if (S_ISDIR(c->st.st_mode) && !c->recursive)
        return fl_err_set(&c->err, -EISDIR, NULL, "%s: is a folder; -r copies it", c->local);
    if (!S_ISDIR(c->st.st_mode) && !S_ISREG(c->st.st_mode))
        return fl_err_set(&c->err, -EINVAL, NULL, "%s: neither file nor folder", c->local);
    c->size = S_ISREG(c->st.st_mode) ? (uint64_t)c->st.st_size : 0;
    return 0;
}

static void send_more(struct fl_copy *c)
{
    while (c->sent_from < c->sent_to) {
        size_t n = FL_MIN(fl_session_room(c->session), c->sent_to - c->sent_from);

        if (!n || fl_session_write(c->session, c->piece + c->sent_from, n) < 0)
            return;
        c->sent_from += n;
    }
}

/* The piece goes out behind its length. */
static void begin_piece(struct fl_copy *c)
{
    char head[FL_COPY_PIECE_HEAD];
    int n = snprintf(head, sizeof(head), "%zu\n", c->piece_len);

    fl_digest_add(c->sum, c->piece + FL_COPY_PIECE_HEAD, c->piece_len);
    c->bytes += c->piece_len;
    memcpy(c->piece + FL_COPY_PIECE_HEAD - n, head, (size_t)n);
    c->sent_from = FL_COPY_PIECE_HEAD - (size_t)n;
    c->sent_to = FL_COPY_PIECE_HEAD + c->piece_len;
    c->piece_len = 0;
}

static void begin_trailer(struct fl_copy *c)
{
    char digest[FL_DIGEST_MAX_HEX_BYTES];

    fl_digest_end_hex(c->sum, digest);
    c->sent_from = 0;
    c->sent_to = (size_t)snprintf(c->piece, sizeof(c->piece), "0\n%s\n", digest);
    c->trailer_sent = true;
}

void fl_copy_push(struct fl_copy *c)
{
    /* A tar that failed or was killed ends its output as one does that has said all. */
    bool whole = c->source_ended && !c->tar_running;

    if (c->cut || c->signo)
        return;
    send_more(c);
    if (c->sent_from < c->sent_to || c->r < 0)
        return;
    if (c->piece_len == FL_CP_PIECE_BYTES || (c->source_ended && c->piece_len > 0)) {
        begin_piece(c);
        fl_copy_push(c);
    } else if (whole && !c->trailer_sent) {
        begin_trailer(c);
        fl_copy_push(c);
    } else if (whole && !c->told_end) {
        fl_session_flag(c->session, FL_DATA_FLAG_END_OF_INPUT);
        c->told_end = true;
    } else if (!c->source_ended) {
        fl_conn_kick(c->conn);
    }
}

static size_t source_room(void *arg)
{
    const struct fl_copy *c = arg;

    return c->sent_from < c->sent_to ? 0 : FL_CP_PIECE_BYTES - c->piece_len;
}

static void on_source(void *arg, const char *data, size_t len)
{
    struct fl_copy *c = arg;

    memcpy(c->piece + FL_COPY_PIECE_HEAD + c->piece_len, data, len);
    c->piece_len += len;
    if (c->piece_len == FL_CP_PIECE_BYTES)
        fl_copy_push(c);
}

static void on_source_end(void *arg, int r)
{
    struct fl_copy *c = arg;

    if (r < 0) {
        fl_copy_fail(c, r, "%s: %s", c->local, strerror(-r));
        return;
    }
    c->source_ended = true;
    fl_copy_push(c);
}

static const struct fl_conn_events source_events = { .room = source_room,
                                                     .on_data = on_source,
                                                     .on_eof = on_source_end };

void fl_copy_begin_up(struct fl_copy *c)
{
    const char *const argv[] = { "tar", "-cf", "-", "-C", c->local, ".", NULL };
    int r = 0, fd = FL_TAKE_FD(c->fd);

    if (S_ISDIR(c->st.st_mode))
        r = fl_copy_start_tar(c, argv, STDOUT_FILENO, &fd);
    if (r == 0)
        r = fl_conn_new(c->loop, fd, &source_events, c, &c->conn);
    if (r < 0)
        fl_copy_fail(c, r, "%s: %s", c->local, strerror(-r));
    else
        fl_conn_kick(c->conn);
}
