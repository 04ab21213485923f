/* paths.c - see paths.h. */
#include "agent/lib/paths.h"
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"

#define OFFICIAL_CONFIG "/etc/amazon/ssm/amazon-ssm-agent.json"

static const char *home_dir(void)
{
    const char *home = getenv("HOME");
    const struct passwd *pw;

    if (home && *home == '/')
        return home;
    pw = getpwuid(getuid());
    return pw ? pw->pw_dir : NULL;
}

/* <env>/<tail>, or <home>/<below_home>/<tail>; NULL without a home. */
static char *user_path(const char *env, const char *below_home, const char *tail)
{
    const char *base = getenv(env);
    char *p = NULL;
    int n;

    if (base && *base == '/') {
        n = asprintf(&p, "%s/%s", base, tail);
    } else {
        base = home_dir();
        n = base ? asprintf(&p, "%s/%s/%s", base, below_home, tail) : -1;
    }
    return n < 0 ? NULL : p;
}

/* The process changes its directory later: what the user gave is made absolute now. */
static char *absolute(const char *path)
{
    fl_autofree char *cwd = NULL;

    if (*path == '/')
        return strdup(path);
    cwd = getcwd(NULL, 0);
    return cwd ? fl_path_join(cwd, path) : NULL;
}

static char *default_config(bool root)
{
    if (!root)
        return user_path("XDG_CONFIG_HOME", ".config", "fairlead/agent.json");
    if (access("/etc/fairlead/agent.json", F_OK) != 0 && access(OFFICIAL_CONFIG, F_OK) == 0)
        return strdup(OFFICIAL_CONFIG);
    return strdup("/etc/fairlead/agent.json");
}

/* Nothing of ours lies in the official agent's folder. */
static char *policy_beside(const char *config)
{
    const char *end = strrchr(config, '/'); /* it is absolute */
    fl_autofree char *dir = NULL;

    if (strcmp(config, OFFICIAL_CONFIG) == 0)
        return strdup("/etc/fairlead/policy.json");
    dir = strndup(config, (size_t)(end - config));
    return dir ? fl_path_join(dir, "policy.json") : NULL;
}

static char *default_state(bool root)
{
    return root ? strdup("/var/lib/fairlead")
                : user_path("XDG_STATE_HOME", ".local/state", "fairlead");
}

/* A state directory of one's own gets its own runtime directory, so that two agents of one user do
 * not meet in it. */
static char *default_runtime(bool root, bool own_state, const char *state)
{
    const char *base = getenv("XDG_RUNTIME_DIR");

    if (own_state)
        return fl_path_join(state, "run");
    if (root)
        return strdup("/run/fairlead");
    if (base && *base == '/')
        return fl_path_join(base, "fairlead");
    return fl_path_join(state, "run");
}

static char *find_libexec(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    fl_autofree char *beside = NULL;
    char *slash;

    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
        if (slash && slash != self) {
            *slash = '\0';
            beside = fl_path_join(self, "fairlead-agent-net");
            if (beside && access(beside, X_OK) == 0)
                return strdup(self);
        }
    }
    return strdup(FL_PREFIX "/libexec/fairlead");
}

int fl_paths_init(struct fl_paths *p, const char *config, const char *state, const char *runtime,
                  struct fl_err *err)
{
    bool root = geteuid() == 0;

    *p = (struct fl_paths){ 0 };
    p->config = config ? absolute(config) : default_config(root);
    p->policy = p->config ? policy_beside(p->config) : NULL;
    p->state = state ? absolute(state) : default_state(root);
    if (p->state)
        p->runtime = runtime ? absolute(runtime) : default_runtime(root, state != NULL, p->state);
    p->libexec = find_libexec();
    if (p->config && p->policy && p->state && p->runtime && p->libexec)
        return 0;
    fl_paths_done(p);
    return fl_err_set(
        err, -ENOENT, NULL,
        "no home directory known for this user: give --config, --state and --runtime");
}

void fl_paths_done(struct fl_paths *p)
{
    free(p->config);
    free(p->policy);
    free(p->state);
    free(p->runtime);
    free(p->libexec);
    *p = (struct fl_paths){ 0 };
}
