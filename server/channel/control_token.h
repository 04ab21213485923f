/* control_token.h - the token that CreateControlChannel gives and OpenControlChannel shows.
 *
 * Sealed with the plane's key, so that any loop thread (or machine) can check it; bound to the
 * node, short-lived, and accepted once by a process. Thread-safe.
 */
#pragma once
#include "common/aws/crypto.h"

#define FL_CONTROL_TOKEN_LIFE_MS   120000 /* protocol 2 §1.5: allow 60 s or more */
#define FL_CONTROL_TOKEN_MAX_BYTES 1024

/* A fresh token (caller frees). 0 or -ENOMEM. */
int fl_control_token_new(const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *node_id,
                         int64_t now_ms, char **ret_token);

/* 0 and the token is used up; -EBADMSG: none of ours, or of another node; -ETIME: too old;
 * -EALREADY: used before. */
int fl_control_token_use(const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *token,
                         const char *node_id, int64_t now_ms);
