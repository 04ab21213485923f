#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/crypto.h"

static void hashes(void **state)
{
    static const struct {
        const char *data, *want;
    } cases[] = {
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    };
    char hex[FL_SHA256_HEX_BYTES];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_sha256_hex(cases[i].data, strlen(cases[i].data), hex);
        assert_string_equal(hex, cases[i].want);
    }
    fl_sha256_hex(NULL, 0, hex);
    assert_string_equal(hex, cases[0].want);
}

static void hmacs(void **state)
{
    static const struct {
        const char *key, *data, *want;
    } cases[] = {
        { "", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
        { "Jefe", "what do ya want for nothing?",
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" }, /* RFC 4231, 2 */
    };
    uint8_t mac[FL_SHA256_BYTES];
    char hex[FL_SHA256_HEX_BYTES];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_hmac_sha256(cases[i].key, strlen(cases[i].key), cases[i].data, strlen(cases[i].data),
                       mac);
        fl_hex_encode(mac, sizeof(mac), hex);
        assert_string_equal(hex, cases[i].want);
    }
}

static void hex_is_strict(void **state)
{
    static const struct {
        const char *text;
        int want;
    } cases[] = {
        { "00ff", 0 },       { "00FF", 0 },   { "00f", -EINVAL },  { "00ff0", -EINVAL },
        { "00fg", -EINVAL }, { "", -EINVAL }, { " 0ff", -EINVAL },
    };
    uint8_t out[2];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_hex_decode(cases[i].text, out, sizeof(out)), cases[i].want);
    assert_int_equal(fl_hex_decode("00ff", out, 2), 0);
    assert_int_equal(out[1], 0xff);
}

static void base64_round_trips(void **state)
{
    static const struct {
        const char *plain, *text; /* RFC 4648 §10 */
    } cases[] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
        { "\xff\xef\xbf", "/++/" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *text = fl_base64_encode(cases[i].plain, strlen(cases[i].plain));
        fl_autofree uint8_t *plain = NULL;
        size_t len = 99;

        assert_string_equal(text, cases[i].text);
        assert_int_equal(fl_base64_decode(text, &plain, &len), 0);
        assert_int_equal(len, strlen(cases[i].plain));
        assert_memory_equal(plain, cases[i].plain, len);
    }
}

static void base64_is_strict(void **state)
{
    static const char *const cases[] = {
        "Zg",     "Zg=",  "Zg===", "====", "Z===", "Zg==Zg==",
        "Zm9v\n", " Zm9", "Zm9-",  "Zm9_", "=Zm9", "Zh==", /* unused bits set */
        "Zm9=",                                            /* the same */
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        uint8_t *plain = NULL;
        size_t len;

        assert_int_equal(fl_base64_decode(cases[i], &plain, &len), -EINVAL);
    }
}

static void secrets_compare(void **state)
{
    assert_true(fl_equal_secret("", 0, "", 0));
    assert_true(fl_equal_secret("abc", 3, "abc", 3));
    assert_false(fl_equal_secret("abc", 3, "abd", 3));
    assert_false(fl_equal_secret("abc", 3, "ab", 2));
    fl_free_secret(NULL, 0);
}

static void seal_round_trips(void **state)
{
    static const struct {
        const char *plain, *aad;
    } cases[] = { { "", NULL }, { "secret", NULL }, { "secret", "node mi-1" }, { "", "x" } };
    const uint8_t key[FL_SEAL_KEY_BYTES] = { 1, 2, 3 };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].plain), sealed_len, plain_len;
        fl_autofree uint8_t *sealed = NULL;
        fl_autofree uint8_t *plain = NULL;

        assert_int_equal(fl_seal(key, cases[i].aad, cases[i].plain, len, &sealed, &sealed_len), 0);
        assert_int_equal(sealed_len, len + 28);
        assert_int_equal(fl_unseal(key, cases[i].aad, sealed, sealed_len, &plain, &plain_len), 0);
        assert_int_equal(plain_len, len);
        assert_memory_equal(plain, cases[i].plain, len);
    }
}

static void seal_notices_changes(void **state)
{
    const uint8_t key[FL_SEAL_KEY_BYTES] = { 1 }, other[FL_SEAL_KEY_BYTES] = { 2 };
    fl_autofree uint8_t *sealed = NULL;
    uint8_t *plain;
    size_t len, n;

    assert_int_equal(fl_seal(key, "a", "secret", 6, &sealed, &len), 0);
    assert_int_equal(fl_unseal(other, "a", sealed, len, &plain, &n), -EBADMSG);
    assert_int_equal(fl_unseal(key, "b", sealed, len, &plain, &n), -EBADMSG);
    assert_int_equal(fl_unseal(key, NULL, sealed, len, &plain, &n), -EBADMSG);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(fl_unseal(key, "a", sealed, cut, &plain, &n), -EBADMSG);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 0x40;
        assert_int_equal(fl_unseal(key, "a", sealed, len, &plain, &n), -EBADMSG);
        sealed[i] ^= 0x40;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes),           cmocka_unit_test(hmacs),
        cmocka_unit_test(hex_is_strict),    cmocka_unit_test(base64_round_trips),
        cmocka_unit_test(base64_is_strict), cmocka_unit_test(secrets_compare),
        cmocka_unit_test(seal_round_trips), cmocka_unit_test(seal_notices_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
