/* file.h - files that are whole or absent: bounded reads, atomic replacement, fsync where it
 * counts. */
#pragma once
#include <sys/types.h>
#include "common/base/err.h"

/* Writes all of `len` bytes, retrying short writes and EINTR. 0 or -errno. */
int fl_fd_write_all(int fd, const void *data, size_t len);

/* Reads `len` bytes, over short reads and EINTR. How many came: fewer at the end of the file, or
 * before an error. */
size_t fl_fd_read_upto(int fd, void *out, size_t len);

/* Both at an offset, whatever the position of the file. The first: 0 or -errno; the second: how
 * many bytes came, fewer only at the end of the file, or -errno. */
int fl_fd_pwrite_all(int fd, const void *data, size_t len, uint64_t offset);
ssize_t fl_fd_pread_upto(int fd, void *out, size_t len, uint64_t offset);

/* Reads to end of file into fresh memory with a NUL behind it (caller frees). -EFBIG over
 * max_bytes. */
int fl_fd_read_all(int fd, size_t max_bytes, char **ret_data, size_t *ret_len);

/* The whole file, as above. -ENOENT etc. with the path in `err`. ret_len may be NULL. */
int fl_file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len,
                 struct fl_err *err);

/* Replaces or creates `path` with exactly these bytes and mode (set at creation, umask ignored):
 * temporary file in the same directory, fsync, rename, fsync of the directory. On failure the old
 * file is untouched and no temporary remains. */
int fl_file_replace(const char *path, mode_t mode, const void *data, size_t len,
                    struct fl_err *err);

/* The same, but a file that is there keeps its owner and its mode, and is no link or else
 * (-EINVAL): it may be somebody else's. */
int fl_file_replace_kept(const char *path, mode_t mode, const void *data, size_t len,
                         struct fl_err *err);

/* Creates the directory and its missing parents, all with `mode` (umask ignored for what it makes).
 * An existing directory is success and keeps its mode. */
int fl_dir_make(const char *path, mode_t mode, struct fl_err *err);

/* fsync of a directory, so that entries made or renamed in it survive power loss. */
int fl_dir_sync(const char *path, struct fl_err *err);

/* Removes a directory with everything in it, never following links. Absent is success. */
int fl_dir_remove(const char *path, struct fl_err *err);

/* "a/b" into fresh memory; NULL without memory. */
char *fl_path_join(const char *a, const char *b);
