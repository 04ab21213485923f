/* nodump.h - for processes that hold secrets: no core file, no tracing.
 *
 * As OpenSSH's and GnuPG's agents do. A core file would outlive the process with every key in it,
 * on a disk that is backed up; a traced process hands its memory to whoever runs as the same user.
 */
#pragma once
#include "common/base/util.h"

/* Makes this process undumpable; root may still look at it. With `and_children` the limit of core
 * files becomes 0 too, which whatever the process starts inherits: not for those that run scripts.
 * A program built with AddressSanitizer stays traceable: its leak check traces. */
void fl_nodump(bool and_children);
