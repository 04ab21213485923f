/* registry.c - all commands, in the order of help. A new one is two lines here. */
#include "cli/command.h"

extern const struct fl_command fl_cmd_login;
extern const struct fl_command fl_cmd_profiles;
extern const struct fl_command fl_cmd_whoami;
extern const struct fl_command fl_cmd_nodes;
extern const struct fl_command fl_cmd_node_show;
extern const struct fl_command fl_cmd_run;
extern const struct fl_command fl_cmd_command_list;
extern const struct fl_command fl_cmd_command_show;
extern const struct fl_command fl_cmd_command_watch;
extern const struct fl_command fl_cmd_command_output;
extern const struct fl_command fl_cmd_command_cancel;
extern const struct fl_command fl_cmd_call;
extern const struct fl_command fl_cmd_help;

const struct fl_command *const fl_commands[] = {
    &fl_cmd_login,          &fl_cmd_profiles,
    &fl_cmd_whoami,         &fl_cmd_nodes,
    &fl_cmd_node_show,      &fl_cmd_run,
    &fl_cmd_command_list,   &fl_cmd_command_show,
    &fl_cmd_command_watch,  &fl_cmd_command_output,
    &fl_cmd_command_cancel, &fl_cmd_call,
    &fl_cmd_help,           NULL,
};
