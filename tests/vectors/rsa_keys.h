/* rsa_keys.h - identity keys for tests that need some, but not new ones: making one takes a minute
 * under valgrind. Include cmocka.h before.
 */
#pragma once
#include "common/aws/crypto.h"
#include "tests/vectors/vectors.h"

#define TEST_RSA_KEYS 3

/* Key `i` of TEST_RSA_KEYS, another than the others; to be freed. */
static inline struct fl_rsa *test_rsa_key(unsigned i)
{
    json_t *keys = vectors_load("tests/vectors/rsa_keys.json");
    json_t *text = json_array_get(json_object_get(keys, "private_keys"), i);
    struct fl_rsa *key = NULL;

    assert_int_equal(fl_rsa_from_private_text(json_string_value(text), &key, NULL), 0);
    json_decref(keys);
    return key;
}
