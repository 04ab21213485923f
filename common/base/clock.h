/* clock.h - time: reading clocks, ISO 8601 text, the compact form of SigV4. */
#pragma once
#include "common/base/util.h"

int64_t fl_now_ms(void);  /* wall clock, ms since the epoch */
int64_t fl_mono_ms(void); /* monotonic, ms; for deadlines */
int64_t fl_boot_ms(void); /* the same, but goes on while the machine sleeps */

#define FL_ISO_BYTES     32
#define FL_COMPACT_BYTES 17 /* "20260102T030405Z" and NUL */

/* "2026-01-02T03:04:05.678Z" (always UTC, three fractional digits); ms == 0 is written as the zero
 * time "0001-01-01T00:00:00.000Z" if `zero_as_unset`. `out` has FL_ISO_BYTES. Here and below: a
 * time before the year 0 or after 9999 is written as the first or last there is. */
void fl_time_iso(int64_t ms, bool zero_as_unset, char *out);

/* "2026-01-02T03:04:05Z" */
void fl_time_iso_seconds(int64_t ms, char *out);

/* "20260102T030405Z", FL_COMPACT_BYTES. */
void fl_time_compact(int64_t ms, char *out);

/* Both directions of ISO 8601 as APIs send it: date, 'T', time, optional fraction of 1-9 digits,
 * 'Z' or ±hh:mm; or a date alone. -EINVAL on anything else, and outside of the years 0 to 9999. */
int fl_time_parse_iso(const char *s, int64_t *ret_ms);
int fl_time_parse_compact(const char *s, int64_t *ret_ms);
