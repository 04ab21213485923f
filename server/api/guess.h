/* guess.h - counting wrong guesses of a secret by key (an activation id, an address), in memory.
 *
 * A key that was guessed wrong `limit` times within a minute is blocked for a minute. The table has
 * a fixed size; when it is full the entry of a key's set that has been quiet longest gives way.
 * Thread-safe; time is passed in.
 */
#pragma once
#include <pthread.h>

#include "common/base/util.h"

#define FL_GUESS_WINDOW_MS (60 * 1000)
#define FL_GUESS_BLOCK_MS  (60 * 1000)

enum { FL_GUESS_SETS = 1024, FL_GUESS_WAYS = 4 };

struct fl_guess {
    uint64_t key; /* hash; 0: free */
    unsigned wrong;
    int64_t since_ms; /* start of the window */
    int64_t last_ms;
    int64_t blocked_until_ms;
};

struct fl_guesses {
    pthread_mutex_t lock; /* PTHREAD_MUTEX_INITIALIZER */
    struct fl_guess v[FL_GUESS_SETS][FL_GUESS_WAYS];
};

/* Whether guesses for this key are refused now. */
bool fl_guess_blocked(struct fl_guesses *g, const char *key, int64_t now_ms);

/* Counts one wrong guess; true if it is the one that blocks the key. */
bool fl_guess_wrong(struct fl_guesses *g, const char *key, unsigned limit, int64_t now_ms);
