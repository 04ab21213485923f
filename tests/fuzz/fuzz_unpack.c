/* The stream of records from the unpacking process: whatever it says, nothing lands outside of the
 * folder. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "plugins/configure_package/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char outer[] = "/tmp/fuzz-unpack-XXXXXX", inner[64];
    struct fl_err err = { 0 };
    struct fl_unpack u;
    size_t half = size / 2;
    struct stat st;
    int fd, r;

    if (!mkdtemp(outer))
        return 0;
    snprintf(inner, sizeof(inner), "%s/in", outer);
    mkdir(inner, 0700);
    fd = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fl_unpack_init(&u, fd, 1 << 20);
    r = fl_unpack_feed(&u, data, half, &err);
    if (r == 0)
        r = fl_unpack_feed(&u, data + half, size - half, &err);
    if (r == 0)
        r = fl_unpack_end(&u, &err);
    if ((r == 0) != (err.code == 0))
        abort();
    fl_unpack_done(&u);
    close(fd);
    /* The outer folder holds the inner one and nothing else. */
    if (stat(outer, &st) < 0 || st.st_nlink != 3)
        abort();
    fl_dir_remove(inner, NULL);
    if (rmdir(outer) < 0)
        abort();
    return 0;
}
