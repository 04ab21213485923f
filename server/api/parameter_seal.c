/* parameter_seal.c - see parameter_seal.h. */
#include "server/api/parameter_seal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/log.h"
#include "server/conf.h"

#define AAD_MAX_BYTES 4096 /* a name is far shorter */

struct place {
    const char *account, *region, *id;
    int64_t version;
};

static int make_aad(const struct place *at, char out[AAD_MAX_BYTES], struct fl_err *err)
{
    int n = snprintf(out, AAD_MAX_BYTES, "parameter %s %s %s %lld", at->account, at->region, at->id,
                     (long long)at->version);

    return n < AAD_MAX_BYTES ? 0 : fl_err_set(err, -EINVAL, NULL, "a parameter's name is too long");
}

static int unseal(const struct fl_plane *plane, const struct place *at, const void *sealed,
                  size_t len, uint8_t **ret_plain, size_t *ret_len, struct fl_err *err)
{
    char aad[AAD_MAX_BYTES];
    int r = make_aad(at, aad, err);

    if (r < 0)
        return r;
    r = fl_unseal(plane->parameter_key, aad, sealed, len, ret_plain, ret_len);
    if (r == -EBADMSG)
        return fl_err_set(err, r, "InvalidKeyId",
                          "The value cannot be decrypted: " FL_DATA_PARAMETER_KEY
                          " is not the key that it was encrypted with.");
    return r < 0 ? fl_err_set(err, r, NULL, "a parameter cannot be decrypted") : 0;
}

int fl_parameter_seal(struct fl_call *call, const char *id, int64_t version, const char *value,
                      uint8_t **ret_sealed, size_t *ret_len, struct fl_err *err)
{
    const struct place at = { call->account, call->region, id, version };
    char aad[AAD_MAX_BYTES];
    int r = make_aad(&at, aad, err);

    if (r == 0)
        r = fl_seal(call->plane->parameter_key, aad, value, strlen(value), ret_sealed, ret_len);
    return r < 0 ? fl_err_set(err, r, NULL, "a parameter cannot be encrypted") : 0;
}

int fl_parameter_unseal(struct fl_call *call, const char *id, int64_t version, const void *sealed,
                        size_t len, char **ret_value, struct fl_err *err)
{
    const struct place at = { call->account, call->region, id, version };
    uint8_t *plain = NULL;
    size_t plain_len;
    char *value;
    int r = unseal(call->plane, &at, sealed, len, &plain, &plain_len, err);

    if (r < 0)
        return r;
    value = fl_arena_memdup(call->arena, plain, plain_len);
    fl_free_secret(plain, plain_len);
    if (!value)
        return fl_err_nomem(err);
    *ret_value = value;
    return 0;
}

/* ---- the key file ---- */

struct trial {
    struct fl_plane *plane;
    bool any;   /* the store holds a SecureString */
    bool opens; /* with plane->parameter_key */
    struct fl_err *err;
};

static int try_job(struct fl_tx *tx, void *arg)
{
    struct trial *t = arg;
    fl_autocursor struct fl_cursor *c = NULL;
    uint8_t *plain = NULL;
    const void *sealed;
    struct place at;
    size_t len, plain_len;
    int r = fl_sql_open(tx, FL_SQL_parameter_sealed_sample, &c, t->err);

    if (r >= 0)
        r = fl_sql_next(c, t->err);
    if (r <= 0)
        return r;
    t->any = true;
    at =
        (struct place){ fl_sql_text(c, 0), fl_sql_text(c, 1), fl_sql_text(c, 2), fl_sql_int(c, 3) };
    sealed = fl_sql_blob(c, 4, &len);
    if (unseal(t->plane, &at, sealed, len, &plain, &plain_len, NULL) < 0)
        return 0;
    t->opens = true;
    fl_free_secret(plain, plain_len);
    return 0;
}

int fl_parameter_key_open(struct fl_plane *plane, struct fl_err *err)
{
    struct trial t = { .plane = plane, .err = err };
    struct fl_err why = { 0 };
    const char *dir = plane->conf.data_dir;
    int found = fl_data_key_load(dir, FL_DATA_PARAMETER_KEY, plane->parameter_key, &why);
    int r;

    if (found < 0 && found != -ENOENT)
        return fl_err_set(err, found, NULL, "%s", fl_err_text(&why));
    r = fl_store_run(plane->store, FL_LANE_READ, try_job, &t);
    if (r < 0)
        return r;
    if (t.any && (found < 0 || !t.opens))
        return fl_err_set(err, -EINVAL, NULL,
                          "%s/" FL_DATA_PARAMETER_KEY " %s: restore it from the backup that the "
                          "database is of",
                          dir,
                          found < 0 ? "is missing, and the database holds parameters that only it "
                                      "decrypts"
                                    : "does not decrypt the parameters in the database");
    if (found == 0)
        return 0;
    r = fl_data_key_make(dir, FL_DATA_PARAMETER_KEY, plane->parameter_key, err);
    if (r == 0)
        fl_log_info("key for SecureString parameters made", FL_S("file", FL_DATA_PARAMETER_KEY));
    return r;
}
