/* iam.h - users, keys, roles and policies in the store: what `fairlead-server admin` and `init` do.
 *
 * Each call runs in the transaction given, checks its arguments, and names its errors in plain
 * words (err->text is what a person reads): -EINVAL a bad argument, -EEXIST, -ENOENT, -EBUSY still
 * in use.
 */
#pragma once
#include "server/auth/keys.h"

#define FL_KEYS_PER_USER 2 /* as IAM has it: enough to exchange one for the other */

/* Who or what an admin call is about. Unused members are NULL. */
struct fl_iam {
    struct fl_tx *tx;
    const char *account;
    int64_t now_ms;
};

int fl_iam_user_add(const struct fl_iam *iam, const char *name, struct fl_err *err);
int fl_iam_user_delete(const struct fl_iam *iam, const char *name, struct fl_err *err);

int fl_iam_key_create(const struct fl_iam *iam, const uint8_t seal_key[FL_SEAL_KEY_BYTES],
                      const char *user, char ret_id[FL_KEY_ID_BYTES],
                      char ret_secret[FL_SECRET_KEY_BYTES], struct fl_err *err);
int fl_iam_key_enable(const struct fl_iam *iam, const char *id, bool enable, struct fl_err *err);
int fl_iam_key_delete(const struct fl_iam *iam, const char *id, struct fl_err *err);

/* `trust` NULL: this account's root and ssm.amazonaws.com may take the role. */
int fl_iam_role_add(const struct fl_iam *iam, const char *name, const char *trust,
                    struct fl_err *err);
int fl_iam_role_delete(const struct fl_iam *iam, const char *name, struct fl_err *err);

int fl_iam_policy_put(const struct fl_iam *iam, const char *name, const char *document,
                      struct fl_err *err);
int fl_iam_policy_delete(const struct fl_iam *iam, const char *name, struct fl_err *err);

/* `kind`: "user" or "role". */
int fl_iam_attach(const struct fl_iam *iam, const char *policy, const char *kind, const char *name,
                  struct fl_err *err);
int fl_iam_detach(const struct fl_iam *iam, const char *policy, const char *kind, const char *name,
                  struct fl_err *err);
