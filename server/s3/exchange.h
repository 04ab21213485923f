/* exchange.h - one request of s3, from its head to the last byte of its answer.
 *
 * The signature covers the head alone, so that it and the policy are judged first; only then the
 * body is read, a piece at a time: from the socket into memory on the loop thread, from there
 * through the checks to a file on a pool thread, and meanwhile nothing is read. The handler runs
 * when all of it is on disk. An answer goes the same way back.
 */
#pragma once
#include "server/http/exchange.h"

/* A request's head is here. True: it is one of s3's (protocol 6 §1.6: whatever no other service
 * claims), and taken over. */
bool fl_s3_start(struct fl_exchange_ctx *ctx, struct fl_server_req *req);
