/* handshake.h - what agent and client agree on before a session's data flows (protocol 3 §6, §7):
 * its type, encryption, what our own ends can do beyond the official ones, what follows from
 * versions.
 *
 * Pure: no I/O, time is passed in. The owner gives each stream message of a handshake type to
 * fl_handshake_input(), and after every call writes what fl_handshake_next() has. Keys come from
 * calls that the owner makes (KMS): the state says when.
 */
#pragma once
#include "common/base/err.h"
#include "common/session/seal.h"
#include "common/wire/datachannel.h"

struct fl_handshake;

enum fl_handshake_state {
    FL_HANDSHAKE_WAITING,   /* for the peer */
    FL_HANDSHAKE_NEEDS_KEY, /* fl_handshake_key(), or fl_handshake_refuse() */
    FL_HANDSHAKE_DONE,
    FL_HANDSHAKE_FAILED,
};

/* Strings are copied. */
struct fl_handshake_agent_conf {
    const char *agent_version;          /* four numbers */
    const char *session_type;           /* "Port", … */
    const char *properties;             /* JSON text; NULL: null. Only Port has some */
    const char *kms_key_id;             /* NULL: no encryption */
    const char *customer_message;       /* the client prints it; NULL: "" */
    bool separate_output;               /* an old client is told that it cannot tell them apart */
    const struct fl_msg_extras *extras; /* what this end can do; NULL: nothing more */
};
struct fl_handshake_client_conf {
    const char *client_version;
    const char *const *session_types; /* that this end can do; ends with NULL; not copied */
    bool can_encrypt;                 /* data keys can be had */
    const struct fl_msg_extras *extras;
};

/* What is known so far; NULL and 0 before. Lives as long as the handshake. */
struct fl_handshake_result {
    const char *peer_version;
    const char *session_type;
    const char *properties; /* JSON text; "null" if it has none */
    const char *customer_message;
    /* Encryption; NULL without. The client asks KMS for a data key of this id, the agent has
     * `cipher_key` (base64) decrypted; `challenge` belongs into the context if
     * `challenge_in_context`. */
    const char *kms_key_id, *challenge, *cipher_key;
    bool challenge_in_context;
    struct fl_session_seal *seal; /* when done; the handshake's */
    /* What both ends can do. */
    uint32_t max_payload; /* FL_DATA_PAYLOAD_BYTES … FL_DATA_MAX_PAYLOAD_BYTES */
    bool end_of_input;
};

/* 0 or -ENOMEM. An agent has its request ready at once. */
int fl_handshake_new_agent(const struct fl_handshake_agent_conf *conf, int64_t mono_ms,
                           struct fl_handshake **ret_handshake);
int fl_handshake_new_client(const struct fl_handshake_client_conf *conf,
                            struct fl_handshake **ret_handshake);
struct fl_handshake *fl_handshake_free(struct fl_handshake *h);

/* Handshake request to challenge response. */
bool fl_handshake_is_type(uint32_t payload_type);

/* 0; -EPROTO: the handshake has failed, `err` says why in words for the user. */
int fl_handshake_input(struct fl_handshake *h, uint32_t payload_type, const char *data, size_t len,
                       int64_t mono_ms, struct fl_err *err);

/* In FL_HANDSHAKE_NEEDS_KEY. The client gives the encrypted form of the key, too (base64). The key
 * is not kept. 0, -ENOMEM. */
int fl_handshake_key(struct fl_handshake *h, const uint8_t key[FL_SESSION_KEY_BYTES],
                     const char *cipher_key, int64_t mono_ms);

/* There is no key. A client tells the agent, which ends the session; the handshake has failed. */
int fl_handshake_refuse(struct fl_handshake *h, const char *why);

/* What is to be written next: its type, and its text until the next call; NULL for nothing. */
const char *fl_handshake_next(struct fl_handshake *h, uint32_t *ret_payload_type, size_t *ret_len);

enum fl_handshake_state fl_handshake_state(const struct fl_handshake *h);
const struct fl_handshake_result *fl_handshake_result(const struct fl_handshake *h);

/* When to give up (mono_ms); INT64_MAX while there is nothing to wait for. */
int64_t fl_handshake_deadline(const struct fl_handshake *h);
