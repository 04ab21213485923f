/* policyfile.h - where the node's policy is, whether it may be trusted, what is known of it.
 *
 * It is looked at whenever a job comes. Nothing at its place means that there is no policy; but one
 * that was named by the configuration, or that was there before, may not be missing. A policy that
 * is not usable forbids everything.
 */
#pragma once
#include "common/base/err.h"

struct fl_policyfile {
    const char *path; /* outlives this */
    bool required;    /* may not be missing */

    /* what was found last */
    bool present, usable;
    size_t n_rules;
    bool default_allows;
    char fault[FL_ERR_TEXT_BYTES]; /* why it is not usable */
    int64_t id[5];                 /* of the file this was found in: device, inode, size, change */
};

/* Reads and logs it for the first time, or anew: what was there may be missing now. */
void fl_policyfile_load(struct fl_policyfile *p);

/* 1 with the file open for reading (the caller's), 0 if there is no policy, negative if there is
 * one that is not usable: then p->fault says why. Logs a change. */
int fl_policyfile_open(struct fl_policyfile *p, int *ret_fd);

/* In one line, for people: "none", "12 rules, default deny", "not usable, …". */
void fl_policyfile_describe(const struct fl_policyfile *p, char *out, size_t out_size);

/* Opens a policy and checks that only root and this user may change it. The descriptor, -ENOENT, or
 * another error. */
int fl_policyfile_open_path(const char *path, struct fl_err *err);
