/* utmp.h - who is on a terminal, for who(1), w(1), last(1): the session's entry in utmp, and its
 * begin and end in wtmp. A system that keeps neither is fine. */
#pragma once
#include <sys/types.h>

struct fl_utmp {
    char line[32]; /* of /dev; "": no entry */
    pid_t pid;
};

/* `tty` is a path below /dev, `from` is shown as the host. `wtmp` NULL: the system's. */
void fl_utmp_begin(struct fl_utmp *u, const char *tty, pid_t pid, const char *user,
                   const char *from, const char *wtmp);
/* Once; further calls do nothing. */
void fl_utmp_end(struct fl_utmp *u, const char *wtmp);
