/* store.h - a package's folder on the node: its files by version, its state, its lock.
 *
 *   <data>/packages/<name>/            0700
 *       installstate                   protocol 4 §5.4
 *       lock                           flock'ed by who works on the package
 *       versions/<version>/            unpacked
 *       manifests/<version>.json       the document that it came from
 *       staging/                       files on their way to versions/
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "plugins/configure_package/plan.h"

struct fl_package_store {
    struct fl_arena *arena;
    char *dir;
    int lock_fd;
    /* the state file */
    char *version, *last_version; /* "" for none */
    enum fl_package_state state;
    int64_t retries;
    bool rebooting; /* the stage of the state waits for a reboot */
};

/* Makes the folder of the package (whose name may be an ARN), takes its lock and reads its state.
 * -EBUSY if somebody else has the lock; a damaged state is FL_PACKAGE_UNKNOWN. */
int fl_package_store_open(const char *data, const char *name, struct fl_arena *arena,
                          struct fl_package_store *ret, struct fl_err *err);
void fl_package_store_close(struct fl_package_store *s);

/* The members above to disk, durably. */
int fl_package_store_save(struct fl_package_store *s, const char *name, struct fl_err *err);

/* Paths, in the arena; NULL without memory. */
char *fl_package_store_files(struct fl_package_store *s, const char *version);
char *fl_package_store_staging(struct fl_package_store *s);

/* Are the files of the version there, from exactly this manifest? */
bool fl_package_store_has(struct fl_package_store *s, const char *version, const char *manifest);

/* staging/ becomes the files of the version, in place of any there were. */
int fl_package_store_commit(struct fl_package_store *s, const char *version, const char *manifest,
                            struct fl_err *err);
int fl_package_store_remove(struct fl_package_store *s, const char *version, struct fl_err *err);
