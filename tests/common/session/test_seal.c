#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/crypto.h"
#include "common/aws/gcm.h"
#include "common/session/seal.h"
#include "common/wire/datachannel.h"

static uint8_t key[FL_SESSION_KEY_BYTES];

/* Protocol 3 §13: key 00 01 … 3f, nonce a0 … ab. */
static const struct {
    bool from_agent;
    const char *plain, *sealed;
} vectors[] = {
    { true, "hello\n",
      "a0a1a2a3a4a5a6a7a8a9aaab"
      "8e7d10412ac1"
      "2b0fbf10c5dd16b9f1b1a3f707e5e0d7" },
    { false, "ls\r",
      "a0a1a2a3a4a5a6a7a8a9aaab"
      "124fa9"
      "c3be5ea267c186006575655e2404c2cb" },
};

static int setup(void **state)
{
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    return 0;
}

static struct fl_session_seal *seal_of(bool agent)
{
    struct fl_session_seal *seal = fl_session_seal_new(agent, key);

    assert_non_null(seal);
    return seal;
}

static void vectors_hold(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(vectors); i++) {
        size_t plain_len = strlen(vectors[i].plain), len = plain_len + FL_SESSION_SEAL_BYTES, got;
        struct fl_session_seal *to = seal_of(!vectors[i].from_agent);
        struct fl_session_seal *self = seal_of(vectors[i].from_agent);
        struct fl_gcm *gcm = fl_gcm_new(key + (vectors[i].from_agent ? 0 : 32), true);
        uint8_t wire[64], made[64], plain[64];

        assert_non_null(gcm);
        assert_int_equal(fl_hex_decode(vectors[i].sealed, wire, len), 0);
        assert_int_equal(fl_session_seal_open(to, wire, len, plain, &got), 0);
        assert_int_equal(got, plain_len);
        assert_memory_equal(plain, vectors[i].plain, plain_len);
        assert_int_equal(fl_session_seal_open(self, wire, len, plain, &got), -EBADMSG);
        assert_true(
            fl_gcm_run(gcm, wire, NULL, vectors[i].plain, plain_len, made, made + plain_len));
        assert_memory_equal(made, wire + FL_SESSION_NONCE_BYTES, plain_len + FL_GCM_TAG_BYTES);
        fl_gcm_free(gcm);
        fl_session_seal_free(self);
        fl_session_seal_free(to);
    }
}

static void each_message_has_its_own_nonce(void **state)
{
    struct fl_session_seal *agent = seal_of(true);
    struct fl_session_seal *client = seal_of(false);
    uint8_t wire[FL_SESSION_SEAL_BYTES + 2], first[FL_SESSION_NONCE_BYTES], plain[2];
    size_t len;
    unsigned carry = 1;

    for (int n = 0; n < 1000; n++) {
        memcpy(wire + FL_SESSION_NONCE_BYTES, "hi", 2);
        assert_int_equal(fl_session_seal_seal(agent, wire, 2), 0);
        if (n > 0)
            for (size_t i = 0; i < sizeof(first); i++) {
                carry += first[i];
                assert_int_equal(wire[i], carry & 0xff);
                carry >>= 8;
            }
        carry = 1;
        memcpy(first, wire, sizeof(first));
        assert_int_equal(fl_session_seal_open(client, wire, sizeof(wire), plain, &len), 0);
        assert_int_equal(len, 2);
        assert_memory_equal(plain, "hi", 2);
    }
    fl_session_seal_free(agent);
    fl_session_seal_free(client);
}

static void a_changed_bit_is_found(void **state)
{
    struct fl_session_seal *agent = seal_of(true);
    struct fl_session_seal *client = seal_of(false);
    uint8_t wire[FL_SESSION_SEAL_BYTES + 5], plain[5];
    size_t len;

    memcpy(wire + FL_SESSION_NONCE_BYTES, "hello", 5);
    assert_int_equal(fl_session_seal_seal(agent, wire, 5), 0);
    for (size_t i = 0; i < 8 * sizeof(wire); i++) {
        wire[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(fl_session_seal_open(client, wire, sizeof(wire), plain, &len), -EBADMSG);
        wire[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i < sizeof(wire); i++)
        assert_int_equal(fl_session_seal_open(client, wire, i, plain, &len), -EBADMSG);
    assert_int_equal(fl_session_seal_open(client, wire, sizeof(wire), plain, &len), 0);
    fl_session_seal_free(agent);
    fl_session_seal_free(client);
}

static void only_data_is_covered(void **state)
{
    static const struct {
        uint32_t type;
        bool agent, client;
    } want[] = {
        { FL_DATA_TYPE_OUTPUT, true, true },
        { FL_DATA_TYPE_STDERR, true, false },
        { FL_DATA_TYPE_EXIT_CODE, true, false },
        { FL_DATA_TYPE_SIZE, false, false },
        { FL_DATA_TYPE_FLAG, false, false },
        { FL_DATA_TYPE_HANDSHAKE_REQUEST, false, false },
        { FL_DATA_TYPE_HANDSHAKE_COMPLETE, false, false },
        { FL_DATA_TYPE_CHALLENGE_REQUEST, false, false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(want); i++) {
        assert_int_equal(fl_session_seal_covers(true, want[i].type), want[i].agent);
        assert_int_equal(fl_session_seal_covers(false, want[i].type), want[i].client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_hold),
        cmocka_unit_test(each_message_has_its_own_nonce),
        cmocka_unit_test(a_changed_bit_is_found),
        cmocka_unit_test(only_data_is_covered),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
