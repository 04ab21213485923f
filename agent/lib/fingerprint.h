/* fingerprint.h - the machine's fingerprint: a random UUID kept while the hardware stays similar
 * (protocol 1 §2). Gathering runs dmidecode and ls: call it in a child or before the loop starts.
 */
#pragma once
#include "common/base/err.h"

#define FL_FINGERPRINT_THRESHOLD 40 /* per cent of the hardware that must stay, unless said */

/* The stored UUID if the machine is still similar, else a new one, saved. `ret_changed` tells that
 * an older one was replaced (may be NULL). `uuid` has FL_UUID_BYTES. */
int fl_fingerprint_get(const char *state_dir, char *uuid, bool *ret_changed, struct fl_err *err);
int fl_fingerprint_set_threshold(const char *state_dir, int threshold, struct fl_err *err);
int fl_fingerprint_clear(const char *state_dir, struct fl_err *err);
