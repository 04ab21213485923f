/* pki.h - the plane's own certificate authority and server certificate (ECDSA P-256).
 *
 * In one directory: ca.crt and ca.key (10 years), server.crt and server.key (825 days, the longest
 * that all clients accept). Keys are 0600.
 */
#pragma once
#include "common/codec/codec.h"

/* Makes all four files. The server certificate names localhost, 127.0.0.1, ::1, this machine's host
 * name and every entry of `hosts` (names, "*.name", or addresses; -EINVAL names a bad one). */
int fl_pki_create(const char *dir, const char *ca_name, const struct fl_strs *hosts,
                  struct fl_err *err);

/* Issues a new server certificate and key if the present one ends within 30 days, or the two do not
 * belong together. 1 if it did, 0 if
 * there was no need. Without ca.key (kept elsewhere) nothing is done. */
int fl_pki_renew(const char *dir, const struct fl_strs *hosts, int64_t now_ms, struct fl_err *err);
