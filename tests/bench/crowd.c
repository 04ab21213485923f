/* crowd.c - many terminals on one node at once, in one process: cli/session.c's sessions, without
 * the terminal of a user before them.
 *
 *     crowd NODE SESSIONS CALLS     CALLS: StartSession calls that may be under way at a time
 *
 * Where to and as whom is told by the environment, as to `fairlead`. Prints a line of JSON when all
 * have shown a prompt and echoed a word, or have failed:
 *
 *     {"echoed": N, "failed": N, "ms": from the first call to the last echo,
 *      "prompt_p50_ms": .., "prompt_max_ms": from a session's own call to its first output,
 *      "error": "of the last that failed"}
 *
 * and another after each line on its standard input: each session echoes another word. At the end
 * of the input all shells are told to exit.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/session.h"
#include "common/base/buf.h"
#include "common/base/clock.h"

#define WORD_BYTES 64
#define SEEN_BYTES 65536
#define ANSWER_MAX (1u << 20)
#define COLS       80
#define ROWS       24

struct member {
    struct crowd *crowd;
    unsigned number;
    struct fl_session *session;
    struct fl_buf seen; /* of the output, since the last word was asked for */
    char want[WORD_BYTES];
    int64_t called_ms, prompt_ms;
    bool prompted, echoed, ended;
};

struct crowd {
    struct fl_cli cli;
    const char *node;
    struct member *members;
    unsigned n, next, calls, max_calls, prompted, echoed, failed, ended, round;
    int64_t began_ms;
    bool closing, done;
    char error[FL_ERR_TEXT_BYTES];
};

static const struct fl_field wish_fields[] = {
    FL_FIELD(struct fl_session_wish, node, "Target", 0),
};
static const struct fl_shape wish_shape = FL_SHAPE(struct fl_session_wish, "wish", wish_fields);
static const struct fl_op op_start = { "StartSession", &wish_shape, NULL, true };

static void call_more(struct crowd *c);

static void check_done(struct crowd *c)
{
    c->done = c->closing ? c->ended == c->n : c->echoed + c->ended == c->n;
    if (c->done)
        fl_loop_stop(fl_cli_loop(&c->cli, NULL));
}

static void over(struct member *m, const char *why)
{
    struct crowd *c = m->crowd;

    m->ended = true;
    c->ended++;
    if (!c->closing) {
        c->failed++;
        c->echoed -= m->echoed;
        snprintf(c->error, sizeof(c->error), "%s", why);
    }
    check_done(c);
}

/* Not as it stands in what is typed, which the terminal echoes. */
static void ask_echo(struct member *m)
{
    char line[WORD_BYTES];
    int n = snprintf(line, sizeof(line), "echo wo''rd-%u-%u.\r", m->crowd->round, m->number);

    snprintf(m->want, sizeof(m->want), "word-%u-%u.", m->crowd->round, m->number);
    fl_buf_reset(&m->seen);
    fl_session_write(m->session, line, (size_t)n);
}

static void on_ready(void *arg, const struct fl_session_info *info)
{
    struct member *m = arg;

    fl_session_size(m->session, COLS, ROWS);
}

static void on_output(void *arg, uint32_t type, const char *data, size_t len)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;

    if (!m->prompted) {
        m->prompted = true;
        m->prompt_ms = fl_mono_ms();
        c->prompted++;
        ask_echo(m);
    }
    if (m->echoed || fl_buf_append(&m->seen, data, len) < 0 ||
        !memmem(m->seen.data, m->seen.len, m->want, strlen(m->want)))
        return;
    m->echoed = true;
    c->echoed++;
    check_done(c);
}

static void on_end(void *arg, int r, const char *text)
{
    over(arg, *text ? text : "the session ended");
}

static const struct fl_session_events events = { .on_ready = on_ready,
                                                 .on_output = on_output,
                                                 .on_end = on_end };

static void on_granted(void *arg, int r, const char *text, const struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ANSWER_MAX);
    struct fl_session_grant grant = { 0 };
    struct fl_err why = { 0 };
    struct member *m = arg;

    m->crowd->calls--;
    if (r < 0)
        why = *err;
    else
        r = fl_json_decode(&fl_session_grant_shape, text, strlen(text), FL_DECODE_LAX, &arena,
                           &grant, &why);
    if (r == 0)
        r = fl_session_new(&m->crowd->cli, &grant, &events, m, &m->session, &why);
    if (r < 0)
        over(m, fl_err_text(&why));
    call_more(m->crowd);
}

static void call_more(struct crowd *c)
{
    while (c->next < c->n && c->calls < c->max_calls) {
        struct member *m = &c->members[c->next++];
        struct fl_err err = { 0 };

        m->called_ms = fl_mono_ms();
        c->calls++;
        if (fl_api_start(&c->cli, &op_start, &(struct fl_session_wish){ .node = c->node },
                         on_granted, m, &err) < 0) {
            c->calls--;
            over(m, fl_err_text(&err));
        }
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void tell(struct crowd *c)
{
    int64_t *ms = calloc(c->n, sizeof(*ms));
    size_t n = 0;

    for (unsigned i = 0; ms && i < c->n; i++)
        if (c->members[i].prompted)
            ms[n++] = c->members[i].prompt_ms - c->members[i].called_ms;
    if (n > 0)
        qsort(ms, n, sizeof(*ms), compare);
    for (char *p = c->error; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '\'';
    printf("{\"echoed\": %u, \"failed\": %u, \"ms\": %lld, \"prompt_p50_ms\": %lld, "
           "\"prompt_max_ms\": %lld, \"error\": \"%s\"}\n",
           c->echoed, c->failed, (long long)(fl_mono_ms() - c->began_ms),
           (long long)(n > 0 ? ms[n / 2] : 0), (long long)(n > 0 ? ms[n - 1] : 0), c->error);
    fflush(stdout);
    free(ms);
}

static void wait_all(struct crowd *c)
{
    check_done(c);
    if (!c->done)
        fl_cli_wait(&c->cli, &c->done, 0);
    tell(c);
}

static void ask_all(struct crowd *c)
{
    c->round++;
    c->echoed = 0;
    c->began_ms = fl_mono_ms();
    for (unsigned i = 0; i < c->n; i++) {
        c->members[i].echoed = false;
        if (!c->members[i].ended)
            ask_echo(&c->members[i]);
    }
}

static void close_all(struct crowd *c)
{
    c->closing = true;
    c->began_ms = fl_mono_ms();
    for (unsigned i = 0; i < c->n; i++)
        if (!c->members[i].ended)
            fl_session_write(c->members[i].session, "exit\r", strlen("exit\r"));
}

int main(int argc, char **argv)
{
    struct crowd c = { .node = argv[1] };
    struct fl_err err = { 0 };
    char line[16];

    signal(SIGPIPE, SIG_IGN);
    if (argc != 4 || fl_cli_load(&c.cli, &err) < 0) {
        fprintf(stderr, "crowd: %s\n", argc != 4 ? "NODE SESSIONS CALLS" : fl_err_text(&err));
        return 2;
    }
    c.n = (unsigned)atoi(argv[2]);
    c.max_calls = (unsigned)atoi(argv[3]);
    c.members = calloc(c.n, sizeof(*c.members));
    for (unsigned i = 0; i < c.n; i++) {
        c.members[i] = (struct member){ .crowd = &c, .number = i };
        fl_buf_init(&c.members[i].seen, SEEN_BYTES);
    }
    c.began_ms = fl_mono_ms();
    call_more(&c);
    wait_all(&c);
    while (fgets(line, sizeof(line), stdin)) {
        ask_all(&c);
        wait_all(&c);
    }
    close_all(&c);
    wait_all(&c);
    for (unsigned i = 0; i < c.n; i++) {
        fl_session_free(c.members[i].session);
        fl_buf_done(&c.members[i].seen);
    }
    free(c.members);
    fl_cli_done(&c.cli);
    return 0;
}
