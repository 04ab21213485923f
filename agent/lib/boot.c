/* boot.c - see boot.h. */
#include "agent/lib/boot.h"
#include <fcntl.h>
#include <string.h>
#include "common/base/file.h"
#include "common/base/util.h"

void fl_boot_id(char out[FL_BOOT_ID_BYTES])
{
    fl_autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    out[fd < 0 ? 0 : fl_fd_read_upto(fd, out, FL_BOOT_ID_BYTES - 1)] = '\0';
    out[strcspn(out, "\n")] = '\0';
}
