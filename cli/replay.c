/* replay.c - `fairlead replay`: a recorded session on this terminal, at the speed it had. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include "cli/command.h"
#include "cli/drawing.h"
#include "cli/term.h"
#include "cli/transcript.h"

/* Whatever was left on: colours, character sets, margins; the cursor on, out of the other screen.
 */
#define RESTORE    "\x18\x0f\x1b(B\x1b[!p\x1b[0m\x1b[?5l\x1b[?25h\x1b[?1049l\r\n"
#define PART_BYTES (4 << 20) /* of a record, drawn */

struct replay_options {
    const char *speed;
    struct fl_seconds idle;
    bool text;
};
static const struct fl_opt replay_options[] = {
    FL_OPT(struct replay_options, speed, 's', "speed", "FACTOR", "so many times as fast; 1"),
    FL_OPT(struct replay_options, idle, 'i', "max-idle", "TIME", "no pause is longer; 3s"),
    FL_OPT(struct replay_options, text, 0, "text", NULL,
           "text alone, at once, without colours and places"),
};

struct replay {
    struct fl_cli *cli;
    bool tty, text, stopped;
    double speed;
    int64_t idle_ms, last_ms;
    struct fl_drawing drawing;
    struct fl_buf part;
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

/* Whoever was in the session chose these bytes: here they draw, and do nothing else. */
static int draw(struct replay *p, const struct fl_transcript_record *rec)
{
    int r;

    fl_buf_reset(&p->part);
    r = fl_drawing_feed(&p->drawing, rec->data, rec->len, &p->part);
    if (r == 0 && p->part.len)
        fwrite(p->part.data, 1, p->part.len, stdout);
    return r;
}

static int play(void *arg, const struct fl_transcript_record *rec)
{
    struct replay *p = arg;
    int r = 0;

    if (rec->kind == 'S' && p->tty)
        note_size(rec);
    if (rec->kind == 'G')
        fl_put_textf(stderr, "\nfairlead: %s\n", rec->data);
    if (rec->kind != 'O' && rec->kind != 'E')
        return 0;
    pause_until(p, rec->time_ms);
    if (p->stopped)
        return 1;
    if (p->text)
        fl_put_text(stdout, rec->data);
    else if (p->tty)
        r = draw(p, rec);
    else
        fwrite(rec->data, 1, rec->len, stdout);
    return r < 0 ? r : fflush(stdout) == 0 ? 0 : -EIO;
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
    .summary = "Show a recorded session on this terminal",
    .text =
        "Pauses are those of the session; Ctrl-C ends it. What the terminal got then is drawn now, "
        "without what does more than draw: titles, the clipboard, questions that the terminal "
        "would "
        "answer. --text leaves out all that is no text. A file or pipe gets all of it, at once.",
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
    fl_buf_init(&p.part, PART_BYTES);
    r = fl_transcript_each(cli, args->v[0], play, &p, &err);
    fl_buf_done(&p.part);
    fl_signal_free(interrupt);
    if (p.tty && !p.text)
        fputs(RESTORE, stdout);
    return r < 0 ? fl_cli_failed(r, &err) : p.stopped ? FL_EXIT_INTERRUPTED : FL_EXIT_OK;
}
