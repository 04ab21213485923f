/* s3_put.h - files put into a bucket, one after the other, with the node's credentials (protocol 4
 * §4.3, protocol 6 §1.6).
 *
 * One PUT a file, its body read from the file as it goes: what is there is whole, nothing half done
 * is left behind by a process that dies, and the same file put again is no other. S3 takes 5 GiB
 * so. What may pass is tried again with a back-off; what goes wrong is a line in the log.
 */
#pragma once
#include "agent/calls/calls.h"

struct fl_s3_put;

struct fl_s3_file {
    int fd; /* duplicated */
    uint64_t bytes;
    const char *key; /* copied */
};
#define FL_S3_PUT_MAX_FILES 2

/* `all`: every file arrived. */
typedef void (*fl_s3_put_fn)(void *arg, bool all);

/* Strings are copied. `what` and `id` are for the log: "command" and its id. */
int fl_s3_put_new(struct fl_loop *loop, struct fl_calls *calls, const char *bucket,
                  const char *region, const char *what, const char *id, struct fl_s3_put **ret_put);
struct fl_s3_put *fl_s3_put_free(struct fl_s3_put *p); /* without the callback */

/* `done` runs once, later than the return, within `limit_ms`, and sooner after a time when that was
 * not enough. Not while files are under way. */
int fl_s3_put_start(struct fl_s3_put *p, const struct fl_s3_file *files, size_t n,
                    uint64_t limit_ms, fl_s3_put_fn done, void *arg);

/* Asks, as before the first file, how the bucket wants to be written to. `done` runs once, later
 * than the return, within `limit_ms`: whether it encrypts what it is given, as far as it says. Not
 * while files are under way. */
int fl_s3_put_ask(struct fl_s3_put *p, uint64_t limit_ms, void (*done)(void *arg, bool encrypted),
                  void *arg);

/* No longer than so from now on. */
void fl_s3_put_hurry(struct fl_s3_put *p, uint64_t limit_ms);
