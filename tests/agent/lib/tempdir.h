/* tempdir.h - a directory for one test program. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include "common/base/file.h"

static char tempdir[256];

static inline int tempdir_make(void **state)
{
    const char *base = getenv("TMPDIR");

    snprintf(tempdir, sizeof(tempdir), "%s/fairlead-test.XXXXXX", base ? base : "/tmp");
    return mkdtemp(tempdir) ? 0 : -1;
}

static inline int tempdir_remove(void **state)
{
    return fl_dir_remove(tempdir, NULL);
}

/* <tempdir>/<name>, in a static buffer. */
static inline const char *tempdir_path(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", tempdir, name);
    return path;
}
