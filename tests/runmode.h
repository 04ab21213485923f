/* runmode.h - what a test must know of the run it is part of; scripts/run-tests says it in the
 * environment. Include cmocka.h before.
 */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* How long to wait for what must happen: `ms`, or FL_TEST_PATIENCE times as long where programs
 * run slower. Not for what must not happen, which no wait can show. */
static inline int64_t patience_ms(int64_t ms)
{
    const char *times = getenv("FL_TEST_PATIENCE");

    return times ? ms * strtol(times, NULL, 10) : ms;
}

/* Ends the test as skipped; run-tests prints why. */
#define skip_because(why)                      \
    do {                                       \
        fprintf(stderr, "skipped: " why "\n"); \
        skip();                                \
    } while (0)

/* First in a test of what valgrind cannot do. */
#define skip_under_valgrind(why)           \
    do {                                   \
        if (getenv("FL_TEST_VALGRIND"))    \
            skip_because("valgrind " why); \
    } while (0)
