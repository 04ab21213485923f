/* pam.h - the account and session parts of PAM around a session's process.
 *
 * libpam is loaded when a session needs it, so that the agent itself does not link it. Nobody is
 * asked for a password: the service has authenticated the operator.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_pam;

/* `service`: a file of /etc/pam.d; NULL: "fairlead" if it is there, else "su-l"; "none" or neither
 * of them: *ret_pam is NULL. What modules have to say to the user is appended to `text`. -EACCES if
 * they refuse the user.
 *
 * Modules run in this process and may ask anybody: one that has not answered after a minute, here
 * or in fl_pam_close(), ends the process by SIGALRM, and before it all that came from it. */
int fl_pam_open(const char *service, const char *user, const char *tty, struct fl_buf *text,
                struct fl_pam **ret_pam, struct fl_err *err);
/* What the modules set; valid until it is closed. NULL for none. */
char *const *fl_pam_env(const struct fl_pam *pam);
struct fl_pam *fl_pam_close(struct fl_pam *pam);
