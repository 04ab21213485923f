/* loop.h - the event loop of a process or thread: timers, descriptors, signals, posted calls, work.
 *
 * A wrapper of libuv; only loop.c and the modules that lend the loop to a library see libuv. Except
 * for fl_loop_post, everything belongs to the loop's own thread. Callbacks never run before the
 * call that asked for them returns. An object may be freed inside its own callback.
 */
#pragma once
#include "common/base/util.h"

struct fl_loop;
struct fl_timer;
struct fl_io;
struct fl_signal;

typedef void (*fl_timer_fn)(void *arg);
typedef void (*fl_io_fn)(void *arg, unsigned events); /* FL_IO_* that are ready */
typedef void (*fl_signal_fn)(void *arg, int signo);
typedef void (*fl_post_fn)(void *arg);

enum { FL_IO_READ = 1, FL_IO_WRITE = 2 };

int fl_loop_new(struct fl_loop **ret_loop);

/* Closes what is still open on the loop and frees it. Every object of the loop must have been
 * freed. */
struct fl_loop *fl_loop_free(struct fl_loop *loop);

/* Runs until fl_loop_stop. A stopped loop may be run again. */
void fl_loop_run(struct fl_loop *loop);
void fl_loop_stop(struct fl_loop *loop);

/* Runs what is ready without waiting; for tests. */
void fl_loop_run_once(struct fl_loop *loop, bool wait);

/* The uv_loop_t, for libraries that take a foreign loop. */
void *fl_loop_uv(struct fl_loop *loop);

/* One pointer that child.c keeps with the loop, freed with it. */
void **fl_loop_child_slot(struct fl_loop *loop, void (*release)(void *));

/* Runs fn(arg) on the loop's thread, in order of the calls. From any thread; calls still queued
 * when the loop is freed are dropped. 0 or -ENOMEM. */
int fl_loop_post(struct fl_loop *loop, fl_post_fn fn, void *arg);

/* Runs `work` on a pool thread, then `done` on the loop's thread; for calls that may block (files
 * that can stall, name lookups). 0 or -ENOMEM. */
int fl_loop_work(struct fl_loop *loop, fl_post_fn work, fl_post_fn done, void *arg);

/* The process's pool gets so many threads, 1 to 9, instead of libuv's four. Before the first
 * fl_loop_work, in a program with one loop. */
void fl_loop_pool_size(unsigned threads);

/* A timer that is not running yet. NULL without memory. Starting a running timer moves it; it fires
 * once. Timers wake no one when stopped. With 0 ms, also from its own function: in the next turn of
 * the loop, so that what comes in has its turn between two steps of long work. */
struct fl_timer *fl_timer_new(struct fl_loop *loop, fl_timer_fn fn, void *arg);
struct fl_timer *fl_timer_free(struct fl_timer *t);
void fl_timer_start(struct fl_timer *t, uint64_t ms);
void fl_timer_stop(struct fl_timer *t);
bool fl_timer_active(const struct fl_timer *t);

/* Watches a descriptor that stays the caller's (close it after fl_io_free). Level-triggered; no
 * events until fl_io_set. Errors and hang-ups show as FL_IO_READ (or whatever was asked for). */
struct fl_io *fl_io_new(struct fl_loop *loop, int fd, fl_io_fn fn, void *arg);
struct fl_io *fl_io_free(struct fl_io *io);
int fl_io_set(struct fl_io *io, unsigned events);
/* No events for `ms`, then those asked for by fl_io_set again: for a listener that has no
 * descriptor left to accept with, and would be woken for ever. */
void fl_io_pause(struct fl_io *io, uint64_t ms);

struct fl_signal *fl_signal_new(struct fl_loop *loop, int signo, fl_signal_fn fn, void *arg);
struct fl_signal *fl_signal_free(struct fl_signal *s);
