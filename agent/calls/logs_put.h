/* logs_put.h - what steps and sessions print, streamed to CloudWatch Logs while they run (protocol
 * 4 §4.3, protocol 6 §1.6, protocol 3 §10).
 *
 * One per document: steps one after the other, each with two files that grow; a session has one
 * step, and one file. Events are made of
 * whole lines. How far each file came stands beside it ("logged"), so that whoever goes on after a
 * reboot or a death sends what is left. Our plane stores nothing twice (common/wire/logposition.h).
 * Elsewhere, and after a loss of power, an event can stand in a stream twice: the service took it,
 * and its answer, or the note of it, was lost.
 */
#pragma once
#include "agent/calls/calls.h"

struct fl_logs_put;

/* `all`: everything arrived. */
typedef void (*fl_logs_put_fn)(void *arg, bool all);

/* Appends the message of an event as a JSON string; `data` are whole lines, without the line feed
 * at their end. */
typedef int (*fl_logs_event_fn)(void *arg, const char *data, size_t len, struct fl_buf *quoted);

/* Strings are copied. */
struct fl_logs_put_conf {
    struct fl_loop *loop;
    struct fl_calls *calls;
    const char *group;
    const char *what, *id;  /* for the log: "command" and its id */
    bool group_exists;      /* it is never made */
    size_t event_max_bytes; /* of what was printed; 0: what the service takes */
    fl_logs_event_fn event; /* NULL: as it was printed */
    void *event_arg;
};
int fl_logs_put_new(const struct fl_logs_put_conf *conf, struct fl_logs_put **ret_put);
struct fl_logs_put *fl_logs_put_free(struct fl_logs_put *p); /* without the callback */

struct fl_logs_file {
    const char *file;   /* in the step's folder; need not be there yet. NULL: there is none */
    const char *stream; /* where it goes; copied */
    uint64_t from;      /* what stands before that offset is not sent */
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
