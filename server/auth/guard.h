/* guard.h - slows down whoever guesses secrets: activation codes, secret access keys, tokens.
 *
 * Wrong guesses are counted by address, by target (an access key id, an activation id) and by both.
 * A right secret is never kept waiting. The answer to a wrong one is, the longer the more there
 * were, by a timer of the loop; and of one address's guesses at one target no more than
 * FL_GUARD_HELD are answered at a time, what comes on top is refused unchecked. So a fleet behind
 * one address does not feel the one node among it that has a wrong secret, and nobody can lock
 * others out by guessing.
 *
 * The table has a fixed size; when it is full the entry of a key's set that has been quiet longest
 * gives way. Thread-safe; time is passed in (monotonic).
 */
#pragma once
#include "common/base/util.h"

#define FL_GUARD_FORGET_MS (10 * 60 * 1000) /* quiet for so long: what was before is forgotten */
#define FL_GUARD_DELAY_MS  250              /* the first delay; each further guess doubles it … */
#define FL_GUARD_MAX_MS    8000             /* … up to this */
#define FL_GUARD_HELD      8
#define FL_GUARD_LOG_MS    (60 * 1000) /* between two words about one address */

/* So many wrong guesses are answered at once. */
enum { FL_GUARD_FREE_PAIR = 3, FL_GUARD_FREE_TARGET = 10, FL_GUARD_FREE_ADDRESS = 30 };

enum { FL_GUARD_SETS = 1024, FL_GUARD_WAYS = 4 };

struct fl_guard;

int fl_guard_new(struct fl_guard **ret_guard);
struct fl_guard *fl_guard_free(struct fl_guard *g);

/* Whether this guess is to be refused unchecked. */
bool fl_guard_refuses(struct fl_guard *g, const char *address, const char *target, int64_t mono_ms);

/* Counts a wrong guess; how long to keep its answer back, in ms. fl_guard_answered must follow when
 * it was given. `target` NULL: at something that does not exist. *ret_tell: this is worth a line in
 * the log. */
uint32_t fl_guard_wrong(struct fl_guard *g, const char *address, const char *target,
                        int64_t mono_ms, bool *ret_tell);
void fl_guard_answered(struct fl_guard *g, const char *address, const char *target);
