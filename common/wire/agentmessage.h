/* agentmessage.h - the binary frame of control and data channels (protocol 2 §2).
 *
 * Strict on reading: header length 116, digest and payload length verified, blank type, zero date
 * and short frames refused. Pure.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_FRAME_HEADER_BYTES 120
#define FL_FRAME_TYPE_BYTES   32

struct fl_frame {
    char type[FL_FRAME_TYPE_BYTES + 1];
    uint32_t schema_version; /* 1 */
    uint64_t created_ms;     /* wall clock; not 0 */
    int64_t sequence;
    uint64_t flags;         /* bit 0 SYN, bit 1 FIN */
    uint8_t message_id[16]; /* in UUID text order */
    uint32_t payload_type;
    const char *payload; /* decode: points into the input */
    size_t payload_len;
};

/* Appends the frame. -EINVAL: type empty or over 32 bytes, created_ms 0. */
int fl_frame_encode(const struct fl_frame *f, struct fl_buf *out);

/* Only what stands before the payload, digest and all; for payloads that are in their place
 * already. */
int fl_frame_put_head(const struct fl_frame *f, uint8_t out[FL_FRAME_HEADER_BYTES]);

/* 0 or -EBADMSG with the reason. */
int fl_frame_decode(const void *data, size_t len, struct fl_frame *ret_frame, struct fl_err *err);

/* The same in two halves: all but the digest, which is what costs time in long frames. `data` is
 * the frame `f` was read from. */
int fl_frame_parse(const void *data, size_t len, struct fl_frame *ret_frame, struct fl_err *err);
bool fl_frame_intact(const void *data, const struct fl_frame *f);
