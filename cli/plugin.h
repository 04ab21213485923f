/* plugin.h - the client called by the name of the official Session Manager plugin (protocol 3 §2).
 */
#pragma once
#include "cli/session.h"

/* True for "session-manager-plugin", with folders in front or not. */
bool fl_plugin_called(const char *argv0);

struct fl_plugin_call {
    struct fl_session_grant grant;
    const char *region, *profile, *endpoint; /* NULL: not given */
    const char *document;                    /* of the request; NULL */
};

/* Takes the arguments of the AWS CLI apart; what is decoded lives in the arena. 0: a session is to
 * run. 1: nothing more is to be done, a text was printed. -EINVAL with the official words in `err`.
 */
int fl_plugin_parse(int argc, char **argv, struct fl_arena *arena, struct fl_plugin_call *ret,
                    struct fl_err *err);

int fl_plugin_main(int argc, char **argv);
