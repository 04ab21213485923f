/* memfile.h - a file in memory that code under test opens by its path. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMFILE_PATH_BYTES 64

/* A new file; its path in `path`. */
static inline int memfile_new(char path[MEMFILE_PATH_BYTES])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    if (fd < 0)
        abort();
    snprintf(path, MEMFILE_PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static inline void memfile_set(int fd, const void *data, size_t len)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, data, len, 0) != (ssize_t)len)
        abort();
}
