/* match.h - names by globs, addresses by ranges. Pure. */
#pragma once
#include <stdbool.h>

/* Glob with '*' and '?', letter case ignored if `nocase`. Linear in |pattern| x |text|. */
bool fl_glob(const char *pattern, const char *text, bool nocase);

/* True if `address` lies in `cidr` ("192.0.2.0/24", "2001:db8::/32" or a plain address).
 * IPv4-mapped IPv6 addresses count as IPv4. */
bool fl_cidr_match(const char *cidr, const char *address);

/* True for a well-formed CIDR or address. */
bool fl_cidr_valid(const char *cidr);
