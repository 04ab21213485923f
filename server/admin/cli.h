/* cli.h - the commands of the fairlead-server program. Each gets its own argv (argv[0] is its name)
 * and returns the exit code: 0 done, 1 failed, 2 wrong usage; words go to stderr. */
#pragma once
#include <getopt.h>
#include "common/base/err.h"

int fl_cmd_init(int argc, char **argv);
int fl_cmd_run(int argc, char **argv);
int fl_cmd_admin(int argc, char **argv);

/* Prints "fairlead-server: <text>" and returns 1, or 2 for `usage`. */
int fl_cli_fail(const struct fl_err *err);
int fl_cli_usage(const char *command, const char *text, ...) FL_PRINTF(2, 3);

/* The next of `command`'s options: getopt_long()'s result, -1 behind the last; '?' once it has been
 * told what is wrong. */
int fl_cli_option(const char *command, int argc, char **argv, const struct option *options);
