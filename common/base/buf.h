/* buf.h - a growing byte buffer that carries its own upper limit.
 *
 * `data` always ends in a NUL that is not counted in `len` once anything was appended, so text can
 * be used as a C string. A failed append changes nothing.
 */
#pragma once
#include "common/base/util.h"

struct fl_buf {
    char *data; /* NULL until the first append */
    size_t len;
    size_t cap;
    size_t max_bytes; /* len never passes this */
    bool secret;      /* memory is wiped before it is given back */
};

void fl_buf_init(struct fl_buf *b, size_t max_bytes);
void fl_buf_done(struct fl_buf *b);

/* Each returns 0, -EMSGSIZE over the limit, or -ENOMEM. */
int fl_buf_append(struct fl_buf *b, const void *data, size_t len);
int fl_buf_puts(struct fl_buf *b, const char *s);
int fl_buf_printf(struct fl_buf *b, const char *fmt, ...) FL_PRINTF(2, 3);

/* Room for `len` more bytes at data + len; the caller adds to `len` what it wrote. 0 or an error as
 * above. */
int fl_buf_reserve(struct fl_buf *b, size_t len);

/* Drops `n` bytes (at most len) from the front. */
void fl_buf_consume(struct fl_buf *b, size_t n);

/* Empties the buffer and keeps its memory. */
void fl_buf_reset(struct fl_buf *b);

/* The bytes, owned by the caller from now on (free); "" (allocated) if empty, NULL without memory.
 * The buffer is left empty. */
char *fl_buf_take(struct fl_buf *b, size_t *ret_len);

/* A buffer that frees itself must start initialised: an early return would free garbage.
 *     fl_autobuf struct fl_buf b = FL_BUF(65536); */
#define FL_BUF(max)        \
    {                      \
        .max_bytes = (max) \
    }
#define fl_autobuf FL_CLEANUP(fl_buf_done)
