/* keys.h - identifiers and long-term access keys of users.
 *
 * Secrets rest in the store sealed with the plane's seal key, bound to their access key id.
 */
#pragma once
#include "server/plane.h"

#define FL_KEY_ID_BYTES     21 /* 4-letter prefix, 16 of [A-Z2-7], NUL */
#define FL_SECRET_KEY_BYTES 41 /* 40 of the base64 alphabet, NUL */

/* prefix: AKIA long-term key, ASIA temporary key, AIDA user, AROA role. */
void fl_key_id_make(const char *prefix, char out[FL_KEY_ID_BYTES]);
void fl_secret_key_make(char out[FL_SECRET_KEY_BYTES]);

/* Makes an access key for a user (write lane). Both buffers are filled on success; the caller wipes
 * the secret. -EEXIST cannot happen in practice; -ENOENT if there is no such user. */
int fl_key_create(struct fl_tx *tx, const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *account,
                  const char *user, int64_t now_ms, char ret_id[FL_KEY_ID_BYTES],
                  char ret_secret[FL_SECRET_KEY_BYTES], struct fl_err *err);

/* A long-term key as authentication needs it; strings in the arena. */
struct fl_key {
    char *account;
    char *user;
    char *user_id;
    char *secret;
};

/* 1 found and active, 0 unknown or disabled, <0 error. */
int fl_key_load(struct fl_tx *tx, const uint8_t seal_key[FL_SEAL_KEY_BYTES],
                const char *access_key_id, struct fl_arena *arena, struct fl_key *ret_key,
                struct fl_err *err);
