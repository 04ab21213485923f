/* exchange_priv.h - between exchange.c (what happens) and transfer.c (bytes in and out). */
#pragma once
#include "common/base/rand.h"
#include "server/s3/body.h"
#include "server/s3/exchange.h"
#include "server/s3/s3.h"

struct fl_s3_exchange {
    struct fl_exchange_ctx *ctx;
    struct fl_plane *plane;
    struct fl_server_req *req; /* NULL once answered or gone; loop thread only */
    struct fl_arena arena;
    struct fl_auth_request auth;
    struct fl_s3_call c;
    char request_id[FL_UUID_BYTES];
    char *arn; /* for the audit log */
    int64_t start_ms, queued_ms;
    uint64_t length;   /* of the body as announced; UINT64_MAX: chunked */
    size_t held_bytes; /* counted in ctx->body_bytes */
    bool known;        /* the caller was identified */
    bool idle;         /* waits for the peer: nothing else has hold of it */
    struct fl_timer *hold;
    int result;
    struct fl_err err;
    struct fl_buf xml; /* a body that is kept in memory */

    struct {
        struct fl_buf data; /* a piece: filled by the loop, emptied by a pool thread */
        struct fl_s3_body *body;
        bool end;
        int r;
    } up;
    struct {
        int fd;
        size_t piece;          /* of c.pieces, the one that is open */
        size_t held, held_end; /* of c.pieces, those that are held */
        uint64_t at;           /* in it */
        uint64_t left;
        struct fl_buf data;
        int r;
    } down;
};

/* ---- exchange.c ---- */

/* Ends it with an error, later if it is to be kept back. */
void fl_s3_fail(struct fl_s3_exchange *x, int r);
void fl_s3_release(struct fl_s3_exchange *x);

/* The body is whole and checked: runs the handler. */
void fl_s3_handle(struct fl_s3_exchange *x);

/* ---- transfer.c ---- */

/* Reads the body, then fl_s3_handle. */
void fl_s3_receive(struct fl_s3_exchange *x);
bool fl_s3_on_body(void *arg, const void *data, size_t len, bool end);

/* On the store's thread, with the row in hand: opens what is sent first, and holds the rest. */
int fl_s3_open_first(struct fl_s3_exchange *x);
/* On a pool thread: may remove files. */
void fl_s3_unhold(struct fl_s3_exchange *x);

/* Sends the data, then fl_s3_release. */
void fl_s3_send(struct fl_s3_exchange *x, int status);
void fl_s3_on_room(void *arg);

void fl_s3_transfer_done(struct fl_s3_exchange *x);
