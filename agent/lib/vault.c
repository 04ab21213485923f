/* vault.c - see vault.h. */
#include "agent/lib/vault.h"
#include "agent/lib/text.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/codec.h"
#include "common/codec/json_load.h"

#define MAX_ITEM_BYTES (256u << 10)
#define KEY_ITEM       "RegistrationKey"
#define PRINT_ITEM     "InstanceFingerprint"
#define PENDING_FILE   "RegistrationKey.pending" /* ours: not in the manifest */

struct record {
    char *instance_id, *region, *instance_type, *zone, *private_key, *public_key, *key_type,
        *key_created;
};

#define F(member, key, flags) FL_FIELD(struct record, member, key, FL_ALWAYS | (flags))
static const struct fl_field record_fields[] = {
    F(instance_id, "instanceID", 0),         F(region, "region", 0),
    F(instance_type, "instanceType", 0),     F(zone, "availabilityZone", 0),
    F(private_key, "privateKey", FL_SECRET), F(public_key, "publicKey", 0),
    F(key_type, "privateKeyType", 0),        F(key_created, "privateKeyCreatedDate", 0),
};
#undef F
static const struct fl_shape record_shape =
    FL_SHAPE(struct record, "RegistrationKey", record_fields);

struct pending {
    char *private_key;
};
static const struct fl_field pending_fields[] = {
    FL_FIELD(struct pending, private_key, "privateKey", FL_SECRET),
};
static const struct fl_shape pending_shape =
    FL_SHAPE(struct pending, "RegistrationKey.pending", pending_fields);

struct public_record {
    char *node_id, *region;
};
static const struct fl_field public_fields[] = {
    FL_FIELD(struct public_record, node_id, "ManagedInstanceID", FL_ALWAYS),
    FL_FIELD(struct public_record, region, "Region", FL_ALWAYS),
};
static const struct fl_shape public_shape =
    FL_SHAPE(struct public_record, "registration", public_fields);

static void free_text(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}
#define auto_text FL_CLEANUP(free_text)

static void buf_done_wiped(struct fl_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    fl_buf_done(b);
}

static char *below(const char *state_dir, const char *name)
{
    char *p = NULL;

    return asprintf(&p, "%s/%s", state_dir, name) < 0 ? NULL : p;
}

static int no_memory(struct fl_err *err, const char *what)
{
    return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", what);
}

/* ---- items and the manifest ---- */

static char *store_path(const char *state_dir, const char *key)
{
    char *p = NULL;

    return asprintf(&p, "%s/Vault/Store/%s", state_dir, key) < 0 ? NULL : p;
}

/* The manifest: key -> absolute path. An absent one is an empty object. */
static int load_manifest(const char *path, json_t **ret_manifest, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    json_error_t bad;
    size_t len = 0;
    int r;

    r = fl_file_read(path, MAX_ITEM_BYTES, &text, &len, NULL);
    if (r == -ENOENT || (r == 0 && len == 0)) {
        *ret_manifest = json_object();
        return *ret_manifest ? 0 : no_memory(err, path);
    }
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", path, strerror(-r));
    *ret_manifest = fl_json_load(text, len, 0, &bad);
    if (*ret_manifest && json_is_object(*ret_manifest))
        return 0;
    json_decref(*ret_manifest);
    *ret_manifest = NULL;
    return fl_err_set(err, -EBADMSG, NULL, "%s: not a JSON object", path);
}

int fl_vault_item_load(const char *state_dir, const char *key, char **ret_text, struct fl_err *err)
{
    fl_autofree char *manifest_path = below(state_dir, "Vault/Manifest");
    fl_autofree char *path = store_path(state_dir, key);
    json_t *manifest = NULL;
    const char *listed;
    int r;

    if (!manifest_path || !path)
        return no_memory(err, key);
    r = load_manifest(manifest_path, &manifest, err);
    if (r < 0)
        return r;
    listed = json_string_value(json_object_get(manifest, key));
    if (listed && *listed == '/') {
        free(path);
        path = strdup(listed);
    }
    json_decref(manifest);
    if (!path)
        return no_memory(err, key);

    *ret_text = NULL;
    r = fl_file_read(path, MAX_ITEM_BYTES, ret_text, NULL, err);
    return r == -ENOENT ? 0 : r;
}

static int make_dirs(const char *state_dir, struct fl_err *err)
{
    static const char *const dirs[] = { "Vault", "Vault/Store" };
    int r = fl_dir_make(state_dir, 0700, err);

    for (size_t i = 0; r == 0 && i < FL_ARRAY_LEN(dirs); i++) {
        fl_autofree char *dir = below(state_dir, dirs[i]);

        r = dir ? fl_dir_make(dir, 0700, err) : no_memory(err, dirs[i]);
    }
    return r;
}

int fl_vault_item_store(const char *state_dir, const char *key, const char *text,
                        struct fl_err *err)
{
    fl_autofree char *manifest_path = below(state_dir, "Vault/Manifest");
    fl_autofree char *path = store_path(state_dir, key);
    fl_autofree char *manifest_text = NULL;
    json_t *manifest = NULL;
    const char *listed;
    int r;

    if (!manifest_path || !path)
        return no_memory(err, key);
    r = make_dirs(state_dir, err);
    if (r == 0)
        r = fl_file_replace(path, 0600, text, strlen(text), err);
    if (r < 0)
        return r;

    if (load_manifest(manifest_path, &manifest, NULL) < 0)
        manifest = json_object(); /* an unreadable one is replaced: the items are where we look */
    listed = json_string_value(json_object_get(manifest, key));
    if (listed && strcmp(listed, path) == 0) {
        json_decref(manifest);
        return 0;
    }
    if (json_object_set_new(manifest, key, json_string(path)) == 0)
        manifest_text = json_dumps(manifest, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(manifest);
    if (!manifest_text)
        return no_memory(err, manifest_path);
    return fl_file_replace(manifest_path, 0600, manifest_text, strlen(manifest_text), err);
}

int fl_vault_probe(const char *state_dir, struct fl_err *err)
{
    fl_autofree char *path = store_path(state_dir, ".probe");
    char filler[4096] = { 0 }; /* more than a record takes, to notice a full disk */
    int r;

    if (!path)
        return no_memory(err, state_dir);
    r = make_dirs(state_dir, err);
    if (r == 0)
        r = fl_file_replace(path, 0600, filler, sizeof(filler), err);
    unlink(path);
    return r;
}

/* ---- records ---- */

/* Decodes `text` and wipes the private key out of the parser's memory. */
static int decode_record(const char *text, const struct fl_shape *shape, struct fl_arena *arena,
                         void *out, struct fl_err *err)
{
    json_error_t bad;
    json_t *root = fl_json_load_text(text, 0, &bad);
    char *key;
    int r;

    if (!root)
        return fl_err_set(err, -EBADMSG, NULL, "%s: line %d: %s", shape->name, bad.line, bad.text);
    r = fl_json_decode_value(shape, root, FL_DECODE_NOCASE, arena, out, err);
    key = fl_text(json_string_value(json_object_get(root, "privateKey")));
    if (key)
        explicit_bzero(key, strlen(key));
    json_decref(root);
    return r;
}

static int encode(const struct fl_shape *shape, const void *in, char **ret_text)
{
    struct fl_buf b FL_CLEANUP(buf_done_wiped) = FL_BUF(MAX_ITEM_BYTES);

    /* Room for everything at once: growing would leave copies of the key behind. */
    if (fl_buf_reserve(&b, 16384) < 0 || fl_json_encode(shape, in, &b) < 0)
        return -ENOMEM;
    *ret_text = fl_buf_take(&b, NULL);
    return *ret_text ? 0 : -ENOMEM;
}

static bool given(const char *s)
{
    return s && *s;
}

int fl_vault_load(const char *state_dir, bool with_key, struct fl_arena *arena,
                  struct fl_registration *ret_reg, struct fl_err *err)
{
    struct fl_registration reg = { 0 };
    struct record rec = { 0 };
    auto_text char *text = NULL;
    int r;

    r = fl_vault_item_load(state_dir, KEY_ITEM, &text, err);
    if (r < 0)
        return r;
    if (given(text)) {
        r = decode_record(text, &record_shape, arena, &rec, err);
        if (r < 0)
            return r;
    }
    if (given(rec.instance_id) && given(rec.region) && given(rec.private_key)) {
        reg.node_id = rec.instance_id;
        reg.region = rec.region;
        reg.key_created = given(rec.key_created) ? rec.key_created : NULL;
        reg.private_key = with_key ? rec.private_key : NULL;
    }
    if (!with_key && rec.private_key)
        explicit_bzero(rec.private_key, strlen(rec.private_key));
    *ret_reg = reg;
    return 0;
}

static int store_record(const char *state_dir, const struct record *rec, struct fl_err *err)
{
    auto_text char *text = NULL;

    if (encode(&record_shape, rec, &text) < 0)
        return no_memory(err, KEY_ITEM);
    return fl_vault_item_store(state_dir, KEY_ITEM, text, err);
}

int fl_vault_store(const char *state_dir, const struct fl_registration *reg, struct fl_err *err)
{
    char empty[] = "", rsa[] = "Rsa", now[FL_VAULT_DATE_BYTES];
    struct record rec = {
        .instance_id = reg->node_id,
        .region = reg->region,
        .instance_type = empty,
        .zone = empty,
        .private_key = reg->private_key,
        .public_key = empty,
        .key_type = rsa,
        .key_created = reg->key_created,
    };
    struct public_record pub = { .node_id = reg->node_id, .region = reg->region };
    fl_autofree char *path = below(state_dir, "registration");
    fl_autofree char *text = NULL;
    int r;

    if (!rec.key_created) {
        fl_vault_date_now(now);
        rec.key_created = now;
    }
    r = store_record(state_dir, &rec, err);
    if (r < 0)
        return r;
    if (!path || encode(&public_shape, &pub, &text) < 0)
        return no_memory(err, "registration");
    return fl_file_replace(path, 0600, text, strlen(text), err);
}

int fl_vault_clear(const char *state_dir, struct fl_err *err)
{
    char empty[] = "";
    struct record rec = { empty, empty, empty, empty, empty, empty, empty, empty };
    int r = store_record(state_dir, &rec, err);

    if (r == 0)
        r = fl_vault_item_store(state_dir, PRINT_ITEM, "", err);
    if (r == 0)
        r = fl_vault_pending_drop(state_dir, err);
    return r;
}

/* ---- the pending key ---- */

int fl_vault_pending_load(const char *state_dir, struct fl_arena *arena, char **ret_key,
                          struct fl_err *err)
{
    fl_autofree char *path = store_path(state_dir, PENDING_FILE);
    struct pending p = { 0 };
    auto_text char *text = NULL;
    int r;

    *ret_key = NULL;
    if (!path)
        return no_memory(err, PENDING_FILE);
    r = fl_file_read(path, MAX_ITEM_BYTES, &text, NULL, err);
    if (r == -ENOENT)
        return 0;
    if (r == 0)
        r = decode_record(text, &pending_shape, arena, &p, err);
    if (r == 0 && given(p.private_key))
        *ret_key = p.private_key;
    return r;
}

int fl_vault_pending_store(const char *state_dir, const char *key, struct fl_err *err)
{
    fl_autofree char *path = store_path(state_dir, PENDING_FILE);
    struct pending p = { .private_key = fl_text(key) };
    auto_text char *text = NULL;
    int r = make_dirs(state_dir, err);

    if (r < 0)
        return r;
    if (!path || encode(&pending_shape, &p, &text) < 0)
        return no_memory(err, PENDING_FILE);
    return fl_file_replace(path, 0600, text, strlen(text), err);
}

bool fl_vault_pending_exists(const char *state_dir)
{
    fl_autofree char *path = store_path(state_dir, PENDING_FILE);

    return path && access(path, F_OK) == 0;
}

int fl_vault_pending_drop(const char *state_dir, struct fl_err *err)
{
    fl_autofree char *path = store_path(state_dir, PENDING_FILE);
    fl_autofree char *dir = below(state_dir, "Vault/Store");

    if (!path || !dir)
        return no_memory(err, PENDING_FILE);
    if (unlink(path) == 0)
        return fl_dir_sync(dir, err);
    return errno == ENOENT ? 0 : fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
}

int fl_vault_pending_promote(const char *state_dir, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(2 * MAX_ITEM_BYTES);
    struct fl_registration reg;
    char *key;
    int r;

    r = fl_vault_pending_load(state_dir, &arena, &key, err);
    if (r == 0)
        r = fl_vault_load(state_dir, true, &arena, &reg, err);
    if (r < 0)
        return r;
    if (!key || !reg.node_id)
        return fl_err_set(err, -ENOENT, NULL, "%s: no pending key to promote", state_dir);
    explicit_bzero(reg.private_key, strlen(reg.private_key));
    reg.private_key = key;
    reg.key_created = NULL; /* now */
    r = fl_vault_store(state_dir, &reg, err);
    explicit_bzero(key, strlen(key));
    /* Dying between the two steps is harmless: a pending key that equals the record's is dropped by
     * the next probe. */
    return r < 0 ? r : fl_vault_pending_drop(state_dir, err);
}

/* ---- dates ---- */

void fl_vault_date_now(char out[FL_VAULT_DATE_BYTES])
{
    struct timespec ts;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = strftime(out, FL_VAULT_DATE_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
    snprintf(out + n, FL_VAULT_DATE_BYTES - n, ".%09ld +0000 UTC", ts.tv_nsec);
}

int fl_vault_date_parse(const char *text, int64_t *ret_ms)
{
    char iso[128], fraction[16] = "", sign;
    int year, month, day, hour, minute, second, used = 0, zone_hour, zone_minute;

    if (!text || strlen(text) >= 2 * FL_VAULT_DATE_BYTES ||
        sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
               &used) != 6)
        return -EINVAL;
    if (text[used] == '.') {
        size_t digits = strspn(text + used + 1, "0123456789");

        if (digits < 1 || digits > 9)
            return -EINVAL;
        snprintf(fraction, sizeof(fraction), ".%.*s", (int)digits, text + used + 1);
        used += 1 + (int)digits;
    }
    if (sscanf(text + used, " %c%2d%2d", &sign, &zone_hour, &zone_minute) != 3 ||
        (sign != '+' && sign != '-') || year < 1 || zone_hour < 0 || zone_minute < 0)
        return -EINVAL;
    snprintf(iso, sizeof(iso), "%04d-%02d-%02dT%02d:%02d:%02d%s%c%02d:%02d", year, month, day, hour,
             minute, second, fraction, sign, zone_hour, zone_minute);
    return fl_time_parse_iso(iso, ret_ms);
}
