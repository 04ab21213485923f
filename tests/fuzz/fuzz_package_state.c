/* A package's state file with any content; the first line is the package's name. It is read, or it
 * is unknown; nothing in it names a file elsewhere; what is saved is read again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/file.h"
#include "plugins/configure_package/manifest.h"
#include "plugins/configure_package/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_state(const char *dir, const char *text, size_t len)
{
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/installstate", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        abort();
    close(fd);
}

static void open_store(const char *data_dir, const char *name, struct fl_arena *arena,
                       struct fl_package_store *ret)
{
    char packages[256];
    size_t len;

    if (fl_package_store_open(data_dir, name, arena, ret, NULL) < 0)
        abort();
    len = (size_t)snprintf(packages, sizeof(packages), "%s/packages/", data_dir);
    if (strncmp(ret->dir, packages, len) != 0 || !ret->dir[len] || strchr(ret->dir + len, '/') ||
        strcmp(ret->dir + len, ".") == 0 || strcmp(ret->dir + len, "..") == 0)
        abort();
}

static void check_version(const char *version)
{
    if (*version && !fl_package_name_safe(version))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    const uint8_t *end = memchr(data, '\n', size);
    const char *tmp = getenv("TMPDIR");
    struct fl_package_store s, again;
    char *name, *base;

    if (!end)
        return 0;
    name = fl_arena_memdup(&arena, data, (size_t)(end - data));
    base = fl_arena_printf(&arena, "%s/store", tmp ? tmp : "/tmp");
    if (!name || !base)
        return 0;
    open_store(base, name, &arena, &s);
    fl_package_store_close(&s);
    write_state(s.dir, (const char *)end + 1, size - (size_t)(end + 1 - data));
    open_store(base, name, &arena, &s);
    if (s.state < 0 || s.state >= FL_PACKAGE_STATE__N)
        abort();
    check_version(s.version);
    check_version(s.last_version);
    /* a name that is not UTF-8 cannot be saved, and no document has one */
    if (fl_package_store_save(&s, name, NULL) == 0) {
        fl_package_store_close(&s);
        open_store(base, name, &arena, &again);
        if (again.state != s.state || again.retries != s.retries ||
            strcmp(again.version, s.version) != 0 ||
            strcmp(again.last_version, s.last_version) != 0)
            abort();
        fl_package_store_close(&again);
    }
    fl_package_store_close(&s);
    fl_dir_remove(s.dir, NULL);
    return 0;
}
