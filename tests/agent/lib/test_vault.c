#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "agent/lib/vault.h"
#include "tests/agent/lib/tempdir.h"

#define NODE "mi-0123456789abcdef0"
#define DATE "2026-01-02 03:04:05.123456789 +0000 UTC"

static char node[] = NODE, region[] = "us-east-1", key[] = "MIIEpQ==", date[] = DATE;

static const struct fl_registration registration = { node, region, key, date };

static char *read_file(const char *name)
{
    char *text = NULL;

    assert_int_equal(fl_file_read(tempdir_path(name), 1 << 20, &text, NULL, NULL), 0);
    return text;
}

static void write_file(const char *name, const char *text)
{
    assert_int_equal(fl_file_replace(tempdir_path(name), 0600, text, strlen(text), NULL), 0);
}

static void nothing_stored_is_not_registered(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_registration reg = { node, node, node, node };

    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_null(reg.node_id);
    assert_false(fl_vault_pending_exists(tempdir));
}

/* Byte for byte what the official agent reads and writes (protocol 1 §1.4). */
static void files_are_the_official_agents(void **state)
{
    fl_autofree char *record = NULL;
    fl_autofree char *pub = NULL;
    fl_autofree char *manifest = NULL;
    char want[1024];
    struct stat st;

    assert_int_equal(fl_vault_probe(tempdir, NULL), 0);
    assert_int_equal(fl_vault_store(tempdir, &registration, NULL), 0);
    record = read_file("Vault/Store/RegistrationKey");
    assert_string_equal(record, "{\"instanceID\":\"" NODE
                                "\",\"region\":\"us-east-1\",\"instanceType\":\"\","
                                "\"availabilityZone\":\"\",\"privateKey\":\"MIIEpQ==\","
                                "\"publicKey\":\"\",\"privateKeyType\":\"Rsa\","
                                "\"privateKeyCreatedDate\":\"" DATE "\"}");
    pub = read_file("registration");
    assert_string_equal(pub, "{\"ManagedInstanceID\":\"" NODE "\",\"Region\":\"us-east-1\"}");
    manifest = read_file("Vault/Manifest");
    snprintf(want, sizeof(want), "{\"RegistrationKey\":\"%s/Vault/Store/RegistrationKey\"}",
             tempdir);
    assert_string_equal(manifest, want);
    assert_int_equal(stat(tempdir_path("Vault/Store/RegistrationKey"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(tempdir_path("Vault/Store"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void load_gives_back_what_was_stored(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_registration reg;

    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_string_equal(reg.node_id, NODE);
    assert_string_equal(reg.region, "us-east-1");
    assert_string_equal(reg.private_key, key);
    assert_string_equal(reg.key_created, DATE);
    assert_int_equal(fl_vault_load(tempdir, false, &arena, &reg, NULL), 0);
    assert_string_equal(reg.node_id, NODE);
    assert_null(reg.private_key);
}

static void the_manifest_is_followed(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_registration reg;
    char manifest[1024];

    write_file("elsewhere",
               "{\"instanceID\":\"mi-elsewhere\",\"region\":\"r\",\"privateKey\":\"k\","
               "\"unknown\":1}");
    snprintf(manifest, sizeof(manifest),
             "{\"InstanceFingerprint\":\"/x\",\"RegistrationKey\":\"%s/elsewhere\"}", tempdir);
    write_file("Vault/Manifest", manifest);
    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_string_equal(reg.node_id, "mi-elsewhere");
    assert_null(reg.key_created);

    /* Storing goes to our own place, lists it there, and keeps the others. */
    assert_int_equal(fl_vault_store(tempdir, &registration, NULL), 0);
    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_string_equal(reg.node_id, NODE);
    fl_autofree char *now = read_file("Vault/Manifest");
    assert_non_null(strstr(now, "\"InstanceFingerprint\":\"/x\""));
}

static void incomplete_is_not_registered_and_damaged_is_an_error(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        { "", 0 },
        { "{}", 0 },
        { "{\"instanceID\":\"mi-1\",\"region\":\"r\",\"privateKey\":\"\"}", 0 },
        { "{\"instanceID\":\"\",\"region\":\"r\",\"privateKey\":\"k\"}", 0 },
        { "{\"instanceID\":", -EBADMSG },
        { "[]", -EBADMSG },
        { "{\"instanceID\":5}", -EINVAL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_registration reg = { 0 };
        struct fl_err err = { 0 };

        write_file("Vault/Store/RegistrationKey", cases[i].text);
        assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, &err), cases[i].want);
        assert_null(reg.node_id);
        if (cases[i].want < 0)
            assert_non_null(strstr(err.text, "RegistrationKey"));
    }
}

static void a_pending_key_is_kept_promoted_or_dropped(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_registration reg;
    char *pending = NULL;
    int64_t created;

    assert_int_equal(fl_vault_store(tempdir, &registration, NULL), 0);
    assert_true(fl_vault_pending_promote(tempdir, NULL) < 0);
    assert_int_equal(fl_vault_pending_store(tempdir, "NEWKEY", NULL), 0);
    assert_true(fl_vault_pending_exists(tempdir));
    assert_int_equal(fl_vault_pending_load(tempdir, &arena, &pending, NULL), 0);
    assert_string_equal(pending, "NEWKEY");
    assert_int_equal(fl_vault_pending_drop(tempdir, NULL), 0);
    assert_int_equal(fl_vault_pending_drop(tempdir, NULL), 0);
    assert_int_equal(fl_vault_pending_load(tempdir, &arena, &pending, NULL), 0);
    assert_null(pending);

    assert_int_equal(fl_vault_pending_store(tempdir, "NEWKEY", NULL), 0);
    assert_int_equal(fl_vault_pending_promote(tempdir, NULL), 0);
    assert_false(fl_vault_pending_exists(tempdir));
    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_string_equal(reg.node_id, NODE);
    assert_string_equal(reg.private_key, "NEWKEY");
    assert_string_not_equal(reg.key_created, DATE);
    assert_int_equal(fl_vault_date_parse(reg.key_created, &created), 0);
}

/* Whole, or an error that names the file: never a registration made of half a record. */
static void records_cut_at_every_byte(void **state)
{
    static const struct {
        const char *name;
        bool needed; /* without it nothing is registered; the others are found by default */
    } files[] = {
        { "Vault/Store/RegistrationKey", true },
        { "Vault/Manifest", false },
        { "registration", false },
        { "Vault/Store/RegistrationKey.pending", false },
    };

    assert_int_equal(fl_vault_store(tempdir, &registration, NULL), 0);
    assert_int_equal(fl_vault_pending_store(tempdir, "NEWKEY", NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(files); i++) {
        fl_autofree char *whole = read_file(files[i].name);

        for (size_t size = 0; size < strlen(whole); size++) {
            fl_autoarena struct fl_arena arena = FL_ARENA(65536);
            struct fl_registration reg = { 0 };
            struct fl_err err = { 0 };
            char *pending = NULL;
            int r, pending_r;

            assert_int_equal(fl_file_replace(tempdir_path(files[i].name), 0600, whole, size, NULL),
                             0);
            r = fl_vault_load(tempdir, true, &arena, &reg, &err);
            if (files[i].needed) {
                assert_null(reg.node_id);
                assert_true(size == 0 ? r == 0 : r < 0 && strstr(err.text, "RegistrationKey"));
            } else if (r == 0) {
                assert_string_equal(reg.private_key, key);
            } else {
                assert_non_null(strstr(err.text, files[i].name));
            }
            pending_r = fl_vault_pending_load(tempdir, &arena, &pending, NULL);
            assert_true(pending_r < 0 || !pending || strcmp(pending, "NEWKEY") == 0);
        }
        write_file(files[i].name, whole);
    }
    assert_int_equal(fl_vault_pending_drop(tempdir, NULL), 0);
}

static void clearing_keeps_the_files(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_registration reg;

    assert_int_equal(fl_vault_clear(tempdir, NULL), 0);
    assert_int_equal(fl_vault_load(tempdir, true, &arena, &reg, NULL), 0);
    assert_null(reg.node_id);
    fl_autofree char *pub = read_file("registration"); /* not removed by -clear */
    assert_non_null(strstr(pub, NODE));
}

static void dates(void **state)
{
    static const struct {
        const char *text;
        int want;
        int64_t ms;
    } cases[] = {
        { DATE, 0, 1767323045123 },
        { "2026-01-02 03:04:05 +0000 UTC", 0, 1767323045000 },
        { "2026-01-02 03:04:05.1 +0000 UTC m=+0.1", 0, 1767323045100 },
        { "2026-01-02 05:04:05 +0200 CEST", 0, 1767323045000 },
        { "0001-01-01 00:00:00 +0000 UTC", 0, -62135596800000 },
        { "", -EINVAL, 0 },
        { "2026-01-02", -EINVAL, 0 },
        { "2026-01-02 03:04:05", -EINVAL, 0 },
        { "2026-01-02 03:04:05.1234567890 +0000 UTC", -EINVAL, 0 },
        { "2026-13-02 03:04:05 +0000 UTC", -EINVAL, 0 },
        { "nonsense", -EINVAL, 0 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        int64_t ms = 0;

        assert_int_equal(fl_vault_date_parse(cases[i].text, &ms), cases[i].want);
        assert_int_equal(ms, cases[i].ms);
    }
    assert_int_equal(fl_vault_date_parse(NULL, &(int64_t){ 0 }), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_stored_is_not_registered),
        cmocka_unit_test(files_are_the_official_agents),
        cmocka_unit_test(load_gives_back_what_was_stored),
        cmocka_unit_test(the_manifest_is_followed),
        cmocka_unit_test(incomplete_is_not_registered_and_damaged_is_an_error),
        cmocka_unit_test(a_pending_key_is_kept_promoted_or_dropped),
        cmocka_unit_test(records_cut_at_every_byte),
        cmocka_unit_test(clearing_keeps_the_files),
        cmocka_unit_test(dates),
    };

    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
