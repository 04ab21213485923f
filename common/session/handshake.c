/* handshake.c - see handshake.h. */
#include "common/session/handshake.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/aws/crypto.h"
#include "common/base/rand.h"
#include "common/session/gate.h"

#define ARENA_BYTES     ((size_t)1 << 20)
#define TEXT_MAX_BYTES  ((size_t)256 << 10)
#define STEP_MS         15000 /* protocol 3 §6 */
#define KEY_MS          30000 /* a call to KMS, and its retries */
#define CLIENT_MS       (2 * STEP_MS + KEY_MS)
#define CHALLENGE_BYTES 64
#define KMS_CHALLENGE   16
#define ACTION_TYPE     "SessionType"
#define ACTION_KMS      "KMSEncryption"
#define MAX_ACTIONS     16
#define SHOWN_CHARS     200 /* of what a peer says, in an error's text */
#define OLD_CLIENT                                                                    \
    "This session tells standard error and the exit code from standard output, which" \
    " your Session Manager plugin may not show. Please update it."

enum step {
    AGENT_ASKED,
    AGENT_KEY,
    AGENT_CHALLENGED,
    CLIENT_IDLE,
    CLIENT_KEY,
    CLIENT_ANSWERED,
    DONE,
    FAILED,
};

struct fl_handshake {
    enum step step;
    struct fl_arena arena; /* all strings */
    struct fl_msg_extras extras;
    bool has_extras, separate_output;
    struct fl_handshake_result result;
    int64_t began_ms, deadline_ms;
    uint8_t random[CHALLENGE_BYTES];
    struct fl_session_seal *seal;
    /* client */
    const char *version;
    const char *const *session_types;
    bool can_encrypt;
    struct fl_msg_processed_action *processed;
    size_t n_processed, kms_action;
    /* the message to be written */
    struct fl_buf text;
    uint32_t text_type;
    bool text_ready;
};

/* ---- both ends ---- */

static int fail(struct fl_handshake *h, struct fl_err *err, const char *why, const char *detail)
{
    h->step = FAILED;
    h->deadline_ms = INT64_MAX;
    return fl_err_set(err, -EPROTO, NULL, "%s%s%.*s", why, detail && *detail ? ": " : "",
                      SHOWN_CHARS, detail ? detail : "");
}

static int say(struct fl_handshake *h, uint32_t type, const struct fl_shape *shape, const void *msg)
{
    fl_buf_reset(&h->text);
    h->text_type = type;
    h->text_ready = fl_json_encode(shape, msg, &h->text) == 0;
    return h->text_ready ? 0 : -ENOMEM;
}

static int hear(struct fl_handshake *h, const struct fl_shape *shape, const char *data, size_t len,
                void *out, struct fl_err *err)
{
    struct fl_err why = { 0 };

    if (fl_json_decode(shape, data, len, FL_DECODE_NOCASE, &h->arena, out, &why) < 0)
        return fail(h, err, "handshake", fl_err_text(&why));
    return 0;
}

/* A JSON text as one of the shapes, encoded in the handshake's memory. */
static char *raw(struct fl_handshake *h, const struct fl_shape *shape, const void *msg)
{
    fl_autobuf struct fl_buf text = FL_BUF(TEXT_MAX_BYTES);

    return fl_json_encode(shape, msg, &text) == 0 ? fl_arena_memdup(&h->arena, text.data, text.len)
                                                  : NULL;
}

static void agree(struct fl_handshake *h, const struct fl_msg_extras *theirs)
{
    if (!h->has_extras || !theirs)
        return;
    h->result.end_of_input = h->extras.end_of_input && theirs->end_of_input;
    h->result.max_payload =
        (uint32_t)FL_MAX(FL_MIN(h->extras.max_payload, theirs->max_payload), FL_DATA_PAYLOAD_BYTES);
    h->result.max_payload = FL_MIN(h->result.max_payload, FL_DATA_MAX_PAYLOAD_BYTES);
}

static struct fl_handshake *handshake_new(enum step step, const struct fl_msg_extras *extras)
{
    struct fl_handshake *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->step = step;
    h->deadline_ms = INT64_MAX;
    h->has_extras = extras != NULL;
    if (extras) {
        h->extras = *extras;
        h->extras.handshake = false; /* between plane and agent only */
    }
    h->result.max_payload = FL_DATA_PAYLOAD_BYTES;
    fl_arena_init(&h->arena, ARENA_BYTES);
    fl_buf_init(&h->text, TEXT_MAX_BYTES);
    return h;
}

struct fl_handshake *fl_handshake_free(struct fl_handshake *h)
{
    if (!h)
        return NULL;
    fl_session_seal_free(h->seal);
    fl_wipe(h->random, sizeof(h->random));
    fl_buf_done(&h->text);
    fl_arena_done(&h->arena);
    free(h);
    return NULL;
}

static int say_challenge(struct fl_handshake *h, uint32_t type,
                         const uint8_t random[CHALLENGE_BYTES])
{
    uint8_t sealed[FL_SESSION_SEAL_BYTES + CHALLENGE_BYTES];
    fl_autofree char *text = NULL;
    int r;

    memcpy(sealed + FL_SESSION_NONCE_BYTES, random, CHALLENGE_BYTES);
    r = fl_session_seal_seal(h->seal, sealed, CHALLENGE_BYTES);
    text = r < 0 ? NULL : fl_base64_encode(sealed, sizeof(sealed));
    return text ? say(h, type, &fl_shape_challenge, &(struct fl_msg_challenge){ text }) : -ENOMEM;
}

/* The random bytes inside of a challenge; false if it is not one of this session. */
static bool open_challenge(struct fl_handshake *h, const struct fl_msg_challenge *msg,
                           uint8_t out[CHALLENGE_BYTES])
{
    fl_autofree uint8_t *sealed = NULL;
    size_t len, plain_len;

    return fl_base64_decode(msg->challenge, &sealed, &len) == 0 &&
           len == FL_SESSION_SEAL_BYTES + CHALLENGE_BYTES &&
           fl_session_seal_open(h->seal, sealed, len, out, &plain_len) == 0;
}

/* ---- the agent's end ---- */

static int say_request(struct fl_handshake *h, const struct fl_handshake_agent_conf *conf)
{
    struct fl_msg_session_type type = { (char *)conf->session_type, { (char *)conf->properties } };
    struct fl_msg_kms_request kms = { (char *)conf->kms_key_id, (char *)h->result.challenge };
    struct fl_msg_client_action actions[] = {
        { (char *)ACTION_TYPE, { raw(h, &fl_shape_session_type, &type) } },
        { (char *)ACTION_KMS, { conf->kms_key_id ? raw(h, &fl_shape_kms_request, &kms) : NULL } },
    };
    struct fl_msg_handshake_request msg = { .agent_version = (char *)conf->agent_version,
                                            .actions = actions,
                                            .n_actions = conf->kms_key_id ? 2 : 1,
                                            .extras = h->has_extras ? &h->extras : NULL };

    for (size_t i = 0; i < msg.n_actions; i++)
        if (!actions[i].parameters.text)
            return -ENOMEM;
    return say(h, FL_DATA_TYPE_HANDSHAKE_REQUEST, &fl_shape_handshake_request, &msg);
}

int fl_handshake_new_agent(const struct fl_handshake_agent_conf *conf, int64_t mono_ms,
                           struct fl_handshake **ret_handshake)
{
    struct fl_handshake *h = handshake_new(AGENT_ASKED, conf->extras);
    int r = 0;

    if (!h)
        return -ENOMEM;
    h->began_ms = mono_ms;
    h->deadline_ms = mono_ms + STEP_MS;
    h->separate_output = conf->separate_output;
    h->result.session_type = fl_arena_strdup(&h->arena, conf->session_type);
    h->result.properties = fl_arena_strdup(&h->arena, conf->properties ? conf->properties : "null");
    h->result.customer_message =
        fl_arena_strdup(&h->arena, conf->customer_message ? conf->customer_message : "");
    h->result.kms_key_id = fl_arena_strdup(&h->arena, conf->kms_key_id);
    if (conf->kms_key_id) {
        uint8_t random[KMS_CHALLENGE];
        fl_autofree char *text = NULL;

        fl_random_bytes(random, sizeof(random));
        text = fl_base64_encode(random, sizeof(random));
        h->result.challenge = fl_arena_strdup(&h->arena, text);
        r = h->result.challenge && h->result.kms_key_id ? 0 : -ENOMEM;
    }
    if (!h->result.session_type || !h->result.properties || !h->result.customer_message)
        r = -ENOMEM;
    if (r == 0)
        r = say_request(h, conf);
    if (r < 0) {
        fl_handshake_free(h);
        return r;
    }
    *ret_handshake = h;
    return 0;
}

static int complete(struct fl_handshake *h, int64_t mono_ms)
{
    bool old =
        h->separate_output && !fl_gate_open(FL_GATE_CLIENT_SEPARATE_OUTPUT, h->result.peer_version);
    const char *words = h->result.customer_message;
    struct fl_msg_handshake_complete msg = { .took_ns = (mono_ms - h->began_ms) * 1000000 };

    msg.customer_message = fl_arena_printf(&h->arena, "%s%s%s", words, old && *words ? "\n" : "",
                                           old ? OLD_CLIENT : "");
    if (!msg.customer_message)
        return -ENOMEM;
    h->step = DONE;
    h->deadline_ms = INT64_MAX;
    h->result.seal = h->seal;
    return say(h, FL_DATA_TYPE_HANDSHAKE_COMPLETE, &fl_shape_handshake_complete, &msg);
}

static const struct fl_msg_processed_action *find_processed(
    const struct fl_msg_handshake_response *msg, const char *type)
{
    for (size_t i = 0; i < msg->n_actions; i++)
        if (msg->actions[i].type && strcmp(msg->actions[i].type, type) == 0)
            return &msg->actions[i];
    return NULL;
}

static int take_response(struct fl_handshake *h, const char *data, size_t len, int64_t mono_ms,
                         struct fl_err *err)
{
    const struct fl_msg_processed_action *done;
    struct fl_msg_handshake_response msg;
    struct fl_msg_kms_result kms = { 0 };
    int r = hear(h, &fl_shape_handshake_response, data, len, &msg, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < msg.n_actions; i++)
        if (msg.actions[i].status != FL_ACTION_SUCCESS)
            return fail(h, err, "the client cannot do what the session needs",
                        msg.actions[i].error);
    if (!find_processed(&msg, ACTION_TYPE))
        return fail(h, err, "handshake: the client left out " ACTION_TYPE, NULL);
    h->result.peer_version = msg.client_version;
    agree(h, msg.extras);
    if (!h->result.kms_key_id)
        return complete(h, mono_ms);

    done = find_processed(&msg, ACTION_KMS);
    if (!done || !done->result.text)
        return fail(h, err, "handshake: the client left out " ACTION_KMS, NULL);
    r = hear(h, &fl_shape_kms_result, done->result.text, strlen(done->result.text), &kms, err);
    if (r < 0)
        return r;
    if (!kms.cipher_text_key || !*kms.cipher_text_key)
        return fail(h, err, "handshake: the client has no data key", NULL);
    h->result.cipher_key = kms.cipher_text_key;
    h->result.challenge_in_context = kms.challenge_acknowledged;
    h->step = AGENT_KEY;
    h->deadline_ms = mono_ms + KEY_MS;
    return 0;
}

static int take_challenge_response(struct fl_handshake *h, const char *data, size_t len,
                                   int64_t mono_ms, struct fl_err *err)
{
    uint8_t got[CHALLENGE_BYTES];
    struct fl_msg_challenge msg;
    int r = hear(h, &fl_shape_challenge, data, len, &msg, err);

    if (r < 0)
        return r;
    if (!open_challenge(h, &msg, got) ||
        !fl_equal_secret(got, sizeof(got), h->random, sizeof(h->random)))
        return fail(h, err, "encryption: the client does not have the session's key", NULL);
    return complete(h, mono_ms);
}

/* ---- the client's end ---- */

int fl_handshake_new_client(const struct fl_handshake_client_conf *conf,
                            struct fl_handshake **ret_handshake)
{
    struct fl_handshake *h = handshake_new(CLIENT_IDLE, conf->extras);

    if (!h)
        return -ENOMEM;
    h->version = fl_arena_strdup(&h->arena, conf->client_version);
    h->session_types = conf->session_types;
    h->can_encrypt = conf->can_encrypt;
    if (!h->version) {
        fl_handshake_free(h);
        return -ENOMEM;
    }
    *ret_handshake = h;
    return 0;
}

static int say_response(struct fl_handshake *h)
{
    struct fl_msg_handshake_response msg = { .client_version = (char *)h->version,
                                             .actions = h->processed,
                                             .n_actions = h->n_processed,
                                             .extras = h->has_extras ? &h->extras : NULL };

    return say(h, FL_DATA_TYPE_HANDSHAKE_RESPONSE, &fl_shape_handshake_response, &msg);
}

static int process_session_type(struct fl_handshake *h, const char *parameters,
                                struct fl_msg_processed_action *done)
{
    struct fl_msg_session_type msg;

    done->status = FL_ACTION_FAILED;
    done->error = (char *)"unreadable session type";
    if (!parameters ||
        fl_json_decode(&fl_shape_session_type, parameters, strlen(parameters), FL_DECODE_NOCASE,
                       &h->arena, &msg, NULL) < 0 ||
        !msg.type)
        return 0;
    for (size_t i = 0; h->session_types[i]; i++)
        if (strcmp(h->session_types[i], msg.type) == 0) {
            h->result.session_type = msg.type;
            h->result.properties = msg.properties.text ? msg.properties.text : "null";
            done->status = FL_ACTION_SUCCESS;
            done->error = (char *)"";
            return 0;
        }
    done->error = fl_arena_printf(&h->arena, "unknown session type %.*s", SHOWN_CHARS, msg.type);
    return done->error ? 0 : -ENOMEM;
}

static int process_kms(struct fl_handshake *h, const char *parameters,
                       struct fl_msg_processed_action *done)
{
    struct fl_msg_kms_request msg;

    done->status = FL_ACTION_FAILED;
    done->error = (char *)"unreadable request for encryption";
    if (!parameters ||
        fl_json_decode(&fl_shape_kms_request, parameters, strlen(parameters), FL_DECODE_NOCASE,
                       &h->arena, &msg, NULL) < 0 ||
        !msg.key_id)
        return 0;
    done->error = (char *)"this client cannot encrypt";
    if (!h->can_encrypt)
        return 0;
    h->result.kms_key_id = msg.key_id;
    h->result.challenge = msg.challenge;
    h->kms_action = h->n_processed;
    done->status = FL_ACTION_SUCCESS;
    done->error = (char *)"";
    return 0;
}

static const struct {
    const char *type;
    int (*process)(struct fl_handshake *h, const char *parameters,
                   struct fl_msg_processed_action *done);
} client_actions[] = {
    { ACTION_TYPE, process_session_type },
    { ACTION_KMS, process_kms },
};

static int process(struct fl_handshake *h, const struct fl_msg_client_action *action)
{
    struct fl_msg_processed_action *done = &h->processed[h->n_processed];
    int r = 0;

    *done = (struct fl_msg_processed_action){ .type = action->type,
                                              .status = FL_ACTION_UNSUPPORTED,
                                              .error = (char *)"unsupported action" };
    for (size_t i = 0; i < FL_ARRAY_LEN(client_actions); i++)
        if (action->type && strcmp(client_actions[i].type, action->type) == 0)
            r = client_actions[i].process(h, action->parameters.text, done);
    h->n_processed++;
    return r;
}

static int take_request(struct fl_handshake *h, const char *data, size_t len, int64_t mono_ms,
                        struct fl_err *err)
{
    const struct fl_msg_processed_action *refused = NULL;
    struct fl_msg_handshake_request msg;
    int r = hear(h, &fl_shape_handshake_request, data, len, &msg, err);

    if (r < 0)
        return r;
    if (msg.n_actions > MAX_ACTIONS)
        return fail(h, err, "handshake: too many actions", NULL);
    h->processed = fl_arena_calloc(&h->arena, msg.n_actions, sizeof(*h->processed));
    if (!h->processed)
        return -ENOMEM;
    h->began_ms = mono_ms;
    h->result.peer_version = msg.agent_version;
    for (size_t i = 0; i < msg.n_actions && r == 0; i++)
        r = process(h, &msg.actions[i]);
    if (r < 0)
        return r;
    for (size_t i = 0; i < h->n_processed; i++)
        if (h->processed[i].status != FL_ACTION_SUCCESS)
            refused = &h->processed[i];
    if (!refused && !h->result.session_type)
        return fail(h, err, "handshake: the agent did not say the session's type", NULL);
    if (refused) {
        r = say_response(h);
        return r < 0 ? r
                     : fail(h, err, "the agent wants what this client cannot do", refused->error);
    }
    agree(h, msg.extras);
    /* Of an agent that is not ours it is not known whether it takes the longer context. */
    h->result.challenge_in_context = h->result.challenge && h->has_extras && msg.extras;
    h->deadline_ms = mono_ms + CLIENT_MS;
    h->step = h->result.kms_key_id ? CLIENT_KEY : CLIENT_ANSWERED;
    return h->step == CLIENT_KEY ? 0 : say_response(h);
}

static int take_challenge(struct fl_handshake *h, const char *data, size_t len, int64_t mono_ms,
                          struct fl_err *err)
{
    uint8_t random[CHALLENGE_BYTES];
    struct fl_msg_challenge msg;
    int r = hear(h, &fl_shape_challenge, data, len, &msg, err);

    if (r < 0)
        return r;
    if (!h->seal || !open_challenge(h, &msg, random))
        return fail(h, err, "encryption: the agent does not have the session's key", NULL);
    r = say_challenge(h, FL_DATA_TYPE_CHALLENGE_RESPONSE, random);
    fl_wipe(random, sizeof(random));
    h->result.seal = h->seal;
    return r;
}

static int take_complete(struct fl_handshake *h, const char *data, size_t len, int64_t mono_ms,
                         struct fl_err *err)
{
    struct fl_msg_handshake_complete msg;
    int r = hear(h, &fl_shape_handshake_complete, data, len, &msg, err);

    if (r < 0)
        return r;
    /* data would go in the clear that was to be sealed */
    if (h->seal && !h->result.seal)
        return fail(h, err, "encryption: the agent left out the challenge", NULL);
    h->result.customer_message = msg.customer_message ? msg.customer_message : "";
    h->step = DONE;
    h->deadline_ms = INT64_MAX;
    return 0;
}

/* ---- public ---- */

static const struct {
    enum step step;
    uint32_t payload_type;
    int (*take)(struct fl_handshake *h, const char *data, size_t len, int64_t mono_ms,
                struct fl_err *err);
} transitions[] = {
    { AGENT_ASKED, FL_DATA_TYPE_HANDSHAKE_RESPONSE, take_response },
    { AGENT_CHALLENGED, FL_DATA_TYPE_CHALLENGE_RESPONSE, take_challenge_response },
    { CLIENT_IDLE, FL_DATA_TYPE_HANDSHAKE_REQUEST, take_request },
    { CLIENT_ANSWERED, FL_DATA_TYPE_CHALLENGE_REQUEST, take_challenge },
    { CLIENT_ANSWERED, FL_DATA_TYPE_HANDSHAKE_COMPLETE, take_complete },
};

bool fl_handshake_is_type(uint32_t payload_type)
{
    return payload_type >= FL_DATA_TYPE_HANDSHAKE_REQUEST &&
           payload_type <= FL_DATA_TYPE_CHALLENGE_RESPONSE;
}

int fl_handshake_input(struct fl_handshake *h, uint32_t payload_type, const char *data, size_t len,
                       int64_t mono_ms, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(transitions); i++)
        if (transitions[i].step == h->step && transitions[i].payload_type == payload_type) {
            int r = transitions[i].take(h, data, len, mono_ms, err);

            return r == -ENOMEM ? fail(h, err, "handshake: no memory", NULL) : r;
        }
    return fail(h, err, "handshake: a message out of its turn", NULL);
}

int fl_handshake_key(struct fl_handshake *h, const uint8_t key[FL_SESSION_KEY_BYTES],
                     const char *cipher_key, int64_t mono_ms)
{
    bool agent = h->step == AGENT_KEY;
    struct fl_msg_kms_result msg = { .cipher_text_key = (char *)cipher_key,
                                     .challenge_acknowledged = h->result.challenge_in_context };

    h->seal = fl_session_seal_new(agent, key);
    if (!h->seal)
        return -ENOMEM;
    if (agent) {
        fl_random_bytes(h->random, sizeof(h->random));
        h->step = AGENT_CHALLENGED;
        h->deadline_ms = mono_ms + STEP_MS;
        return say_challenge(h, FL_DATA_TYPE_CHALLENGE_REQUEST, h->random);
    }
    h->processed[h->kms_action].result.text = raw(h, &fl_shape_kms_result, &msg);
    h->step = CLIENT_ANSWERED;
    return h->processed[h->kms_action].result.text ? say_response(h) : -ENOMEM;
}

int fl_handshake_refuse(struct fl_handshake *h, const char *why)
{
    bool client = h->step == CLIENT_KEY;

    fail(h, NULL, why, NULL);
    if (!client)
        return 0;
    h->processed[h->kms_action].status = FL_ACTION_FAILED;
    h->processed[h->kms_action].error = (char *)why;
    return say_response(h);
}

const char *fl_handshake_next(struct fl_handshake *h, uint32_t *ret_payload_type, size_t *ret_len)
{
    if (!h->text_ready)
        return NULL;
    h->text_ready = false;
    *ret_payload_type = h->text_type;
    *ret_len = h->text.len;
    return h->text.data;
}

enum fl_handshake_state fl_handshake_state(const struct fl_handshake *h)
{
    switch (h->step) {
    case AGENT_KEY:
    case CLIENT_KEY:
        return FL_HANDSHAKE_NEEDS_KEY;
    case DONE:
        return FL_HANDSHAKE_DONE;
    case FAILED:
        return FL_HANDSHAKE_FAILED;
    default:
        return FL_HANDSHAKE_WAITING;
    }
}

const struct fl_handshake_result *fl_handshake_result(const struct fl_handshake *h)
{
    return &h->result;
}

int64_t fl_handshake_deadline(const struct fl_handshake *h)
{
    return h->deadline_ms;
}
