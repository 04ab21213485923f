/* used.c - see used.h. */
#include "agent/monitor/used.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"

#define KEEP_S       (24 * 3600)
#define MAX_ID_BYTES 256

static void sweep(const char *dir_path, int64_t now_ms)
{
    DIR *dir = opendir(dir_path);

    for (struct dirent *e; dir && (e = readdir(dir));) {
        char *end;
        long long not_after_s = strtoll(e->d_name, &end, 10);

        if (*end == '-' && not_after_s > 0 && not_after_s + KEEP_S < now_ms / 1000)
            unlinkat(dirfd(dir), e->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

int fl_signature_use(const char *state_dir, const char *nonce, int64_t not_after_s,
                     const char *command_id, int64_t now_ms, struct fl_err *err)
{
    fl_autofree char *dir = fl_path_join(state_dir, "signatures");
    fl_autofree char *path = NULL;
    fl_autofree char *owner = NULL;
    char name[64];
    int r;

    snprintf(name, sizeof(name), "%lld-%s", (long long)not_after_s, nonce);
    path = dir ? fl_path_join(dir, name) : NULL;
    if (!path)
        return fl_err_nomem(err);
    r = fl_dir_make(dir, 0700, err);
    if (r < 0)
        return r;
    sweep(dir, now_ms);
    r = fl_file_read(path, MAX_ID_BYTES, &owner, NULL, err);
    if (r == -ENOENT)
        return fl_file_replace(path, 0600, command_id, strlen(command_id), err);
    if (r < 0 || strcmp(owner, command_id) == 0)
        return r;
    return fl_err_set(err, -EEXIST, NULL, "command %s has used it already", owner);
}
