/* ca_pool.h - the system's CA certificates, of which a connection needs one.
 *
 * OpenSSL looks for them in a bundle, which it reads as a whole (some 140 certificates: 23 ms and
 * 860 kB in every process), and then in a folder, by a hash of the name that is asked for.
 */
#pragma once
#include <stdbool.h>

/* The folder, if it has all that the bundle has. NULL: OpenSSL's own way is to be gone, as always
 * where SSL_CERT_FILE or SSL_CERT_DIR is set. They are looked at once in a process's life. */
const char *fl_ca_pool_dir(void);

/* Whether `dir` has as many certificates by their hash (`openssl rehash`) as `bundle` has. */
bool fl_ca_pool_is_complete(const char *dir, const char *bundle);
