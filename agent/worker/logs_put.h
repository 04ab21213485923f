/* logs_put.h - what steps print, streamed to CloudWatch Logs while they run (protocol 4 §4.3,
 * protocol 6 §1.6).
 *
 * One per document: steps one after the other, each with two files that grow. Events are made of
 * whole lines. How far each file came stands beside it ("logged"), so that whoever goes on after a
 * reboot or a death sends what is left. An event can stand in a stream twice only if this process
 * dies between the service's answer and its note of it.
 */
#pragma once
#include "agent/worker/calls.h"

struct fl_logs_put;

/* `all`: everything arrived. */
typedef void (*fl_logs_put_fn)(void *arg, bool all);

/* Strings are copied. */
int fl_logs_put_new(struct fl_loop *loop, struct fl_calls *calls, const char *group,
                    const char *command_id, struct fl_logs_put **ret_put);
struct fl_logs_put *fl_logs_put_free(struct fl_logs_put *p); /* without the callback */

struct fl_logs_file {
    const char *file;   /* in the step's folder; need not be there yet */
    const char *stream; /* where it goes; copied */
};
#define FL_LOGS_PUT_FILES 2

/* A step begins, or is found again. `dir_fd` stays the caller's and open until it ends. */
int fl_logs_put_begin(struct fl_logs_put *p, int dir_fd,
                      const struct fl_logs_file files[FL_LOGS_PUT_FILES]);

/* It is over: what is left is sent. `done` runs once, later than the return, within `limit_ms`, and
 * sooner after a time when that was not enough. */
void fl_logs_put_end(struct fl_logs_put *p, uint64_t limit_ms, fl_logs_put_fn done, void *arg);

/* No longer than so from now on. */
void fl_logs_put_hurry(struct fl_logs_put *p, uint64_t limit_ms);
