/* seal.c - see seal.h. */
#include "common/session/seal.h"
#include <errno.h>
#include <string.h>
#include "common/aws/gcm.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"

struct fl_session_seal {
    struct fl_gcm *out, *in;
    uint8_t nonce[FL_GCM_NONCE_BYTES]; /* of the next message: random at first, then counted up */
};

struct fl_session_seal *fl_session_seal_new(bool agent, const uint8_t key[FL_SESSION_KEY_BYTES])
{
    struct fl_session_seal *seal = calloc(1, sizeof(*seal));

    if (!seal)
        return NULL;
    seal->out = fl_gcm_new(key + (agent ? 0 : FL_GCM_KEY_BYTES), true);
    seal->in = fl_gcm_new(key + (agent ? FL_GCM_KEY_BYTES : 0), false);
    if (!seal->out || !seal->in)
        return fl_session_seal_free(seal);
    fl_random_bytes(seal->nonce, sizeof(seal->nonce));
    return seal;
}

struct fl_session_seal *fl_session_seal_free(struct fl_session_seal *seal)
{
    if (seal) {
        fl_gcm_free(seal->out);
        fl_gcm_free(seal->in);
    }
    free(seal);
    return NULL;
}

bool fl_session_seal_covers(bool from_agent, uint32_t payload_type)
{
    return payload_type == FL_DATA_TYPE_OUTPUT ||
           (from_agent &&
            (payload_type == FL_DATA_TYPE_STDERR || payload_type == FL_DATA_TYPE_EXIT_CODE));
}

int fl_session_seal_seal(struct fl_session_seal *seal, uint8_t *out, size_t len)
{
    uint8_t *data = out + FL_GCM_NONCE_BYTES;

    memcpy(out, seal->nonce, sizeof(seal->nonce));
    /* a little-endian number, as the official agent counts */
    for (size_t i = 0; i < sizeof(seal->nonce) && ++seal->nonce[i] == 0; i++)
        ;
    return fl_gcm_run(seal->out, out, NULL, data, len, data, data + len) ? 0 : -ENOMEM;
}

int fl_session_seal_open(struct fl_session_seal *seal, const void *in, size_t len, uint8_t *out,
                         size_t *ret_len)
{
    const uint8_t *from = in;
    uint8_t tag[FL_GCM_TAG_BYTES];
    size_t plain;

    if (len < FL_SESSION_SEAL_BYTES || len > FL_GCM_MAX_BYTES)
        return -EBADMSG;
    plain = len - FL_SESSION_SEAL_BYTES;
    memcpy(tag, from + len - sizeof(tag), sizeof(tag));
    if (!fl_gcm_run(seal->in, from, NULL, from + FL_GCM_NONCE_BYTES, plain, out, tag))
        return -EBADMSG;
    *ret_len = plain;
    return 0;
}
