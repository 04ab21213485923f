/* types.c - the types of sessions: a row each. */
#include "agent/session/types.h"

const struct fl_sess_type *const fl_sess_types[] = {
    &fl_sess_standard, &fl_sess_interactive, &fl_sess_non_interactive, &fl_sess_port, NULL,
};
