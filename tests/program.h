/* program.h - the test program itself, for tests that start it in another role. */
#pragma once
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* Its path. Not "/proc/self/exe", which is valgrind's own file for a program that valgrind runs;
 * the link's text is right there, too. */
static inline const char *this_program(void)
{
    static char path[PATH_MAX];
    ssize_t n = path[0] ? 0 : readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (n < 0)
        abort();
    return path;
}
