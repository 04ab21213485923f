/* seal.h - encryption of a session between its two ends, with a data key that only they can open
 * (protocol 3 §7).
 *
 * AES-256-GCM; what is sealed is nonce (12) | ciphertext | tag (16). The first half of the key is
 * the agent's to send with, the second the client's.
 */
#pragma once
#include <sys/uio.h>
#include "common/base/util.h"

#define FL_SESSION_KEY_BYTES   64
#define FL_SESSION_NONCE_BYTES 12
#define FL_SESSION_SEAL_BYTES  28 /* what is sealed is so much longer */

struct fl_session_seal;

/* `agent`: which end this is. The key is copied. NULL without memory. */
struct fl_session_seal *fl_session_seal_new(bool agent, const uint8_t key[FL_SESSION_KEY_BYTES]);
struct fl_session_seal *fl_session_seal_free(struct fl_session_seal *seal);

/* Is a stream message of this payload type sealed in that direction? */
bool fl_session_seal_covers(bool from_agent, uint32_t payload_type);

/* Seals in place the `len` bytes that `out` holds after the first FL_SESSION_NONCE_BYTES; it has
 * FL_SESSION_SEAL_BYTES more than `len`. 0 or -ENOMEM. */
int fl_session_seal_seal(struct fl_session_seal *seal, uint8_t *out, size_t len);

/* Opens what the other end sealed, into `out`: FL_SESSION_SEAL_BYTES less than `len`. -EBADMSG for
 * anything else. */
int fl_session_seal_open(struct fl_session_seal *seal, const void *in, size_t len, uint8_t *out,
                         size_t *ret_len);
