/* types.h - the types of sessions (protocol 3 §8). */
#pragma once
#include "agent/session/session.h"

extern const struct fl_sess_type fl_sess_standard, fl_sess_interactive; /* shell.c */
extern const struct fl_sess_type fl_sess_non_interactive;               /* commands.c */
extern const struct fl_sess_type fl_sess_port;                          /* port.c */
