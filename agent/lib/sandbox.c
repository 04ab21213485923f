/* sandbox.c - see sandbox.h. Which user a role runs as is its parent's matter (sandbox_ids.c).
 *
 * The filter lists what these roles need; everything else is EPERM. Calls for which the C library
 * has an older way that it takes on ENOSYS get ENOSYS, and what only an intruder would try kills.
 */
#include "agent/lib/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "common/base/nodump.h"

#define MAX_FILES 256

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
    S(tgkill),
    S(tkill),
};

static const int unknown_here[] = {
    /* ENOSYS: there is an older way */
    S(clone3), S(openat2), S(io_uring_setup), S(futex_waitv), S(pidfd_open),
};

static const int deadly[] = {
    S(execve),      S(execveat),     S(process_vm_readv), S(process_vm_writev),
    S(init_module), S(finit_module), S(kexec_load),       S(bpf),
};

static const int tracing[] = { S(ptrace), S(prctl), S(getdents), S(kill) };

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

/* Rules with a look at the arguments. */
static int add_conditional(scmp_filter_ctx ctx)
{
    static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
    const scmp_datum_t writing = O_ACCMODE | O_CREAT | O_TRUNC;
    const scmp_datum_t namespaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET |
                                    CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    static const int ioctls[] = { FIONREAD, FIONBIO, FIOCLEX, TCGETS, TIOCGWINSZ };
    static const int prctls[] = { PR_SET_NAME, PR_GET_NAME, PR_SET_VMA, PR_GET_DUMPABLE,
                                  PR_SET_PDEATHSIG };
    int r;

    r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(openat), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(open), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, writing, O_RDONLY));
    if (r == 0 || r == -EDOM)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
    /* Reading limits (sysconf), not setting them. */
    if (r == 0)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0, 0));
    for (size_t i = 0; r == 0 && i < FL_ARRAY_LEN(families); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    for (size_t i = 0; r == 0 && i < FL_ARRAY_LEN(ioctls); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(ioctl), 1,
                             SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)ioctls[i], 0));
    for (size_t i = 0; r == 0 && i < FL_ARRAY_LEN(prctls); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, S(prctl), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)prctls[i], 0));
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

static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    /* Fails without CAP_SETPCAP, and then no_new_privs keeps the bounding set from mattering. */
    for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    syscall(SYS_capset, &head, none);
}

int fl_sandbox_enter(enum fl_sandbox_role role, struct fl_err *err)
{
    struct rlimit files;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fl_err_set(err, -errno, NULL, "no_new_privs: %s", strerror(errno));
    drop_capabilities();
    fl_nodump(true);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > MAX_FILES) {
        files.rlim_cur = files.rlim_max = MAX_FILES;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return load_filter(err);
}
