/* signature.h - an operator's signature over a command, as it travels.
 *
 * One line of text, the value of the document parameter FairleadSignature:
 *
 *     fairlead1:KEY:NOT-BEFORE:NOT-AFTER:NONCE:TARGETS:SIGNATURE
 *
 * KEY names one of the keys of a node's policy, times are seconds since the epoch, NONCE is 32
 * lower-case hex digits, TARGETS a comma-separated list of node ids and @labels or "*", SIGNATURE
 * base64 of an Ed25519 signature over what signed.h writes. Pure, without cryptography.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_SIGNATURE_PARAMETER   "FairleadSignature"
#define FL_SIGNATURE_MAX_BYTES   8192
#define FL_SIGNATURE_NONCE_BYTES 33                 /* 32 digits and NUL */
#define FL_SIGNATURE_MAX_LIFE_S  (31LL * 24 * 3600) /* a longer one is not taken */

struct fl_signature {
    char *key;
    int64_t not_before_s, not_after_s;
    char *nonce;
    char *targets;
    char *sig; /* base64 */
};

/* Exactly the form above, in the one way to write it: -EINVAL otherwise. Strings in the arena. */
int fl_signature_parse(const char *text, struct fl_arena *arena, struct fl_signature *ret_sig,
                       struct fl_err *err);

/* Checks what it is made of, as parsing does, and appends the line (without LF). */
int fl_signature_format(const struct fl_signature *s, struct fl_buf *out, struct fl_err *err);

/* True if one of the targets is "*", the node's id or one of its labels. */
bool fl_signature_targets(const struct fl_signature *s, const char *node_id, char *const *labels,
                          size_t n_labels);

/* Names of keys, and labels behind their '@': 1 to 64 of [A-Za-z0-9_-]. */
bool fl_signature_name_valid(const char *name);
