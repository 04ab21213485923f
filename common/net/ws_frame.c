/* ws_frame.c - see ws_frame.h. */
#include "common/net/ws_frame.h"
#include <errno.h>
#include <string.h>

#define FIN_BIT  0x80
#define RSV_BITS 0x70
#define OP_BITS  0x0f
#define MASK_BIT 0x80
#define LEN_BITS 0x7f

static bool is_control(unsigned op)
{
    return op & 8;
}

size_t fl_ws_frame_head(uint8_t out[FL_WS_FRAME_HEAD_MAX_BYTES], enum fl_ws_op op, size_t len,
                        const uint8_t *mask)
{
    size_t n = 2, len_bytes = len > UINT16_MAX ? 8 : len > 125 ? 2 : 0;

    out[0] = (uint8_t)(FIN_BIT | op);
    out[1] = (uint8_t)(len_bytes == 8 ? 127 : len_bytes == 2 ? 126 : len);
    for (size_t i = len_bytes; i-- > 0;)
        out[n++] = (uint8_t)((uint64_t)len >> (8 * i));
    if (mask) {
        out[1] |= MASK_BIT;
        memcpy(out + n, mask, 4);
        n += 4;
    }
    return n;
}

void fl_ws_mask(uint8_t *data, size_t len, const uint8_t mask[4], size_t offset)
{
    uint8_t turned[8];
    uint64_t wide, word;
    size_t i = 0;

    for (size_t k = 0; k < sizeof(turned); k++)
        turned[k] = mask[(offset + k) & 3];
    memcpy(&wide, turned, sizeof(wide));
    for (; len - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, data + i, sizeof(word));
        word ^= wide;
        memcpy(data + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        data[i] ^= turned[i & 7];
}

void fl_ws_reader_init(struct fl_ws_reader *r, bool from_client, size_t max_message_bytes)
{
    memset(r, 0, sizeof(*r));
    r->from_client = from_client;
    fl_buf_init(&r->message, max_message_bytes);
}

void fl_ws_reader_done(struct fl_ws_reader *r)
{
    fl_buf_done(&r->message);
}

/* Bytes that the head has in all, as far as its first two tell. */
static size_t head_size(const struct fl_ws_reader *r)
{
    unsigned len = r->head[1] & LEN_BITS;

    if (r->head_len < 2)
        return 2;
    return 2u + (len == 127 ? 8 : len == 126 ? 2 : 0) + (r->head[1] & MASK_BIT ? 4 : 0);
}

static int check_op(struct fl_ws_reader *r)
{
    switch (r->op) {
    case FL_WS_OP_CONTINUATION:
        return r->message_op ? 0 : -EPROTO;
    case FL_WS_OP_TEXT:
    case FL_WS_OP_BINARY:
        if (r->message_op)
            return -EPROTO;
        r->message_op = r->op;
        return 0;
    case FL_WS_OP_CLOSE:
    case FL_WS_OP_PING:
    case FL_WS_OP_PONG:
        r->control_len = 0;
        return r->fin && r->left <= FL_WS_CONTROL_MAX_BYTES ? 0 : -EPROTO;
    default:
        return -EPROTO;
    }
}

/* The head is whole. */
static int begin_frame(struct fl_ws_reader *r)
{
    bool masked = r->head[1] & MASK_BIT;
    size_t n = 2, len_bytes;
    int e;

    if (r->head[0] & RSV_BITS || masked != r->from_client)
        return -EPROTO;
    r->fin = r->head[0] & FIN_BIT;
    r->op = r->head[0] & OP_BITS;
    r->left = r->head[1] & LEN_BITS;
    r->at = 0;
    len_bytes = r->left == 127 ? 8 : r->left == 126 ? 2 : 0;
    if (len_bytes) {
        r->left = 0;
        while (n < 2 + len_bytes)
            r->left = r->left << 8 | r->head[n++];
    }
    if (masked)
        memcpy(r->mask, r->head + n, 4);
    e = check_op(r);
    if (e < 0)
        return e;
    /* Refuse by the announced length: nothing of it is stored first. */
    if (!is_control(r->op) &&
        (r->left > r->message.max_bytes || r->message.len > r->message.max_bytes - (size_t)r->left))
        return -EMSGSIZE;
    r->in_frame = true;
    return 0;
}

static int take_payload(struct fl_ws_reader *r, uint8_t *data, size_t n)
{
    if (r->from_client)
        fl_ws_mask(data, n, r->mask, r->at);
    r->at += n;
    r->left -= n;
    if (is_control(r->op)) {
        memcpy(r->control + r->control_len, data, n);
        r->control_len = (uint8_t)(r->control_len + n);
        return 0;
    }
    return fl_buf_append(&r->message, data, n);
}

/* The frame is whole: the op to report, or 0 inside a fragmented message. */
static int end_frame(struct fl_ws_reader *r)
{
    int op;

    r->in_frame = false;
    r->head_len = 0;
    if (is_control(r->op))
        return r->op;
    if (!r->fin)
        return 0;
    op = r->message_op;
    r->message_op = 0;
    return op;
}

int fl_ws_reader_feed(struct fl_ws_reader *r, uint8_t *data, size_t len, size_t *ret_used)
{
    size_t i = 0;
    int e;

    /* The message reported last is over. */
    if (!r->message_op && !r->in_frame)
        fl_buf_done(&r->message);

    for (;;) {
        if (r->in_frame) {
            size_t n = (size_t)FL_MIN((uint64_t)(len - i), r->left);

            e = take_payload(r, data + i, n);
            if (e < 0)
                return e;
            i += n;
            if (r->left)
                break;
            e = end_frame(r);
            if (e) {
                *ret_used = i;
                return e;
            }
        }
        while (i < len && r->head_len < head_size(r))
            r->head[r->head_len++] = data[i++];
        if (r->head_len < head_size(r))
            break;
        e = begin_frame(r);
        if (e < 0)
            return e;
    }
    *ret_used = i;
    return 0;
}
