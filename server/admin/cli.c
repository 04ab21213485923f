/* cli.c - how the program's commands complain. */
#include "server/admin/cli.h"

#include <stdio.h>
#include "common/base/optwords.h"

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

int fl_cli_option(const char *command, int argc, char **argv, const struct option *options)
{
    char words[200];
    int opt;

    opterr = 0;
    opt = getopt_long(argc, argv, ":", options, NULL);
    if (opt != '?' && opt != ':')
        return opt;
    fl_cli_usage(command, "%s", fl_option_words(argv, opt, options, words, sizeof(words)));
    return '?';
}
