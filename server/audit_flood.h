/* audit_flood.h - keeps those who are nobody from filling the audit log.
 *
 * Refusals of callers that could not be identified are written one by one up to a number a minute
 * for each source and error, then counted; when the minute is over one row says how many more there
 * were. Plain data of a fixed size; time is passed in; not thread-safe.
 */
#pragma once
#include "common/base/util.h"

#define FL_FLOOD_WINDOW_MS 60000
#define FL_FLOOD_KEEP      10  /* written one by one, for each source and error */
#define FL_FLOOD_ROWS      256 /* sources and errors at a time; all others share the first row */

struct fl_flood_row {
    char source[46]; /* "" in the shared row */
    char error[64];
    char operation[96]; /* of the first one */
    int status;
    int64_t since_ms;
    uint64_t seen; /* 0: free */
};

struct fl_flood {
    struct fl_flood_row rows[FL_FLOOD_ROWS];
    size_t n;
};

/* Counts one refusal. True if it is to be written. */
bool fl_flood_admit(struct fl_flood *f, const struct fl_flood_row *what, int64_t now_ms);

/* Takes out a row whose minute is over (with `all`, any). True if it counted some that were not
 * written; to be called until there are no more. `seen` is then their number. */
bool fl_flood_next(struct fl_flood *f, int64_t now_ms, bool all, struct fl_flood_row *ret_row);
