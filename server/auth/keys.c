/* keys.c - making and loading access keys. */
#include "server/auth/keys.h"

#include <errno.h>
#include <string.h>
#include "common/base/rand.h"

void fl_key_id_make(const char *prefix, char out[FL_KEY_ID_BYTES])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t random[16];

    fl_random_bytes(random, sizeof(random));
    memcpy(out, prefix, 4);
    for (size_t i = 0; i < sizeof(random); i++)
        out[4 + i] = alphabet[random[i] & 31];
    out[20] = '\0';
}

void fl_secret_key_make(char out[FL_SECRET_KEY_BYTES])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t random[FL_SECRET_KEY_BYTES - 1];

    fl_random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        out[i] = alphabet[random[i] & 63];
    out[sizeof(random)] = '\0';
    fl_wipe(random, sizeof(random));
}

int fl_key_create(struct fl_tx *tx, const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *account,
                  const char *user, int64_t now_ms, char ret_id[FL_KEY_ID_BYTES],
                  char ret_secret[FL_SECRET_KEY_BYTES], struct fl_err *err)
{
    fl_autofree uint8_t *sealed = NULL;
    char id[FL_KEY_ID_BYTES], secret[FL_SECRET_KEY_BYTES];
    fl_autocursor struct fl_cursor *c = NULL;
    size_t len;
    int r = fl_sql_open(tx, FL_SQL_user_get, &c, err, FL_T(account), FL_T(user));

    if (r >= 0)
        r = fl_sql_next(c, err);
    if (r < 0)
        return r;
    if (r == 0)
        return fl_err_set(err, -ENOENT, "NoSuchEntity", "there is no user %.64s", user);

    fl_key_id_make("AKIA", id);
    fl_secret_key_make(secret);
    r = fl_seal(seal_key, id, secret, strlen(secret), &sealed, &len);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot seal the secret");
    r = fl_sql_exec(tx, FL_SQL_key_add, err, FL_T(id), FL_T(account), FL_T(user), FL_B(sealed, len),
                    FL_N(now_ms));
    if (r >= 0) {
        memcpy(ret_id, id, sizeof(id));
        memcpy(ret_secret, secret, sizeof(secret));
    }
    fl_wipe(secret, sizeof(secret));
    return r < 0 ? r : 0;
}

int fl_key_load(struct fl_tx *tx, const uint8_t seal_key[FL_SEAL_KEY_BYTES],
                const char *access_key_id, struct fl_arena *arena, struct fl_key *ret_key,
                struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    const void *sealed;
    uint8_t *plain = NULL;
    size_t sealed_len, plain_len;
    struct fl_key key;
    int r = fl_sql_open(tx, FL_SQL_key_auth, &c, err, FL_T(access_key_id));

    if (r >= 0)
        r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    if (strcmp(fl_sql_text(c, 4), "Active") != 0)
        return 0;
    sealed = fl_sql_blob(c, 3, &sealed_len);
    r = fl_unseal(seal_key, access_key_id, sealed, sealed_len, &plain, &plain_len);
    if (r < 0)
        return fl_err_set(err, -EBADMSG, NULL,
                          "access key %s: the seal key does not open its secret", access_key_id);
    key = (struct fl_key){
        .account = fl_arena_strdup(arena, fl_sql_text(c, 0)),
        .user = fl_arena_strdup(arena, fl_sql_text(c, 1)),
        .user_id = fl_arena_strdup(arena, fl_sql_text(c, 2)),
        .secret = fl_arena_memdup(arena, plain, plain_len),
    };
    fl_free_secret(plain, plain_len);
    if (!key.account || !key.user || !key.user_id || !key.secret)
        return fl_err_nomem(err);
    *ret_key = key;
    return 1;
}
