/* Session tokens: what goes in comes out, nothing else opens, the secret belongs to the token. */
#include "server/auth/token.h"

#include <errno.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t key[FL_SEAL_KEY_BYTES] = { 1, 2, 3 };
static const uint8_t other_key[FL_SEAL_KEY_BYTES] = { 1, 2, 4 };

static struct fl_token node_token(void)
{
    return (struct fl_token){ .kind = FL_ID_NODE,
                              .account = (char *)"123456789012",
                              .role = (char *)"fleet",
                              .session = (char *)"mi-0123456789abcdef0",
                              .node_id = (char *)"mi-0123456789abcdef0",
                              .issued_ms = 1000,
                              .expires_ms = 3601000 };
}

static void seal(struct fl_arena *arena, struct fl_credentials *creds)
{
    struct fl_token t = node_token();

    assert_int_equal(fl_token_seal(key, &t, arena, creds, NULL), 0);
}

static void round_trip(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_credentials creds;
    struct fl_token t;
    char *secret;

    seal(&arena, &creds);
    assert_int_equal(fl_token_open(key, creds.session_token, &arena, &t, &secret), 0);
    assert_string_equal(secret, creds.secret_access_key);
    assert_int_equal(strlen(secret), 40);
    assert_string_equal(t.access_key_id, creds.access_key_id);
    assert_int_equal(strncmp(t.access_key_id, "ASIA", 4), 0);
    assert_int_equal(strlen(t.access_key_id), 20);
    assert_int_equal(t.kind, FL_ID_NODE);
    assert_string_equal(t.node_id, "mi-0123456789abcdef0");
    assert_string_equal(t.role, "fleet");
    assert_null(t.policy);
    assert_null(t.user);
    assert_int_equal(t.expires_ms, 3601000);
    assert_int_equal(creds.expires_ms, 3601000);
    assert_null(strpbrk(creds.session_token, "+/= "));
}

static void no_two_alike(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_credentials a, b;

    seal(&arena, &a);
    seal(&arena, &b);
    assert_string_not_equal(a.session_token, b.session_token);
    assert_string_not_equal(a.secret_access_key, b.secret_access_key);
    assert_string_not_equal(a.access_key_id, b.access_key_id);
}

static void only_ours_open(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(8 << 20);
    struct fl_credentials creds;
    struct fl_token t;
    char *secret = NULL, *bent;
    static const char *const foreign[] = { "", "a", "abc", "FwoGTEST//Token+/==", "====" };

    seal(&arena, &creds);
    assert_int_equal(fl_token_open(other_key, creds.session_token, &arena, &t, &secret), -EBADMSG);
    for (size_t i = 0; i < strlen(creds.session_token); i++) {
        bent = fl_arena_strdup(&arena, creds.session_token);
        bent[i] = bent[i] == 'A' ? 'B' : 'A';
        assert_int_equal(fl_token_open(key, bent, &arena, &t, &secret), -EBADMSG);
        bent[i] = '\0';
        assert_int_equal(fl_token_open(key, bent, &arena, &t, &secret), -EBADMSG);
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(foreign); i++)
        assert_int_equal(fl_token_open(key, foreign[i], &arena, &t, &secret), -EBADMSG);
    bent = fl_arena_alloc(&arena, FL_TOKEN_MAX_BYTES + 2);
    memset(bent, 'A', FL_TOKEN_MAX_BYTES + 1);
    assert_int_equal(fl_token_open(key, bent, &arena, &t, &secret), -EBADMSG);
    assert_null(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(no_two_alike),
        cmocka_unit_test(only_ours_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
