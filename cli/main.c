/* main.c - fairlead: the operator's client. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/plugin.h"
#include "common/base/nodump.h"
#include "common/base/stdstreams.h"

/* With the settings the command asks for, or none. */
static int run(const struct fl_command *c, const struct fl_globals *g, const void *options,
               const struct fl_args *args)
{
    struct fl_cli cli = { .given = { g->profile, g->endpoint, g->region, g->ca_file },
                          .json = g->json,
                          .no_headers = g->no_headers };
    struct fl_err err = { 0 };
    int status;

    if (!(c->flags & FL_COMMAND_OFFLINE) && fl_cli_load(&cli, &err) < 0)
        status = fl_cli_fail(&err);
    else
        status = c->run(&cli, options, args);
    fl_cli_done(&cli);
    return status;
}

static int print_version(void)
{
    printf("fairlead %s\n", FL_VERSION);
    return FL_EXIT_OK;
}

static int run_command(const struct fl_command *c, struct fl_globals *g, int argc, char **argv)
{
    fl_autofree void *options = calloc(1, FL_MAX(c->options_bytes, (size_t)1));
    struct fl_args args;
    char name[64];
    int status;

    if (!options)
        return fl_cli_failed(-ENOMEM, &(struct fl_err){ 0 });
    snprintf(name, sizeof(name), "fairlead %s", c->name);
    argv[0] = name;
    status = fl_command_parse(c, argc, argv, g, options, &args);
    if (status)
        return status;
    if (g->help) {
        fl_help_command(stdout, c);
        return FL_EXIT_OK;
    }
    if (g->version)
        return print_version();
    if (args.n < c->min_args)
        return fl_usage(c, "an argument is missing");
    if (c->max_args != FL_ARGS_ANY && args.n > c->max_args)
        return fl_usage(c, "unexpected argument \"%s\"", args.v[c->max_args]);
    return run(c, g, options, &args);
}

int main(int argc, char **argv)
{
    static char program[] = "fairlead"; /* stands in getopt's complaints */
    struct fl_globals g = { 0 };
    const struct fl_command *c;
    struct fl_args args;
    int status, words = 0;

    fl_stdstreams_open();
    fl_nodump(false);
    setlocale(LC_CTYPE, "");  /* tables show letters of UTF-8 as they are where the terminal can */
    signal(SIGPIPE, SIG_IGN); /* TLS meets closed connections, too */
    if (argc > 0 && fl_plugin_called(argv[0]))
        return fl_stdstreams_finish(program, fl_plugin_main(argc, argv), FL_EXIT_SERVICE);
    if (argc > 0)
        argv[0] = program;
    status = fl_command_parse(NULL, argc, argv, &g, NULL, &args);
    if (status)
        return status;
    c = fl_command_find((int)args.n, args.v, &words);
    if (g.version) {
        status = print_version();
    } else if (c) {
        status = run_command(c, &g, (int)args.n - words + 1, args.v + words - 1);
    } else if (args.n > 0) {
        status = fl_unknown_command(args.n, args.v);
    } else {
        fl_help_overview(g.help ? stdout : stderr);
        status = g.help ? FL_EXIT_OK : FL_EXIT_USAGE;
    }
    return fl_stdstreams_finish(program, status, FL_EXIT_SERVICE);
}
