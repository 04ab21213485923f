/* begun.c - see begun.h. */
#include "agent/lib/begun.h"
#include <stdio.h>
#include <sys/stat.h>

bool fl_begun_with_socket(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

bool fl_begun(const char *program, bool as_meant)
{
    if (!as_meant)
        fprintf(stderr, "%s is started by fairlead-agent; see \"fairlead-agent --help\"\n",
                program);
    return as_meant;
}
