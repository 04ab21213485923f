/* boot.c - see boot.h. */
#include "agent/lib/boot.h"
#include <fcntl.h>
#include <string.h>
#include "common/base/util.h"

void fl_boot_id(char out[FL_BOOT_ID_BYTES])
{
    fl_autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, FL_BOOT_ID_BYTES - 1);

    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}
