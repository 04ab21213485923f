/* registry.c - all commands, in the order of help. A new one is a line here. */
#include "cli/command.h"

#define COMMANDS(X)       \
    X(login)              \
    X(profiles)           \
    X(whoami)             \
    X(nodes)              \
    X(node_show)          \
    X(run)                \
    X(top)                \
    X(ps)                 \
    X(kill)               \
    X(ls)                 \
    X(cat)                \
    X(tail)               \
    X(command_list)       \
    X(command_show)       \
    X(command_watch)      \
    X(command_output)     \
    X(command_cancel)     \
    X(doc_list)           \
    X(doc_show)           \
    X(doc_get)            \
    X(doc_versions)       \
    X(doc_create)         \
    X(doc_update)         \
    X(doc_validate)       \
    X(doc_default)        \
    X(doc_delete)         \
    X(param_list)         \
    X(param_get)          \
    X(param_history)      \
    X(param_put)          \
    X(param_label)        \
    X(param_delete)       \
    X(session_end)        \
    X(session)            \
    X(exec)               \
    X(forward)            \
    X(ssh_proxy)          \
    X(cp)                 \
    X(sessions)           \
    X(replay)             \
    X(transcripts_list)   \
    X(transcripts_search) \
    X(transcripts_verify) \
    X(transcripts_export) \
    X(activation_create)  \
    X(activation_list)    \
    X(activation_delete)  \
    X(keygen)             \
    X(sign)               \
    X(call)               \
    X(completion)         \
    X(help)               \
    X(complete)

#define DECLARE(name) extern const struct fl_command fl_cmd_##name;
COMMANDS(DECLARE)

#define ROW(name) &fl_cmd_##name,
const struct fl_command *const fl_commands[] = { COMMANDS(ROW) NULL };
