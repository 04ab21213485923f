/* term.c - see term.h. */
#include "cli/term.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include "common/aws/crypto.h"
#include "common/base/file.h"
#include "common/net/http.h"

#define LINE_BYTES 512

static bool drawn; /* a line of progress stands on the terminal */

bool fl_progress_on(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

void fl_progress(const char *fmt, ...)
{
    struct winsize size = { 0 };
    char line[LINE_BYTES];
    size_t width;
    va_list ap;

    if (!fl_progress_on())
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (!line[0] && !drawn)
        return;
    width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    if (strlen(line) >= width)
        line[width - 1] = '\0'; /* a line that wraps could not be taken away */
    fflush(stdout);
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    drawn = line[0] != '\0';
}

void fl_screen_next(bool first)
{
    fl_progress("%s", "");
    if (isatty(STDOUT_FILENO))
        fputs("\033[H\033[2J", stdout);
    else if (!first)
        putchar('\n');
}

int fl_flush(void)
{
    int r;

    errno = EIO;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    r = -errno;
    if (r == -EPIPE)
        clearerr(stdout);
    return r;
}

/* `escape` is the form of a control character, to a terminal. */
static void put(FILE *out, const char *text, const char *escape)
{
    if (!isatty(fileno(out))) {
        fputs(text, out);
        return;
    }
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

        if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f || c1)
            fprintf(out, "%s%02x", escape, c1 ? *++p : *p);
        else
            fputc(*p, out);
    }
}

void fl_put_text(FILE *out, const char *text)
{
    put(out, text, "\\x");
}

void fl_put_textf(FILE *out, const char *fmt, ...)
{
    fl_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    if (text)
        fl_put_text(out, text);
}

void fl_put_json(const char *json)
{
    put(stdout, json, "\\u00");
    putchar('\n');
}

/* ---- questions ---- */

struct question {
    struct fl_loop *loop;
    int fd;
    char *out;
    size_t size, len;
    bool done;
    int r;
};

static void answered(struct question *q, int r)
{
    q->r = r;
    q->done = true;
    fl_loop_stop(q->loop);
}

static void on_key(void *arg, unsigned events)
{
    struct question *q = arg;
    ssize_t n = 0;
    char c;

    (void)events;
    while (!q->done && (n = read(q->fd, &c, 1)) > 0) {
        if (c == '\n')
            answered(q, 0);
        else if (q->len + 1 == q->size)
            answered(q, -EMSGSIZE);
        else
            q->out[q->len++] = c;
    }
    if (!q->done && n == 0)
        answered(q, -ENODATA);
    else if (!q->done && errno != EAGAIN && errno != EINTR)
        answered(q, -errno);
}

static void on_interrupt(void *arg, int signo)
{
    (void)signo;
    answered(arg, -EINTR);
}

static int wait_for_line(struct fl_cli *cli, struct question *q)
{
    struct fl_signal *on_int = fl_signal_new(q->loop, SIGINT, on_interrupt, q);
    struct fl_signal *on_term = fl_signal_new(q->loop, SIGTERM, on_interrupt, q);
    struct fl_io *io = fl_io_new(q->loop, q->fd, on_key, q);

    if (!on_int || !on_term || !io || fl_io_set(io, FL_IO_READ) < 0)
        q->r = -ENOMEM;
    else
        fl_cli_wait(cli, &q->done, 0);
    fl_io_free(io);
    fl_signal_free(on_int);
    fl_signal_free(on_term);
    q->out[q->len] = '\0';
    return q->r;
}

int fl_ask(struct fl_cli *cli, bool echo, const char *prompt, char *out, size_t size)
{
    struct question q = { .out = out, .size = size };
    struct termios before, quiet;
    fl_autofd int fd = -1;
    char tty[64];
    int r;

    if (ttyname_r(STDIN_FILENO, tty, sizeof(tty)) != 0 || tcgetattr(STDIN_FILENO, &before) < 0)
        return -ENOTTY;
    /* Opened anew: the loop makes it non-blocking, and 0, 1 and 2 are shared with the shell. */
    fd = q.fd = open(tty, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    q.loop = fl_cli_loop(cli, NULL);
    if (!q.loop)
        return -ENOMEM;
    fl_progress("%s", "");
    fprintf(stderr, "%s", prompt);
    fflush(stderr);
    quiet = before;
    if (!echo) {
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        quiet.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped here, the shell would stay without echo */
    }
    tcsetattr(STDIN_FILENO, echo ? TCSANOW : TCSAFLUSH, &quiet);
    r = wait_for_line(cli, &q);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    if (!echo || r < 0)
        fputc('\n', stderr);
    return r;
}

int fl_confirm(struct fl_cli *cli, const char *fmt, ...)
{
    char prompt[LINE_BYTES], answer[64];
    va_list ap;
    int r;

    va_start(ap, fmt);
    vsnprintf(prompt, sizeof(prompt), fmt, ap);
    va_end(ap);
    r = fl_ask(cli, true, prompt, answer, sizeof(answer));
    if (r < 0)
        return r;
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

int fl_read_secret(struct fl_cli *cli, const char *prompt, bool whole, size_t max_bytes,
                   char **ret_secret, struct fl_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int r;

    if (isatty(STDIN_FILENO)) {
        text = calloc(1, max_bytes + 1);
        r = text ? fl_ask(cli, false, prompt, text, max_bytes + 1) : -ENOMEM;
        len = max_bytes;
    } else {
        r = fl_fd_read_all(STDIN_FILENO, max_bytes + 1, &text, &len);
        if (r == 0 && !whole)
            text[strcspn(text, "\r\n")] = '\0';
    }
    if (r == 0 && !*text)
        r = -ENODATA;
    if (r < 0) {
        fl_free_secret(text, text ? len : 0);
        return fl_err_set(err, r, NULL, "%s",
                          r == -EINTR     ? "interrupted"
                          : r == -ENODATA ? "nothing was given"
                                          : strerror(-r));
    }
    *ret_secret = text;
    return 0;
}

/* ---- complaints ---- */

int fl_cli_fail(const struct fl_err *err)
{
    static const struct {
        const char *name, *text;
    } next_steps[] = {
        { FL_HTTP_UNTRUSTED,
          "If the control plane has a CA of its own, name its certificate: --ca-file FILE, or once "
          "for all \"fairlead login --ca-file FILE\". On its machine \"fairlead-server admin ca "
          "--pem\" prints it." },
        { "InvalidSignatureException",
          "The secret key is wrong, or a clock is off by more than 15 minutes." },
        { "UnrecognizedClientException",
          "The access key is unknown or disabled; \"fairlead login\" stores another." },
    };

    fl_progress("%s", "");
    fputs("fairlead: ", stderr);
    fl_put_text(stderr, fl_err_text(err));
    fputc('\n', stderr);
    for (size_t i = 0; err->name && i < FL_ARRAY_LEN(next_steps); i++)
        if (strcmp(next_steps[i].name, err->name) == 0)
            fprintf(stderr, "%s\n", next_steps[i].text);
    return FL_EXIT_SERVICE;
}

int fl_cli_failed(int r, struct fl_err *err)
{
    if (!err->code)
        fl_err_set(err, r, NULL, "%s", strerror(-r));
    return fl_cli_fail(err);
}

int fl_cli_failed_input(int r, struct fl_err *err)
{
    int status = fl_cli_failed(r, err);

    return r == -EINVAL ? FL_EXIT_USAGE : status;
}
