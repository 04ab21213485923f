/* shell.c - sessions on a terminal: Standard_Stream and InteractiveCommands (protocol 3 §8).
 *
 * The terminal's other side is the user's shell or command, which the holder runs. Its exit status
 * is not conveyed.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include "agent/session/conduit.h"
#include "agent/session/types.h"
#include "agent/session/utf8_tail.h"

#define INPUT_MAX_BYTES 65536 /* waiting for whoever reads the terminal */
#define SIZE_WAIT_MS    300   /* a client that has a size sends it at once */
#define QUIET_MS        100   /* after the shell: others may still have the terminal open */

struct shell {
    struct fl_sess *s;
    struct fl_conduit *terminal; /* NULL: not there yet */
    struct fl_timer *timer;      /* for the size; after the exit */
    struct fl_utf8_tail tail;
    bool asked, exited;
};

/* ---- output ---- */

static size_t room(void *arg)
{
    struct shell *sh = arg;
    size_t n = fl_sess_room(sh->s);

    return n > sizeof(sh->tail.bytes) ? n - sizeof(sh->tail.bytes) : 0;
}

static void on_data(void *arg, const char *data, size_t len)
{
    struct shell *sh = arg;
    struct iovec out[2];
    size_t n = fl_utf8_tail_cut(&sh->tail, data, len, out);

    if (n > 0)
        fl_sess_sendv(sh->s, FL_DATA_TYPE_OUTPUT, out, n);
    fl_utf8_tail_keep(&sh->tail, data, len);
    if (sh->exited)
        fl_timer_start(sh->timer, QUIET_MS);
}

static void finish(struct shell *sh)
{
    if (sh->tail.len > 0)
        fl_sess_send(sh->s, FL_DATA_TYPE_OUTPUT, sh->tail.bytes, sh->tail.len);
    sh->tail.len = 0;
    fl_sess_finish(sh->s, FL_SESSION_SUCCESS, "");
}

static void on_end(void *arg, int r)
{
    struct shell *sh = arg;

    if (sh->exited)
        finish(sh);
}

static void on_drain(void *arg)
{
    struct shell *sh = arg;

    fl_sess_ready(sh->s);
}

static const struct fl_conduit_events events = {
    .room = room, .on_data = on_data, .on_end = on_end, .on_drain = on_drain
};

/* ---- what the holder says ---- */

static void ask(struct shell *sh)
{
    if (sh->asked)
        return;
    sh->asked = true;
    fl_timer_stop(sh->timer);
    fl_sess_run(sh->s);
}

static void on_timer(void *arg)
{
    struct shell *sh = arg;
    int waiting = 0;

    if (!sh->exited) {
        ask(sh); /* without a size */
        return;
    }
    /* Who is too slow for what the shell had left to say gets it nevertheless. */
    if (sh->terminal && ioctl(fl_conduit_fd(sh->terminal), FIONREAD, &waiting) == 0 && waiting > 0)
        fl_timer_start(sh->timer, QUIET_MS);
    else
        finish(sh);
}

static void set_size(struct shell *sh)
{
    const struct winsize size = { .ws_col = (uint16_t)sh->s->size.cols,
                                  .ws_row = (uint16_t)sh->s->size.rows };

    if (sh->terminal && size.ws_col > 0 && size.ws_row > 0)
        ioctl(fl_conduit_fd(sh->terminal), TIOCSWINSZ, &size);
}

static int child(struct fl_sess *s, int *fds, size_t n, struct fl_err *err)
{
    struct shell *sh = s->state;
    int fd = n == 1 ? FL_TAKE_FD(fds[0]) : -1;

    if (fd < 0 || sh->terminal || fl_conduit_new(s->loop, fd, &events, sh, &sh->terminal) < 0)
        return fl_err_set(err, -EPROTO, NULL, "fairlead: no terminal came");
    set_size(sh); /* it may have changed meanwhile */
    if (s->start.profile) {
        fl_sess_give(s, sh->terminal, s->start.profile, strlen(s->start.profile));
        fl_sess_give(s, sh->terminal, "\n", 1);
    }
    fl_sess_ready(s);
    return 0;
}

static void not_started(struct fl_sess *s, const char *why)
{
    fl_sess_finish(s, FL_SESSION_FAILED, why);
}

static void exited(struct fl_sess *s, int code)
{
    struct shell *sh = s->state;

    sh->exited = true;
    if (!sh->terminal || fl_conduit_ended(sh->terminal))
        finish(sh);
    else
        fl_timer_start(sh->timer, QUIET_MS);
}

/* ---- the session ---- */

static int begin(struct fl_sess *s, struct fl_err *err)
{
    struct shell *sh = s->state = calloc(1, sizeof(*sh));

    if (!sh || !(sh->timer = fl_timer_new(s->loop, on_timer, sh)))
        return fl_err_nomem(err);
    sh->s = s;
    /* With a handshake the client knows what this is and says its size before the first output;
     * without one it waits for that. */
    if (s->client_version[0] && s->size.cols == 0)
        fl_timer_start(sh->timer, SIZE_WAIT_MS);
    else
        ask(sh);
    return 0;
}

static int input(struct fl_sess *s, uint32_t type, const char *data, size_t len)
{
    struct shell *sh = s->state;

    if (type == FL_DATA_TYPE_SIZE) {
        set_size(sh);
        ask(sh);
        return 0;
    }
    if (type != FL_DATA_TYPE_OUTPUT)
        return 0;
    if (!sh->terminal || fl_conduit_queued(sh->terminal) > INPUT_MAX_BYTES)
        return -EAGAIN;
    fl_sess_give(s, sh->terminal, data, len); /* after the end it goes nowhere */
    return 0;
}

static void on_room(struct fl_sess *s)
{
    struct shell *sh = s->state;

    if (sh->terminal)
        fl_conduit_kick(sh->terminal);
}

static void done(struct fl_sess *s)
{
    struct shell *sh = s->state;

    fl_conduit_free(sh->terminal);
    fl_timer_free(sh->timer);
    free(sh);
}

#define ON_A_TERMINAL                                                                             \
    .begin = begin, .child = child, .not_started = not_started, .exited = exited, .input = input, \
    .room = on_room, .done = done

const struct fl_sess_type fl_sess_standard = { FL_SESSION_TYPE_STANDARD, ON_A_TERMINAL };
const struct fl_sess_type fl_sess_interactive = { FL_SESSION_TYPE_INTERACTIVE, ON_A_TERMINAL };
