/* activations.h - what a registration asks about an activation. */
#pragma once
#include "server/op.h"

#define FL_ACTIVATION_CODE_CHARS 20

struct fl_activation {
    char *code_mac;
    char *iam_role;
    char *default_name; /* NULL: none */
    struct fl_time expires;
};

/* 1 and *ret filled if the activation exists, 0 if not, or a negative errno. */
int fl_activation_find(struct fl_call *call, const char *activation_id, struct fl_activation *ret,
                       struct fl_err *err);

/* What is stored instead of a code: hex HMAC-SHA256 over the activation's id and the code, under
 * the plane's key. `out` has FL_SHA256_HEX_BYTES. */
void fl_activation_code_mac(const struct fl_plane *plane, const char *activation_id,
                            const char *code, char *out);
