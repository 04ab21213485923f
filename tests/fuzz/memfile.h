/* memfile.h - a file in memory that code under test opens by its path. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMFILE_PATH_BYTES 64

static int memfile_fd_ = -1;

static inline void memfile_close_(void)
{
    close(memfile_fd_);
}

/* The target's file; its path in `path`. Once in a target: it is kept for all inputs. */
static inline int memfile_new(char path[MEMFILE_PATH_BYTES])
{
    int fd = memfile_fd_ = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0 || atexit(memfile_close_) != 0)
        abort();
    snprintf(path, MEMFILE_PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static inline void memfile_set(int fd, const void *data, size_t len)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, len, 0) != (ssize_t)len)
        abort();
}
