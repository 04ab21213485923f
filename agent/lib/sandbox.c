/* sandbox.c - see sandbox.h. Which user a role runs as is its parent's matter (sandbox_ids.c).
 *
 * The filter lists what these roles need; everything else is EPERM. Calls for which the C library
 * has an older way that it takes on ENOSYS get ENOSYS, and what only an intruder would try kills.
 */
#include "agent/lib/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/nodump.h"

/* Present in programs built with AddressSanitizer, whose leak check at exit traces the process. */
extern void __asan_init(void) __attribute__((weak));

#define S(name) SCMP_SYS(name)

static const int allowed[] = {
    /* descriptors and files, for reading */
    S(read),
    S(readv),
    S(pread64),
    S(preadv),
    S(write),
    S(writev),
    S(close),
    S(close_range),
    S(lseek),
    S(stat),
    S(fstat),
    S(lstat),
    S(newfstatat),
    S(statx),
    S(access),
    S(faccessat),
    S(faccessat2),
    S(readlink),
    S(readlinkat),
    S(getcwd),
    S(getdents64),
    S(fcntl),
    S(dup),
    S(dup2),
    S(dup3),
    S(pipe),
    S(pipe2),
    S(eventfd2),
    S(fstatfs),
    S(statfs),
    S(fadvise64),
    S(flock),
    /* waiting */
    S(epoll_create),
    S(epoll_create1),
    S(epoll_ctl),
    S(epoll_wait),
    S(epoll_pwait),
    S(epoll_pwait2),
    S(poll),
    S(ppoll),
    S(select),
    S(pselect6),
    S(nanosleep),
    S(clock_nanosleep),
    S(restart_syscall),
    S(timerfd_create),
    S(timerfd_settime),
    S(timerfd_gettime),
    /* memory; PROT_EXEC stays possible, libraries are loaded late (lws plugin, providers, nss) */
    S(mmap),
    S(munmap),
    S(mprotect),
    S(mremap),
    S(madvise),
    S(brk),
    S(membarrier),
    S(map_shadow_stack),
    /* network */
    S(socketpair),
    S(connect),
    S(bind),
    S(getsockname),
    S(getpeername),
    S(getsockopt),
    S(setsockopt),
    S(sendto),
    S(sendmsg),
    S(sendmmsg),
    S(recvfrom),
    S(recvmsg),
    S(recvmmsg),
    S(shutdown),
    /* threads and the process itself */
    S(set_robust_list),
    S(get_robust_list),
    S(rseq),
    S(set_tid_address),
    S(gettid),
    S(getpid),
    S(getppid),
    S(exit),
    S(exit_group),
    S(futex),
    S(sched_yield),
    S(sched_getaffinity),
    S(sched_getparam),
    S(sched_getscheduler),
    S(getpriority),
    S(wait4),
    S(getuid),
    S(geteuid),
    S(getgid),
    S(getegid),
    S(getresuid),
    S(getresgid),
    S(getgroups),
    S(capget),
    S(getrusage),
    S(getrlimit),
    S(times),
    S(uname),
    S(sysinfo),
    S(getcpu),
    S(arch_prctl),
    S(getrandom),
    S(clock_gettime),
    S(clock_getres),
    S(gettimeofday),
    S(time),
    S(umask),
    /* signals, to itself */
    S(rt_sigaction),
    S(rt_sigprocmask),
    S(rt_sigreturn),
    S(rt_sigpending),
    S(rt_sigtimedwait),
    S(sigaltstack),
};

static const int unknown_here[] = {
    /* ENOSYS: there is an older way */
    S(clone3), S(openat2), S(io_uring_setup), S(futex_waitv), S(pidfd_open),
};

static const int deadly[] = {
    S(execve),      S(execveat),     S(process_vm_readv), S(process_vm_writev),
    S(init_module), S(finit_module), S(kexec_load),       S(bpf),
};

static const int tracing[] = { S(ptrace), S(prctl),  S(getdents), S(kill),
                               S(tkill),  S(tgkill), S(clone) };

static int add_list(scmp_filter_ctx ctx, uint32_t action, const int *calls, size_t n)
{
    /* A call that this architecture lacks gets a pseudo number: skipping it loses nothing. */
    for (size_t i = 0; i < n; i++) {
        int r = seccomp_rule_add(ctx, action, calls[i], 0);

        if (r < 0 && r != -EDOM)
            return r;
    }
    return 0;
}

/* Calls with a look at one or two arguments: allowed if (argument & mask) == value. */
struct condition {
    int call;
    struct {
        unsigned arg;
        scmp_datum_t mask, value;
    } is[2];
    unsigned n;
};

#define WHOLE      (~(scmp_datum_t)0)
#define SOCK_KIND  0xf /* of a socket's type, without its flags */
#define WRITING    (O_ACCMODE | O_CREAT | O_TRUNC)
/* A thread, not a process, and in no namespace of its own. */
#define NEW_THREAD (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)
#define NEW_THING                                                                              \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
     CLONE_NEWCGROUP)

static const struct condition conditions[] = {
    { S(openat), { { 2, WRITING, O_RDONLY } }, 1 },
    { S(open), { { 1, WRITING, O_RDONLY } }, 1 },
    { S(clone), { { 0, NEW_THREAD | NEW_THING, NEW_THREAD } }, 1 },
    { S(prlimit64), { { 2, WHOLE, 0 } }, 1 }, /* reading limits (sysconf), not setting them */
    { S(socket), { { 0, WHOLE, AF_UNIX } }, 1 },
    { S(socket), { { 0, WHOLE, AF_INET }, { 1, SOCK_KIND, SOCK_STREAM } }, 2 },
    { S(socket), { { 0, WHOLE, AF_INET }, { 1, SOCK_KIND, SOCK_DGRAM } }, 2 },
    { S(socket), { { 0, WHOLE, AF_INET6 }, { 1, SOCK_KIND, SOCK_STREAM } }, 2 },
    { S(socket), { { 0, WHOLE, AF_INET6 }, { 1, SOCK_KIND, SOCK_DGRAM } }, 2 },
    { S(socket), { { 0, WHOLE, AF_NETLINK }, { 2, WHOLE, NETLINK_ROUTE } }, 2 }, /* getaddrinfo */
    { S(ioctl), { { 1, WHOLE, FIONREAD } }, 1 },
    { S(ioctl), { { 1, WHOLE, FIONBIO } }, 1 },
    { S(ioctl), { { 1, WHOLE, FIOCLEX } }, 1 },
    { S(ioctl), { { 1, WHOLE, TCGETS } }, 1 },
    { S(ioctl), { { 1, WHOLE, TIOCGWINSZ } }, 1 },
    { S(ioctl), { { 1, WHOLE, TIOCSWINSZ } }, 1 }, /* of a session's terminal */
    { S(prctl), { { 0, WHOLE, PR_SET_NAME } }, 1 },
    { S(prctl), { { 0, WHOLE, PR_GET_NAME } }, 1 },
    { S(prctl), { { 0, WHOLE, PR_SET_VMA } }, 1 },
    { S(prctl), { { 0, WHOLE, PR_GET_DUMPABLE } }, 1 },
};

static int add_conditional(scmp_filter_ctx ctx)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < FL_ARRAY_LEN(conditions); i++) {
        const struct condition *c = &conditions[i];
        struct scmp_arg_cmp is[2];

        for (unsigned j = 0; j < c->n; j++)
            is[j] = SCMP_CMP64(c->is[j].arg, SCMP_CMP_MASKED_EQ, c->is[j].mask, c->is[j].value);
        r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, c->call, c->n, is);
        r = r == -EDOM ? 0 : r; /* no such call here */
    }
    /* raise and abort; a signal to any other process is refused. */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return r;
}

/* Tracing kills, except where the program's own sanitizer needs it. */
static int add_tracing(scmp_filter_ctx ctx)
{
    if (__asan_init)
        return add_list(ctx, SCMP_ACT_ALLOW, tracing, FL_ARRAY_LEN(tracing));
    return add_list(ctx, SCMP_ACT_KILL_PROCESS, tracing, 1);
}

static int load_filter(struct fl_err *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r;

    if (!ctx)
        return fl_err_set(err, -ENOMEM, NULL, "seccomp: out of memory");
    r = add_list(ctx, SCMP_ACT_ALLOW, allowed, FL_ARRAY_LEN(allowed));
    if (r == 0)
        r = add_conditional(ctx);
    if (r == 0)
        r = add_list(ctx, SCMP_ACT_ERRNO(ENOSYS), unknown_here, FL_ARRAY_LEN(unknown_here));
    if (r == 0)
        r = add_list(ctx, SCMP_ACT_KILL_PROCESS, deadly, FL_ARRAY_LEN(deadly));
    if (r == 0)
        r = add_tracing(ctx);
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: the list is long */
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    /* A kernel or an outer sandbox without seccomp: the rest of the walls still stands. */
    if (r == -EINVAL || r == -ENOSYS || r == -ECANCELED)
        return 0;
    return r < 0 ? fl_err_set(err, r, NULL, "seccomp: %s", strerror(-r)) : 0;
}

int fl_sandbox_enter(struct fl_err *err)
{
    fl_nodump(true);
    return load_filter(err);
}
