/* login.c - see login.h. */
#include "agent/holder/login.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/lib/text.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define MAX_GROUPS   256
#define MAX_ENV      64
#define USERADD_S    30 /* far above what it takes, below a client's patience */
#define NAP_MS       5
#define SUDOERS_DIR  "/etc/sudoers.d"
#define SUDOERS_FILE SUDOERS_DIR "/ssm-agent-users"
#define SUDOERS_TEXT "# User rules for ssm-user\nssm-user ALL=(ALL) NOPASSWD:ALL\n"

/* ---- ssm-user ---- */

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = NAP_MS * 1000000L }, NULL);
}

static const char *first_of(const char *const *paths)
{
    for (; *paths; paths++)
        if (access(*paths, X_OK) == 0)
            return *paths;
    return NULL;
}

/* Of a program that is expected to end within milliseconds. Its wait status, or -1: killed. */
static int wait_for(pid_t pid, int64_t deadline_ms)
{
    int status = -1;
    pid_t r;

    while ((r = waitpid(pid, &status, WNOHANG)) == 0 && fl_mono_ms() < deadline_ms)
        nap();
    if (r == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return r == pid ? status : -1;
}

/* 1: made. */
static int run_useradd(int64_t deadline_ms, struct fl_err *err)
{
    static const char *const programs[] = { "/usr/sbin/useradd", "/sbin/useradd", NULL };
    static const char *const shells[] = { "/bin/bash", "/bin/sh", NULL };
    static char *const env[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
    const char *program = first_of(programs);
    char *const argv[] = { fl_text("useradd"),
                           fl_text("-m"),
                           fl_text("-s"),
                           fl_text(first_of(shells) ? first_of(shells) : "/bin/sh"),
                           fl_text(FL_SESSION_DEFAULT_USER),
                           NULL };
    int status, r;
    pid_t pid;

    if (!program)
        return fl_err_set(err, -ENOENT, NULL, "there is no useradd to make %s with",
                          FL_SESSION_DEFAULT_USER);
    r = posix_spawn(&pid, program, NULL, NULL, argv, env);
    if (r != 0)
        return fl_err_set(err, -r, NULL, "useradd: %s", strerror(r));
    status = wait_for(pid, deadline_ms);
    /* Somebody else may have made it meanwhile: what counts is that it is there. */
    if (!getpwnam(FL_SESSION_DEFAULT_USER))
        return fl_err_set(err, -EIO, NULL, "useradd could not make %s (status %d)",
                          FL_SESSION_DEFAULT_USER,
                          status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    fl_log_info("user made", FL_S("user", FL_SESSION_DEFAULT_USER));
    return 1;
}

/* useradd writes the user first and the home last: whoever finds the user there waits as well. */
static int have_default_user(int lock_fd, struct fl_err *err)
{
    int64_t deadline_ms = fl_mono_ms() + USERADD_S * 1000;
    struct stat st;
    int r;

    while (flock(lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (fl_mono_ms() >= deadline_ms)
            return fl_err_set(err, -ETIMEDOUT, NULL,
                              "%s is being made for over %d s: look at useradd",
                              FL_SESSION_DEFAULT_USER, USERADD_S);
        nap();
    }
    r = getpwnam(FL_SESSION_DEFAULT_USER) ? 0 : run_useradd(deadline_ms, err);
    if (r == 1 && stat(SUDOERS_DIR, &st) == 0 && access(SUDOERS_FILE, F_OK) < 0)
        r = fl_file_replace(SUDOERS_FILE, 0440, SUDOERS_TEXT, strlen(SUDOERS_TEXT), err);
    flock(lock_fd, LOCK_UN);
    return r < 0 ? r : 0;
}

/* ---- who ---- */

static int take(const struct passwd *pw, struct fl_arena *arena, struct fl_login *ret,
                struct fl_err *err)
{
    gid_t groups[MAX_GROUPS];
    int n = MAX_GROUPS;

    ret->name = fl_arena_strdup(arena, pw->pw_name);
    ret->home = fl_arena_strdup(arena, pw->pw_dir && *pw->pw_dir ? pw->pw_dir : "/");
    ret->shell = fl_arena_strdup(arena, pw->pw_shell && *pw->pw_shell ? pw->pw_shell : "/bin/sh");
    ret->uid = pw->pw_uid;
    ret->gid = pw->pw_gid;
    if (ret->change && getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
        n = MAX_GROUPS; /* the first of them, as the kernel would have it */
    if (ret->change) {
        ret->groups = fl_arena_calloc(arena, (size_t)n, sizeof(gid_t));
        if (ret->groups)
            memcpy(ret->groups, groups, (size_t)n * sizeof(gid_t));
        ret->n_groups = ret->groups ? (size_t)n : 0;
    }
    if (!ret->name || !ret->home || !ret->shell || (ret->change && !ret->groups))
        return fl_err_nomem(err);
    return 0;
}

static int find_own(const struct fl_session_plan *plan, struct fl_arena *arena,
                    struct fl_login *ret, struct fl_err *err)
{
    const struct passwd *pw;

    if (plan->run_as_named)
        return fl_err_set(err, -EPERM, NULL,
                          "this agent does not run as root: it cannot run a session as %s",
                          plan->run_as && *plan->run_as ? plan->run_as : "another user");
    pw = getpwuid(geteuid());
    if (!pw)
        return fl_err_set(err, -ENOENT, NULL, "user %u has no entry in passwd",
                          (unsigned)geteuid());
    return take(pw, arena, ret, err);
}

int fl_login_find(const struct fl_session_plan *plan, const char *configured, int lock_fd,
                  struct fl_arena *arena, struct fl_login *ret_login, struct fl_err *err)
{
    const char *name = fl_session_plan_user(plan, true, configured);
    const struct passwd *pw;
    int r;

    *ret_login = (struct fl_login){ .change = geteuid() == 0 };
    if (!ret_login->change)
        return find_own(plan, arena, ret_login, err);
    if (!name || !*name)
        return fl_err_set(err, -EINVAL, NULL,
                          "RunAs is enabled, but no user is named: set the tag SSMSessionRunAs or "
                          "the default user of the preferences");
    if (!plan->run_as_named && !(configured && *configured) && !plan->elevated) {
        r = have_default_user(lock_fd, err);
        if (r < 0)
            return r;
    }
    pw = getpwnam(name);
    if (!pw)
        return fl_err_set(err, -ENOENT, NULL, "user %.60s does not exist on this node", name);
    if (plan->run_as_named && !plan->elevated && (pw->pw_uid == 0 || pw->pw_gid == 0))
        return fl_err_set(err, -EPERM, NULL, "RunAs user %.60s must not be root", name);
    return take(pw, arena, ret_login, err);
}

/* ---- environment ---- */

const char *fl_env_get(char *const *env, const char *name)
{
    size_t len = strlen(name);

    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

static void put(char **env, size_t *n, char *entry)
{
    size_t len = entry ? strcspn(entry, "=") + 1 : 0;

    for (size_t i = 0; entry && i < *n; i++)
        if (strncmp(env[i], entry, len) == 0) {
            env[i] = entry;
            return;
        }
    if (entry && *n < MAX_ENV)
        env[(*n)++] = entry;
}

char **fl_login_env(const struct fl_login *login, bool terminal, char *const *more,
                    struct fl_arena *arena)
{
    static const char path[] = "/usr/local/bin:/usr/bin:/bin";
    static const char root_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const char *lang = getenv("LANG");
    char **env = fl_arena_calloc(arena, MAX_ENV + 1, sizeof(*env));
    size_t n = 0;

    if (!env)
        return NULL;
    put(env, &n, fl_arena_printf(arena, "USER=%s", login->name));
    put(env, &n, fl_arena_printf(arena, "LOGNAME=%s", login->name));
    put(env, &n, fl_arena_printf(arena, "HOME=%s", login->home));
    put(env, &n, fl_arena_printf(arena, "SHELL=%s", login->shell));
    put(env, &n, fl_arena_printf(arena, "PATH=%s", login->uid == 0 ? root_path : path));
    put(env, &n, fl_arena_printf(arena, "LANG=%s", lang && *lang ? lang : "C.UTF-8"));
    for (; more && *more; more++)
        put(env, &n, fl_arena_strdup(arena, *more));
    if (terminal)
        put(env, &n, fl_arena_strdup(arena, "TERM=xterm-256color"));
    return env;
}
