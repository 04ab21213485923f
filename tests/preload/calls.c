/* calls.c - calls into the kernel that fail, are interrupted, or do a part of the work; see
 * fault.h.
 *
 * What a disturbance may be is what the kernel may do: a pipe takes up to PIPE_BUF bytes whole, a
 * message socket gives whole messages, an eventfd whole numbers; a spurious "not ready" is for
 * those who wait for readiness.
 */
#include "fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum kind { KIND_OTHER, KIND_FILE, KIND_PIPE, KIND_STREAM, KIND_MESSAGES };

static enum kind kind_of(int fd)
{
    int error = errno, type = 0;
    socklen_t len = sizeof(type);
    enum kind kind = KIND_OTHER;
    struct stat st;

    if (fstat(fd, &st) == 0) {
        if (S_ISREG(st.st_mode))
            kind = KIND_FILE;
        else if (S_ISFIFO(st.st_mode))
            kind = KIND_PIPE;
        else if (S_ISSOCK(st.st_mode) && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
            kind = type == SOCK_STREAM ? KIND_STREAM : KIND_MESSAGES;
    }
    errno = error;
    return kind;
}

/* One time in three. Handlers here are all libuv's, made with SA_RESTART (sigaction() below looks),
 * so that the kernel by itself begins open(), fsync() and close() again: these are not interrupted.
 */
static bool interrupted(void *caller)
{
    if (!(fault_noise(caller) & NOISE_EINTR) || fault_dice(3) != 0)
        return false;
    errno = EINTR;
    return true;
}

/* libuv's own pipes carry whole messages, which the kernel never divides; a signal that its pipe
 * has no room for it drops, as documented. */
static bool pipe_of_libuv(enum kind kind, void *caller)
{
    return kind == KIND_PIPE && fault_called_by(caller, "libuv");
}

static bool waits(int fd, int flags)
{
    return !(flags & MSG_DONTWAIT) && !(REAL(fcntl)(fd, F_GETFL) & O_NONBLOCK);
}

/* Not for what libcurl writes, itself or through OpenSSL: where a certificate is refused, it waits
 * until its time is over for the answer to an alert that could not be written. */
static bool not_ready(int fd, int flags, enum kind kind, bool writing, void *caller)
{
    if (!(fault_noise(caller) & NOISE_EAGAIN) || fault_dice(3) != 0)
        return false;
    if (kind != KIND_STREAM && kind != KIND_MESSAGES &&
        (kind != KIND_PIPE || pipe_of_libuv(kind, caller)))
        return false;
    if (waits(fd, flags) || (writing && fault_called_below("libcurl")))
        return false;
    errno = EAGAIN;
    return true;
}

/* How many of `n` bytes this call moves. */
static size_t part_of(size_t n, enum kind kind, bool writing, void *caller)
{
    unsigned noise = fault_noise(caller);

    if (!(noise & (NOISE_SHORT | NOISE_TINY)) || n < 2 || kind == KIND_OTHER ||
        kind == KIND_MESSAGES || (kind == KIND_PIPE && writing && n <= PIPE_BUF) ||
        pipe_of_libuv(kind, caller))
        return n;
    if (noise & NOISE_TINY && n <= (kind == KIND_FILE ? 64 : 4096))
        return 1;
    return fault_dice(4) == 0 ? n : 1 + fault_dice(n > INT_MAX ? INT_MAX : (unsigned)n);
}

/* The kernel interrupts what waits. Our own code must bear it everywhere; the sockets of libraries
 * never wait, but for those of the test's own clients. */
static bool disturbed(int fd, int flags, enum kind kind, bool writing, void *caller)
{
    if ((kind == KIND_FILE || (kind != KIND_OTHER && fault_called_by(caller, "main"))) &&
        interrupted(caller))
        return true;
    return not_ready(fd, flags, kind, writing, caller);
}

/* ---- reading and writing ---- */

#define DISTURB(fd, flags, n, writing)                    \
    if (fault_noise(CALLER)) {                            \
        enum kind kind_ = kind_of(fd);                    \
                                                          \
        if (disturbed(fd, flags, kind_, writing, CALLER)) \
            return -1;                                    \
        n = part_of(n, kind_, writing, CALLER);           \
    }
#define DISK_FULL(fd) (kind_of(fd) == KIND_FILE && fault_now(FAULT_DISK, CALLER))

EXPORT ssize_t read(int fd, void *data, size_t n)
{
    DISTURB(fd, 0, n, false)
    return REAL(read)(fd, data, n);
}

ssize_t __read_chk(int fd, void *data, size_t n, size_t size);
EXPORT ssize_t __read_chk(int fd, void *data, size_t n, size_t size)
{
    DISTURB(fd, 0, n, false)
    return REAL(__read_chk)(fd, data, n, size);
}

EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    DISTURB(fd, 0, n, true)
    if (DISK_FULL(fd))
        return -1;
    return REAL(write)(fd, data, n);
}

#define PREAD(name, off)                                          \
    EXPORT ssize_t name(int fd, void *data, size_t n, off offset) \
    {                                                             \
        DISTURB(fd, 0, n, false)                                  \
        return REAL(name)(fd, data, n, offset);                   \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define PWRITE(name, off)                                               \
    EXPORT ssize_t name(int fd, const void *data, size_t n, off offset) \
    {                                                                   \
        DISTURB(fd, 0, n, true)                                         \
        if (DISK_FULL(fd))                                              \
            return -1;                                                  \
        return REAL(name)(fd, data, n, offset);                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

EXPORT ssize_t recv(int fd, void *data, size_t n, int flags)
{
    DISTURB(fd, flags, n, false)
    return REAL(recv)(fd, data, n, flags);
}

ssize_t __recv_chk(int fd, void *data, size_t n, size_t size, int flags);
EXPORT ssize_t __recv_chk(int fd, void *data, size_t n, size_t size, int flags)
{
    DISTURB(fd, flags, n, false)
    return REAL(__recv_chk)(fd, data, n, size, flags);
}

EXPORT ssize_t recvfrom(int fd, void *data, size_t n, int flags, struct sockaddr *from,
                        socklen_t *len)
{
    DISTURB(fd, flags, n, false)
    return REAL(recvfrom)(fd, data, n, flags, from, len);
}

EXPORT ssize_t send(int fd, const void *data, size_t n, int flags)
{
    DISTURB(fd, flags, n, true)
    return REAL(send)(fd, data, n, flags);
}

EXPORT ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *to,
                      socklen_t len)
{
    DISTURB(fd, flags, n, true)
    return REAL(sendto)(fd, data, n, flags, to, len);
}

/* The first pieces of `iov` that hold a part of all; at most one of them is cut. */
static size_t part_of_pieces(const struct iovec *iov, size_t n, struct iovec *out, size_t max,
                             int fd, bool writing, void *caller)
{
    size_t all = 0, part, used = 0;

    for (size_t i = 0; i < n; i++)
        all += iov[i].iov_len;
    part = part_of(all, kind_of(fd), writing, caller);
    while (used < n && used < max && part > 0) {
        out[used] = iov[used];
        if (out[used].iov_len > part)
            out[used].iov_len = part;
        part -= out[used++].iov_len;
    }
    return used;
}

#define MAX_PIECES 64
#define PIECES(name, writing, full)                                                         \
    EXPORT ssize_t name(int fd, const struct iovec *iov, int n)                             \
    {                                                                                       \
        struct iovec part[MAX_PIECES];                                                      \
                                                                                            \
        if (fault_noise(CALLER) && n > 0) {                                                 \
            if (disturbed(fd, 0, kind_of(fd), writing, CALLER))                             \
                return -1;                                                                  \
            n = (int)part_of_pieces(iov, (size_t)n, part, MAX_PIECES, fd, writing, CALLER); \
            iov = part;                                                                     \
        }                                                                                   \
        if (full)                                                                           \
            return -1;                                                                      \
        return REAL(name)(fd, iov, n);                                                      \
    }
PIECES(readv, false, false)
PIECES(writev, true, DISK_FULL(fd))

EXPORT ssize_t recvmsg(int fd, struct msghdr *mh, int flags)
{
    if (fault_noise(CALLER) && disturbed(fd, flags, kind_of(fd), false, CALLER))
        return -1;
    return REAL(recvmsg)(fd, mh, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *mh, int flags)
{
    struct iovec part[MAX_PIECES];
    struct msghdr shorter = *mh;

    if (fault_noise(CALLER)) {
        if (disturbed(fd, flags, kind_of(fd), true, CALLER))
            return -1;
        if (mh->msg_controllen == 0 && mh->msg_iovlen > 0 && kind_of(fd) == KIND_STREAM) {
            shorter.msg_iov = part;
            shorter.msg_iovlen =
                part_of_pieces(mh->msg_iov, mh->msg_iovlen, part, MAX_PIECES, fd, true, CALLER);
        }
    }
    return REAL(sendmsg)(fd, &shorter, flags);
}

/* ---- waiting ---- */

#define INTERRUPTED(ret, name, params, args, may) \
    EXPORT ret name params                        \
    {                                             \
        if ((may) && interrupted(CALLER))         \
            return -1;                            \
        return REAL(name) args;                   \
    }
INTERRUPTED(int, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms), ms != 0)
INTERRUPTED(int, epoll_wait, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms),
            ms != 0)
INTERRUPTED(int, epoll_pwait, (int fd, struct epoll_event *e, int n, int ms, const sigset_t *set),
            (fd, e, n, ms, set), ms != 0)
INTERRUPTED(pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options),
            !(options & WNOHANG))
INTERRUPTED(int, waitid, (idtype_t type, id_t id, siginfo_t *info, int options),
            (type, id, info, options), !(options & WNOHANG))
INTERRUPTED(int, flock, (int fd, int how), (fd, how), !(how & LOCK_NB))

EXPORT int nanosleep(const struct timespec *want, struct timespec *rest)
{
    if (interrupted(CALLER)) {
        if (rest)
            *rest = *want;
        return -1;
    }
    return REAL(nanosleep)(want, rest);
}

/* An interrupted connect() goes on by itself, but for a local socket, which waited for the
 * listener's queue. */
EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (!(REAL(fcntl)(fd, F_GETFL) & O_NONBLOCK) && interrupted(CALLER)) {
        if (to->sa_family != AF_UNIX && REAL(connect)(fd, to, len) < 0)
            return -1;
        errno = EINTR;
        return -1;
    }
    return REAL(connect)(fd, to, len);
}

/* ---- what makes descriptors ---- */

#define MAKES_FD(ret, none, name, params, args) \
    EXPORT ret name params                      \
    {                                           \
        if (fault_now(FAULT_FD, CALLER))        \
            return none;                        \
        return REAL(name) args;                 \
    }
MAKES_FD(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
MAKES_FD(int, -1, socketpair, (int domain, int type, int protocol, int fds[2]),
         (domain, type, protocol, fds))
MAKES_FD(int, -1, pipe, (int fds[2]), (fds))
MAKES_FD(int, -1, pipe2, (int fds[2], int flags), (fds, flags))
MAKES_FD(int, -1, eventfd, (unsigned n, int flags), (n, flags))
MAKES_FD(int, -1, epoll_create1, (int flags), (flags))
MAKES_FD(int, -1, timerfd_create, (clockid_t clock, int flags), (clock, flags))
MAKES_FD(int, -1, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
MAKES_FD(int, -1, inotify_init1, (int flags), (flags))
MAKES_FD(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
MAKES_FD(int, -1, dup, (int fd), (fd))
MAKES_FD(int, -1, mkostemp, (char *path, int flags), (path, flags))
MAKES_FD(int, -1, mkstemp, (char *path), (path))
MAKES_FD(DIR *, NULL, opendir, (const char *path), (path))
MAKES_FD(FILE *, NULL, fopen, (const char *path, const char *how), (path, how))
MAKES_FD(FILE *, NULL, fopen64, (const char *path, const char *how), (path, how))

#define ACCEPTS(name, params, args)                                                \
    EXPORT int name params                                                         \
    {                                                                              \
        if (interrupted(CALLER) || not_ready(fd, 0, KIND_STREAM, false, CALLER) || \
            fault_now(FAULT_FD, CALLER))                                           \
            return -1;                                                             \
        return REAL(name) args;                                                    \
    }
ACCEPTS(accept, (int fd, struct sockaddr *from, socklen_t *len), (fd, from, len))
ACCEPTS(accept4, (int fd, struct sockaddr *from, socklen_t *len, int flags), (fd, from, len, flags))

#define CREATES(flags) ((flags)&O_CREAT && fault_now(FAULT_DISK, CALLER))
#define OPENS(name, params, last, args)                            \
    EXPORT int name params                                         \
    {                                                              \
        mode_t mode = 0;                                           \
        va_list ap;                                                \
                                                                   \
        if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
            va_start(ap, last);                                    \
            mode = va_arg(ap, mode_t);                             \
            va_end(ap);                                            \
        }                                                          \
        if (CREATES(flags) || fault_now(FAULT_FD, CALLER))         \
            return -1;                                             \
        return REAL(name) args;                                    \
    }
OPENS(open, (const char *path, int flags, ...), flags, (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), flags, (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))

#define OPENS_2(name, params, args)      \
    int name params;                     \
    EXPORT int name params               \
    {                                    \
        if (fault_now(FAULT_FD, CALLER)) \
            return -1;                   \
        return REAL(name) args;          \
    }
OPENS_2(__open_2, (const char *path, int flags), (path, flags))
OPENS_2(__open64_2, (const char *path, int flags), (path, flags))
OPENS_2(__openat_2, (int dir, const char *path, int flags), (dir, path, flags))
OPENS_2(__openat64_2, (int dir, const char *path, int flags), (dir, path, flags))

/* Of its many uses only the ones that make a descriptor; a pointer and an int travel alike. */
#define CONTROLS(name)                                                                   \
    EXPORT int name(int fd, int what, ...)                                               \
    {                                                                                    \
        void *arg;                                                                       \
        va_list ap;                                                                      \
                                                                                         \
        va_start(ap, what);                                                              \
        arg = va_arg(ap, void *);                                                        \
        va_end(ap);                                                                      \
        if ((what == F_DUPFD || what == F_DUPFD_CLOEXEC) && fault_now(FAULT_FD, CALLER)) \
            return -1;                                                                   \
        return REAL(name)(fd, what, arg);                                                \
    }
CONTROLS(fcntl)
CONTROLS(fcntl64)

/* ---- the disk ---- */

#define ON_DISK(name, params, args)        \
    EXPORT int name params                 \
    {                                      \
        if (fault_now(FAULT_DISK, CALLER)) \
            return -1;                     \
        return REAL(name) args;            \
    }
ON_DISK(mkdir, (const char *path, mode_t mode), (path, mode))
ON_DISK(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
ON_DISK(rename, (const char *from, const char *to), (from, to))
ON_DISK(renameat, (int from_dir, const char *from, int to_dir, const char *to),
        (from_dir, from, to_dir, to))
ON_DISK(link, (const char *from, const char *to), (from, to))
ON_DISK(symlink, (const char *from, const char *to), (from, to))
ON_DISK(ftruncate, (int fd, off_t len), (fd, len))
ON_DISK(ftruncate64, (int fd, off64_t len), (fd, len))

ON_DISK(fsync, (int fd), (fd))
ON_DISK(fdatasync, (int fd), (fd))

/* ---- processes and threads ---- */

EXPORT pid_t fork(void)
{
    if (fault_now(FAULT_PROC, CALLER))
        return -1;
    return REAL(fork)();
}

EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *),
                          void *arg)
{
    if (fault_now(FAULT_PROC, CALLER))
        return EAGAIN;
    return REAL(pthread_create)(ret, attr, run, arg);
}

EXPORT int sigaction(int signo, const struct sigaction *new, struct sigaction *old)
{
    if (new &&new->sa_handler != SIG_DFL &&new->sa_handler != SIG_IGN &&
        !(new->sa_flags &SA_RESTART) && fault_noise(CALLER)) {
        fprintf(stderr, "a handler of signal %d without SA_RESTART\n", signo);
        abort();
    }
    return REAL(sigaction)(signo, new, old);
}
