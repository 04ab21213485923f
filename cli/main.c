/* main.c - fairlead: the operator's client. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"

static const struct {
    const char *name, *args, *help;
    int (*run)(struct fl_cli *cli, int argc, char **argv);
    bool offline; /* needs neither endpoint nor credentials */
} commands[] = {
    { "nodes", "", "list the managed nodes", fl_cmd_nodes, false },
    { "call", "OPERATION [JSON | -]", "call one operation of the API and print its answer",
      fl_cmd_call, false },
    { "keygen", "KEYFILE", "make a key to sign commands with", fl_cmd_keygen, true },
    { "sign", "--key KEYFILE …", "sign a command for nodes whose policy asks for it", fl_cmd_sign,
      true },
};

static void usage(FILE *out)
{
    fprintf(out, "usage: fairlead [--profile NAME] [--endpoint URL] [--region NAME] [--json] "
                 "COMMAND …\n\n");
    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-6s %-22s %s\n", commands[i].name, commands[i].args, commands[i].help);
    fprintf(
        out,
        "\nThe endpoint is --endpoint, else $FAIRLEAD_ENDPOINT, $AWS_ENDPOINT_URL_SSM,\n"
        "$AWS_ENDPOINT_URL, endpoint_url of the profile, else AWS itself. Credentials come from\n"
        "the environment or from AWS's files, a private CA from $AWS_CA_BUNDLE.\n");
}

int fl_cli_fail(const struct fl_err *err)
{
    fprintf(stderr, "fairlead: %s\n", fl_err_text(err));
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "profile", required_argument, NULL, 'p' },
        { "endpoint", required_argument, NULL, 'e' },
        { "region", required_argument, NULL, 'r' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    const char *profile = NULL, *endpoint = NULL, *region = NULL;
    struct fl_cli cli = { 0 };
    struct fl_err err = { 0 };
    int c, status = 2;

    /* '+': options behind the command are the command's own. */
    while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            profile = optarg;
            break;
        case 'e':
            endpoint = optarg;
            break;
        case 'r':
            region = optarg;
            break;
        case 'j':
            cli.json = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'V':
            printf("fairlead %s\n", FL_VERSION);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind >= argc) {
        usage(stderr);
        return 2;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[optind], commands[i].name) != 0)
            continue;
        if (!commands[i].offline && fl_cli_load(&cli, profile, endpoint, region, &err) < 0)
            status = fl_cli_fail(&err);
        else
            status = commands[i].run(&cli, argc - optind - 1, argv + optind + 1);
        fl_cli_done(&cli);
        return status;
    }
    fprintf(stderr, "fairlead: unknown command '%s'; see fairlead --help\n", argv[optind]);
    return 2;
}
