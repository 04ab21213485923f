/* cli.c - how the program's commands complain. */
#include "server/admin/cli.h"

#include <stdio.h>

int fl_cli_fail(const struct fl_err *err)
{
    fprintf(stderr, "fairlead-server: %s\n", fl_err_text(err));
    return 1;
}

int fl_cli_usage(const char *command, const char *text, ...)
{
    va_list ap;

    va_start(ap, text);
    fprintf(stderr, "fairlead-server: %s: ", command);
    vfprintf(stderr, text, ap);
    fprintf(stderr, "\nTry \"fairlead-server %s --help\".\n", command);
    va_end(ap);
    return 2;
}
