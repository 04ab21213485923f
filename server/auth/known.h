/* known.h - addresses from which a user's signed call succeeded lately.
 *
 * When a fleet comes back all at once, people's connections are not to queue behind it. Nobody gets
 * in here without a key, and a node's credentials do not count. Of fixed size; from any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define FL_KNOWN_MS (60 * 60 * 1000) /* what lately is */

struct fl_known;

int fl_known_new(struct fl_known **ret_known);
struct fl_known *fl_known_free(struct fl_known *known);

/* `address`: numeric, without port; a /64 of IPv6 is one. Anything else is never known. */
void fl_known_note(struct fl_known *known, const char *address, int64_t mono_ms);
bool fl_known_has(struct fl_known *known, const char *address, int64_t mono_ms);
