/* attach.c - see attach.h. */
#include "cli/attach.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "cli/conn.h"
#include "cli/escape.h"
#include "cli/term.h"
#include "cli/tty.h"
#include "cli/tunnel.h"
#include "common/base/clock.h"

#define HELD_BYTES (256 * 1024) /* of output that waits for its reader, then the node waits */
#define READ_BYTES 32768        /* of input at a time */
#define EOT        "\x04"       /* what Ctrl-D types: the end of input to a terminal's reader */
#define EOT_MS     1000         /* then again: a reader that took the last was not the shell */
#define EOT_TIMES  30
#define LINGER_MS  2000 /* how long a port's last words are waited for behind the end of input */

/* What a terminal has that nobody told the size of (protocol 3 §8). */
static const struct fl_tty_size no_terminal = { 300, 100 };

struct attach {
    struct fl_cli *cli;
    const struct fl_attach_conf *conf;
    struct fl_loop *loop;
    struct fl_session *session;
    struct fl_session_info info;
    struct fl_conn *in, *out, *err;
    struct fl_tunnel *tunnel;
    struct fl_timer *timer; /* behind the end of input */
    unsigned eots;
    struct fl_escape escape;
    struct fl_tty_size size;
    bool ready, raw, input_ended, ended, left, done;
    bool interrupted;            /* the command was sent a key of its terminal */
    int status, code;            /* of the command; -1: none was told */
    int64_t output_ms;           /* when something came last */
    bool out_inside, err_inside; /* of a line: no prefix stands before what follows */
    int end_r;
    char end_text[FL_ERR_TEXT_BYTES];
    int signo; /* to end by: what a reader that is gone means to a writer */
};

static void check_end(struct attach *a)
{
    bool queued = (a->out && fl_conn_queued(a->out)) || (a->err && fl_conn_queued(a->err));

    if (!a->left && (!a->ended || queued))
        return;
    a->done = true;
    fl_loop_stop(a->loop);
}

/* The user's decision; nothing that is still on its way matters. */
static void leave(struct attach *a, int status)
{
    a->left = true;
    a->status = status;
    check_end(a);
}

static void note(const struct attach *a, const char *text)
{
    if (a->conf->quiet)
        return;
    fl_progress("%s", "");
    fprintf(stderr, "fairlead: ");
    fl_put_text(stderr, text);
    fputs(a->raw ? "\r\n" : "\n", stderr);
    fflush(stderr);
}

/* ---- the node's output ---- */

static void on_drain(void *arg)
{
    struct attach *a = arg;

    fl_session_hold(a->session, false);
    check_end(a);
}

static void on_broken(void *arg, int r)
{
    struct attach *a = arg;

    if (r == -EPIPE)
        a->signo = SIGPIPE;
    else
        fprintf(stderr, "fairlead: standard output: %s\n", strerror(-r));
    leave(a, a->conf->failure);
}

static const struct fl_conn_events out_events = { .on_drain = on_drain, .on_broken = on_broken };

static void strip(const char *prefix, bool *inside, const char **data, size_t *len)
{
    size_t n = prefix ? strlen(prefix) : 0;
    bool line_end = *len > 0 && (*data)[*len - 1] == '\n';

    if (n > 0 && !*inside && *len >= n && memcmp(*data, prefix, n) == 0) {
        *data += n;
        *len -= n;
    }
    *inside = !line_end;
}

static void on_output(void *arg, uint32_t type, const char *data, size_t len)
{
    struct attach *a = arg;
    bool is_err = type == FL_DATA_TYPE_STDERR;
    struct fl_conn *to = is_err && !a->conf->plugin ? a->err : a->out;

    if (a->done)
        return;
    strip(is_err ? a->conf->err_prefix : a->conf->out_prefix,
          is_err ? &a->err_inside : &a->out_inside, &data, &len);
    a->output_ms = fl_mono_ms();
    if (a->tunnel) {
        if (fl_tunnel_input(a->tunnel, data, len) < 0)
            leave(a, a->conf->failure);
        return;
    }
    fl_conn_write(to, data, len);
    if (fl_conn_queued(to) > HELD_BYTES)
        fl_session_hold(a->session, true);
}

/* ---- the user's input ---- */

static size_t room(void *arg)
{
    const struct attach *a = arg;
    size_t n = fl_session_room(a->session);

    /* One for an escape character that turns out to be none. */
    return FL_MIN(n > 0 ? n - 1 : 0, (size_t)READ_BYTES);
}

static void suspend(struct attach *a)
{
    fl_tty_suspend();
    fl_session_size(a->session, a->size.cols, a->size.rows); /* it may have changed */
}

static void escape(struct attach *a, enum fl_escape_action action)
{
    char text[FL_ESCAPE_HELP_BYTES];

    switch (action) {
    case FL_ESCAPE_QUIT:
        leave(a, FL_EXIT_INTERRUPTED);
        break;
    case FL_ESCAPE_SUSPEND:
        suspend(a);
        break;
    case FL_ESCAPE_HELP:
        fl_escape_help(&a->escape, text);
        fl_conn_write(a->out, text, strlen(text));
        break;
    case FL_ESCAPE_NONE:
        break;
    }
}

/* Input that nobody would get is no matter to be silent about. */
static bool takes_input(const struct attach *a)
{
    return a->info.kind != FL_SESSION_COMMAND || a->info.end_of_input;
}

static void on_input(void *arg, const char *data, size_t len)
{
    struct attach *a = arg;
    char typed[READ_BYTES + 1];

    if (!takes_input(a)) {
        fprintf(stderr, "fairlead: commands get no input from this node's agent, which is not "
                        "fairlead's; --no-stdin runs them without\n");
        leave(a, a->conf->failure);
        return;
    }
    while (len && !a->left) {
        size_t used = len, n = len;
        enum fl_escape_action action = FL_ESCAPE_NONE;

        if (a->raw)
            action = fl_escape_feed(&a->escape, data, len, &used, typed, &n);
        if (n)
            fl_session_write(a->session, a->raw ? typed : data, n);
        escape(a, action);
        data += used;
        len -= used;
    }
}

/* The end of input goes to a terminal as a key, and to whoever reads there. If that was a program
 * that the shell runs, the shell wants one of its own. */
static void type_eot(struct attach *a)
{
    bool room = fl_session_room(a->session) >= strlen(EOT);

    if (room)
        fl_session_write(a->session, EOT, strlen(EOT));
    if (!room || ++a->eots < EOT_TIMES)
        fl_timer_start(a->timer, EOT_MS);
}

static void on_timer(void *arg)
{
    struct attach *a = arg;
    int64_t silent_ms = fl_mono_ms() - a->output_ms;

    if (a->info.kind == FL_SESSION_SHELL && silent_ms < EOT_MS)
        fl_timer_start(a->timer, (uint64_t)(EOT_MS - silent_ms));
    else if (a->info.kind == FL_SESSION_SHELL)
        type_eot(a);
    else if (!fl_session_settled(a->session) || silent_ms < LINGER_MS)
        fl_timer_start(a->timer, LINGER_MS);
    else
        leave(a, FL_EXIT_OK);
}

static void on_input_end(void *arg, int r)
{
    struct attach *a = arg;

    if (r < 0 && r != -EIO) /* EIO: the terminal is gone */
        fprintf(stderr, "fairlead: standard input: %s\n", strerror(-r));
    a->input_ended = true;
    switch (a->info.kind) {
    case FL_SESSION_SHELL:
        type_eot(a);
        break;
    case FL_SESSION_COMMAND:
        if (takes_input(a))
            fl_session_flag(a->session, FL_DATA_FLAG_END_OF_INPUT);
        break;
    case FL_SESSION_PORT:
        a->output_ms = fl_mono_ms();
        fl_timer_start(a->timer, LINGER_MS);
        break;
    }
}

static const struct fl_conn_events in_events = { .room = room,
                                                 .on_data = on_input,
                                                 .on_eof = on_input_end };

static void on_room(void *arg)
{
    struct attach *a = arg;

    if (a->done)
        return;
    if (a->tunnel)
        fl_tunnel_room(a->tunnel);
    else if (a->in)
        fl_conn_kick(a->in);
}

/* ---- the session ---- */

static int begin_streams(struct attach *a)
{
    bool watched = a->conf->wants_code && !isatty(STDIN_FILENO);
    bool wants_input = !a->conf->no_input && (takes_input(a) || watched);
    int r = fl_conn_std(a->loop, STDOUT_FILENO, &out_events, a, &a->out);

    if (r == 0)
        r = fl_conn_std(a->loop, STDERR_FILENO, &out_events, a, &a->err);
    if (r == 0 && wants_input)
        r = fl_conn_std(a->loop, STDIN_FILENO, &in_events, a, &a->in);
    if (r == 0 && a->info.kind == FL_SESSION_SHELL) {
        a->raw = wants_input && fl_tty_raw() == 0;
        a->size = fl_tty_size(no_terminal);
        fl_session_size(a->session, a->size.cols, a->size.rows);
    }
    if (r == 0 && a->in)
        fl_conn_kick(a->in);
    else if (r == 0 && a->info.kind == FL_SESSION_COMMAND && a->info.end_of_input)
        fl_session_flag(a->session, FL_DATA_FLAG_END_OF_INPUT);
    return r;
}

static void on_first_connection(void *arg)
{
    const struct attach *a = arg;

    if (!a->conf->plugin)
        return;
    printf("\nConnection accepted for session [%s]\n", fl_session_id(a->session));
    fflush(stdout);
}

static void tell_listening(const struct attach *a)
{
    uint16_t port = fl_tunnel_port(a->tunnel);
    const char *id = fl_session_id(a->session);

    if (!a->conf->plugin)
        printf("%s\n", fl_tunnel_name(a->tunnel));
    else if (port)
        printf("Port %u opened for sessionId %s.\nWaiting for connections...\n", port, id);
    else
        printf("Unix socket %s opened for sessionId %s.\nWaiting for connections...\n",
               fl_tunnel_name(a->tunnel), id);
    fflush(stdout);
}

/* Where to listen is the session's own business: parameters that only clients read, and that come
 * by way of the node. */
static int begin_tunnel(struct attach *a, struct fl_err *err)
{
    const struct fl_session_port *p = &a->info.port;
    bool is_unix = p->local_type && strcmp(p->local_type, "unix") == 0;
    const char *path = p->local_socket ? p->local_socket : "";
    struct fl_forward_spec spec;
    int r;

    if (!a->conf->listens)
        return fl_err_set(err, -EPROTO, NULL, "the node made a port of what is none");
    r = fl_forward_spec_said(p->local_port, is_unix ? path : NULL, &spec, err);
    if (r == 0)
        r = fl_tunnel_new(a->loop, &spec, &a->tunnel, err);
    if (r == 0)
        r = fl_tunnel_begin(a->tunnel, a->session, &a->info, on_first_connection, a);
    if (r == 0)
        tell_listening(a);
    return r;
}

static void on_ready(void *arg, const struct fl_session_info *info)
{
    struct attach *a = arg;
    struct fl_err err = { 0 };
    int r;

    if (a->done)
        return;
    a->info = *info;
    a->ready = true;
    if (info->kind == FL_SESSION_PORT && info->port.type && *info->port.type)
        r = begin_tunnel(a, &err);
    else
        r = begin_streams(a);
    if (r == 0)
        return;
    if (!err.code)
        fl_err_set(&err, r, NULL, "standard streams: %s", strerror(-r));
    fl_cli_fail(&err);
    leave(a, a->conf->failure);
}

static void on_exit_code(void *arg, int code)
{
    struct attach *a = arg;

    a->code = code;
}

static void on_flag(void *arg, uint32_t flag, const char *why)
{
    struct attach *a = arg;
    char text[FL_DATA_REASON_BYTES + 64];

    if (flag != FL_DATA_FLAG_CONNECT_ERROR)
        return;
    snprintf(text, sizeof(text), "the node could not connect to the port%s%s", *why ? ": " : "",
             why);
    note(a, text);
}

static void on_note(void *arg, const char *text)
{
    note(arg, text);
}

static void on_end(void *arg, int r, const char *text)
{
    struct attach *a = arg;

    a->ended = true;
    if (a->done) /* the user left first */
        return;
    if (r < 0)
        a->status = a->conf->failure;
    else if (a->code >= 0)
        a->status = a->code;
    else if (!a->ready || a->conf->wants_code || *text)
        a->status = a->conf->failure; /* `text` says why: nothing is said of a shell's own end */
    a->end_r = r;
    snprintf(a->end_text, sizeof(a->end_text), "%s", text);
    check_end(a);
}

static const struct fl_session_events session_events = {
    .on_ready = on_ready,
    .on_output = on_output,
    .on_exit_code = on_exit_code,
    .on_flag = on_flag,
    .on_room = on_room,
    .on_note = on_note,
    .on_end = on_end,
};

/* ---- signals ---- */

/* What finds no room was one key too many. */
static bool type_key(struct attach *a, const char *key)
{
    return fl_session_room(a->session) > 0 && fl_session_write(a->session, key, 1) == 0;
}

/* The official plugin's command gets the key, too, which its agent makes a signal of (protocol 3
 * §8). Whoever presses it again leaves. */
static bool interrupt(struct attach *a, const char *key)
{
    bool first =
        a->conf->plugin && a->ready && a->info.kind == FL_SESSION_COMMAND && !a->interrupted;

    a->interrupted |= first;
    return first && type_key(a, key);
}

static void on_key_signal(void *arg, int signo)
{
    static const struct {
        int signo;
        const char *key;
    } keys[] = { { SIGINT, "\x03" }, { SIGQUIT, "\x1c" }, { SIGTSTP, "\x1a" } };
    struct attach *a = arg;
    const char *key = NULL;

    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++)
        if (keys[i].signo == signo)
            key = keys[i].key;
    /* The keys of a terminal that is not raw, or another's signal: what the node's terminal makes
     * of the key. */
    if (a->ready && a->info.kind == FL_SESSION_SHELL)
        type_key(a, key);
    else if (signo == SIGTSTP)
        fl_tty_suspend();
    else if (!interrupt(a, key))
        leave(a, 128 + signo);
}

static void on_end_signal(void *arg, int signo)
{
    leave(arg, 128 + signo);
}

static void on_size(void *arg, int signo)
{
    struct attach *a = arg;
    struct fl_tty_size now = fl_tty_size(a->size);

    (void)signo;
    if (!a->ready || a->info.kind != FL_SESSION_SHELL)
        return;
    a->size = now;
    fl_session_size(a->session, now.cols, now.rows);
}

static void on_continue(void *arg, int signo)
{
    fl_tty_again();
    on_size(arg, signo);
}

static const struct {
    int signo;
    fl_signal_fn fn;
} signals[] = {
    { SIGINT, on_key_signal },  { SIGQUIT, on_key_signal }, { SIGTSTP, on_key_signal },
    { SIGTERM, on_end_signal }, { SIGHUP, on_end_signal },  { SIGWINCH, on_size },
    { SIGCONT, on_continue },
};

/* ---- from beginning to end ---- */

/* When the terminal is as it was, behind the last of the output. */
static void put_end(const struct attach *a, const char *id)
{
    if (!a->ended || (a->left && !a->end_r))
        return;
    if (a->conf->plugin && a->conf->no_texts && a->end_r == 0)
        return;
    if (a->conf->plugin && a->end_r == 0 && *a->end_text)
        fl_put_textf(stdout, "\n\nSessionId: %s : %s\n\n", id, a->end_text);
    else if (a->conf->plugin && a->end_r == 0)
        printf("\n\nExiting session with sessionId: %s.\n\n", id);
    else if (*a->end_text)
        note(a, fl_session_words(a->end_text));
}

static int wait_for_end(struct attach *a, const struct fl_session_grant *grant, struct fl_err *err)
{
    struct fl_signal *watched[FL_ARRAY_LEN(signals)] = { 0 };
    int r = 0;

    for (size_t i = 0; i < FL_ARRAY_LEN(signals) && r == 0; i++) {
        watched[i] = fl_signal_new(a->loop, signals[i].signo, signals[i].fn, a);
        r = watched[i] ? 0 : -ENOMEM;
    }
    a->timer = fl_timer_new(a->loop, on_timer, a);
    if (r == 0 && !a->timer)
        r = -ENOMEM;
    if (r == 0)
        r = fl_session_new(a->cli, grant, &session_events, a, &a->session, err);
    if (r == 0)
        fl_cli_wait(a->cli, &a->done, 0);
    fl_timer_free(a->timer);
    fl_tty_restore(); /* as long as signals are ours */
    a->raw = false;
    for (size_t i = 0; i < FL_ARRAY_LEN(signals); i++)
        fl_signal_free(watched[i]);
    return r;
}

/* The AWS CLI takes any status but 0 for a crash of its plugin, and prints the call with the token
 * in it. So the official one ends with 0 as soon as the session has ended, whatever became of it,
 * or its user has left (protocol 3 §1, §8). */
static int status_of(const struct attach *a)
{
    bool over = a->ended ? a->end_r == 0 || a->end_r == -ESTALE
                         : a->status == 128 + SIGINT || a->status == 128 + SIGQUIT;

    return a->conf->plugin && over ? FL_EXIT_OK : a->status;
}

int fl_attach(struct fl_cli *cli, const struct fl_session_grant *grant,
              const struct fl_attach_conf *conf)
{
    struct attach a = { .cli = cli, .conf = conf, .code = -1, .status = FL_EXIT_OK };
    struct fl_err err = { 0 };
    int r;

    if (fl_escape_init(&a.escape, conf->escape ? conf->escape : "~") < 0)
        fl_escape_init(&a.escape, "none");
    a.loop = fl_cli_loop(cli, &err);
    if (conf->plugin && !conf->no_texts) {
        printf("\nStarting session with SessionId: %s\n", grant->id);
        fflush(stdout);
    }
    r = a.loop ? wait_for_end(&a, grant, &err) : -ENOMEM;
    fl_tunnel_free(a.tunnel);
    fl_conn_free(a.in);
    fl_conn_free(a.out);
    fl_conn_free(a.err);
    put_end(&a, grant->id);
    if (!a.ended && a.session)
        fl_session_leave(a.session);
    if (!a.ended)
        fl_session_terminate(cli, grant->id, NULL);
    fl_session_free(a.session);
    if (r < 0) {
        fl_cli_failed(r, &err);
        return conf->failure;
    }
    if (a.signo) {
        signal(a.signo, SIG_DFL);
        raise(a.signo);
    }
    return status_of(&a);
}
