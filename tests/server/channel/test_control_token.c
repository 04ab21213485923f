/* Tokens of the control channel: bound to a node, for a while, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "server/channel/control_token.h"

#define NODE "mi-0123456789abcdef0"
#define NOW  1767225600000

static const uint8_t key[FL_SEAL_KEY_BYTES] = { 1 };
static const uint8_t other_key[FL_SEAL_KEY_BYTES] = { 2 };

static void works_once_for_its_node(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(fl_control_token_new(key, NODE, NOW, &token), 0);
    assert_int_equal(fl_control_token_use(key, token, "mi-0123456789abcdef1", NOW), -EBADMSG);
    assert_int_equal(fl_control_token_use(other_key, token, NODE, NOW), -EBADMSG);
    assert_int_equal(fl_control_token_use(key, token, NODE, NOW), 0);
    assert_int_equal(fl_control_token_use(key, token, NODE, NOW), -EALREADY);
    free(token);
}

static void lives_for_a_minute_at_least_and_not_for_ever(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(fl_control_token_new(key, NODE, NOW, &token), 0);
    assert_int_equal(fl_control_token_use(key, token, NODE, NOW + FL_CONTROL_TOKEN_LIFE_MS + 1),
                     -ETIME);
    assert_int_equal(fl_control_token_use(key, token, NODE, NOW + 60000), 0);
    free(token);
}

static void anything_else_is_refused(void **state)
{
    static const char *const bad[] = { "", "x", "AAAA", "not base64 !", "====" };
    char *token = NULL;

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(fl_control_token_use(key, bad[i], NODE, NOW), -EBADMSG);
    assert_int_equal(fl_control_token_new(key, NODE, NOW, &token), 0);
    token[10] = token[10] == 'A' ? 'B' : 'A';
    assert_int_equal(fl_control_token_use(key, token, NODE, NOW), -EBADMSG);
    free(token);
}

static void many_opens_are_remembered(void **state)
{
    char *tokens[2000];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(tokens); i++) {
        assert_int_equal(fl_control_token_new(key, NODE, NOW, &tokens[i]), 0);
        assert_int_equal(fl_control_token_use(key, tokens[i], NODE, NOW), 0);
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(tokens); i++) {
        assert_int_equal(fl_control_token_use(key, tokens[i], NODE, NOW), -EALREADY);
        free(tokens[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_once_for_its_node),
        cmocka_unit_test(lives_for_a_minute_at_least_and_not_for_ever),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(many_opens_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
