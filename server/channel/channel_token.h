/* channel_token.h - the token that CreateControlChannel, CreateDataChannel and StartSession give,
 * and that the first message of a channel shows.
 *
 * Sealed with the plane's key, so that any loop thread (or machine) can check it; bound to what it
 * opens and to who may, short-lived, and accepted once by a process. Thread-safe.
 */
#pragma once
#include "common/aws/crypto.h"

#define FL_CHANNEL_TOKEN_LIFE_MS   120000 /* protocol 2 §1.5: allow 60 s or more */
#define FL_CHANNEL_TOKEN_MAX_BYTES 1024   /* none of ours has more than 300 */

enum fl_channel_token {
    FL_TOKEN_CONTROL,     /* subject: node id */
    FL_TOKEN_DATA_AGENT,  /* subject: session id */
    FL_TOKEN_DATA_CLIENT, /* subject: session id */
    FL_TOKEN__N,
};

/* A fresh token (caller frees). 0, -EINVAL for a subject of more than 120 bytes or with blanks, or
 * -ENOMEM. */
int fl_channel_token_new(const uint8_t seal_key[FL_SEAL_KEY_BYTES], enum fl_channel_token kind,
                         const char *subject, int64_t now_ms, char **ret_token);

/* 0 and the token is used up; -EBADMSG: none of ours, or of another kind or subject; -ETIME: too
 * old; -EALREADY: used before. */
int fl_channel_token_use(const uint8_t seal_key[FL_SEAL_KEY_BYTES], enum fl_channel_token kind,
                         const char *token, const char *subject, int64_t now_ms);
