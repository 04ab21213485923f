#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <cmocka.h>
#include "common/base/rand.h"
#include "common/wire/datachannel.h"

#define SESSION_ID "alice-0a1b2c3d4e5f60718"

/* What the official programs send (protocol 3): reading and writing it again must give the same
 * bytes. */
static const struct {
    const struct fl_shape *shape;
    const char *text;
} texts[] = {
    { &fl_shape_create_data,
      "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"ClientId\":\"\"}" },
    { &fl_shape_open_data,
      "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"t\","
      "\"ClientInstanceId\":\"mi-1\",\"ClientId\":\"\"}" },
    { &fl_shape_open_data,
      "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"t\","
      "\"ClientId\":\"c\",\"ClientVersion\":\"1.2.677.0\"}" },
    { &fl_shape_open_data,
      "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"t\","
      "\"ClientInstanceId\":\"mi-1\",\"ClientId\":\"\","
      "\"RequireAcknowledgement\":true}" },
    { &fl_shape_open_data,
      "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"t\","
      "\"ClientInstanceId\":\"mi-1\",\"ClientId\":\"\",\"Fairlead\":{\"Beats\":true}}" },
    { &fl_shape_data_ack,
      "{\"AcknowledgedMessageType\":\"output_stream_data\",\"AcknowledgedMessageId\":"
      "\"u\",\"AcknowledgedMessageSequenceNumber\":2,\"IsSequentialMessage\":true}" },
    { &fl_shape_session_state,
      "{\"SchemaVersion\":1,\"SessionState\":\"Connected\",\"SessionId\":\"" SESSION_ID "\"}" },
    { &fl_shape_channel_closed,
      "{\"MessageType\":\"channel_closed\",\"MessageId\":\"u\",\"DestinationId\":"
      "\"mi-1\",\"SessionId\":\"" SESSION_ID "\",\"SchemaVersion\":1,"
      "\"CreatedDate\":\"2026\",\"Output\":\"done\"}" },
    { &fl_shape_size, "{\"cols\":80,\"rows\":24}" },
    { &fl_shape_handshake_request,
      "{\"AgentVersion\":\"3.3.0.0\",\"RequestedClientActions\":[{\"ActionType\":\"SessionType\","
      "\"ActionParameters\":{\"SessionType\":\"Standard_Stream\",\"Properties\":null}}]}" },
    { &fl_shape_handshake_request, "{\"AgentVersion\":\"3.3.0.0\",\"RequestedClientActions\":[],"
                                   "\"Fairlead\":{\"MaxPayload\":65536,"
                                   "\"EndOfInput\":true}}" },
    { &fl_shape_session_type, "{\"SessionType\":\"Port\",\"Properties\":{\"portNumber\":\"22\"}}" },
    { &fl_shape_kms_request, "{\"KMSKeyId\":\"k\",\"Challenge\":\"AAAA\"}" },
    { &fl_shape_handshake_response,
      "{\"ClientVersion\":\"1.2.677.0\",\"ProcessedClientActions\":[{\"ActionType\":"
      "\"SessionType\","
      "\"ActionStatus\":1,\"ActionResult\":null,\"Error\":\"\"}],\"Errors\":null}" },
    { &fl_shape_handshake_response,
      "{\"ClientVersion\":\"1.2.677.0\",\"ProcessedClientActions\":[{\"ActionType\":\"x\","
      "\"ActionStatus\":0,\"ActionResult\":3,\"Error\":\"Unsupported action "
      "x\"}],\"Errors\":[\"e\"]}" },
    { &fl_shape_kms_result, "{\"KMSCipherTextKey\":\"AAAA\",\"KMSCipherTextHash\":null}" },
    { &fl_shape_challenge, "{\"Challenge\":\"AAAA\"}" },
    { &fl_shape_handshake_complete,
      "{\"HandshakeTimeToComplete\":1500000,\"CustomerMessage\":\"hi\"}" },
    { &fl_shape_session_content,
      "{\"SessionId\":\"alice-0a1b\",\"DocumentName\":\"SSM-SessionManagerRunShell\","
      "\"DocumentContent\":"
      "{\"schemaVersion\":\"1.0\"},\"Parameters\":{},\"RunAsUser\":\"\",\"SessionOwner\":"
      "\"arn:aws:iam::123456789012:user/alice\"}" },
    { &fl_shape_session_content, "{\"SessionId\":\"alice-0a1b\",\"DocumentName\":\"\","
                                 "\"DocumentContent\":{},\"Parameters\":{},"
                                 "\"RunAsUser\":\"\",\"SessionOwner\":\"\",\"Fairlead\":{"
                                 "\"MaxPayload\":65536,\"EndOfInput\":true,"
                                 "\"Handshake\":true}}" },
    { &fl_shape_task_complete,
      "{\"SchemaVersion\":1,\"TaskId\":\"" SESSION_ID "\",\"Topic\":\"agent_task_complete\","
      "\"FinalTaskStatus\":\"Success\",\"IsRoutingFailure\":false,\"AwsAccountId\":\"\","
      "\"InstanceId\":"
      "\"mi-1\",\"Output\":\"\",\"S3Bucket\":\"\",\"S3UrlSuffix\":\"\",\"CwlGroup\":\"\","
      "\"CwlStream\":\"\","
      "\"RetryNumber\":1}" },
    { &fl_shape_task_ack,
      "{\"SchemaVersion\":1,\"MessageId\":\"u\",\"TaskId\":\"" SESSION_ID "\",\"Topic\":\"t\"}" },
};

static void texts_come_back(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 16);
        fl_autobuf struct fl_buf out = FL_BUF(1 << 16);
        void *msg = fl_arena_alloc(&arena, texts[i].shape->size);
        struct fl_err err = { 0 };

        assert_int_equal(fl_json_decode(texts[i].shape, texts[i].text, strlen(texts[i].text),
                                        FL_DECODE_NOCASE, &arena, msg, &err),
                         0);
        assert_int_equal(fl_json_encode(texts[i].shape, msg, &out), 0);
        assert_string_equal(out.data, texts[i].text);
    }
}

static void an_acknowledgement_is_what_its_shape_writes(void **state)
{
    static const int64_t numbers[] = { 0, 1, 9, 10, 4095, INT64_MAX };
    uint8_t id[16];
    char uuid[] = "0f0e0d0c-0b0a-4908-8706-050403020100";

    assert_int_equal(fl_uuid_parse(uuid, id), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(numbers); i++) {
        struct fl_msg_data_ack ack = { FL_DATA_OUTPUT, uuid, numbers[i], true };
        fl_autobuf struct fl_buf want = FL_BUF(1024);
        char text[FL_DATA_ACK_MAX_BYTES];
        int64_t sequence = -1;

        assert_int_equal(fl_json_encode(&fl_shape_data_ack, &ack, &want), 0);
        assert_int_equal(fl_data_ack_encode(FL_DATA_OUTPUT, id, numbers[i], text), want.len);
        assert_string_equal(text, want.data);
        assert_int_equal(fl_data_ack_decode(text, want.len, &sequence), 0);
        assert_true(sequence == numbers[i]);
    }
}

#define ACK_HEAD "{\"AcknowledgedMessageType\":\"x\",\"AcknowledgedMessageId\":\"0\","
#define ACK_N    "\"AcknowledgedMessageSequenceNumber\":"

static const struct {
    const char *text;
    int64_t want; /* -1: refused */
} acks[] = {
    { ACK_HEAD ACK_N "7,\"IsSequentialMessage\":false}", 7 },
    { ACK_HEAD ACK_N "7,\"IsSequentialMessage\":true,\"More\":1}", 7 },
    { "{" ACK_N "7}", 7 },
    { "{\"acknowledgedmessagesequencenumber\" : 0}", 0 },
    { "{" ACK_N "3," ACK_N "4}", 4 },
    { ACK_HEAD ACK_N "-1,\"IsSequentialMessage\":true}", -1 },
    { ACK_HEAD ACK_N "07,\"IsSequentialMessage\":true}", -1 },
    { ACK_HEAD ACK_N "9223372036854775808,\"IsSequentialMessage\":true}", -1 },
    { ACK_HEAD ACK_N ",\"IsSequentialMessage\":true}", -1 },
    { ACK_HEAD ACK_N "7,\"IsSequentialMessage\":true", -1 },
    { ACK_HEAD "\"IsSequentialMessage\":true}", -1 },
    { "{}", -1 },
    { "", -1 },
};

static void acknowledgements_of_any_form_are_read(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(acks); i++) {
        int64_t sequence = -1;
        int r = fl_data_ack_decode(acks[i].text, strlen(acks[i].text), &sequence);

        print_message("  %s\n", acks[i].text);
        assert_int_equal(r, acks[i].want < 0 ? -EBADMSG : 0);
        assert_true(sequence == acks[i].want);
    }
}

static const struct {
    const char *text;
    int r, code;
} exit_codes[] = {
    { "EXIT_CODE: 0", 0, 0 },
    { "EXIT_CODE: 255", 0, 255 },
    { "EXIT_CODE: -1", 0, -1 },
    { "EXIT_CODE:3", 0, 3 },
    { "EXIT_CODE: ", -EBADMSG, 0 },
    { "EXIT_CODE: 3x", -EBADMSG, 0 },
    { "exit_code: 3", -EBADMSG, 0 },
    { "EXIT_CODE: 99999999999", -EBADMSG, 0 },
    { "", -EBADMSG, 0 },
    { "EXIT_CODE: 00000000000000000000000000001", -EBADMSG, 0 },
};

static void exit_codes_are_text(void **state)
{
    char text[FL_DATA_EXIT_CODE_BYTES];

    for (size_t i = 0; i < FL_ARRAY_LEN(exit_codes); i++) {
        int code = 0;

        assert_int_equal(
            fl_data_exit_code_decode(exit_codes[i].text, strlen(exit_codes[i].text), &code),
            exit_codes[i].r);
        assert_int_equal(code, exit_codes[i].code);
    }
    assert_int_equal(fl_data_exit_code_encode(INT_MIN, text), 22);
    assert_string_equal(text, "EXIT_CODE: -2147483648");
}

static void flags_are_four_bytes(void **state)
{
    uint8_t wire[4];
    uint32_t flag = 0;

    fl_data_flag_encode(FL_DATA_FLAG_TERMINATE, wire);
    assert_memory_equal(wire, "\0\0\0\2", 4);
    fl_data_flag_encode(FL_DATA_FLAG_END_OF_INPUT, wire);
    assert_int_equal(fl_data_flag_decode((const char *)wire, 4, &flag), 0);
    assert_int_equal(flag, FL_DATA_FLAG_END_OF_INPUT);
    assert_int_equal(fl_data_flag_decode((const char *)wire, 3, &flag), -EBADMSG);
    assert_int_equal(fl_data_flag_decode((const char *)wire, 5, &flag), -EBADMSG);
}

static void a_reason_is_bounded(void **state)
{
    char wire[4 + FL_DATA_REASON_BYTES], text[FL_DATA_REASON_BYTES + 1], much[600] = "";
    uint8_t flag[4];
    size_t len = fl_data_reason_encode("no", wire);

    assert_int_equal(len, 6);
    assert_memory_equal(wire, "FL\0\2no", 6);
    assert_int_equal(fl_data_reason_decode(wire, len, text), 0);
    assert_string_equal(text, "no");
    assert_int_equal(fl_data_reason_decode(wire, 4, text), 0);
    assert_string_equal(text, "");
    memset(much, 'x', sizeof(much) - 1);
    assert_int_equal(fl_data_reason_encode(much, wire), sizeof(wire));
    assert_int_equal(fl_data_reason_decode(wire, sizeof(wire), text), 0);
    assert_int_equal(strlen(text), FL_DATA_REASON_BYTES);
    memcpy(much, wire, sizeof(wire));
    assert_int_equal(fl_data_reason_decode(much, sizeof(wire) + 1, text), -EBADMSG);
    assert_int_equal(fl_data_reason_decode(wire, 3, text), -EBADMSG);
    fl_data_flag_encode(FL_DATA_FLAG_CONNECT_ERROR, flag);
    assert_int_equal(fl_data_reason_decode((const char *)flag, 4, text), -EBADMSG);
}

static void session_ids_are_safe_names(void **state)
{
    char longest[FL_SESSION_ID_BYTES + 1];

    memset(longest, 'a', sizeof(longest));
    longest[FL_SESSION_ID_BYTES] = '\0';
    assert_false(fl_session_id_valid(longest));
    longest[FL_SESSION_ID_BYTES - 1] = '\0';
    assert_true(fl_session_id_valid(longest));
    assert_true(fl_session_id_valid(SESSION_ID));
    assert_true(fl_session_id_valid("a.b_c-D9"));
    assert_false(fl_session_id_valid(""));
    assert_false(fl_session_id_valid(NULL));
    assert_false(fl_session_id_valid(".."));
    assert_false(fl_session_id_valid(".hidden"));
    assert_false(fl_session_id_valid("a/b"));
    assert_false(fl_session_id_valid("a b"));
    assert_false(fl_session_id_valid("a\n"));
    assert_false(fl_session_id_valid("\xc3\xa4"));
}

static void a_message_becomes_a_frame(void **state)
{
    struct fl_msg_session_state msg = { 1, "Connected", SESSION_ID };
    fl_autobuf struct fl_buf out = FL_BUF(4096);
    struct fl_frame f;

    assert_int_equal(fl_data_frame(FL_DATA_SESSION_STATE, FL_FRAME_SYN | FL_FRAME_FIN,
                                   &fl_shape_session_state, &msg, 1700000000000, &out),
                     0);
    assert_int_equal(fl_frame_decode(out.data, out.len, &f, NULL), 0);
    assert_string_equal(f.type, "agent_session_state");
    assert_int_equal(f.flags, 3);
    assert_int_equal(f.created_ms, 1700000000000);
    assert_string_equal(
        f.payload,
        "{\"SchemaVersion\":1,\"SessionState\":\"Connected\",\"SessionId\":\"" SESSION_ID "\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(an_acknowledgement_is_what_its_shape_writes),
        cmocka_unit_test(acknowledgements_of_any_form_are_read),
        cmocka_unit_test(exit_codes_are_text),
        cmocka_unit_test(flags_are_four_bytes),
        cmocka_unit_test(a_reason_is_bounded),
        cmocka_unit_test(session_ids_are_safe_names),
        cmocka_unit_test(a_message_becomes_a_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
