/* tty.c - see tty.h. */
#include "cli/tty.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct termios before; /* valid once `armed` */
static bool armed;
static volatile sig_atomic_t is_raw;

/* What ends a program by a fault of its own. Those that others send are the loop's. */
static const int faults[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS };

void fl_tty_restore(void)
{
    int saved = errno;

    if (is_raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    is_raw = 0;
    errno = saved;
}

static struct sigaction
    earlier[FL_ARRAY_LEN(faults)]; /* what was there: the default, or a sanitizer */

/* Gives way to what was there before. A fault of the program itself comes again on the return. */
static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    fl_tty_restore();
    for (size_t i = 0; i < FL_ARRAY_LEN(faults); i++)
        if (faults[i] == signo)
            sigaction(signo, &earlier[i], NULL);
    if (info->si_code <= 0)
        raise(signo);
}

static void arm(void)
{
    struct sigaction mine = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

    atexit(fl_tty_restore);
    sigemptyset(&mine.sa_mask);
    for (size_t i = 0; i < FL_ARRAY_LEN(faults); i++)
        sigaction(faults[i], &mine, &earlier[i]);
    armed = true;
}

/* As OpenSSH's sshtty.c. */
static int set_raw(void)
{
    struct termios raw = before;

    raw.c_iflag |= IGNPAR;
    raw.c_iflag &= ~(tcflag_t)(ISTRIP | INLCR | IGNCR | ICRNL | IXON | IXANY | IXOFF);
    raw.c_lflag &= ~(tcflag_t)(ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHONL | IEXTEN);
    raw.c_oflag &= ~(tcflag_t)OPOST;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    is_raw = 1; /* before: a signal in between gives back what was */
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0)
        return 0;
    is_raw = 0;
    return -errno;
}

int fl_tty_raw(void)
{
    struct termios now;

    if (is_raw)
        return 0;
    if (tcgetattr(STDIN_FILENO, &now) < 0)
        return -ENOTTY;
    before = now;
    if (!armed)
        arm();
    return set_raw();
}

void fl_tty_again(void)
{
    if (is_raw)
        set_raw();
}

void fl_tty_suspend(void)
{
    struct sigaction stop = { .sa_handler = SIG_DFL }, kept;
    bool was_raw = is_raw;

    fl_tty_restore();
    sigemptyset(&stop.sa_mask);
    sigaction(SIGTSTP, &stop, &kept);
    kill(0, SIGTSTP); /* nobody stops here whom no shell could wake again: the kernel sees to it */
    sigaction(SIGTSTP, &kept, NULL);
    if (was_raw)
        fl_tty_raw();
}

struct fl_tty_size fl_tty_size(struct fl_tty_size fallback)
{
    static const int fds[] = { STDOUT_FILENO, STDIN_FILENO };

    for (size_t i = 0; i < FL_ARRAY_LEN(fds); i++) {
        struct winsize w;

        if (ioctl(fds[i], TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row)
            return (struct fl_tty_size){ w.ws_col, w.ws_row };
    }
    return fallback;
}
