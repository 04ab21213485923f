/* main.c - fairlead-agent: what its first argument or its flags make of it.
 *
 * The role that the monitor starts (sweep) is told apart before anything else is looked at;
 * everything a person types goes through agent/cli.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/cli/cli.h"
#include "agent/monitor/monitor.h"
#include "agent/monitor/sweep.h"
#include "common/base/stdstreams.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} roles[] = {
    { "sweep", fl_sweep_main },
};

static int run_version(const struct fl_cli *cli, const struct fl_paths *paths)
{
    return fl_cli_version();
}

static int run_help(const struct fl_cli *cli, const struct fl_paths *paths)
{
    fputs(fl_cli_usage(), stdout);
    return 0;
}

static int (*const commands[])(const struct fl_cli *cli, const struct fl_paths *paths) = {
    [FL_CLI_RUN] = fl_monitor_main,  [FL_CLI_REGISTER] = fl_cli_register,
    [FL_CLI_CLEAR] = fl_cli_clear,   [FL_CLI_FINGERPRINT] = fl_cli_fingerprint,
    [FL_CLI_VERSION] = run_version,  [FL_CLI_HELP] = run_help,
    [FL_CLI_STATUS] = fl_cli_status, [FL_CLI_CREDENTIALS] = fl_cli_credentials,
    [FL_CLI_POLICY] = fl_cli_policy,
};

int main(int argc, char **argv)
{
    struct fl_paths paths = { 0 };
    struct fl_err err = { 0 };
    struct fl_cli cli;
    int r;

    fl_stdstreams_open();
    for (size_t i = 0; argc > 1 && i < FL_ARRAY_LEN(roles); i++)
        if (strcmp(argv[1], roles[i].name) == 0)
            return roles[i].run(argc - 1, argv + 1);

    r = fl_cli_parse(argc, argv, &cli, &err);
    if (r == 0)
        r = fl_paths_init(&paths, cli.config, cli.state, cli.runtime, &err);
    if (r < 0) {
        fprintf(stderr, "fairlead-agent: %s\n", fl_err_text(&err));
        return r == -EINVAL ? 2 : 1;
    }
    r = commands[cli.command](&cli, &paths);
    fl_paths_done(&paths);
    return fl_stdstreams_finish("fairlead-agent", r, 1);
}
