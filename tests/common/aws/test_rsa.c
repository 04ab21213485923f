#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/crypto.h"
#include "tests/vectors/vectors.h"

static json_t *vectors;

static int setup(void **state)
{
    vectors = vectors_load("tests/vectors/rsa.json");
    return 0;
}

static int teardown(void **state)
{
    json_decref(vectors);
    return 0;
}

static struct fl_rsa *private_key(void)
{
    struct fl_rsa *key = NULL;

    assert_int_equal(fl_rsa_from_private_text(vectors_str(vectors, "private_key"), &key, NULL), 0);
    return key;
}

static struct fl_rsa *public_key(void)
{
    struct fl_rsa *key = NULL;

    assert_int_equal(fl_rsa_from_public_text(vectors_str(vectors, "public_key"), &key, NULL), 0);
    return key;
}

static void texts_round_trip(void **state)
{
    struct fl_rsa *key = private_key();
    fl_autofree char *priv = NULL;
    fl_autofree char *pub = NULL;

    assert_int_equal(fl_rsa_private_text(key, &priv), 0);
    assert_string_equal(priv, vectors_str(vectors, "private_key"));
    assert_int_equal(fl_rsa_public_text(key, &pub), 0);
    assert_string_equal(pub, vectors_str(vectors, "public_key"));
    assert_null(fl_rsa_free(key));
    assert_null(fl_rsa_free(NULL));
}

static void refuse(const char *list, int (*parse)(const char *, struct fl_rsa **, struct fl_err *))
{
    const json_t *rows = json_object_get(vectors, list);

    assert_true(json_array_size(rows) > 0);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        struct fl_rsa *key = NULL;
        struct fl_err err = { 0 };

        if (parse(vectors_str(row, "text"), &key, &err) != -EINVAL)
            fail_msg("%s: %s was accepted", list, vectors_str(row, "name"));
        assert_null(key);
        assert_true(err.text[0] != '\0');
    }
}

static void bad_keys_are_refused(void **state)
{
    refuse("refused_public_keys", fl_rsa_from_public_text);
    refuse("refused_private_keys", fl_rsa_from_private_text);
}

static void signatures_round_trip(void **state)
{
    struct fl_rsa *key = private_key(), *pub = public_key();
    fl_autofree char *one = NULL;
    fl_autofree char *two = NULL;

    assert_int_equal(fl_rsa_sign(key, "text", 4, &one, NULL), 0);
    assert_int_equal(fl_rsa_sign(key, "text", 4, &two, NULL), 0);
    assert_int_equal(strlen(one), 344);
    assert_string_not_equal(one, two); /* the salt is random */
    assert_int_equal(fl_rsa_verify(pub, "text", 4, one), 0);
    assert_int_equal(fl_rsa_verify(key, "text", 4, two), 0);
    assert_int_equal(fl_rsa_verify(pub, "Text", 4, one), -EBADMSG);
    assert_int_equal(fl_rsa_verify(pub, "text", 3, one), -EBADMSG);
    one[10] = one[10] == 'A' ? 'B' : 'A';
    assert_int_equal(fl_rsa_verify(pub, "text", 4, one), -EBADMSG);
    fl_rsa_free(key);
    fl_rsa_free(pub);
}

static void bad_signatures_are_refused(void **state)
{
    static const char *const cases[] = { "", "AAAA", "not base64", "====" };
    struct fl_rsa *pub = public_key();
    char longer[4097];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_rsa_verify(pub, "text", 4, cases[i]), -EBADMSG);
    memset(longer, 'A', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(fl_rsa_verify(pub, "text", 4, longer), -EBADMSG);
    fl_rsa_free(pub);
}

static void new_keys_work(void **state)
{
    struct fl_rsa *key = NULL, *pub = NULL, *again = NULL;
    fl_autofree char *priv_text = NULL;
    fl_autofree char *pub_text = NULL;
    fl_autofree char *sig = NULL;

    assert_int_equal(fl_rsa_generate(&key, NULL), 0);
    assert_int_equal(fl_rsa_private_text(key, &priv_text), 0);
    assert_int_equal(fl_rsa_public_text(key, &pub_text), 0);
    assert_int_equal(strlen(pub_text), 392);
    assert_int_equal(strncmp(pub_text, vectors_str(vectors, "public_key"), 40), 0);
    assert_int_equal(fl_rsa_from_private_text(priv_text, &again, NULL), 0);
    assert_int_equal(fl_rsa_from_public_text(pub_text, &pub, NULL), 0);
    assert_int_equal(fl_rsa_sign(again, "x", 1, &sig, NULL), 0);
    assert_int_equal(fl_rsa_verify(pub, "x", 1, sig), 0);
    fl_rsa_free(key);
    fl_rsa_free(again);
    fl_rsa_free(pub);
}

/* PSS inside: H = SHA-256(8 zero bytes, hash of the text, salt); protocol 1 §3.3 */
static void vector_of_the_pss_hash(void **state)
{
    const json_t *row = json_array_get(json_object_get(vectors, "requests"), 0);
    uint8_t text[8 + 32 + 32] = { 0 };
    char hex[FL_SHA256_HEX_BYTES];

    assert_int_equal(fl_hex_decode(vectors_str(row, "string_to_sign_sha256"), text + 8, 32), 0);
    assert_int_equal(fl_hex_decode(vectors_str(vectors, "salt"), text + 40, 32), 0);
    fl_sha256_hex(text, sizeof(text), hex);
    assert_string_equal(hex, vectors_str(vectors, "pss_h"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_round_trip),      cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(signatures_round_trip), cmocka_unit_test(bad_signatures_are_refused),
        cmocka_unit_test(new_keys_work),         cmocka_unit_test(vector_of_the_pss_hash),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
