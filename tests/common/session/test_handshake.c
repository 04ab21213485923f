#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "common/session/handshake.h"

#define T0 1000

static const char *const types[] = { "Standard_Stream", "Port", NULL };
static const struct fl_msg_extras extras = { .max_payload = 65536, .end_of_input = true };
static const uint8_t key[FL_SESSION_KEY_BYTES] = { 1, 2, 3 };

static struct fl_handshake *agent(const char *type, const char *kms_key_id,
                                  const struct fl_msg_extras *with)
{
    struct fl_handshake_agent_conf conf = { .agent_version = "3.3.0.0",
                                            .session_type = type,
                                            .kms_key_id = kms_key_id,
                                            .customer_message = "welcome",
                                            .extras = with };
    struct fl_handshake *h;

    assert_int_equal(fl_handshake_new_agent(&conf, T0, &h), 0);
    return h;
}

static struct fl_handshake *client(bool can_encrypt, const struct fl_msg_extras *with)
{
    struct fl_handshake_client_conf conf = { .client_version = "1.2.677.0",
                                             .session_types = types,
                                             .can_encrypt = can_encrypt,
                                             .extras = with };
    struct fl_handshake *h;

    assert_int_equal(fl_handshake_new_client(&conf, &h), 0);
    return h;
}

static const char *next(struct fl_handshake *h, uint32_t want_type)
{
    uint32_t type = 0;
    size_t len = 0;
    const char *text = fl_handshake_next(h, &type, &len);

    assert_non_null(text);
    assert_int_equal(type, want_type);
    assert_int_equal(len, strlen(text));
    return text;
}

static void nothing_next(struct fl_handshake *h)
{
    uint32_t type;
    size_t len;

    assert_null(fl_handshake_next(h, &type, &len));
}

/* What one end has to say is heard by the other. */
static int carry(struct fl_handshake *from, struct fl_handshake *to, uint32_t type, int64_t at)
{
    const char *text = next(from, type);

    return fl_handshake_input(to, type, text, strlen(text), at, NULL);
}

static int input(struct fl_handshake *h, uint32_t type, const char *text, struct fl_err *err)
{
    return fl_handshake_input(h, type, text, strlen(text), T0, err);
}

#define RESPONSE(status, error)                                                             \
    "{\"ClientVersion\":\"1.2.677.0\",\"ProcessedClientActions\":[{\"ActionType\":"         \
    "\"SessionType\",\"ActionStatus\":" #status ",\"ActionResult\":null,\"Error\":\"" error \
    "\"}],\"Errors\":null}"

/* Protocol 3 §6, and the vector of §13. */
static void an_agent_speaks_like_the_official_one(void **state)
{
    struct fl_handshake *h = agent("Standard_Stream", NULL, NULL);

    assert_string_equal(
        next(h, FL_DATA_TYPE_HANDSHAKE_REQUEST),
        "{\"AgentVersion\":\"3.3.0.0\",\"RequestedClientActions\":[{\"ActionType\":\"SessionType\","
        "\"ActionParameters\":{\"SessionType\":\"Standard_Stream\",\"Properties\":null}}]}");
    nothing_next(h);
    assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_WAITING);
    assert_int_equal(fl_handshake_deadline(h), T0 + 15000);
    assert_int_equal(fl_handshake_input(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE, RESPONSE(1, ""),
                                        strlen(RESPONSE(1, "")), T0 + 7, NULL),
                     0);
    assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_DONE);
    assert_string_equal(next(h, FL_DATA_TYPE_HANDSHAKE_COMPLETE),
                        "{\"HandshakeTimeToComplete\":7000000,\"CustomerMessage\":\"welcome\"}");
    assert_string_equal(fl_handshake_result(h)->peer_version, "1.2.677.0");
    assert_int_equal(fl_handshake_result(h)->max_payload, 1024);
    assert_null(fl_handshake_result(h)->seal);
    assert_true(fl_handshake_deadline(h) == INT64_MAX);
    fl_handshake_free(h);
}

/* Protocol 3 §6: the last step, and the gate at client 1.2.295. */
static void an_old_client_is_told_what_it_does_not_show(void **state)
{
    static const struct {
        const char *version, *words;
        bool separate_output, told;
    } cases[] = {
        { "1.2.295.0", NULL, true, true },
        { "1.2.295.0", "welcome", true, true },
        { "1.2.295.0", "welcome", false, false },
        { "1.2.296.0", NULL, true, false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_handshake_agent_conf conf = { .agent_version = "3.3.0.0",
                                                .session_type = "NonInteractiveCommands",
                                                .separate_output = cases[i].separate_output,
                                                .customer_message = cases[i].words };
        struct fl_handshake *h;
        char response[400];
        const char *said;

        assert_int_equal(fl_handshake_new_agent(&conf, T0, &h), 0);
        next(h, FL_DATA_TYPE_HANDSHAKE_REQUEST);
        snprintf(response, sizeof(response),
                 "{\"ClientVersion\":\"%s\",\"ProcessedClientActions\":[{\"ActionType\":"
                 "\"SessionType\",\"ActionStatus\":1}]}",
                 cases[i].version);
        assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE, response, NULL), 0);
        said = next(h, FL_DATA_TYPE_HANDSHAKE_COMPLETE);
        assert_int_equal(strstr(said, "Please update it.") != NULL, cases[i].told);
        assert_int_equal(strstr(said, "\"CustomerMessage\":\"welcome") != NULL,
                         cases[i].words != NULL);
        assert_int_equal(strstr(said, "welcome\\nThis") != NULL, cases[i].told && cases[i].words);
        fl_handshake_free(h);
    }
}

static void a_client_speaks_like_the_official_one(void **state)
{
    struct fl_handshake *h = client(false, NULL);

    nothing_next(h);
    assert_true(fl_handshake_deadline(h) == INT64_MAX);
    assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_REQUEST,
                           "{\"AgentVersion\":\"3.3.0.0\",\"RequestedClientActions\":[{"
                           "\"ActionType\":\"SessionType\","
                           "\"ActionParameters\":{\"SessionType\":\"Port\",\"Properties\":{"
                           "\"portNumber\":\"22\"}}}]}",
                           NULL),
                     0);
    assert_string_equal(next(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE), RESPONSE(1, ""));
    assert_string_equal(fl_handshake_result(h)->session_type, "Port");
    assert_string_equal(fl_handshake_result(h)->properties, "{\"portNumber\":\"22\"}");
    assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_WAITING);
    assert_true(fl_handshake_deadline(h) < INT64_MAX);
    assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_COMPLETE,
                           "{\"HandshakeTimeToComplete\":1,\"CustomerMessage\":\"hello\"}", NULL),
                     0);
    assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_DONE);
    assert_string_equal(fl_handshake_result(h)->customer_message, "hello");
    fl_handshake_free(h);
}

static const struct {
    struct fl_msg_extras theirs;
    bool has;
    uint32_t max_payload;
    bool end_of_input;
} offers[] = {
    { { 0 }, false, 1024, false },
    { { .max_payload = 65536, .end_of_input = true }, true, 65536, true },
    { { .max_payload = 4096 }, true, 4096, false },
    { { .max_payload = 1 << 30, .end_of_input = true }, true, 65536, true },
    { { .end_of_input = true }, true, 1024, true },
    { { .max_payload = -5, .end_of_input = true }, true, 1024, true },
};

static void our_own_ends_agree_on_more(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(offers); i++) {
        struct fl_handshake *a = agent("Standard_Stream", NULL, &extras);
        struct fl_handshake *c = client(false, offers[i].has ? &offers[i].theirs : NULL);
        struct fl_handshake *ends[] = { a, c };

        assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
        assert_int_equal(carry(c, a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, T0), 0);
        assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_COMPLETE, T0), 0);
        for (size_t e = 0; e < 2; e++) {
            assert_int_equal(fl_handshake_state(ends[e]), FL_HANDSHAKE_DONE);
            assert_int_equal(fl_handshake_result(ends[e])->max_payload, offers[i].max_payload);
            assert_int_equal(fl_handshake_result(ends[e])->end_of_input, offers[i].end_of_input);
            fl_handshake_free(ends[e]);
        }
    }
}

/* The key is bound to the challenge where both ends are ours; others do not know of it. */
static void the_challenge_is_in_the_context_of_our_own_ends(void **state)
{
    for (int both = 0; both < 2; both++) {
        struct fl_handshake *a = agent("Standard_Stream", "alias/k", both ? &extras : NULL);
        struct fl_handshake *c = client(true, &extras);

        assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
        assert_int_equal(fl_handshake_result(c)->challenge_in_context, both);
        assert_string_equal(fl_handshake_result(c)->challenge, fl_handshake_result(a)->challenge);
        assert_int_equal(fl_handshake_key(c, key, "Y2lwaGVy", T0), 0);
        assert_int_equal(carry(c, a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, T0), 0);
        assert_int_equal(fl_handshake_result(a)->challenge_in_context, both);
        fl_handshake_free(a);
        fl_handshake_free(c);
    }
    (void)state;
}

static void both_prove_that_they_have_the_key(void **state)
{
    struct fl_handshake *a = agent("Standard_Stream", "alias/k", NULL), *c = client(true, NULL);
    uint8_t wire[FL_SESSION_SEAL_BYTES + 2] = { 0 }, plain[2];
    size_t len;

    assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
    assert_int_equal(fl_handshake_state(c), FL_HANDSHAKE_NEEDS_KEY);
    assert_string_equal(fl_handshake_result(c)->kms_key_id, "alias/k");
    assert_int_equal(strlen(fl_handshake_result(c)->challenge), 24);
    nothing_next(c);
    assert_int_equal(fl_handshake_key(c, key, "Y2lwaGVy", T0), 0);
    assert_int_equal(carry(c, a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, T0 + 100), 0);
    assert_int_equal(fl_handshake_state(a), FL_HANDSHAKE_NEEDS_KEY);
    assert_string_equal(fl_handshake_result(a)->cipher_key, "Y2lwaGVy");
    assert_false(fl_handshake_result(a)->challenge_in_context);
    nothing_next(a);
    assert_int_equal(fl_handshake_key(a, key, NULL, T0 + 200), 0);
    assert_int_equal(fl_handshake_deadline(a), T0 + 200 + 15000);
    assert_int_equal(carry(a, c, FL_DATA_TYPE_CHALLENGE_REQUEST, T0), 0);
    assert_null(fl_handshake_result(a)->seal);
    assert_int_equal(carry(c, a, FL_DATA_TYPE_CHALLENGE_RESPONSE, T0), 0);
    assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_COMPLETE, T0), 0);
    assert_int_equal(fl_handshake_state(a), FL_HANDSHAKE_DONE);
    assert_int_equal(fl_handshake_state(c), FL_HANDSHAKE_DONE);
    memcpy(wire + FL_SESSION_NONCE_BYTES, "hi", 2);
    assert_int_equal(fl_session_seal_seal(fl_handshake_result(a)->seal, wire, 2), 0);
    assert_int_equal(
        fl_session_seal_open(fl_handshake_result(c)->seal, wire, sizeof(wire), plain, &len), 0);
    fl_handshake_free(a);
    fl_handshake_free(c);
}

static void another_key_is_found_out(void **state)
{
    static const uint8_t other[FL_SESSION_KEY_BYTES] = { 9 };
    static const uint8_t half[FL_SESSION_KEY_BYTES] = { 1, 2,
                                                        3, [40] = 9 }; /* the client's differs */
    struct fl_err err = { 0 };

    for (int i = 0; i < 2; i++) {
        struct fl_handshake *a = agent("Port", "k", NULL), *c = client(true, NULL);
        const char *text;

        assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
        assert_int_equal(fl_handshake_key(c, i == 0 ? other : half, "x", T0), 0);
        assert_int_equal(carry(c, a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, T0), 0);
        assert_int_equal(fl_handshake_key(a, key, NULL, T0), 0);
        text = next(a, FL_DATA_TYPE_CHALLENGE_REQUEST);
        if (i == 0) {
            assert_int_equal(input(c, FL_DATA_TYPE_CHALLENGE_REQUEST, text, &err), -EPROTO);
            assert_int_equal(fl_handshake_state(c), FL_HANDSHAKE_FAILED);
        } else {
            assert_int_equal(input(c, FL_DATA_TYPE_CHALLENGE_REQUEST, text, &err), 0);
            text = next(c, FL_DATA_TYPE_CHALLENGE_RESPONSE);
            assert_int_equal(input(a, FL_DATA_TYPE_CHALLENGE_RESPONSE, text, &err), -EPROTO);
            assert_int_equal(fl_handshake_state(a), FL_HANDSHAKE_FAILED);
            nothing_next(a);
        }
        assert_non_null(strstr(err.text, "key"));
        fl_handshake_free(a);
        fl_handshake_free(c);
    }
}

/* An answer to another challenge, though sealed with the right key. */
static void an_old_answer_proves_nothing(void **state)
{
    struct fl_handshake *agents[2], *c = NULL;
    const char *text;

    for (int i = 0; i < 2; i++) {
        fl_handshake_free(c);
        c = client(true, NULL);
        agents[i] = agent("Port", "k", NULL);
        assert_int_equal(carry(agents[i], c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
        assert_int_equal(fl_handshake_key(c, key, "x", T0), 0);
        assert_int_equal(carry(c, agents[i], FL_DATA_TYPE_HANDSHAKE_RESPONSE, T0), 0);
        assert_int_equal(fl_handshake_key(agents[i], key, NULL, T0), 0);
    }
    assert_int_equal(carry(agents[1], c, FL_DATA_TYPE_CHALLENGE_REQUEST, T0), 0);
    text = next(c, FL_DATA_TYPE_CHALLENGE_RESPONSE);
    assert_int_equal(input(agents[0], FL_DATA_TYPE_CHALLENGE_RESPONSE, text, NULL), -EPROTO);
    assert_int_equal(input(agents[1], FL_DATA_TYPE_CHALLENGE_RESPONSE, text, NULL), 0);
    fl_handshake_free(agents[0]);
    fl_handshake_free(agents[1]);
    fl_handshake_free(c);
}

/* An agent that has no key, or someone between, must not make the client send in the clear. */
static void a_left_out_challenge_is_refused(void **state)
{
    struct fl_handshake *a = agent("Port", "k", NULL), *c = client(true, NULL);

    assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
    assert_int_equal(fl_handshake_key(c, key, "x", T0), 0);
    next(c, FL_DATA_TYPE_HANDSHAKE_RESPONSE);
    assert_int_equal(input(c, FL_DATA_TYPE_HANDSHAKE_COMPLETE,
                           "{\"HandshakeTimeToComplete\":1,\"CustomerMessage\":\"\"}", NULL),
                     -EPROTO);
    fl_handshake_free(a);
    fl_handshake_free(c);
}

static const struct {
    const char *text, *why;
} bad_responses[] = {
    { RESPONSE(2, "no such type"), "no such type" },
    { RESPONSE(0, ""), "cannot" },
    { RESPONSE(3, ""), "cannot" },
    { "{\"ClientVersion\":\"1\",\"ProcessedClientActions\":[],\"Errors\":null}", "SessionType" },
    { "{\"ClientVersion\":\"1\",\"ProcessedClientActions\":[{\"ActionStatus\":1}]}",
      "SessionType" },
    { "{\"ClientVersion\":\"1\",\"ProcessedClientActions\":7}", "handshake" },
    { "not json", "handshake" },
    { "", "handshake" },
};

static void a_response_that_will_not_do_fails(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad_responses); i++) {
        struct fl_handshake *h = agent("Standard_Stream", NULL, NULL);
        struct fl_err err = { 0 };

        next(h, FL_DATA_TYPE_HANDSHAKE_REQUEST);
        assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE, bad_responses[i].text, &err),
                         -EPROTO);
        print_message("  %s\n", err.text);
        assert_non_null(strstr(err.text, bad_responses[i].why));
        assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_FAILED);
        nothing_next(h);
        /* and stays so */
        assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE, RESPONSE(1, ""), &err), -EPROTO);
        fl_handshake_free(h);
    }
}

static void a_client_without_a_key_is_refused(void **state)
{
    struct fl_handshake *a = agent("Port", "k", NULL);

    next(a, FL_DATA_TYPE_HANDSHAKE_REQUEST);
    assert_int_equal(input(a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, RESPONSE(1, ""), NULL), -EPROTO);
    fl_handshake_free(a);
}

#define ACTION(type, parameters) "{\"ActionType\":\"" type "\",\"ActionParameters\":" parameters "}"
#define REQUEST(actions)         "{\"AgentVersion\":\"3.3.0.0\",\"RequestedClientActions\":[" actions "]}"
#define SHELL                    ACTION("SessionType", "{\"SessionType\":\"Standard_Stream\",\"Properties\":null}")

static const struct {
    const char *request, *answer; /* the last part of the response; NULL: none is given */
} bad_requests[] = {
    { REQUEST(ACTION("SessionType", "{\"SessionType\":\"Dance\"}")),
      "\"ActionStatus\":2,\"ActionResult\":null,\"Error\":\"unknown session type "
      "Dance\"}],\"Errors\":null}" },
    { REQUEST(ACTION("SessionType", "7")),
      "\"Error\":\"unreadable session type\"}],\"Errors\":null}" },
    { REQUEST(SHELL "," ACTION("KMSEncryption", "{\"KMSKeyId\":\"k\",\"Challenge\":\"\"}")),
      "\"Error\":\"this client cannot encrypt\"}],\"Errors\":null}" },
    { REQUEST(SHELL "," ACTION("Dance", "null")),
      "\"ActionStatus\":3,\"ActionResult\":null,\"Error\":\"unsupported "
      "action\"}],\"Errors\":null}" },
    { REQUEST(""), NULL },
    { "[]", NULL },
    { REQUEST(SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL
                    "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL "," SHELL
                    "," SHELL),
      NULL },
};

static void what_a_client_cannot_do_it_says(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad_requests); i++) {
        struct fl_handshake *h = client(false, NULL);
        struct fl_err err = { 0 };

        assert_int_equal(input(h, FL_DATA_TYPE_HANDSHAKE_REQUEST, bad_requests[i].request, &err),
                         -EPROTO);
        print_message("  %s\n", err.text);
        assert_int_equal(fl_handshake_state(h), FL_HANDSHAKE_FAILED);
        if (bad_requests[i].answer)
            assert_non_null(
                strstr(next(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE), bad_requests[i].answer));
        else
            nothing_next(h);
        fl_handshake_free(h);
    }
}

static void a_client_says_that_there_is_no_key(void **state)
{
    struct fl_handshake *a = agent("Port", "k", NULL), *c = client(true, NULL);
    struct fl_err err = { 0 };
    const char *text;

    assert_int_equal(carry(a, c, FL_DATA_TYPE_HANDSHAKE_REQUEST, T0), 0);
    assert_int_equal(fl_handshake_refuse(c, "kms:GenerateDataKey was denied"), 0);
    text = next(c, FL_DATA_TYPE_HANDSHAKE_RESPONSE);
    assert_int_equal(input(a, FL_DATA_TYPE_HANDSHAKE_RESPONSE, text, &err), -EPROTO);
    assert_non_null(strstr(err.text, "kms:GenerateDataKey was denied"));
    assert_int_equal(fl_handshake_state(c), FL_HANDSHAKE_FAILED);
    fl_handshake_free(a);
    fl_handshake_free(c);
}

static void messages_have_their_turn(void **state)
{
    for (uint32_t type = 0; type < 16; type++) {
        struct fl_handshake *a = agent("Port", NULL, NULL), *c = client(false, NULL);

        if (type != FL_DATA_TYPE_HANDSHAKE_RESPONSE)
            assert_int_equal(input(a, type, RESPONSE(1, ""), NULL), -EPROTO);
        if (type != FL_DATA_TYPE_HANDSHAKE_REQUEST)
            assert_int_equal(input(c, type, REQUEST(SHELL), NULL), -EPROTO);
        assert_int_equal(fl_handshake_is_type(type), type >= 5 && type <= 9);
        fl_handshake_free(a);
        fl_handshake_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_speaks_like_the_official_one),
        cmocka_unit_test(an_old_client_is_told_what_it_does_not_show),
        cmocka_unit_test(a_client_speaks_like_the_official_one),
        cmocka_unit_test(our_own_ends_agree_on_more),
        cmocka_unit_test(the_challenge_is_in_the_context_of_our_own_ends),
        cmocka_unit_test(both_prove_that_they_have_the_key),
        cmocka_unit_test(another_key_is_found_out),
        cmocka_unit_test(an_old_answer_proves_nothing),
        cmocka_unit_test(a_left_out_challenge_is_refused),
        cmocka_unit_test(a_response_that_will_not_do_fails),
        cmocka_unit_test(a_client_without_a_key_is_refused),
        cmocka_unit_test(what_a_client_cannot_do_it_says),
        cmocka_unit_test(a_client_says_that_there_is_no_key),
        cmocka_unit_test(messages_have_their_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
