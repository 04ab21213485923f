/* replay.c - `fairlead replay`: a recorded session on this terminal, at the speed it had. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "cli/command.h"
#include "cli/term.h"
#include "cli/transcript.h"

/* Colours off, cursor on, out of the other screen. */
#define RESTORE "\x1b[0m\x1b[?25h\x1b[?1049l\r\n"

struct replay_options {
    const char *speed;
    struct fl_seconds idle;
    bool text;
};
static const struct fl_opt replay_options[] = {
    FL_OPT(struct replay_options, speed, 's', "speed", "FACTOR", "so many times as fast; 1"),
    FL_OPT(struct replay_options, idle, 'i', "max-idle", "TIME", "no pause is longer; 3s"),
    FL_OPT(struct replay_options, text, 0, "text", NULL,
           "text alone, at once: nothing of it can do something to this terminal"),
};

struct replay {
    struct fl_cli *cli;
    bool tty, text, stopped;
    double speed;
    int64_t idle_ms, last_ms;
};

static void on_interrupt(void *arg, int signo)
{
    struct replay *p = arg;

    (void)signo;
    p->stopped = true;
    fl_loop_stop(fl_cli_loop(p->cli, NULL));
}

static void pause_until(struct replay *p, int64_t time_ms)
{
    int64_t ms = p->last_ms ? (int64_t)((double)(time_ms - p->last_ms) / p->speed) : 0;

    p->last_ms = time_ms;
    if (p->tty && !p->text && ms > 0)
        fl_cli_wait(p->cli, &p->stopped, (uint32_t)FL_MIN(ms, p->idle_ms));
}

static void note_size(const struct fl_transcript_record *rec)
{
    struct winsize here;
    int cols, rows;

    if (fl_transcript_size(rec, &cols, &rows) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &here) == 0 &&
        here.ws_col && (here.ws_col < cols || here.ws_row < rows))
        fprintf(stderr, "fairlead: the session had %d columns and %d rows, here are %d and %d\r\n",
                cols, rows, here.ws_col, here.ws_row);
}

static int play(void *arg, const struct fl_transcript_record *rec)
{
    struct replay *p = arg;

    if (rec->kind == 'S' && p->tty)
        note_size(rec);
    if (rec->kind == 'G')
        fprintf(stderr, "\r\nfairlead: %s\r\n", rec->data);
    if (rec->kind != 'O' && rec->kind != 'E')
        return 0;
    pause_until(p, rec->time_ms);
    if (p->stopped)
        return 1;
    if (p->text)
        fl_put_text(stdout, rec->data);
    else
        fwrite(rec->data, 1, rec->len, stdout);
    return fflush(stdout) == 0 ? 0 : -EIO;
}

static int take_speed(const char *text, double *ret_speed)
{
    char *end;

    if (!text)
        return 0;
    *ret_speed = strtod(text, &end);
    return *end || end == text || !(*ret_speed >= 0.01 && *ret_speed <= 1000) ? -EINVAL : 0;
}

static int run(struct fl_cli *cli, const void *options, const struct fl_args *args);

const struct fl_command fl_cmd_replay = {
    .name = "replay",
    .args = "SESSION",
    .summary = "show a recorded session on this terminal",
    .text =
        "Pauses are those of the session; Ctrl-C ends it. What the terminal got then it gets now: "
        "--text leaves out all that is no text. Into a file or pipe all comes at once.",
    FL_OPTIONS(struct replay_options, replay_options),
    .min_args = 1,
    .max_args = 1,
    .run = run,
};

static int run(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct replay_options *o = options;
    struct replay p = { .cli = cli,
                        .tty = isatty(STDOUT_FILENO),
                        .text = o->text,
                        .speed = 1,
                        .idle_ms = o->idle.set ? o->idle.v * 1000 : 3000 };
    struct fl_err err = { 0 };
    struct fl_signal *interrupt;
    struct fl_loop *loop;
    int r;

    if (take_speed(o->speed, &p.speed) < 0)
        return fl_usage(&fl_cmd_replay, "--speed is a number from 0.01 to 1000");
    loop = fl_cli_loop(cli, &err);
    interrupt = loop ? fl_signal_new(loop, SIGINT, on_interrupt, &p) : NULL;
    if (!interrupt) {
        if (!err.code)
            fl_err_nomem(&err);
        return fl_cli_fail(&err);
    }
    r = fl_transcript_each(cli, args->v[0], play, &p, &err);
    fl_signal_free(interrupt);
    if (p.tty && !p.text)
        fputs(RESTORE, stdout);
    return r < 0 ? fl_cli_failed(r, &err) : p.stopped ? FL_EXIT_INTERRUPTED : FL_EXIT_OK;
}
