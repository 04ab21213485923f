/* What claims to be sealed. Nobody without the key makes such a thing; what this end seals, the
 * other opens, and not with a bit changed. */
#include <string.h>
#include "common/session/seal.h"

#define MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[FL_SESSION_KEY_BYTES] = { 'k', 'e', 'y' };
    struct fl_session_seal *agent = fl_session_seal_new(true, key);
    struct fl_session_seal *client = fl_session_seal_new(false, key);
    uint8_t sealed[MAX_BYTES + FL_SESSION_SEAL_BYTES], plain[MAX_BYTES + FL_SESSION_SEAL_BYTES];
    size_t len, plain_len = FL_MIN(size, (size_t)MAX_BYTES);

    if (agent && client) {
        if (size <= sizeof(plain) && (fl_session_seal_open(agent, data, size, plain, &len) == 0 ||
                                      fl_session_seal_open(client, data, size, plain, &len) == 0))
            abort();
        if (plain_len)
            memcpy(sealed + FL_SESSION_NONCE_BYTES, data, plain_len);
        if (fl_session_seal_seal(agent, sealed, plain_len) == 0) {
            size_t flip = plain_len ? data[0] % (plain_len + FL_SESSION_SEAL_BYTES) : 0;

            if (fl_session_seal_open(client, sealed, plain_len + FL_SESSION_SEAL_BYTES, plain,
                                     &len) < 0 ||
                len != plain_len || (len && memcmp(plain, data, len) != 0))
                abort();
            sealed[flip] ^= 1;
            if (fl_session_seal_open(client, sealed, plain_len + FL_SESSION_SEAL_BYTES, plain,
                                     &len) == 0)
                abort();
        }
    }
    fl_session_seal_free(agent);
    fl_session_seal_free(client);
    return 0;
}
