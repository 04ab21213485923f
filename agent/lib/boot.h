/* boot.h - which start of the machine this is. */
#pragma once

#define FL_BOOT_ID_BYTES 40

/* The kernel's id of this boot, "" if it cannot be read. It changes when the machine is started
 * again, and only then. */
void fl_boot_id(char out[FL_BOOT_ID_BYTES]);
