/* tty.h - the user's terminal made raw, and given back whatever happens.
 *
 * A process has one terminal, so this has no object. Bytes then pass as they are: no echo, no
 * signals by keys, no line ends made of others.
 */
#pragma once
#include "common/base/util.h"

/* Makes the terminal of standard input raw, until fl_tty_restore or the end of the process: an
 * exit, or a signal that ends a program because of a fault. 0, -ENOTTY, or another -errno. */
int fl_tty_raw(void);

/* Gives it back. Any number of times; from signal handlers, too. */
void fl_tty_restore(void);

/* Gives it back, stops this job as Ctrl-Z would, and makes it raw again when it goes on. */
void fl_tty_suspend(void);

/* After SIGCONT: whoever stopped us may have changed the terminal. */
void fl_tty_again(void);

struct fl_tty_size {
    uint32_t cols, rows;
};

/* Of the terminal of standard output, else that of standard input; `fallback` if there is none or
 * it does not know. */
struct fl_tty_size fl_tty_size(struct fl_tty_size fallback);
