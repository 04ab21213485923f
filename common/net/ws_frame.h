/* ws_frame.h - frames and messages of the WebSocket protocol (RFC 6455 §5). Pure: no I/O. */
#pragma once
#include "common/base/buf.h"

#define FL_WS_FRAME_HEAD_MAX_BYTES 14
#define FL_WS_CONTROL_MAX_BYTES    125

enum fl_ws_op {
    FL_WS_OP_CONTINUATION = 0,
    FL_WS_OP_TEXT = 1,
    FL_WS_OP_BINARY = 2,
    FL_WS_OP_CLOSE = 8,
    FL_WS_OP_PING = 9,
    FL_WS_OP_PONG = 10,
};

/* Writes the head of an unfragmented frame and returns its length. `mask`: four bytes from a
 * client, NULL from a server. */
size_t fl_ws_frame_head(uint8_t out[FL_WS_FRAME_HEAD_MAX_BYTES], enum fl_ws_op op, size_t len,
                        const uint8_t *mask);

/* XORs the mask over `len` bytes that stand `offset` bytes into the payload. */
void fl_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset);

/* Reassembles messages. Control frames may come between the fragments of a message, so they have a
 * place of their own. UTF-8 is not checked: who decodes the text does. */
struct fl_ws_reader {
    bool from_client;      /* frames must be masked; else they must not be */
    struct fl_buf message; /* holds no memory between messages */
    uint8_t control[FL_WS_CONTROL_MAX_BYTES];
    uint8_t control_len;
    uint8_t head[FL_WS_FRAME_HEAD_MAX_BYTES];
    uint8_t head_len;
    uint8_t op;         /* of the frame being read */
    uint8_t message_op; /* of the message being reassembled, 0 between messages */
    bool in_frame, fin;
    uint64_t left; /* payload bytes of the frame still to come */
    size_t at;     /* payload bytes of the frame seen */
    uint8_t mask[4];
};

void fl_ws_reader_init(struct fl_ws_reader *r, bool from_client, size_t max_message_bytes);
void fl_ws_reader_done(struct fl_ws_reader *r);

/* Takes bytes (unmasking them in place) and tells in *ret_used how many. Returns the op of a
 * message or control frame that is now whole (its payload in `message` or `control`, until the next
 * call), 0 when all bytes were used without one, -EPROTO for a violation (close code 1002),
 * -EMSGSIZE for a message over the limit (1009), -ENOMEM. After an error the reader is of no use.
 */
int fl_ws_reader_feed(struct fl_ws_reader *r, uint8_t *data, size_t len, size_t *ret_used);
