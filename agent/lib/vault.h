/* vault.h - the node's registration on disk, in the official agent's formats (protocol 1 §1.4).
 *
 * <state>/Vault/Manifest, Vault/Store/RegistrationKey, Vault/Store/InstanceFingerprint,
 * registration, runtimeconfig/identity_config.json. Writes are atomic. The private key is only ever
 * loaded by fairlead-agent-key and by registration; the monitor uses fl_vault_load without it.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

struct fl_registration {
    char *node_id; /* NULL when not registered */
    char *region;
    char *private_key; /* base64 PKCS#1 DER; NULL unless asked for */
    char *key_created; /* official date text, NULL if missing */
};

/* 0 with node_id NULL if there is no (or an empty) registration; errors name the file. */
int fl_vault_load(const char *state_dir, bool with_key, struct fl_arena *arena,
                  struct fl_registration *ret_reg, struct fl_err *err);
int fl_vault_store(const char *state_dir, const struct fl_registration *reg, struct fl_err *err);
int fl_vault_clear(const char *state_dir, struct fl_err *err);

/* The pending key of a rotation: base64 PKCS#1, kept beside the record until promoted or dropped.
 */
int fl_vault_pending_load(const char *state_dir, struct fl_arena *arena, char **ret_key,
                          struct fl_err *err);
int fl_vault_pending_store(const char *state_dir, const char *key, struct fl_err *err);
bool fl_vault_pending_exists(const char *state_dir);
int fl_vault_pending_drop(const char *state_dir, struct fl_err *err);
int fl_vault_pending_promote(const char *state_dir, struct fl_err *err);

/* One item of the store ("RegistrationKey", "InstanceFingerprint") as text, found through the
 * manifest. Load: *ret_text is NULL if there is none; fresh memory, to be wiped by the caller if it
 * holds a key. Store: atomic, and listed in the manifest. */
int fl_vault_item_load(const char *state_dir, const char *key, char **ret_text, struct fl_err *err);
int fl_vault_item_store(const char *state_dir, const char *key, const char *text,
                        struct fl_err *err);

/* 0 if a registration could be stored now: makes the directories and tries a temporary file. */
int fl_vault_probe(const char *state_dir, struct fl_err *err);

/* The official date text, "2026-01-02 03:04:05.123456789 +0000 UTC". Reading takes what Go's
 * time.String() writes: a fraction of 0-9 digits, any offset, a zone name that is ignored. */
#define FL_VAULT_DATE_BYTES 48
void fl_vault_date_now(char out[FL_VAULT_DATE_BYTES]);
int fl_vault_date_parse(const char *text, int64_t *ret_ms);
