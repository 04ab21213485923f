/* main.c - the control plane's program: init, run, admin. */
#include <stdio.h>
#include <string.h>
#include "common/base/nearest.h"
#include "common/base/nodump.h"
#include "common/base/stdstreams.h"
#include "server/admin/cli.h"

static const char usage[] = "Usage: fairlead-server COMMAND [options]\n"
                            "\n"
                            "  init       make a new control plane\n"
                            "  run        run it (the default)\n"
                            "  admin      users, access keys, roles, policies\n"
                            "  version    print the version\n"
                            "\n"
                            "\"fairlead-server COMMAND --help\" tells more.\n";

static int cmd_version(int argc, char **argv)
{
    printf("fairlead-server %s\n", FL_VERSION);
    return 0;
}

static int cmd_help(int argc, char **argv)
{
    fputs(usage, stdout);
    return 0;
}

static const struct {
    const char *name;
    int (*fn)(int argc, char **argv);
} commands[] = {
    { "init", fl_cmd_init },    { "run", fl_cmd_run },        { "admin", fl_cmd_admin },
    { "version", cmd_version }, { "--version", cmd_version }, { "help", cmd_help },
    { "--help", cmd_help },     { "-h", cmd_help },
};

static int run(int argc, char **argv)
{
    struct fl_nearest near = { 0 };

    if (argc < 2 || (strncmp(argv[1], "--", 2) == 0 && strcmp(argv[1], "--help") != 0 &&
                     strcmp(argv[1], "--version") != 0))
        return fl_cmd_run(argc, argv);
    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].fn(argc - 1, argv + 1);
    near.word = argv[1];
    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++)
        fl_nearest_add(&near, commands[i].name);
    fprintf(stderr, "fairlead-server: there is no command \"%s\"", argv[1]);
    if (near.found)
        fprintf(stderr, "; did you mean \"%s\"?", near.found);
    fputs("\nTry \"fairlead-server --help\".\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    fl_stdstreams_open();
    fl_nodump(true); /* every command but help and version holds keys */
    return fl_stdstreams_finish("fairlead-server", run(argc, argv), 1);
}
