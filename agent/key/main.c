/* main.c - fairlead-agent-key: the only program that ever holds the node's private key.
 *
 * Reads requests on standard input, answers on standard output, one line of JSON each (keyproc.h),
 * and ends with its input. Its parent is the monitor or the registration; it opens no socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "agent/key/ops.h"
#include "agent/lib/begun.h"
#include "agent/lib/text.h"
#include "common/base/file.h"
#include "common/base/nodump.h"

/* One line without its newline; false at end of input. */
static bool read_line(struct fl_buf *in, size_t *ret_len)
{
    for (;;) {
        const char *end = in->len ? memchr(in->data, '\n', in->len) : NULL;
        ssize_t n;

        if (end) {
            *ret_len = (size_t)(end - in->data);
            return true;
        }
        if (fl_buf_reserve(in, 4096) < 0)
            return false;
        n = read(STDIN_FILENO, in->data + in->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        in->len += (size_t)n;
    }
}

static int write_answer(const struct fl_key_answer *answer)
{
    fl_autobuf struct fl_buf out = FL_BUF(FL_KEY_MAX_LINE_BYTES);
    int r;

    r = fl_json_encode(&fl_shape_key_answer, answer, &out);
    if (r == 0)
        r = fl_buf_puts(&out, "\n");
    return r < 0 ? r : fl_fd_write_all(STDOUT_FILENO, out.data, out.len);
}

static int serve(struct fl_key *key, const char *line, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16 * FL_KEY_MAX_LINE_BYTES);
    struct fl_key_request req;
    struct fl_key_answer answer = { 0 };
    struct fl_err err = { 0 };
    int r;

    r = fl_json_decode(&fl_shape_key_request, line, len, 0, &arena, &req, &err);
    if (r == 0)
        r = fl_key_run(key, &req, &arena, &answer, &err);
    if (r < 0)
        answer = (struct fl_key_answer){ .error = fl_text(fl_err_text(&err)) };
    return write_answer(&answer);
}

int main(int argc, char **argv)
{
    struct fl_key key = { 0 };
    struct fl_buf in;
    size_t len;
    int r = 0;

    if (!fl_begun("fairlead-agent-key", argc == 3 && strcmp(argv[1], "--state") == 0))
        return 2;
    fl_nodump(true);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(077);

    key.state_dir = argv[2];
    fl_buf_init(&in, FL_KEY_MAX_LINE_BYTES + 4096);
    while (r == 0 && read_line(&in, &len)) {
        r = serve(&key, in.data, len);
        explicit_bzero(in.data, len);
        fl_buf_consume(&in, len + 1);
    }
    fl_key_done(&key);
    fl_buf_done(&in);
    return r < 0 ? 1 : 0;
}
