/* policyfile.c - see policyfile.h. */
#include "agent/monitor/policyfile.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/lib/policy.h"
#include "common/base/file.h"
#include "common/base/log.h"

int fl_policyfile_open_path(const char *path, struct fl_err *err)
{
    /* Not to wait for the writer of a FIFO. */
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fl_err_set(err, -EINVAL, NULL, "%s: not a regular file", path);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return fl_err_set(err, -EPERM, NULL, "%s: belongs to user %u, not to root", path,
                          (unsigned)st.st_uid);
    if (st.st_mode & 022)
        return fl_err_set(err, -EPERM, NULL, "%s: may be changed by others (mode %04o)", path,
                          (unsigned)st.st_mode & 07777);
    return FL_TAKE_FD(fd);
}

static int parse(struct fl_policyfile *p, int fd, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    struct fl_node_policy *policy = NULL;
    struct fl_err why = { 0 };
    size_t len = 0;
    int r = fl_fd_read_all(fd, FL_POLICY_MAX_BYTES, &text, &len);

    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", p->path, strerror(-r));
    r = fl_node_policy_parse(text, len, &policy, &why);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", p->path, fl_err_text(&why));
    p->n_rules = fl_node_policy_n_rules(policy);
    p->default_allows = fl_node_policy_default_allows(policy);
    fl_node_policy_free(policy);
    return lseek(fd, 0, SEEK_SET) < 0 ? fl_err_set(err, -errno, NULL, "%s: cannot seek", p->path)
                                      : 0;
}

static void tell(const struct fl_policyfile *p)
{
    if (!p->present)
        fl_log_info("the policy of this node was taken away", FL_S("file", p->path));
    else if (p->usable)
        fl_log_info("policy", FL_S("file", p->path), FL_I("rules", (int64_t)p->n_rules),
                    FL_S("default", p->default_allows ? "allow" : "deny"));
    else
        fl_log_error("the policy of this node cannot be used: EVERY DOCUMENT IS REFUSED",
                     FL_S("error", p->fault));
}

static bool same_file(struct fl_policyfile *p, int fd)
{
    struct stat st = { 0 };
    int64_t id[FL_ARRAY_LEN(p->id)];
    bool same;

    (void)fstat(fd, &st);
    id[0] = (int64_t)st.st_dev;
    id[1] = (int64_t)st.st_ino;
    id[2] = (int64_t)st.st_size;
    id[3] = st.st_ctim.tv_sec;
    id[4] = st.st_ctim.tv_nsec;
    same = memcmp(id, p->id, sizeof(id)) == 0;
    memcpy(p->id, id, sizeof(id));
    return same;
}

/* What is the matter with it now; says so if that is new. */
static void set_fault(struct fl_policyfile *p, const struct fl_err *err)
{
    bool news = !p->present || p->usable || strcmp(p->fault, fl_err_text(err)) != 0;

    p->present = true;
    p->usable = false;
    memset(p->id, 0, sizeof(p->id));
    snprintf(p->fault, sizeof(p->fault), "%s", fl_err_text(err));
    if (news)
        tell(p);
}

int fl_policyfile_open(struct fl_policyfile *p, int *ret_fd)
{
    struct fl_err err = { 0 };
    fl_autofd int fd = fl_policyfile_open_path(p->path, &err);
    int r;

    if (fd == -ENOENT && !p->required && !p->present)
        return 0;
    if (fd < 0) {
        set_fault(p, &err);
        return fd;
    }
    if (!same_file(p, fd) || !p->usable) {
        r = parse(p, fd, &err);
        if (r < 0) {
            set_fault(p, &err);
            return r;
        }
        p->present = p->usable = true;
        tell(p);
    }
    *ret_fd = FL_TAKE_FD(fd);
    return 1;
}

void fl_policyfile_load(struct fl_policyfile *p)
{
    bool was_present = p->present;
    int fd, r;

    *p = (struct fl_policyfile){ .path = p->path, .required = p->required };
    r = fl_policyfile_open(p, &fd);
    if (r == 1)
        close(fd);
    if (r == 0 && was_present)
        tell(p);
}

void fl_policyfile_describe(const struct fl_policyfile *p, char *out, size_t out_size)
{
    if (!p->present)
        snprintf(out, out_size, "none: what the control plane sends is run");
    else if (p->usable)
        snprintf(out, out_size, "%zu rule%s, default %s (%s)", p->n_rules,
                 p->n_rules == 1 ? "" : "s", p->default_allows ? "allow" : "deny", p->path);
    else
        snprintf(out, out_size, "not usable, everything is refused: %s", p->fault);
}
