/* stdstreams.c - see stdstreams.h. */
#include "common/base/stdstreams.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void fl_stdstreams_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", (fd == STDOUT_FILENO ? O_RDONLY : O_RDWR) | O_NOCTTY) < 0)
            return;
}

int fl_stdstreams_finish(const char *program, int status, int failed)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    fprintf(stderr, "%s: standard output: %s\n", program,
            errno ? strerror(errno) : "not all written");
    return status ? status : failed;
}
