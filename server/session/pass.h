/* pass.h - how far a session's messages may be sent on: what a tap that keeps them (tap.h) says, on
 * any thread, and its relay is told on its loop.
 *
 * A new one lets everything pass. Shared: each holder has a reference.
 */
#pragma once
#include "common/base/loop.h"
#include "server/session/relay.h"

struct fl_pass;

typedef void (*fl_pass_moved_fn)(void *arg);

/* `moved` runs on `loop`, some time after fl_pass_set or fl_pass_shut, until fl_pass_leave; without
 * memory it is not called, so who waits looks by a clock, too. NULL without memory. */
struct fl_pass *fl_pass_new(struct fl_loop *loop, fl_pass_moved_fn moved, void *arg);
struct fl_pass *fl_pass_ref(struct fl_pass *p);
struct fl_pass *fl_pass_unref(struct fl_pass *p); /* NULL is fine; returns NULL */
void fl_pass_leave(struct fl_pass *p);            /* on the loop */

/* Messages that a side sent, before this number, may be sent on; INT64_MAX: all. Any thread.
 * Without `tell` the caller is on the loop, and looks itself. */
void fl_pass_set(struct fl_pass *p, enum fl_side from, int64_t before, bool tell);
int64_t fl_pass_get(const struct fl_pass *p, enum fl_side from);

/* Of a session that goes on in another run of the plane: the number of the side's first message
 * that is to be told, as far as it is known; before that, messages wait their turn. At the
 * beginning FL_PASS_ANY. Any thread. */
#define FL_PASS_ANY   (-1) /* whatever comes first */
#define FL_PASS_ASKED (-2) /* will be known */
void fl_pass_begin(struct fl_pass *p, enum fl_side from, int64_t first);
int64_t fl_pass_first(const struct fl_pass *p, enum fl_side from);

/* What waits is never to be sent on, nor what comes. */
void fl_pass_shut(struct fl_pass *p);
bool fl_pass_is_shut(const struct fl_pass *p);

/* Waiting has no limit of time; else the relay goes on by itself after a while. To be said before
 * the first message. */
void fl_pass_set_strict(struct fl_pass *p);
bool fl_pass_is_strict(const struct fl_pass *p);
