/* Times as text: what is read is written, and read again as the same time. */
#include <string.h>
#include "common/base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *text = strndup((const char *)data, size);
    char iso[FL_ISO_BYTES], compact[FL_COMPACT_BYTES];
    int64_t ms, again;

    if (!text)
        return 0;
    if (fl_time_parse_iso(text, &ms) == 0) {
        fl_time_iso(ms, false, iso);
        if (fl_time_parse_iso(iso, &again) < 0 || again != ms)
            abort();
        fl_time_iso_seconds(ms, iso);
        if (fl_time_parse_iso(iso, &again) < 0 || again > ms || again <= ms - 1000)
            abort();
    }
    if (fl_time_parse_compact(text, &ms) == 0) {
        fl_time_compact(ms, compact);
        /* the leap second is the next one */
        if (!strstr(text, "60Z") && strcmp(compact, text) != 0)
            abort();
    }
    return 0;
}
