/* Tokens of channels: bound to a kind and a subject, for a while, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "server/channel/channel_token.h"

#define NODE "mi-0123456789abcdef0"
#define NOW  1767225600000

static const uint8_t key[FL_SEAL_KEY_BYTES] = { 1 };
static const uint8_t other_key[FL_SEAL_KEY_BYTES] = { 2 };

static void works_once_for_its_node(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(fl_channel_token_new(key, FL_TOKEN_CONTROL, NODE, NOW, &token), 0);
    assert_int_equal(
        fl_channel_token_use(key, FL_TOKEN_CONTROL, token, "mi-0123456789abcdef1", NOW), -EBADMSG);
    assert_int_equal(fl_channel_token_use(other_key, FL_TOKEN_CONTROL, token, NODE, NOW), -EBADMSG);
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, token, NODE, NOW), 0);
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, token, NODE, NOW), -EALREADY);
    free(token);
}

static void lives_for_a_minute_at_least_and_not_for_ever(void **state)
{
    char *token = NULL;

    (void)state;
    assert_int_equal(fl_channel_token_new(key, FL_TOKEN_CONTROL, NODE, NOW, &token), 0);
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, token, NODE,
                                          NOW + FL_CHANNEL_TOKEN_LIFE_MS + 1),
                     -ETIME);
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, token, NODE, NOW + 60000), 0);
    free(token);
}

static void anything_else_is_refused(void **state)
{
    static const char *const bad[] = { "", "x", "AAAA", "not base64 !", "====" };
    char *token = NULL;

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, bad[i], NODE, NOW), -EBADMSG);
    assert_int_equal(fl_channel_token_new(key, FL_TOKEN_CONTROL, NODE, NOW, &token), 0);
    token[10] = token[10] == 'A' ? 'B' : 'A';
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, token, NODE, NOW), -EBADMSG);
    free(token);
}

static void a_token_of_another_kind_is_none(void **state)
{
    static const char id[] = "alice-0123456789abcdefg";

    (void)state;
    for (int kind = 0; kind < FL_TOKEN__N; kind++) {
        char *token = NULL;

        assert_int_equal(fl_channel_token_new(key, (enum fl_channel_token)kind, id, NOW, &token),
                         0);
        assert_true(strlen(token) <= 300); /* TokenValue of the API */
        for (int other = 0; other < FL_TOKEN__N; other++)
            if (other != kind)
                assert_int_equal(
                    fl_channel_token_use(key, (enum fl_channel_token)other, token, id, NOW),
                    -EBADMSG);
        assert_int_equal(fl_channel_token_use(key, (enum fl_channel_token)kind, token, id, NOW), 0);
        free(token);
    }
}

static void a_subject_is_one_short_word(void **state)
{
    static const char *const bad[] = { "", "a b", "a\nb" };
    char id[200], *token = NULL;

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(fl_channel_token_new(key, FL_TOKEN_CONTROL, bad[i], NOW, &token), -EINVAL);
    memset(id, 'a', sizeof(id));
    id[121] = '\0';
    assert_int_equal(fl_channel_token_new(key, FL_TOKEN_DATA_AGENT, id, NOW, &token), -EINVAL);
    id[96] = '\0'; /* the longest session id */
    assert_int_equal(fl_channel_token_new(key, FL_TOKEN_DATA_AGENT, id, NOW, &token), 0);
    assert_true(strlen(token) <= 300);
    assert_int_equal(fl_channel_token_use(key, FL_TOKEN_DATA_AGENT, token, id, NOW), 0);
    free(token);
}

static void many_opens_are_remembered(void **state)
{
    char *tokens[2000];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(tokens); i++) {
        assert_int_equal(fl_channel_token_new(key, FL_TOKEN_CONTROL, NODE, NOW, &tokens[i]), 0);
        assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, tokens[i], NODE, NOW), 0);
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(tokens); i++) {
        assert_int_equal(fl_channel_token_use(key, FL_TOKEN_CONTROL, tokens[i], NODE, NOW),
                         -EALREADY);
        free(tokens[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_once_for_its_node),
        cmocka_unit_test(lives_for_a_minute_at_least_and_not_for_ever),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(a_token_of_another_kind_is_none),
        cmocka_unit_test(a_subject_is_one_short_word),
        cmocka_unit_test(many_opens_are_remembered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
