/* role.c - see role.h. */
#include "agent/lib/role.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent/lib/sandbox.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define MAX_CA_BYTES (4u << 20)
#define MAX_ARGS     16
#define CA_PATH      "/proc/self/fd/4"

/* Above every number that a child's descriptors are moved to. */
#define EXEC_FD_MIN 64

static int open_program(const struct fl_paths *paths, const char *program, struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(paths->libexec, program);
    fl_autofd int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
    int high;

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s/%s: %s", paths->libexec, program, strerror(errno));
    high = fcntl(fd, F_DUPFD_CLOEXEC, EXEC_FD_MIN);
    return high < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", program, strerror(errno)) : high;
}

/* Our environment for a program that faces the network: without the keys that the tools of the user
 * who started the agent may find there. Fresh memory; the strings are ours. */
static char **without_keys(void)
{
    static const char prefix[] = "AWS_";
    char **env;
    size_t n = 0;

    while (environ[n])
        n++;
    env = calloc(n + 1, sizeof(*env));
    n = 0;
    for (char **v = environ; env && *v; v++)
        if (strncmp(*v, prefix, sizeof(prefix) - 1) != 0)
            env[n++] = *v;
    return env;
}

static int open_ca(const char *path, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    fl_autofd int fd = -1;
    size_t len = 0;
    int r = fl_file_read(path, MAX_CA_BYTES, &text, &len, err);

    if (r < 0)
        return r;
    fd = memfd_create("fairlead-ca", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || fl_fd_write_all(fd, text, len) < 0 || fchmod(fd, 0444) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return fl_err_set(err, -EIO, NULL, "%s: cannot hand it to another process", path);
    return FL_TAKE_FD(fd);
}

int fl_role_spawn(struct fl_loop *loop, const struct fl_paths *paths,
                  const struct fl_role_spec *spec, fl_child_fn fn, void *arg,
                  struct fl_child **ret_child, struct fl_err *err)
{
    struct fl_child_fd fds[FL_CHILD_MAX_FDS];
    const char *argv[MAX_ARGS + 4] = { spec->program };
    size_t n_fds = 0, n_args = 1;
    fl_autofd int exec_fd = -1;
    fl_autofd int ca_fd = -1;
    fl_autofree char **env = NULL;
    char exec_path[32];
    unsigned uid, gid;
    int r;
    struct fl_child_spec child = {
        .path = exec_path,
        .argv = (char *const *)(uintptr_t)argv,
        .fds = fds,
        .die_with_parent = !spec->outlive_parent,
    };

    if (spec->n_fds + 2 > FL_CHILD_MAX_FDS)
        return fl_err_set(err, -EINVAL, NULL, "%s: too many descriptors", spec->program);
    for (size_t i = 0; i < spec->n_fds; i++)
        fds[n_fds++] = spec->fds[i];
    if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
        fds[n_fds++] = (struct fl_child_fd){ STDERR_FILENO, STDERR_FILENO };
    if (spec->ca_file && *spec->ca_file) {
        ca_fd = open_ca(spec->ca_file, err);
        if (ca_fd < 0)
            return ca_fd;
        fds[n_fds++] = (struct fl_child_fd){ FL_ROLE_CA_FD, ca_fd };
        argv[n_args++] = "--ca-fd";
    }
    for (size_t i = 0; spec->args && spec->args[i]; i++) {
        if (i == MAX_ARGS)
            return fl_err_set(err, -EINVAL, NULL, "%s: too many arguments", spec->program);
        argv[n_args++] = spec->args[i];
    }
    if (spec->user) {
        env = without_keys();
        if (!env)
            return fl_err_nomem(err);
        child.envp = env;
        child.confine = true;
    }
    if (spec->user && geteuid() == 0) {
        r = fl_sandbox_ids(spec->user, &uid, &gid, err);
        if (r < 0)
            return r;
        child.set_ids = true;
        child.uid = uid;
        child.gid = gid;
    }
    exec_fd = open_program(paths, spec->program, err);
    if (exec_fd < 0)
        return exec_fd;
    snprintf(exec_path, sizeof(exec_path), "/proc/self/fd/%d", exec_fd);
    child.n_fds = n_fds;
    return fl_child_spawn(loop, &child, fn, arg, ret_child, err);
}

const char *fl_role_ca_path(int argc, char **argv, const char *ca_file)
{
    if (!ca_file || !*ca_file)
        return NULL;
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--ca-fd") == 0)
            return CA_PATH;
    return ca_file;
}

void fl_role_ca_rename(struct fl_err *err, const char *ca_file)
{
    char *at = ca_file ? strstr(err->text, CA_PATH) : NULL;
    fl_autofree char *rest = NULL;

    if (!at)
        return;
    rest = strdup(at + strlen(CA_PATH));
    snprintf(at, sizeof(err->text) - (size_t)(at - err->text), "%s%s", ca_file, rest ? rest : "");
}

int fl_role_spawn_fetch(struct fl_loop *loop, const struct fl_paths *paths, const char *user,
                        const char *ca_file, fl_child_fn fn, void *arg, struct fl_child **ret_child,
                        int *ret_fd, struct fl_err *err)
{
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return fl_err_set(err, -errno, NULL, "cannot make a socket pair: %s", strerror(errno));
    r = fl_role_spawn(loop, paths,
                      &(struct fl_role_spec){
                          .program = "fairlead-agent-fetch",
                          .fds = (const struct fl_child_fd[]){ { FL_ROLE_SOCKET_FD, fds[1] } },
                          .n_fds = 1,
                          .user = user,
                          .ca_file = ca_file,
                      },
                      fn, arg, ret_child, err);
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    *ret_fd = fds[0];
    return 0;
}

void fl_role_log_setup(const char *level, const char *format, const char *tag)
{
    enum fl_log_level max = FL_LOG_INFO;

    if (level)
        (void)fl_log_level_parse(level, &max);
    fl_log_setup(max, format && strcmp(format, "json") == 0 ? FL_LOG_JSON : FL_LOG_TEXT, tag);
}
