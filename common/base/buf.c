/* buf.c - see buf.h. */
#include "common/base/buf.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

void fl_buf_init(struct fl_buf *b, size_t max_bytes)
{
    *b = (struct fl_buf){ .max_bytes = max_bytes };
}

static void release(struct fl_buf *b)
{
    if (b->secret && b->data)
        explicit_bzero(b->data, b->cap);
    free(b->data);
}

/* As realloc(), which would leave a copy behind. */
static char *move(struct fl_buf *b, size_t cap)
{
    char *p;

    if (!b->secret)
        return realloc(b->data, cap);
    p = malloc(cap);
    if (!p)
        return NULL;
    if (b->len)
        memcpy(p, b->data, b->len);
    release(b);
    return p;
}

void fl_buf_done(struct fl_buf *b)
{
    release(b);
    b->data = NULL;
    b->len = b->cap = 0;
}

int fl_buf_reserve(struct fl_buf *b, size_t len)
{
    size_t need, cap;
    char *p;

    if (len > b->max_bytes || b->len > b->max_bytes - len)
        return -EMSGSIZE;
    need = b->len + len + 1;
    if (need <= b->cap)
        return 0;
    cap = FL_MAX(need, b->cap + b->cap / 2);
    cap = FL_MAX(cap, (size_t)64);
    p = move(b, cap);
    if (!p)
        return -ENOMEM;
    b->data = p;
    b->data[b->len] = '\0';
    b->cap = cap;
    return 0;
}

int fl_buf_append(struct fl_buf *b, const void *data, size_t len)
{
    int r = fl_buf_reserve(b, len);

    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int fl_buf_puts(struct fl_buf *b, const char *s)
{
    return fl_buf_append(b, s, strlen(s));
}

int fl_buf_printf(struct fl_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n, r;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    r = n < 0 ? -EINVAL : fl_buf_reserve(b, (size_t)n);
    if (r == 0) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
    return r;
}

void fl_buf_consume(struct fl_buf *b, size_t n)
{
    n = FL_MIN(n, b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

void fl_buf_reset(struct fl_buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

char *fl_buf_take(struct fl_buf *b, size_t *ret_len)
{
    char *p;

    if (!b->data && fl_buf_append(b, "", 0) < 0)
        return NULL;
    p = b->data;
    if (ret_len)
        *ret_len = b->len;
    b->data = NULL;
    b->len = b->cap = 0;
    return p;
}
