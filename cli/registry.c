/* registry.c - all commands, in the order of help. A new one is a line here and a line above. */
#include "cli/command.h"

extern const struct fl_command fl_cmd_nodes, fl_cmd_node_show, fl_cmd_call, fl_cmd_help;

const struct fl_command *const fl_commands[] = {
    &fl_cmd_nodes, &fl_cmd_node_show, &fl_cmd_call, &fl_cmd_help, NULL,
};
