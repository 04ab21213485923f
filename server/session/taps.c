/* taps.c - the list of those who watch sessions. */
#include "server/session/tap.h"

const struct fl_tap *const fl_taps[] = { NULL };
