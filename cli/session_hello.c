/* session_hello.c - see session_hello.h. */
#include "cli/session_hello.h"
#include <errno.h>
#include <string.h>
#include "common/aws/crypto.h"
#include "common/base/clock.h"
#include "common/session/gate.h"
#include "common/session/handshake.h"

#define ARENA_BYTES (1 << 20)

struct fl_session_hello {
    struct fl_cli *cli;
    char *session_id, *target;
    struct fl_session_hello_events events;
    void *arg;
    struct fl_handshake *handshake;
    struct key_call *key; /* GenerateDataKey is under way */
    struct fl_arena arena;
    bool over;
};

/* A call that may outlive the hello. */
struct key_call {
    struct fl_session_hello *hello; /* NULL: it is gone */
};

/* clang-format off */
#define TYPES(X)                                        \
    X("Standard_Stream",        FL_SESSION_SHELL)       \
    X("InteractiveCommands",    FL_SESSION_SHELL)       \
    X("NonInteractiveCommands", FL_SESSION_COMMAND)     \
    X("Port",                   FL_SESSION_PORT)
/* clang-format on */
#define NAME(name, kind) name,
#define TYPE(name, kind) { name, kind },
static const char *const type_names[] = { TYPES(NAME) NULL };
static const struct {
    const char *name;
    enum fl_session_kind kind;
} types[] = { TYPES(TYPE) };
#undef NAME
#undef TYPE

#define F(member, key) FL_FIELD(struct fl_session_port, member, key, 0)
static const struct fl_field port_fields[] = {
    F(port, "portNumber"),
    F(type, "type"),
    F(host, "host"),
    F(local_port, "localPortNumber"),
    F(local_type, "localConnectionType"),
    F(local_socket, "localUnixSocket"),
};
#undef F
static const struct fl_shape port_shape =
    FL_SHAPE(struct fl_session_port, "properties", port_fields);

/* ---- the end of it ---- */

static void failed(struct fl_session_hello *h, int r, const char *why)
{
    if (h->over)
        return;
    h->over = true;
    h->events.on_failed(h->arg, r, why);
}

static void agreed(struct fl_session_hello *h)
{
    const struct fl_handshake_result *known = fl_handshake_result(h->handshake);
    struct fl_session_agreed out = { .max_payload = known->max_payload,
                                     .seal = known->seal,
                                     .text = known->customer_message };
    struct fl_err err = { 0 };
    int r = 0;

    for (size_t i = 0; i < FL_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, known->session_type) == 0)
            out.info.kind = types[i].kind;
    out.info.mux = fl_gate_open(FL_GATE_AGENT_MUX, known->peer_version);
    out.info.keepalive = !fl_gate_open(FL_GATE_AGENT_NO_KEEPALIVE, known->peer_version);
    out.info.end_flag = fl_gate_open(FL_GATE_AGENT_TERMINATE_FLAG, known->peer_version);
    out.info.end_of_input = known->end_of_input;
    if (out.info.kind == FL_SESSION_PORT && strcmp(known->properties, "null") != 0)
        r = fl_json_decode(&port_shape, known->properties, strlen(known->properties),
                           FL_DECODE_NOCASE | FL_DECODE_LAX, &h->arena, &out.info.port, &err);
    if (r < 0) {
        failed(h, r, fl_err_text(&err));
        return;
    }
    h->over = true;
    h->events.on_agreed(h->arg, &out);
}

/* ---- the data key ---- */

struct key_in {
    const char *key_id;
    int32_t bytes;
    struct fl_strmap context;
};
static const struct fl_field key_in_fields[] = {
    FL_FIELD(struct key_in, key_id, "KeyId", 0),
    FL_FIELD(struct key_in, bytes, "NumberOfBytes", 0),
    FL_FIELD(struct key_in, context, "EncryptionContext", 0),
};
static const struct fl_shape key_in_shape =
    FL_SHAPE(struct key_in, "GenerateDataKey", key_in_fields);

struct key_out {
    char *plain, *sealed;
};
static const struct fl_field key_out_fields[] = {
    FL_FIELD(struct key_out, plain, "Plaintext", FL_SECRET),
    FL_FIELD(struct key_out, sealed, "CiphertextBlob", 0),
};
static const struct fl_shape key_out_shape =
    FL_SHAPE(struct key_out, "GenerateDataKeyResult", key_out_fields);

static const struct fl_op op_data_key = { "TrentService.GenerateDataKey", &key_in_shape,
                                          &key_out_shape, false };

static void advance(struct fl_session_hello *h);

static void refuse_key(struct fl_session_hello *h, int r, const char *why)
{
    const char *key_id = fl_handshake_result(h->handshake)->kms_key_id;
    struct fl_err text = { 0 };

    fl_err_set(&text, r, NULL, "the session is to be encrypted with the key %.300s: %s", key_id,
               why);
    fl_handshake_refuse(h->handshake, why);
    advance(h);
    failed(h, r, fl_err_text(&text));
}

static int take_key(struct fl_session_hello *h, const char *text)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = ARENA_BYTES, .secret = true };
    struct key_out out = { 0 };
    uint8_t *key = NULL;
    size_t len = 0;
    int r = fl_json_decode(&key_out_shape, text, strlen(text), FL_DECODE_LAX, &arena, &out, NULL);

    if (r == 0 && (!out.plain || !out.sealed || !*out.sealed))
        r = -EBADMSG;
    if (r == 0)
        r = fl_base64_decode(out.plain, &key, &len);
    if (r == 0)
        r = len == FL_SESSION_KEY_BYTES
                ? fl_handshake_key(h->handshake, key, out.sealed, fl_mono_ms())
                : -EBADMSG;
    fl_free_secret(key, len);
    return r;
}

static void on_key(void *arg, int r, const char *text, const struct fl_err *err)
{
    struct key_call *call = arg;
    struct fl_session_hello *h = call->hello;

    free(call);
    if (!h)
        return;
    h->key = NULL;
    if (h->over)
        return;
    if (r < 0) {
        refuse_key(h, r, fl_err_text(err));
        return;
    }
    r = take_key(h, text);
    if (r < 0)
        refuse_key(h, r, "GenerateDataKey: the answer has no data key");
    else
        advance(h);
}

/* Bound to session and node, and to this handshake where the node knows of it. */
static void ask_key(struct fl_session_hello *h)
{
    const struct fl_handshake_result *known = fl_handshake_result(h->handshake);
    struct fl_strmap_entry context[] = {
        { (char *)"aws:ssm:SessionId", h->session_id },
        { (char *)"aws:ssm:TargetId", h->target },
        { (char *)"aws:ssm:RandomChallenge", (char *)known->challenge },
    };
    const struct key_in in = { known->kms_key_id,
                               FL_SESSION_KEY_BYTES,
                               { context, known->challenge_in_context ? 3 : 2 } };
    struct fl_err err = { 0 };
    int r;

    if (!h->target || !h->cli->keys.access_key_id) {
        refuse_key(h, -ENOKEY,
                   h->target ? "there are no credentials to ask for a data key with"
                             : "the call does not say for which node");
        return;
    }
    h->key = calloc(1, sizeof(*h->key));
    if (h->key)
        h->key->hello = h;
    r = h->key ? fl_api_start(h->cli, &op_data_key, &in, on_key, h->key, &err) : -ENOMEM;
    if (r == 0)
        return;
    free(h->key);
    h->key = NULL;
    refuse_key(h, r, err.code ? fl_err_text(&err) : strerror(-r));
}

/* ---- the handshake ---- */

/* Sends what is to be sent, and does what the state asks for. */
static void advance(struct fl_session_hello *h)
{
    const char *text;
    uint32_t type;
    size_t len;
    int r = 0;

    while (r == 0 && (text = fl_handshake_next(h->handshake, &type, &len)))
        r = h->events.send(h->arg, type, text, len);
    if (r < 0)
        failed(h, r, "the handshake cannot be sent");
    else if (fl_handshake_state(h->handshake) == FL_HANDSHAKE_NEEDS_KEY && !h->key)
        ask_key(h);
    else if (fl_handshake_state(h->handshake) == FL_HANDSHAKE_DONE)
        agreed(h);
}

void fl_session_hello_input(struct fl_session_hello *h, uint32_t type, const char *data, size_t len)
{
    struct fl_err err = { 0 };
    int r;

    if (h->over)
        return;
    r = fl_handshake_input(h->handshake, type, data, len, fl_mono_ms(), &err);
    advance(h);
    if (r < 0)
        failed(h, r, fl_err_text(&err));
}

int fl_session_hello_new(struct fl_cli *cli, const char *session_id, const char *target,
                         const struct fl_session_hello_events *events, void *arg,
                         struct fl_session_hello **ret_hello)
{
    const struct fl_msg_extras extras = { .max_payload = FL_DATA_MAX_PAYLOAD_BYTES,
                                          .end_of_input = true };
    const struct fl_handshake_client_conf conf = { .client_version = FL_SESSION_CLIENT_VERSION,
                                                   .session_types = type_names,
                                                   .can_encrypt = true,
                                                   .extras = &extras };
    struct fl_session_hello *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->cli = cli;
    h->events = *events;
    h->arg = arg;
    fl_arena_init(&h->arena, ARENA_BYTES);
    h->session_id = strdup(session_id);
    h->target = target ? strdup(target) : NULL;
    if (!h->session_id || (target && !h->target) ||
        fl_handshake_new_client(&conf, &h->handshake) < 0) {
        fl_session_hello_free(h);
        return -ENOMEM;
    }
    *ret_hello = h;
    return 0;
}

struct fl_session_hello *fl_session_hello_free(struct fl_session_hello *h)
{
    if (!h)
        return NULL;
    if (h->key)
        h->key->hello = NULL;
    fl_handshake_free(h->handshake);
    fl_arena_done(&h->arena);
    free(h->session_id);
    free(h->target);
    free(h);
    return NULL;
}
