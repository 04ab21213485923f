/* journal.c - see journal.h. */
#include "agent/lib/journal.h"
#include <errno.h>
#include <string.h>
#include "common/base/file.h"

#define HEADER_BYTES 8
#define TYPE_BYTES   4 /* u16 type and u16 zero, inside the payload */

void fl_journal_init(struct fl_journal *j, int fd, const struct fl_journal_row *rows,
                     uint64_t offset)
{
    *j = (struct fl_journal){ .fd = fd, .end = offset, .rows = rows };
}

void fl_journal_done(struct fl_journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
}

/* CRC-32 as in zlib, four bits a step: records are small and few. */
static uint32_t crc32_of(const unsigned char *p, size_t len)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = ~0u;

    while (len--) {
        crc ^= *p++;
        crc = (crc >> 4) ^ nibble[crc & 15];
        crc = (crc >> 4) ^ nibble[crc & 15];
    }
    return ~crc;
}

static const struct fl_shape *shape_of(const struct fl_journal *j, uint16_t type)
{
    for (const struct fl_journal_row *row = j->rows; row->shape; row++)
        if (row->type == type)
            return row->shape;
    return NULL;
}

/* 1 if all of `len` bytes at `offset` are there, 0 if the file ends before, or negative. */
static int read_at(int fd, void *out, size_t len, uint64_t offset)
{
    ssize_t n = fl_fd_pread_upto(fd, out, len, offset);

    return n < 0 ? (int)n : (size_t)n == len;
}

int fl_journal_read(struct fl_journal *j, struct fl_arena *arena, struct fl_journal_record *ret)
{
    fl_autofree char *payload = NULL;
    const struct fl_shape *shape;
    uint32_t header[2];
    uint16_t type[2];
    void *in;
    int r;

    r = read_at(j->fd, header, sizeof(header), j->end);
    if (r <= 0)
        return r;
    /* A length that cannot be is a torn header (a file system may leave zeros): the end. */
    if (header[0] < TYPE_BYTES || header[0] > FL_JOURNAL_MAX_RECORD_BYTES)
        return 0;
    payload = malloc(header[0]);
    if (!payload)
        return -ENOMEM;
    r = read_at(j->fd, payload, header[0], j->end + HEADER_BYTES);
    if (r <= 0)
        return r;
    if (crc32_of((unsigned char *)payload, header[0]) != header[1])
        return 0;

    memcpy(type, payload, sizeof(type));
    shape = type[1] == 0 ? shape_of(j, type[0]) : NULL;
    if (!shape)
        return -EBADMSG;
    in = fl_arena_alloc(arena, shape->size);
    if (!in)
        return -ENOMEM;
    r = fl_pack_decode(shape, payload + TYPE_BYTES, header[0] - TYPE_BYTES, arena, in);
    if (r < 0)
        return r;
    *ret = (struct fl_journal_record){ .type = type[0], .offset = j->end, .in = in };
    j->end += HEADER_BYTES + header[0];
    return 1;
}

int fl_journal_cut(struct fl_journal *j)
{
    off_t size = lseek(j->fd, 0, SEEK_END);

    if (size < 0)
        return -errno;
    if ((uint64_t)size > j->end && ftruncate(j->fd, (off_t)j->end) < 0)
        return -errno;
    return 0;
}

static int encode(const struct fl_shape *shape, uint16_t type, const void *in, struct fl_buf *b)
{
    uint32_t header[2] = { 0 };
    uint16_t types[2] = { type, 0 };
    int r;

    r = fl_buf_append(b, header, sizeof(header));
    if (r == 0)
        r = fl_buf_append(b, types, sizeof(types));
    if (r == 0)
        r = fl_pack_encode(shape, in, b);
    if (r < 0)
        return r;
    header[0] = (uint32_t)(b->len - HEADER_BYTES);
    header[1] = crc32_of((unsigned char *)b->data + HEADER_BYTES, header[0]);
    memcpy(b->data, header, sizeof(header));
    return 0;
}

int fl_journal_append(struct fl_journal *j, uint16_t type, const void *in, struct fl_err *err)
{
    fl_autobuf struct fl_buf b = FL_BUF(FL_JOURNAL_MAX_RECORD_BYTES + HEADER_BYTES);
    const struct fl_shape *shape = shape_of(j, type);
    int r;

    r = shape ? encode(shape, type, in, &b) : -EINVAL;
    if (r < 0)
        return fl_err_set(err, r, NULL, "journal: cannot encode a record: %s", strerror(-r));
    r = fl_fd_pwrite_all(j->fd, b.data, b.len, j->end);
    if (r < 0) {
        (void)!ftruncate(j->fd, (off_t)j->end);
        return fl_err_set(err, r, NULL, "journal: cannot write: %s", strerror(-r));
    }
    j->end += b.len;
    return 0;
}

int fl_journal_commit(struct fl_journal *j, struct fl_err *err)
{
    if (fdatasync(j->fd) < 0)
        return fl_err_set(err, -errno, NULL, "journal: cannot sync: %s", strerror(errno));
    return 0;
}
