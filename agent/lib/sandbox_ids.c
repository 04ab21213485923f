/* sandbox_ids.c - see sandbox.h. Apart from the rest, so that the monitor links no libseccomp. */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include "agent/lib/sandbox.h"

/* The range systemd keeps for DynamicUser=: nobody's files belong to it. */
#define DYNAMIC_MIN 61184u
#define DYNAMIC_MAX 65519u

static unsigned dynamic_id(const char *user)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *user; user++)
        hash = (hash ^ (unsigned char)*user) * 16777619u;
    return DYNAMIC_MIN + hash % (DYNAMIC_MAX - DYNAMIC_MIN + 1);
}

int fl_sandbox_ids(const char *user, unsigned *ret_uid, unsigned *ret_gid, struct fl_err *err)
{
    const struct passwd *pw;

    if (geteuid() != 0) {
        *ret_uid = getuid();
        *ret_gid = getgid();
        return 0;
    }
    if (!user || !*user)
        return fl_err_set(err, -EINVAL, NULL, "no user name for the unprivileged processes");
    pw = getpwnam(user);
    *ret_uid = pw ? pw->pw_uid : dynamic_id(user);
    *ret_gid = pw ? pw->pw_gid : *ret_uid;
    return 0;
}
