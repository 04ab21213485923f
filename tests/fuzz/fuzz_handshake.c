/* A session's handshake. The first byte: bit 0 the agent's end, bit 1 with encryption, bit 2 with
 * our extras. Then messages: type, two bytes of length, text. It must end or wait, say each message
 * once, and be done with a seal if and only if encryption was asked for. */
#include <string.h>
#include "common/session/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_handshake *begin(unsigned how)
{
    static const char *const types[] = { "Standard_Stream", "Port", NULL };
    static const struct fl_msg_extras extras = { .max_payload = 65536, .end_of_input = true };
    const struct fl_handshake_agent_conf agent = {
        .agent_version = "3.3.0.0",
        .session_type = "Port",
        .properties = "{\"portNumber\":\"22\"}",
        .kms_key_id = how & 2 ? "alias/key" : NULL,
        .extras = how & 4 ? &extras : NULL,
    };
    const struct fl_handshake_client_conf client = {
        .client_version = "1.2.677.0",
        .session_types = types,
        .can_encrypt = how & 2,
        .extras = how & 4 ? &extras : NULL,
    };
    struct fl_handshake *h = NULL;

    if (how & 1)
        fl_handshake_new_agent(&agent, 0, &h);
    else
        fl_handshake_new_client(&client, &h);
    return h;
}

static void check(struct fl_handshake *h)
{
    const struct fl_handshake_result *result = fl_handshake_result(h);
    uint32_t type;
    size_t len;
    const char *text = fl_handshake_next(h, &type, &len);

    if (text && (!fl_handshake_is_type(type) || len != strlen(text)))
        abort();
    if (fl_handshake_next(h, &type, &len))
        abort();
    if (result->max_payload < FL_DATA_PAYLOAD_BYTES ||
        result->max_payload > FL_DATA_MAX_PAYLOAD_BYTES)
        abort();
    if (fl_handshake_state(h) == FL_HANDSHAKE_DONE &&
        (!result->session_type || !result->properties || !result->customer_message ||
         (result->kms_key_id != NULL) != (result->seal != NULL)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[FL_SESSION_KEY_BYTES];
    const uint8_t *p = data + 1, *end = data + size;
    struct fl_handshake *h = size ? begin(data[0]) : NULL;

    if (!h)
        return 0;
    check(h);
    while (end - p >= 3) {
        size_t len = FL_MIN((size_t)(p[1] | p[2] << 8), (size_t)(end - p - 3));
        struct fl_err err = { 0 };
        int r = fl_handshake_input(h, p[0], (const char *)p + 3, len, 1, &err);

        if ((r < 0) != (fl_handshake_state(h) == FL_HANDSHAKE_FAILED) || (r < 0 && !err.text[0]))
            abort();
        check(h);
        if (fl_handshake_state(h) == FL_HANDSHAKE_NEEDS_KEY)
            fl_handshake_key(h, key, "c2VhbGVk", 2);
        check(h);
        p += 3 + len;
    }
    fl_handshake_free(h);
    return 0;
}
