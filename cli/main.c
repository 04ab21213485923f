/* main.c - fairlead: the operator's client. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/plugin.h"
#include "common/base/nodump.h"

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
    if (args.n < c->min_args)
        return fl_usage(c, "an argument is missing");
    if (c->max_args != FL_ARGS_ANY && args.n > c->max_args)
        return fl_usage(c, "unexpected argument \"%s\"", args.v[c->max_args]);
    return run(c, g, options, &args);
}

static bool any_begins(const char *word)
{
    size_t len = strlen(word);

    for (const struct fl_command *const *c = fl_commands; *c; c++)
        if (strncmp((*c)->name, word, len) == 0 && (*c)->name[len] == ' ')
            return true;
    return false;
}

static int unknown_command(const struct fl_args *args)
{
    const char *word = args->v[0];

    if (!any_begins(word))
        fprintf(stderr, "fairlead: there is no command \"%s\"\n", word);
    else if (args->n < 2)
        fprintf(stderr, "fairlead: \"%s\" needs a command behind it\n", word);
    else
        fprintf(stderr, "fairlead: there is no command \"%s %s\"\n", word, args->v[1]);
    fprintf(stderr, "Try \"fairlead help\".\n");
    return FL_EXIT_USAGE;
}

/* What was printed and could not be written is no success; that a reader has enough is no news. */
static int finish_output(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    fprintf(stderr, "fairlead: standard output: %s\n", errno ? strerror(errno) : "not all written");
    return status == FL_EXIT_OK ? FL_EXIT_SERVICE : status;
}

/* A standard stream that is closed would be the next file or socket to be opened. */
static void open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_NOCTTY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    static char program[] = "fairlead"; /* stands in getopt's complaints */
    struct fl_globals g = { 0 };
    const struct fl_command *c;
    struct fl_args args;
    int status, words = 0;

    open_standard_streams();
    fl_nodump(false);
    setlocale(LC_CTYPE, "");  /* tables show letters of UTF-8 as they are where the terminal can */
    signal(SIGPIPE, SIG_IGN); /* TLS meets closed connections, too */
    if (argc > 0 && fl_plugin_called(argv[0]))
        return finish_output(fl_plugin_main(argc, argv));
    if (argc > 0)
        argv[0] = program;
    status = fl_command_parse(NULL, argc, argv, &g, NULL, &args);
    if (status)
        return status;
    if (g.version) {
        printf("fairlead %s\n", FL_VERSION);
        return FL_EXIT_OK;
    }
    c = fl_command_find((int)args.n, args.v, &words);
    if (c) {
        status = run_command(c, &g, (int)args.n - words + 1, args.v + words - 1);
    } else if (args.n > 0) {
        status = unknown_command(&args);
    } else {
        fl_help_overview(g.help ? stdout : stderr);
        status = g.help ? FL_EXIT_OK : FL_EXIT_USAGE;
    }
    return finish_output(status);
}
