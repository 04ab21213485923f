/* tree.c - see tree.h. */
#include "agent/holder/tree.h"
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"

#define MAX_PROCESSES 65536
#define ROUNDS        20 /* who forks faster than this is the control group's business */

struct process {
    pid_t pid, parent;
};

/* 0 for one that has ended, also if nobody has taken note yet. */
static pid_t parent_of(const char *pid)
{
    char path[64], text[512], state, *p;
    int parent = 0;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : fl_fd_read_upto(fd, text, sizeof(text) - 1);
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name in field 2 may hold anything */
    return p && sscanf(p + 1, " %c %d", &state, &parent) == 2 && state != 'Z' ? parent : 0;
}

static size_t list(struct process *out, size_t max)
{
    DIR *proc = opendir("/proc");
    size_t n = 0;

    for (struct dirent *e; proc && n < max && (e = readdir(proc));) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        out[n] = (struct process){ atoi(e->d_name), parent_of(e->d_name) };
        n += out[n].pid > 1 && out[n].parent > 0;
    }
    if (proc)
        closedir(proc);
    return n;
}

static const struct process *find(const struct process *all, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].pid == pid)
            return &all[i];
    return NULL;
}

static bool is_below(const struct process *all, size_t n, const struct process *p, pid_t top,
                     pid_t spare)
{
    for (unsigned depth = 0; p && depth < 1000; depth++) {
        if (p->pid == spare)
            return false;
        if (p->parent == top)
            return true;
        p = find(all, n, p->parent);
    }
    return false;
}

void fl_tree_kill(pid_t spare)
{
    fl_autofree struct process *all = calloc(MAX_PROCESSES, sizeof(*all));
    pid_t self = getpid();
    bool found = all;

    for (unsigned round = 0; found && round < ROUNDS; round++) {
        size_t n = list(all, MAX_PROCESSES);

        found = false;
        for (size_t i = 0; i < n; i++)
            if (is_below(all, n, &all[i], self, spare) && kill(all[i].pid, SIGKILL) == 0)
                found = true;
    }
}
