/* transcript_file.c - blocks and records, written to buffers and read from a descriptor. */
#include "server/session/transcript_file.h"

#include <errno.h>
#include <string.h>
#include "common/base/file.h"

#define MAGIC        "fairlead transcript 1\n"
#define MAGIC_BYTES  (sizeof(MAGIC) - 1)
#define HEAD_BYTES   20 /* of a block */
#define BODY_LEN_AT  16
#define LEAST_BLOCK  (HEAD_BYTES + FL_TF_MAC_BYTES)
#define LARGEST_FILE (1ull << 40)

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put_u64(uint8_t *p, uint64_t v)
{
    put_u32(p, (uint32_t)(v >> 32));
    put_u32(p + 4, (uint32_t)v);
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

/* ---- writing ---- */

int fl_tf_start(const char *session_id, struct fl_buf *out, struct fl_tf_end *ret_end)
{
    int r = fl_buf_append(out, MAGIC, MAGIC_BYTES);

    *ret_end = (struct fl_tf_end){ .bytes = MAGIC_BYTES };
    fl_sha256(session_id, strlen(session_id), ret_end->mac);
    return r;
}

int fl_tf_record(struct fl_buf *body, char kind, int64_t wall_ms, const void *data, size_t len)
{
    uint8_t head[FL_TF_RECORD_BYTES];
    int r = fl_buf_reserve(body, sizeof(head) + len);

    if (r < 0)
        return r;
    head[0] = (uint8_t)kind;
    put_u64(head + 1, (uint64_t)wall_ms);
    put_u32(head + 9, (uint32_t)len);
    fl_buf_append(body, head, sizeof(head));
    return fl_buf_append(body, data, len);
}

/* `block` is the block without its MAC, with room for another MAC before it. */
static void bind_block(const uint8_t key[FL_SEAL_KEY_BYTES], const uint8_t before[FL_TF_MAC_BYTES],
                       uint8_t *block, size_t len, uint8_t out[FL_TF_MAC_BYTES])
{
    memcpy(block - FL_TF_MAC_BYTES, before, FL_TF_MAC_BYTES);
    fl_hmac_sha256(key, FL_SEAL_KEY_BYTES, block - FL_TF_MAC_BYTES, len + FL_TF_MAC_BYTES, out);
}

int fl_tf_block(const uint8_t key[FL_SEAL_KEY_BYTES], int64_t wall_ms, const void *body, size_t len,
                struct fl_buf *out, struct fl_tf_end *end)
{
    size_t bytes = HEAD_BYTES + len;
    fl_autofree uint8_t *room = malloc(FL_TF_MAC_BYTES + bytes + FL_TF_MAC_BYTES);
    uint8_t *block;
    int r;

    if (!room || len > FL_TF_BODY_MAX_BYTES)
        return room ? -EMSGSIZE : -ENOMEM;
    block = room + FL_TF_MAC_BYTES;
    put_u64(block, end->blocks);
    put_u64(block + 8, (uint64_t)wall_ms);
    put_u32(block + BODY_LEN_AT, (uint32_t)len);
    if (len > 0)
        memcpy(block + HEAD_BYTES, body, len);
    bind_block(key, end->mac, block, bytes, block + bytes);
    r = fl_buf_append(out, block, bytes + FL_TF_MAC_BYTES);
    if (r < 0)
        return r;
    memcpy(end->mac, block + bytes, FL_TF_MAC_BYTES);
    end->bytes += bytes + FL_TF_MAC_BYTES;
    end->blocks++;
    return 0;
}

size_t fl_tf_numbers(const int64_t numbers[2], uint8_t out[FL_TF_NUMBERS_BYTES])
{
    put_u64(out, (uint64_t)numbers[0]);
    if (numbers[1] < 0)
        return 8;
    put_u64(out + 8, (uint64_t)numbers[1]);
    return 16;
}

void fl_tf_numbers_read(const void *data, size_t len, int64_t ret_numbers[2])
{
    const uint8_t *p = data;

    ret_numbers[0] = len >= 8 ? (int64_t)get_u64(p) : -1;
    ret_numbers[1] = len >= 16 ? (int64_t)get_u64(p + 8) : -1;
}

size_t fl_tf_fit(const void *body, size_t len)
{
    const uint8_t *p = body;
    size_t fits = 0, n;

    while (fits + FL_TF_RECORD_BYTES <= len) {
        n = FL_TF_RECORD_BYTES + get_u32(p + fits + 9);
        if (fits && fits + n > FL_TF_BODY_MAX_BYTES)
            break;
        fits += n;
    }
    return fits;
}

/* ---- reading ---- */

static int wrong(struct fl_err *err, uint64_t at, const char *what)
{
    return fl_err_set(err, -EBADMSG, NULL, "%s at byte %llu", what, (unsigned long long)at);
}

static int read_failed(struct fl_err *err, int r)
{
    return fl_err_set(err, r, NULL, "the transcript cannot be read: %s", strerror(-r));
}

static int read_start(int fd, const char *session_id, struct fl_tf_end *at, struct fl_err *err)
{
    char text[MAGIC_BYTES];
    ssize_t n = fl_fd_pread_upto(fd, text, sizeof(text), 0);

    if (n < 0)
        return read_failed(err, (int)n);
    if (memcmp(text, MAGIC, (size_t)n) != 0)
        return wrong(err, 0, "not a transcript");
    if ((size_t)n < sizeof(text))
        return fl_err_set(err, -ENODATA, NULL, "the file ends in its first line");
    *at = (struct fl_tf_end){ .bytes = MAGIC_BYTES };
    fl_sha256(session_id, strlen(session_id), at->mac);
    return 0;
}

static int tell_records(const uint8_t *body, size_t len, uint64_t at, fl_tf_fn fn, void *arg,
                        struct fl_err *err)
{
    size_t n;
    int r = 0;

    for (size_t i = 0; r == 0 && i < len; i += FL_TF_RECORD_BYTES + n) {
        if (len - i < FL_TF_RECORD_BYTES)
            return wrong(err, at + i, "half a record");
        n = get_u32(body + i + 9);
        if (n > len - i - FL_TF_RECORD_BYTES)
            return wrong(err, at + i, "a record longer than its block");
        if (fn)
            r = fn(arg, (char)body[i], (int64_t)get_u64(body + i + 1),
                   body + i + FL_TF_RECORD_BYTES, n);
    }
    return r;
}

/* 1: a block; 0: the end. `room` is for the block, with a MAC before it, and for the next one. */
static int read_block(int fd, const uint8_t key[FL_SEAL_KEY_BYTES], struct fl_buf *room,
                      struct fl_tf_end *at, fl_tf_fn fn, void *arg, struct fl_err *err)
{
    uint8_t head[HEAD_BYTES], mac[FL_TF_MAC_BYTES], *block;
    size_t len, body;
    ssize_t n = fl_fd_pread_upto(fd, head, sizeof(head), at->bytes);
    int r;

    if (n <= 0)
        return n < 0 ? read_failed(err, (int)n) : 0;
    if (n < HEAD_BYTES)
        return fl_err_set(err, -ENODATA, NULL, "half a block at byte %llu",
                          (unsigned long long)at->bytes);
    body = get_u32(head + BODY_LEN_AT);
    if (body > FL_TF_BODY_MAX_BYTES || get_u64(head) != at->blocks || at->bytes > LARGEST_FILE)
        return wrong(err, at->bytes, "not the block that belongs here");
    len = HEAD_BYTES + body;
    r = fl_buf_reserve(room, FL_TF_MAC_BYTES + len + FL_TF_MAC_BYTES);
    if (r < 0)
        return fl_err_nomem(err);
    block = (uint8_t *)room->data + FL_TF_MAC_BYTES;
    memcpy(block, head, sizeof(head));
    n = fl_fd_pread_upto(fd, block + HEAD_BYTES, body + FL_TF_MAC_BYTES, at->bytes + HEAD_BYTES);
    if (n < 0)
        return read_failed(err, (int)n);
    if ((size_t)n < body + FL_TF_MAC_BYTES)
        return fl_err_set(err, -ENODATA, NULL, "half a block at byte %llu",
                          (unsigned long long)at->bytes);
    bind_block(key, at->mac, block, len, mac);
    if (!fl_equal_secret(mac, sizeof(mac), block + len, FL_TF_MAC_BYTES))
        return wrong(err, at->bytes, "a block that was changed");
    r = tell_records(block + HEAD_BYTES, body, at->bytes + HEAD_BYTES, fn, arg, err);
    if (r)
        return r;
    memcpy(at->mac, mac, sizeof(mac));
    at->bytes += len + FL_TF_MAC_BYTES;
    at->blocks++;
    return 1;
}

int fl_tf_read(int fd, const uint8_t key[FL_SEAL_KEY_BYTES], const char *session_id,
               struct fl_tf_end *at, size_t max_bytes, fl_tf_fn fn, void *arg, struct fl_err *err)
{
    fl_autobuf struct fl_buf room =
        FL_BUF(FL_TF_MAC_BYTES + HEAD_BYTES + FL_TF_BODY_MAX_BYTES + FL_TF_MAC_BYTES);
    uint64_t from = at->bytes;
    int r = 1;

    if (at->bytes == 0) {
        r = read_start(fd, session_id, at, err);
        if (r < 0)
            return r;
        r = 1;
    }
    while (r > 0) {
        r = read_block(fd, key, &room, at, fn, arg, err);
        if (r > 0 && at->bytes - from >= max_bytes)
            return 1;
    }
    return r;
}

int fl_tf_seek(int fd, const char *session_id, uint64_t bytes, struct fl_tf_end *ret_at,
               struct fl_err *err)
{
    struct fl_tf_end at = { 0 };
    int r = read_start(fd, session_id, &at, err);

    if (r < 0)
        return r;
    while (at.bytes < bytes) {
        uint8_t head[HEAD_BYTES];
        ssize_t n = fl_fd_pread_upto(fd, head, sizeof(head), at.bytes);
        uint64_t len;

        if (n < 0)
            return read_failed(err, (int)n);
        len = n < HEAD_BYTES ? 0 : get_u32(head + BODY_LEN_AT);
        if (n < HEAD_BYTES || len > FL_TF_BODY_MAX_BYTES || get_u64(head) != at.blocks)
            return wrong(err, at.bytes, "not the block that belongs here");
        at.bytes += LEAST_BLOCK + len;
        at.blocks++;
    }
    if (at.bytes != bytes)
        return wrong(err, bytes, "no block begins");
    if (at.blocks &&
        fl_fd_pread_upto(fd, at.mac, sizeof(at.mac), bytes - FL_TF_MAC_BYTES) != FL_TF_MAC_BYTES)
        return wrong(err, bytes, "no block ends");
    *ret_at = at;
    return 0;
}
