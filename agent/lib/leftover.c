/* leftover.c - see leftover.h. */
#include "agent/lib/leftover.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"

#define ENVIRON_MAX_BYTES (1u << 20)

/* Session (field 6) and start time (field 22) of /proc/<pid>/stat. */
static int read_stat(pid_t pid, long *ret_session, int64_t *ret_start)
{
    char path[64], text[1024], *p;
    long long start;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : fl_fd_read_upto(fd, text, sizeof(text) - 1);
    if (n == 0)
        return -ESRCH;
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name in field 2 may hold anything */
    if (!p || sscanf(p + 1,
                     " %*c %*d %*d %ld %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
                     "%lld",
                     ret_session, &start) != 2)
        return -EBADMSG;
    *ret_start = start;
    return 0;
}

static bool environ_has(pid_t pid, const char *command_id)
{
    fl_autofree char *text = NULL;
    fl_autofree char *want = NULL;
    char path[64];
    size_t len;

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    if (asprintf(&want, "SSM_COMMAND_ID=%s", command_id) < 0) {
        want = NULL;
        return false;
    }
    if (fl_file_read(path, ENVIRON_MAX_BYTES, &text, &len, NULL) < 0)
        return false;
    for (size_t i = 0; i < len; i += strlen(text + i) + 1)
        if (strcmp(text + i, want) == 0)
            return true;
    return false;
}

void fl_group_describe(pid_t leader, struct fl_group *ret_group)
{
    long session;

    *ret_group = (struct fl_group){ .leader = leader };
    fl_boot_id(ret_group->boot_id);
    read_stat(leader, &session, &ret_group->start_ticks);
}

/* A member of the session that surely belongs to our command. */
static bool has_member(const struct fl_group *group, const char *command_id)
{
    DIR *proc = opendir("/proc");
    bool found = false;
    long session;
    int64_t start;

    for (struct dirent *e; proc && !found && (e = readdir(proc));) {
        pid_t pid = isdigit((unsigned char)e->d_name[0]) ? (pid_t)atoi(e->d_name) : 0;

        if (pid > 0 && read_stat(pid, &session, &start) == 0 && session == group->leader)
            found = environ_has(pid, command_id);
    }
    if (proc)
        closedir(proc);
    return found;
}

bool fl_group_kill(const struct fl_group *group, const char *command_id)
{
    char boot_id[FL_BOOT_ID_BYTES];
    int64_t start;
    long session;

    fl_boot_id(boot_id);
    if (group->leader <= 1 || strcmp(boot_id, group->boot_id) != 0)
        return false;
    if (read_stat(group->leader, &session, &start) == 0) {
        if (start != group->start_ticks)
            return false; /* the number belongs to somebody else now */
    } else if (!has_member(group, command_id)) {
        return false;
    }
    return kill(-group->leader, SIGKILL) == 0;
}
