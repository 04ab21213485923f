/* cp_priv.h - one copy, between cp.c (the command and its session), cp_up.c and cp_down.c. */
#pragma once
#include <sys/stat.h>
#include "cli/conn.h"
#include "cli/cp_plan.h"
#include "cli/session.h"
#include "common/aws/digest.h"
#include "common/base/child.h"

#define FL_COPY_HEAD_BYTES 128
#define FL_COPY_PIECE_HEAD 16

struct fl_copy {
    struct fl_cli *cli;
    struct fl_loop *loop;
    const char *node, *remote, *local; /* local: the path the user gave */
    bool up, recursive, force, quiet;
    char *name;         /* what progress calls it */
    char *target, *tmp; /* down: where it is to be, and where it is made */
    struct fl_session *session;
    struct fl_conn *conn; /* up: source; down: tar's input */
    struct fl_child *tar;
    int tar_status, fd;
    struct fl_digest *sum;
    struct fl_timer *timer;
    struct fl_buf said;
    uint64_t size, bytes; /* 0: not known; done */
    int64_t begun_ms;
    /* up */
    char piece[FL_COPY_PIECE_HEAD + FL_CP_PIECE_BYTES]; /* the head ends where the data begins */
    size_t piece_len, sent_from, sent_to; /* what is being sent of `piece`; equal: nothing */
    bool source_ended, trailer_sent, told_end;
    bool cut, impatient; /* it ends early, and the node is told; and is not waited for */
    struct stat st;
    /* down */
    char line[FL_COPY_HEAD_BYTES];
    size_t line_len;
    bool has_head, tar_running;
    struct fl_cp_head head;
    struct fl_cp_tail tail;
    bool ended, done;
    int code; /* of the command on the node; -1: none came */
    int r;
    int signo;
    struct fl_err err;
};

/* ---- cp.c ---- */

/* The copy ends with these words, unless it has failed before. Gives `r` back. */
int FL_PRINTF(3, 4) fl_copy_fail(struct fl_copy *c, int r, const char *fmt, ...);

/* tar with one end of a pipe as its `child_fd`; the other is *ret_fd. Failures are told. */
int fl_copy_start_tar(struct fl_copy *c, const char *const *argv, int child_fd, int *ret_fd);

/* ---- cp_up.c ---- */

/* What is to be copied, before anything is started: 0, or -errno with c->err set. */
int fl_copy_open_source(struct fl_copy *c);

/* The node waits for it. Failures are told. */
void fl_copy_begin_up(struct fl_copy *c);

/* Sends what there is, as far as the session has room. */
void fl_copy_push(struct fl_copy *c);

/* ---- cp_down.c ---- */

/* Output of the node. Failures are told. */
void fl_copy_take(struct fl_copy *c, const char *data, size_t len);

/* Nothing more will come: tar's end of input, as soon as all of it is written. */
void fl_copy_end_input(struct fl_copy *c);

/* All of it came: checked, and put in its place. Failures are told. */
int fl_copy_end_down(struct fl_copy *c);
