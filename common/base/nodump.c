/* nodump.c - see nodump.h. */
#include "common/base/nodump.h"
#include <sys/prctl.h>
#include <sys/resource.h>

/* Present in programs built with AddressSanitizer. */
extern void __asan_init(void) __attribute__((weak));

void fl_nodump(bool and_children)
{
    const struct rlimit no_core = { 0, 0 };

    if (and_children)
        setrlimit(RLIMIT_CORE, &no_core);
    if (!__asan_init)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
