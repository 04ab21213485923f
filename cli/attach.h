/* attach.h - a session at the user's own streams, until it ends: terminal, pipes, files. */
#pragma once
#include "cli/session.h"

struct fl_attach_conf {
    const char *escape; /* as for fl_escape_init(); counts on terminals alone */
    bool no_input;      /* standard input is left alone */
    bool plugin;        /* prints what the official plugin prints, */
    bool no_texts;      /* but nothing to standard output */
    bool quiet;         /* no notes on standard error */
    bool listens;       /* the session may be a port that is listened on here */
    bool wants_code;    /* an end without the command's exit status is a failure */
    /* What a node of AWS's puts before the first output, and before what follows the end of a line
     * (protocol 3 §8): taken off again. NULL: nothing. */
    const char *out_prefix, *err_prefix;
    int failure; /* exit status of what this client, the plane or the way there does wrong */
};

/* Runs the session, whatever its kind is. The exit status: the command's if it told one, 0 at an
 * end that nothing is said of, FL_EXIT_INTERRUPTED if the user left, else conf->failure: the plane
 * says why it ended a session, or that its node is lost. A plugin's is 0 for all of these.
 * Complaints are printed. A session that was left is ended at the plane. */
int fl_attach(struct fl_cli *cli, const struct fl_session_grant *grant,
              const struct fl_attach_conf *conf);
