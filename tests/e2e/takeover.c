/* takeover.c - what arbitrary code could do in the place of net or fetch.
 *
 * test_privileges.py installs this program as fairlead-agent-net and fairlead-agent-fetch of a
 * prefix of its own, and a real monitor starts it. It reads `plan` beside its executable: lines
 * "key value". With "do attacks" it forks a child for each row of the table, which enters the
 * product's own sandbox and tries one thing; the outcome is printed as
 *
 *     takeover NET|FETCH <name> <outcome>          outcome: ok, an errno's name, or SIG<number>
 *
 * Where "raw" stands before the name, the child did not enter the sandbox: what is left then is
 * what the monitor took away before it began the program. With "do <name of an ipc attack>" it
 * speaks to the monitor instead, and prints what the monitor says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/lib/ipc_net.h"
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "common/base/file.h"

#define MAX_PLAN_BYTES  65536
#define MAX_FRAME_BYTES (1u << 20)

struct header { /* of common/ipc/ipc.c */
    uint32_t len;
    uint16_t type, n_fds;
    uint32_t id;
};

static char *plan;
static const char *role = "NET";
static pid_t monitor;

/* The value of a key of the plan; "" if it has none. Lives until the next call. */
static const char *planned(const char *key)
{
    static char value[1024];
    size_t len = strlen(key);

    for (const char *at = plan; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (strncmp(at, key, len) == 0 && at[len] == ' ') {
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(at + len + 1, "\n"), at + len + 1);
            return value;
        }
    return "";
}

static void say(const char *kind, const char *name, const char *outcome)
{
    char line[1024];
    int n = snprintf(line, sizeof(line), "takeover %s %s%s %s\n", role, kind, name, outcome);

    (void)!write(STDERR_FILENO, line, (size_t)FL_MIN(n, (int)sizeof(line) - 1));
}

/* ---- things to try: 0 if it worked, else -errno ---- */

static int result(long r)
{
    return r < 0 ? -errno : 0;
}

static int try_open(const char *path, int flags)
{
    return result(open(path, flags | O_CLOEXEC, 0600));
}

static int read_vault(void)
{
    return try_open(planned("vault"), O_RDONLY);
}
static int read_registration(void)
{
    return try_open(planned("registration"), O_RDONLY);
}
static int list_state(void)
{
    return try_open(planned("state"), O_RDONLY | O_DIRECTORY);
}
static int read_job(void)
{
    return try_open(planned("job"), O_RDONLY);
}
static int read_config(void)
{
    return try_open(planned("config"), O_RDONLY);
}
static int monitor_file(const char *name, int flags)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)monitor, name);
    return try_open(path, flags);
}
static int monitor_memory(void)
{
    return monitor_file("mem", O_RDONLY);
}
static int monitor_environ(void)
{
    return monitor_file("environ", O_RDONLY);
}
static int monitor_root(void)
{
    char path[96];

    snprintf(path, sizeof(path), "/proc/%d/root/etc/passwd", (int)monitor);
    return try_open(path, O_RDONLY);
}
static int monitor_fds(void)
{
    return monitor_file("fd", O_RDONLY | O_DIRECTORY);
}
static int trace_monitor(void)
{
    return result(ptrace(PTRACE_ATTACH, monitor, NULL, NULL));
}
static int read_monitor(void)
{
    char byte;
    struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x400000, 1 };

    return result(process_vm_readv(monitor, &here, 1, &there, 1, 0));
}
static int write_monitor(void)
{
    char byte = 0;
    struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x400000, 1 };

    return result(process_vm_writev(monitor, &here, 1, &there, 1, 0));
}
static int signal_monitor(void)
{
    return result(kill(monitor, SIGTERM));
}
static int signal_monitor_thread(void)
{
    return result(syscall(SYS_tgkill, monitor, monitor, SIGTERM));
}
/* Of the same user: only the filter stands between. */
static int signal_fellow(void)
{
    return result(syscall(SYS_tgkill, getppid(), getppid(), 0));
}
static int queue_signal(void)
{
    return result(sigqueue(monitor, SIGTERM, (union sigval){ 0 }));
}
static int open_pidfd(void)
{
    return result(syscall(SYS_pidfd_open, monitor, 0));
}
static int write_file(void)
{
    return try_open(planned("scratch"), O_WRONLY | O_CREAT);
}
static int write_log(void)
{
    return try_open("/proc/self/fd/2", O_WRONLY | O_APPEND);
}
static int make_directory(void)
{
    return result(mkdir(planned("scratch"), 0700));
}
static int delete_file(void)
{
    return result(unlink(planned("config")));
}
static int rename_file(void)
{
    return result(rename("/etc/passwd", planned("scratch")));
}
static int make_setuid(void)
{
    return result(chmod("/proc/self/exe", 04755));
}
static int link_file(void)
{
    return result(symlink("/etc/passwd", planned("scratch")));
}
static int make_device(void)
{
    return result(mknod(planned("scratch"), S_IFCHR | 0600, (1 << 8) | 1));
}
static int memory_file(void)
{
    return result(syscall(SYS_memfd_create, "x", 0));
}
static int open_memory(void)
{
    return try_open("/dev/mem", O_RDONLY);
}
static int open_kernel_log(void)
{
    return try_open("/dev/kmsg", O_RDONLY);
}
static int raw_socket(void)
{
    return result(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}
static int raw_socket_v6(void)
{
    return result(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
}
static int packet_socket(void)
{
    return result(socket(AF_PACKET, SOCK_RAW, 0));
}
static int netfilter_socket(void)
{
    return result(socket(AF_NETLINK, SOCK_RAW, 12 /* NETLINK_NETFILTER */));
}
static int kernel_crypto_socket(void)
{
    return result(socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0));
}
static int vsock_socket(void)
{
    return result(socket(40 /* AF_VSOCK */, SOCK_STREAM, 0));
}
static int listen_on_port(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return 0; /* not what is asked here: shows as a surprise */
    return result(listen(fd, 1));
}
static int status_socket(void)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", planned("status"));
    return result(connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
}
static int execute(void)
{
    return result(execl("/bin/true", "true", (char *)NULL));
}
static int execute_at(void)
{
    char *const argv[] = { (char *)"true", NULL };

    return result(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, environ, 0));
}
/* All three ways; the C library's own fork may take any. */
static int fork_classic(void)
{
    return result(syscall(SYS_fork));
}
static int fork_by_clone(void)
{
    return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}
static int fork_by_clone3(void)
{
    uint64_t args[11] = { 0 };

    return result(syscall(SYS_clone3, args, sizeof(args)));
}
static int new_user_namespace(void)
{
    return result(unshare(CLONE_NEWUSER));
}
static int enter_namespace(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    return result(setns(fd, 0));
}
static int mount_something(void)
{
    return result(mount("none", "/mnt", "tmpfs", 0, NULL));
}
static int change_root(void)
{
    return result(chroot("/"));
}
static int become_root(void)
{
    return result(setuid(0));
}
static int kernel_keys(void)
{
    return result(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3, 0));
}
static int add_kernel_key(void)
{
    return result(syscall(SYS_add_key, "user", "fairlead", "x", 1, -3));
}
static int load_bpf(void)
{
    union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY };

    return result(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}
static int perf_events(void)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr) };

    return result(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}
static int io_ring(void)
{
    char params[120] = { 0 };

    return result(syscall(SYS_io_uring_setup, 1, params));
}
static int fault_handler(void)
{
    return result(syscall(SYS_userfaultfd, 0));
}
static int load_module(void)
{
    return result(syscall(SYS_init_module, "", 0, ""));
}
static int set_clock(void)
{
    struct timespec ts = { 1, 0 };

    return result(clock_settime(CLOCK_REALTIME, &ts));
}
static int reboot_machine(void)
{
    return result(syscall(SYS_reboot, 0, 0, 0, NULL));
}
static int raise_limits(void)
{
    struct rlimit lim = { 1024, 1024 };

    return result(setrlimit(RLIMIT_NOFILE, &lim));
}
static int allow_core(void)
{
    struct rlimit lim = { 1, 1 };

    return result(setrlimit(RLIMIT_CORE, &lim));
}
static int be_dumpable(void)
{
    return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int second_filter(void)
{
    return result(prctl(PR_SET_SECCOMP, 2, NULL, 0, 0));
}
static int other_abi(void)
{
#ifdef __x86_64__
    long r;

    /* The 32-bit entry: getpid is 20 there. A filter that forgets it can be walked around. */
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    errno = (int)-r;
    return r < 0 ? -errno : 0;
#else
    return -ENOSYS;
#endif
}
static int x32_abi(void)
{
    return result(syscall(0x40000000 | 39 /* getpid */));
}
/* Nothing that a name lookup or a connection needs may be missing. */
static int plain_socket(void)
{
    return result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}
static int read_public_file(void)
{
    return try_open("/etc/passwd", O_RDONLY);
}
static int see_dumpable(void)
{
    int r = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

    return r == 0 ? -EACCES : 0;
}

static const struct {
    const char *name;
    int (*fn)(void);
} attacks[] = {
    { "read-vault", read_vault },
    { "read-registration", read_registration },
    { "list-state", list_state },
    { "read-job", read_job },
    { "read-config", read_config },
    { "monitor-memory", monitor_memory },
    { "monitor-environ", monitor_environ },
    { "monitor-root", monitor_root },
    { "monitor-fds", monitor_fds },
    { "trace-monitor", trace_monitor },
    { "read-monitor", read_monitor },
    { "write-monitor", write_monitor },
    { "signal-monitor", signal_monitor },
    { "signal-monitor-thread", signal_monitor_thread },
    { "signal-fellow", signal_fellow },
    { "queue-signal", queue_signal },
    { "open-pidfd", open_pidfd },
    { "write-file", write_file },
    { "write-log", write_log },
    { "make-directory", make_directory },
    { "delete-file", delete_file },
    { "rename-file", rename_file },
    { "make-setuid", make_setuid },
    { "link-file", link_file },
    { "make-device", make_device },
    { "memory-file", memory_file },
    { "open-memory", open_memory },
    { "open-kernel-log", open_kernel_log },
    { "raw-socket", raw_socket },
    { "raw-socket-v6", raw_socket_v6 },
    { "packet-socket", packet_socket },
    { "netfilter-socket", netfilter_socket },
    { "kernel-crypto-socket", kernel_crypto_socket },
    { "vsock-socket", vsock_socket },
    { "listen-on-port", listen_on_port },
    { "status-socket", status_socket },
    { "execute", execute },
    { "execute-at", execute_at },
    { "fork", fork_classic },
    { "fork-by-clone", fork_by_clone },
    { "fork-by-clone3", fork_by_clone3 },
    { "new-user-namespace", new_user_namespace },
    { "enter-namespace", enter_namespace },
    { "mount", mount_something },
    { "chroot", change_root },
    { "become-root", become_root },
    { "kernel-keys", kernel_keys },
    { "add-kernel-key", add_kernel_key },
    { "load-bpf", load_bpf },
    { "perf-events", perf_events },
    { "io-uring", io_ring },
    { "userfaultfd", fault_handler },
    { "load-module", load_module },
    { "set-clock", set_clock },
    { "reboot", reboot_machine },
    { "raise-limits", raise_limits },
    { "allow-core", allow_core },
    { "be-dumpable", be_dumpable },
    { "second-filter", second_filter },
    { "32-bit-abi", other_abi },
    { "x32-abi", x32_abi },
    { "plain-socket", plain_socket },
    { "read-public-file", read_public_file },
    { "see-dumpable", see_dumpable },
};

/* The child's exit status carries the errno; 0 is success. */
static void attempt(const char *kind, const char *name, int (*fn)(void))
{
    char text[64];
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        pid_t self = getpid();
        int r;

        if (!*kind && fl_sandbox_enter(NULL) < 0)
            _exit(250);
        r = fn();
        if (getpid() == self)
            _exit(-r);
        _exit(0); /* a fork that worked: only the first answer counts */
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        snprintf(text, sizeof(text), "not-tried");
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "SIG%d", WTERMSIG(status));
    else if (WEXITSTATUS(status) == 0)
        snprintf(text, sizeof(text), "ok");
    else
        snprintf(text, sizeof(text), "%s",
                 strerrorname_np(WEXITSTATUS(status)) ? strerrorname_np(WEXITSTATUS(status)) : "?");
    say(kind, name, text);
}

static void do_attacks(void)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(attacks); i++)
        attempt("", attacks[i].name, attacks[i].fn);
    for (size_t i = 0; i < FL_ARRAY_LEN(attacks); i++)
        attempt("raw:", attacks[i].name, attacks[i].fn);
    say("", "end", "ok");
}

/* ---- what can be said to the monitor ---- */

static int send_raw(uint16_t type, const void *data, uint32_t len, uint32_t claimed_len,
                    uint16_t claimed_fds)
{
    const struct header h = { .len = claimed_len, .type = type, .n_fds = claimed_fds, .id = 1 };

    if (fl_fd_write_all(FL_ROLE_SOCKET_FD, &h, sizeof(h)) < 0)
        return -EPIPE;
    return len ? fl_fd_write_all(FL_ROLE_SOCKET_FD, data, len) : 0;
}

static const struct fl_ipc_row *row_of(uint16_t type)
{
    for (size_t i = 0; i < fl_n_net_rows; i++)
        if (fl_net_rows[i].type == type)
            return &fl_net_rows[i];
    return NULL;
}

static void send_msg(uint16_t type, const void *in)
{
    fl_autobuf struct fl_buf packed = FL_BUF(8u << 20);

    if (fl_pack_encode(row_of(type)->shape, in, &packed) == 0)
        send_raw(type, packed.data, (uint32_t)packed.len, (uint32_t)packed.len, 0);
}

static void send_fds(unsigned n_messages, unsigned n_each)
{
    for (unsigned i = 0; i < n_messages; i++) {
        char control[CMSG_SPACE(16 * sizeof(int))] = { 0 };
        char byte[] = "\0";
        struct iovec iov = { byte, 1 };
        struct msghdr mh = { .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(n_each * sizeof(int)) };
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_each * sizeof(int));
        for (unsigned j = 0; j < n_each; j++)
            memcpy(CMSG_DATA(c) + j * sizeof(int), &(int){ STDERR_FILENO }, sizeof(int));
        if (sendmsg(FL_ROLE_SOCKET_FD, &mh, MSG_NOSIGNAL) < 0)
            return;
    }
}

static void ready(void)
{
    send_msg(FL_NET_READY, "");
}

static void unknown_type(void)
{
    ready();
    send_raw(99, NULL, 0, 0, 0);
}
static void own_type(void)
{
    ready();
    send_raw(FL_NET_CREDS, NULL, 0, 0, 0);
}
static void before_ready(void)
{
    send_msg(FL_NET_REPLY_ACKED, &(struct fl_net_reply_acked){ (char *)"x" });
}
static void ready_twice(void)
{
    ready();
    ready();
}
static void malformed(void)
{
    ready();
    send_raw(FL_NET_STATE, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 8, 0);
}
static void oversized(void)
{
    ready();
    send_raw(FL_NET_JOB, NULL, 0, 0xffffffff, 0);
}
static void absent_fds(void)
{
    ready();
    send_raw(FL_NET_NEED_FETCH, NULL, 0, 0, 3);
}
static void many_fds(void)
{
    ready();
    send_fds(8, 4);
}
static void too_many_fds_at_once(void)
{
    ready();
    send_fds(1, 8);
}

/* Well-formed, but lies. Net lives on; what the monitor does with them is for the test to see. */
static void lies(void)
{
    static const char *const ids[] = { "../../escape", "..", ".", "a/b", "", "x\ny" };
    char *big = calloc(1, MAX_FRAME_BYTES + 2);
    char *uuid = (char *)"01234567-89ab-4cde-8f01-23456789abcd";

    ready();
    memset(big, 'A', MAX_FRAME_BYTES + 1);
    send_msg(FL_NET_STATE, &(struct fl_net_state){ .last_error = big, .last_error_ms = 1 });
    send_msg(FL_NET_AUDIT, &(struct fl_net_audit){ 0 });
    send_msg(FL_NET_AUDIT, &(struct fl_net_audit){ (char *)"x\n<0>forged line", big, big });
    send_msg(FL_NET_REPLY_ACKED, &(struct fl_net_reply_acked){ NULL });
    send_msg(FL_NET_REPLY_ACKED, &(struct fl_net_reply_acked){ uuid });
    send_msg(FL_NET_TOKEN_RESULT, &(struct fl_net_token_result){ 0 });
    send_msg(FL_NET_JOB, &(struct fl_net_job){ 0 });
    for (size_t i = 0; i < FL_ARRAY_LEN(ids); i++)
        send_msg(FL_NET_JOB, &(struct fl_net_job){ .job_id = (char *)ids[i],
                                                   .command_id = (char *)ids[i],
                                                   .message_id = uuid,
                                                   .document_name = (char *)"x",
                                                   .content = (char *)"{}" });
    send_msg(FL_NET_JOB, &(struct fl_net_job){ .job_id = (char *)"big",
                                               .command_id = (char *)"big",
                                               .message_id = uuid,
                                               .document_name = (char *)"x",
                                               .content = big });
    send_msg(FL_NET_JOB, &(struct fl_net_job){ .job_id = (char *)"c",
                                               .message_id = uuid,
                                               .cancel = true,
                                               .cancel_job_id = (char *)"../../escape" });
    for (int i = 0; i < 50; i++)
        send_msg(FL_NET_NEED_FETCH, "");
    free(big);
}

/* A job of the right form: nothing tells it from the plane's. */
static void forge_job(void)
{
    ready();
    send_msg(FL_NET_JOB,
             &(struct fl_net_job){ .job_id = (char *)"forged",
                                   .command_id = (char *)"forged",
                                   .message_id = (char *)"01234567-89ab-4cde-8f01-23456789abcd",
                                   .created_ms = 1,
                                   .document_name = (char *)"AWS-RunShellScript",
                                   .content = (char *)planned("content") });
}

static const struct {
    const char *name;
    void (*fn)(void);
} talks[] = {
    { "unknown-type", unknown_type },
    { "own-type", own_type },
    { "before-ready", before_ready },
    { "ready-twice", ready_twice },
    { "malformed", malformed },
    { "oversized", oversized },
    { "absent-fds", absent_fds },
    { "many-fds", many_fds },
    { "too-many-fds-at-once", too_many_fds_at_once },
    { "lies", lies },
    { "forge-job", forge_job },
    { "sign", ready },
};

/* "sign": pretends that each call went well and asks for the key to be changed, so that the monitor
 * has the next thing signed. */
static void answer_call(const struct fl_net_signed_call *call)
{
    send_msg(FL_NET_TOKEN_RESULT,
             &(struct fl_net_token_result){ .operation = (char *)"DeleteEverything",
                                            .http_status = 200,
                                            .access_key_id = (char *)"AKID",
                                            .secret_access_key = (char *)"secret",
                                            .session_token = (char *)"token",
                                            .expires_ms = INT64_MAX / 2,
                                            .update_key_pair = true });
}

/* Prints what the monitor sends, as JSON, until it ends us. */
static void listen_to_monitor(bool answer)
{
    fl_autobuf struct fl_buf in = FL_BUF(8u << 20);
    struct header h;

    while (recv(FL_ROLE_SOCKET_FD, &h, sizeof(h), MSG_WAITALL) == (ssize_t)sizeof(h)) {
        fl_autobuf struct fl_buf text = FL_BUF(8u << 20);
        struct fl_arena arena = FL_ARENA(16u << 20);
        const struct fl_ipc_row *row = row_of(h.type);
        void *msg;
        fl_buf_reset(&in);
        if (!row || fl_buf_reserve(&in, h.len + 1) < 0 ||
            (h.len && recv(FL_ROLE_SOCKET_FD, in.data, h.len, MSG_WAITALL) != (ssize_t)h.len))
            break;
        msg = fl_arena_alloc(&arena, row->shape->size);
        if (msg && fl_pack_decode(row->shape, in.data, h.len, &arena, msg) == 0 &&
            fl_buf_printf(&text, "takeover %s said:%s ", role, row->name) == 0 &&
            fl_json_encode(row->shape, msg, &text) == 0 && fl_buf_puts(&text, "\n") == 0)
            fl_fd_write_all(STDERR_FILENO, text.data, text.len);
        if (answer && msg && h.type == FL_NET_TOKEN_CALL)
            answer_call(msg);
        fl_arena_done(&arena);
    }
}

static int read_plan(void)
{
    char path[512];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 16);

    if (n < 0)
        return -errno;
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, "plan");
    return fl_file_read(path, MAX_PLAN_BYTES, &plan, NULL, NULL);
}

int main(int argc, char **argv)
{
    const char *what;

    if (strstr(argv[0], "fetch"))
        role = "FETCH";
    monitor = getppid();
    if (read_plan() < 0) {
        say("", "plan", "unreadable");
        return 1;
    }
    what = planned("do");
    if (strcmp(what, "attacks") == 0) {
        /* Fetch is started by asking for it, so that both are seen. */
        if (strcmp(role, "NET") == 0) {
            ready();
            send_msg(FL_NET_NEED_FETCH, "");
        }
        do_attacks();
    } else if (strcmp(role, "NET") == 0) {
        bool answer = strcmp(what, "sign") == 0;

        for (size_t i = 0; i < FL_ARRAY_LEN(talks); i++)
            if (strcmp(talks[i].name, what) == 0)
                talks[i].fn();
        listen_to_monitor(answer);
    }
    for (;;)
        pause(); /* the monitor ends us */
}
