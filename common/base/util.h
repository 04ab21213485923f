/* util.h - the few macros every file may use: array length, ownership transfer, scoped cleanup. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define FL_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define FL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FL_MAX(a, b) ((a) > (b) ? (a) : (b))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define FL_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Hands a pointer out of an auto-freed variable: evaluates to it and leaves NULL behind. */
#define FL_TAKE(p)                     \
    ({                                 \
        __typeof__(p) fl_taken_ = (p); \
        (p) = NULL;                    \
        fl_taken_;                     \
    })

/* The same for a file descriptor: leaves -1 behind. */
#define FL_TAKE_FD(fd)        \
    ({                        \
        int fl_taken_ = (fd); \
        (fd) = -1;            \
        fl_taken_;            \
    })

#define FL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FL_CLEANUP(fn)       __attribute__((cleanup(fn)))
#define FL_UNUSED            __attribute__((unused))

static inline void fl_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void fl_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define fl_autofree FL_CLEANUP(fl_cleanup_free)
#define fl_autofd   FL_CLEANUP(fl_cleanup_fd)

/* Of a hexadecimal digit in either case; -1 for anything else. */
static inline int fl_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
