#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "agent/lib/fingerprint.h"
#include "common/base/rand.h"
#include "tests/agent/lib/tempdir.h"

#define RECORD "Vault/Store/InstanceFingerprint"

static const char *const keys[] = { "bios-hash",      "disk-info",      "hostname-info",
                                    "ipaddress-info", "macaddr-info",   "machine-id",
                                    "memory-hash",    "processor-hash", "system-hash" };

static json_t *load(void)
{
    json_t *j = json_load_file(tempdir_path(RECORD), 0, NULL);

    assert_non_null(j);
    return j;
}

/* Sets the values of `n` keys to something that no machine has. */
static void change_hardware(const char *const *names, size_t n, int threshold)
{
    json_t *j = load();

    for (size_t i = 0; i < n; i++)
        json_object_set_new(json_object_get(j, "hardwareHash"), names[i], json_string("other"));
    json_object_set_new(j, "similarityThreshold", json_integer(threshold));
    assert_int_equal(json_dump_file(j, tempdir_path(RECORD), 0), 0);
    json_decref(j);
}

static void it_is_made_once_and_kept(void **state)
{
    char first[FL_UUID_BYTES], second[FL_UUID_BYTES];
    bool changed = true;
    json_t *j;

    assert_int_equal(fl_fingerprint_get(tempdir, first, &changed, NULL), 0);
    assert_false(changed);
    assert_true(fl_uuid_valid(first));
    assert_int_equal(first[14], '4');
    assert_int_equal(fl_fingerprint_get(tempdir, second, &changed, NULL), 0);
    assert_string_equal(first, second);
    assert_false(changed);

    j = load();
    assert_string_equal(json_string_value(json_object_get(j, "fingerprint")), first);
    assert_int_equal(json_integer_value(json_object_get(j, "similarityThreshold")), 40);
    assert_int_equal(json_object_size(json_object_get(j, "hardwareHash")), FL_ARRAY_LEN(keys));
    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++)
        assert_true(json_is_string(json_object_get(json_object_get(j, "hardwareHash"), keys[i])));
    json_decref(j);
}

/* What does not take three looks, five seconds apart: the machine stays similar. */
static void a_similar_machine_keeps_it(void **state)
{
    static const char *const most[] = { "bios-hash",    "disk-info",   "hostname-info",
                                        "macaddr-info", "memory-hash", "processor-hash",
                                        "system-hash" };
    char first[FL_UUID_BYTES], now[FL_UUID_BYTES];
    bool changed;

    assert_int_equal(fl_fingerprint_get(tempdir, first, NULL, NULL), 0);
    /* Same machine id and address: nothing else matters. */
    change_hardware(most, FL_ARRAY_LEN(most), 100);
    assert_int_equal(fl_fingerprint_get(tempdir, now, &changed, NULL), 0);
    assert_string_equal(first, now);
    /* Threshold -1: not even those. */
    change_hardware(keys, FL_ARRAY_LEN(keys), -1);
    assert_int_equal(fl_fingerprint_get(tempdir, now, &changed, NULL), 0);
    assert_string_equal(first, now);
    assert_false(changed);
}

static void the_threshold_can_be_set(void **state)
{
    json_t *j;

    assert_int_equal(fl_fingerprint_set_threshold(tempdir, 77, NULL), 0);
    j = load();
    assert_int_equal(json_integer_value(json_object_get(j, "similarityThreshold")), 77);
    json_decref(j);
}

static void a_cleared_or_damaged_record_counts_as_none(void **state)
{
    static const char *const texts[] = { "", "{", "[]", "{\"fingerprint\":\"x\"}",
                                         "{\"hardwareHash\":5}" };

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        char uuid[FL_UUID_BYTES];
        bool changed = true;

        assert_int_equal(
            fl_file_replace(tempdir_path(RECORD), 0600, texts[i], strlen(texts[i]), NULL), 0);
        assert_int_equal(fl_fingerprint_set_threshold(tempdir, 50, NULL), -ENOENT);
        assert_int_equal(fl_fingerprint_get(tempdir, uuid, &changed, NULL), 0);
        assert_true(fl_uuid_valid(uuid));
        assert_false(changed);
    }
    assert_int_equal(fl_fingerprint_clear(tempdir, NULL), 0);
    assert_int_equal(fl_fingerprint_set_threshold(tempdir, 50, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_once_and_kept),
        cmocka_unit_test(a_similar_machine_keeps_it),
        cmocka_unit_test(the_threshold_can_be_set),
        cmocka_unit_test(a_cleared_or_damaged_record_counts_as_none),
    };

    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
