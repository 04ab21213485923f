/* record.h - what a session prints, kept beside it and taken where its document wants it: a bucket
 * of S3, a group of CloudWatch Logs (protocol 3 §10).
 *
 * The session process appends to the file ("record" in the session's folder) what it sends. While
 * the file is there, something is left to do; whoever holds the session next does it. What goes
 * wrong after the session's begin is a line in the log.
 */
#pragma once
#include "agent/calls/calls.h"
#include "agent/lib/session_plan.h"
#include "agent/lib/sessiondir.h"

struct fl_record;

/* All outlives the object. */
struct fl_record_conf {
    struct fl_loop *loop;
    struct fl_calls *calls;
    int dir_fd; /* of the session's folder */
    const struct fl_session *session;
    const struct fl_session_plan *plan;
    const char *run_as;
};

/* *ret_record is NULL if nothing is wanted. */
int fl_record_new(const struct fl_record_conf *conf, struct fl_record **ret_record,
                  struct fl_err *err);
struct fl_record *fl_record_free(struct fl_record *r); /* without callbacks */

/* Are the bucket and the group as the document demands? `done` runs once, later than the return;
 * `err` NULL: they are. */
void fl_record_check(struct fl_record *r, void (*done)(void *arg, const struct fl_err *err),
                     void *arg);

/* The file, open for appending, the caller's; at most *ret_max_bytes more may be written. What is
 * to be streamed is from now on. */
int fl_record_open(struct fl_record *r, int *ret_fd, int64_t *ret_max_bytes, struct fl_err *err);

/* Where it goes, in the arena; all NULL if nothing is kept. */
int fl_record_places(const struct fl_record *r, struct fl_arena *arena,
                     struct fl_srec_places *ret_places);

/* Nobody writes any more: all of it goes where it should, within half an hour or so, then the file
 * goes. `done` runs once, later than the return. */
void fl_record_end(struct fl_record *r, void (*done)(void *arg), void *arg);
