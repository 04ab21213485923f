/* git_wire.h - what servers and programs of Git say, taken apart: lines of its protocol over HTTP
 * (gitprotocol-http, -v2 and -pack of Git's documentation), and the list of a tree. Pure.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_GIT_OID_BYTES 41 /* SHA-1, hexadecimal, with its NUL */

enum fl_git_pkt_kind { FL_GIT_FLUSH, FL_GIT_DELIM, FL_GIT_END, FL_GIT_DATA };

struct fl_git_pkt {
    enum fl_git_pkt_kind kind;
    const char *data; /* inside what was given */
    size_t len;
};

/* The line at *at, which moves behind it. 1, 0 if it is not all there, or -EBADMSG. */
int fl_git_pkt_next(const char *data, size_t len, size_t *at, struct fl_git_pkt *ret_pkt);

/* The answer of info/refs. The version the server speaks: 0 (as is 1) or 2; -EBADMSG if this is not
 * Git, -EREMOTEIO with what the server says is wrong. */
int fl_git_version(const char *body, size_t len, struct fl_err *err);

/* The object that `ref` names ("HEAD", "refs/heads/main") in a list of refs: the answer of
 * info/refs of version 0, or of ls-refs. -ENOENT if it is not there, else as above. */
int fl_git_find_ref(const char *body, size_t len, const char *ref, char ret_oid[FL_GIT_OID_BYTES],
                    struct fl_err *err);

/* Bodies of requests: version 2's ls-refs for one ref; the pack with `oid` and no history. */
int fl_git_ask_ref(struct fl_buf *out, const char *ref);
int fl_git_ask_pack(struct fl_buf *out, int version, const char *oid);

/* The pack in the answer, a line after the other; begins zeroed. */
struct fl_git_pack {
    bool begun, ended;
};
/* The bytes of the pack that this line carries, if any. 0, -EBADMSG, or -EREMOTEIO as above. */
int fl_git_pack_take(struct fl_git_pack *p, const struct fl_git_pkt *pkt, const char **ret_data,
                     size_t *ret_len, struct fl_err *err);

struct fl_git_entry {
    bool file; /* else a link, a submodule */
    char oid[FL_GIT_OID_BYTES];
    uint64_t size;
    const char *path; /* inside what was given */
};
/* The next entry of `git ls-tree -r -z -l`. 1, 0 at the end, or -EBADMSG. */
int fl_git_tree_next(const char *list, size_t len, size_t *at, struct fl_git_entry *ret_entry);

/* Forty lower-case hexadecimal digits. */
bool fl_git_oid_valid(const char *text, size_t len);
