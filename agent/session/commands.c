/* commands.c - NonInteractiveCommands: a command on pipes (protocol 3 §8).
 *
 * Output goes as it comes; with separate streams, so do errors, and then the exit code. Ours beyond
 * the official agent: where both ends agreed on it, what the client sends is standard input.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "agent/session/conduit.h"
#include "agent/session/types.h"

#define INPUT_MAX_BYTES (256u << 10) /* waiting for the command to read it */
#define QUIET_MS        2000         /* after its exit: others may still have its pipes open */
#define NO_CODE         (-1)

enum { OUT, ERR, IN, N_PIPES };

struct side {
    struct commands *c;
    struct fl_conduit *pipe;
    uint32_t type;
    const char *prefix; /* NULL: none */
    bool middle;        /* of a line: the next chunk gets no prefix */
};

struct commands {
    struct fl_sess *s;
    struct side sides[N_PIPES];
    struct fl_timer *timer;
    int code; /* NO_CODE: it has not ended */
};

/* ---- output ---- */

static size_t room(void *arg)
{
    struct side *side = arg;
    size_t n = fl_sess_room(side->c->s), prefix = side->prefix ? strlen(side->prefix) : 0;

    /* The prefix is part of the official agent's chunks of 1024 bytes. */
    if (prefix > 0)
        n = FL_MIN(n, (size_t)FL_DATA_PAYLOAD_BYTES);
    return n > prefix ? n - prefix : 0;
}

static void on_data(void *arg, const char *data, size_t len)
{
    struct side *side = arg;
    struct iovec out[2];
    size_t n = 0;

    if (side->prefix && !side->middle)
        out[n++] = (struct iovec){ (void *)(uintptr_t)side->prefix, strlen(side->prefix) };
    out[n++] = (struct iovec){ (void *)(uintptr_t)data, len };
    side->middle = data[len - 1] != '\n';
    fl_sess_sendv(side->c->s, side->type, out, n);
    if (side->c->code != NO_CODE)
        fl_timer_start(side->c->timer, QUIET_MS);
}

static bool all_ended(const struct commands *c)
{
    for (size_t i = OUT; i <= ERR; i++)
        if (c->sides[i].pipe && !fl_conduit_ended(c->sides[i].pipe))
            return false;
    return true;
}

static void finish(struct commands *c)
{
    char text[FL_DATA_EXIT_CODE_BYTES];

    /* Without separate streams a stock plugin would take the code for output. */
    if (c->s->start.separate_output)
        fl_sess_send(c->s, FL_DATA_TYPE_EXIT_CODE, text, fl_data_exit_code_encode(c->code, text));
    fl_sess_finish(c->s, FL_SESSION_SUCCESS, "");
}

static void on_end(void *arg, int r)
{
    struct side *side = arg;

    if (side->c->code != NO_CODE && all_ended(side->c))
        finish(side->c);
}

static void on_drain(void *arg)
{
    struct side *side = arg;

    fl_sess_ready(side->c->s);
}

static const struct fl_conduit_events events = {
    .room = room, .on_data = on_data, .on_end = on_end, .on_drain = on_drain
};

/* Nothing came for a while, and it was not for want of room. */
static void on_timer(void *arg)
{
    struct commands *c = arg;

    if (fl_sess_room(c->s) == 0)
        fl_timer_start(c->timer, QUIET_MS);
    else
        finish(c);
}

/* ---- what the holder says ---- */

static int child(struct fl_sess *s, int *fds, size_t n, struct fl_err *err)
{
    struct commands *c = s->state;
    const bool there[N_PIPES] = { true, s->start.separate_output, s->start.has_stdin };
    size_t next = 0;

    for (size_t i = 0; i < N_PIPES; i++) {
        if (!there[i])
            continue;
        if (next == n || c->sides[i].pipe)
            return fl_err_set(err, -EPROTO, NULL, "fairlead: a pipe is missing");
        /* Of a client that cannot say where its input ends there is none. */
        if (i == IN && !s->end_of_input)
            continue;
        if (fl_conduit_new(s->loop, FL_TAKE_FD(fds[next]), &events, &c->sides[i],
                           &c->sides[i].pipe) < 0)
            return fl_err_nomem(err);
        next++;
    }
    fl_sess_ready(s);
    return 0;
}

static void not_started(struct fl_sess *s, const char *why)
{
    fl_sess_send(s, FL_DATA_TYPE_STDERR, why, strlen(why));
    fl_sess_finish(s, FL_SESSION_FAILED, why);
}

static void exited(struct fl_sess *s, int code)
{
    struct commands *c = s->state;

    c->code = code;
    if (all_ended(c))
        finish(c);
    else
        fl_timer_start(c->timer, QUIET_MS);
}

/* ---- the session ---- */

static int begin(struct fl_sess *s, struct fl_err *err)
{
    struct commands *c = s->state = calloc(1, sizeof(*c));

    if (!c || !(c->timer = fl_timer_new(s->loop, on_timer, c)))
        return fl_err_nomem(err);
    c->s = s;
    c->code = NO_CODE;
    c->sides[OUT] = (struct side){ c, NULL, FL_DATA_TYPE_OUTPUT, NULL, false };
    c->sides[ERR] = (struct side){ c, NULL, FL_DATA_TYPE_STDERR, NULL, false };
    c->sides[IN] = (struct side){ c, NULL, 0, NULL, false };
    if (s->start.separate_output) {
        c->sides[OUT].prefix = s->start.stdout_prefix;
        c->sides[ERR].prefix = s->start.stderr_prefix;
    }
    fl_sess_run(s);
    return 0;
}

static void signal_keys(struct fl_sess *s, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] == 0x03 || data[i] == 0x1c)
            fl_sess_signal(s, data[i] == 0x03 ? SIGINT : SIGQUIT);
}

static int input(struct fl_sess *s, uint32_t type, const char *data, size_t len)
{
    struct commands *c = s->state;
    struct fl_conduit *in = c->sides[IN].pipe;
    uint32_t flag;

    if (!s->start.has_stdin || !s->end_of_input) {
        if (type == FL_DATA_TYPE_OUTPUT)
            signal_keys(s, data, len);
        return 0;
    }
    if (type != FL_DATA_TYPE_OUTPUT && type != FL_DATA_TYPE_FLAG)
        return 0;
    if (!c->sides[OUT].pipe || (in && fl_conduit_queued(in) > INPUT_MAX_BYTES))
        return -EAGAIN;
    if (type == FL_DATA_TYPE_OUTPUT && in)
        fl_sess_give(s, in, data, len); /* what nobody reads any more goes nowhere */
    else if (in && fl_data_flag_decode(data, len, &flag) == 0 && flag == FL_DATA_FLAG_END_OF_INPUT)
        fl_conduit_end_writing(in);
    return 0;
}

static void on_room(struct fl_sess *s)
{
    struct commands *c = s->state;

    for (size_t i = OUT; i <= ERR; i++)
        if (c->sides[i].pipe)
            fl_conduit_kick(c->sides[i].pipe);
}

static void done(struct fl_sess *s)
{
    struct commands *c = s->state;

    for (size_t i = 0; i < N_PIPES; i++)
        fl_conduit_free(c->sides[i].pipe);
    fl_timer_free(c->timer);
    free(c);
}

const struct fl_sess_type fl_sess_non_interactive = {
    .name = FL_SESSION_TYPE_NON_INTERACTIVE,
    .handshake = true,
    .begin = begin,
    .child = child,
    .not_started = not_started,
    .exited = exited,
    .input = input,
    .room = on_room,
    .done = done,
};
