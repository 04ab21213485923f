/* identity_files.h - writing the node's fresh credentials to disk: our cache, the shared
 * credentials file of AWS's tools, identity_config.json (protocol 1 §4.5, §1.4).
 *
 * Blocking (a home directory may be on a network): runs on the loop's work pool.
 *
 * A profile in the shared file is ours if it carries `fairlead_node`, which AWS's tools ignore. One
 * that is not ours is never touched: profile "fairlead" is used then, and if that is somebody
 * else's too, nothing is shared.
 */
#pragma once
#include "agent/lib/credcache.h"
#include "common/base/err.h"

#define FL_SHARE_FALLBACK_PROFILE "fairlead"

struct fl_identity_files {
    const char *state_dir;
    bool share;
    const char *share_file;    /* "" = $AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/credentials */
    const char *share_profile; /* "" = "default" */
    struct fl_credcache creds;
};

enum fl_share_outcome {
    FL_SHARE_OFF, /* not asked for */
    FL_SHARE_WRITTEN,
    FL_SHARE_FALLBACK, /* written as "fairlead", since the profile asked for is somebody else's */
    FL_SHARE_TAKEN,    /* both are somebody else's: nothing shared */
    FL_SHARE_FAILED,   /* `err` of the write says why; the rest was written */
};

/* 0 once our own files are written, whatever became of the shared one. */
int fl_identity_files_write(const struct fl_identity_files *f, enum fl_share_outcome *ret_share,
                            struct fl_err *ret_share_err, struct fl_err *err);
