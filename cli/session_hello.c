/* session_hello.c - see session_hello.h. */
#include "cli/session_hello.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ACTIONS_MAX 8

static const struct {
    const char *name;
    enum fl_session_kind kind;
} types[] = {
    { "Standard_Stream", FL_SESSION_SHELL },
    { "InteractiveCommands", FL_SESSION_SHELL },
    { "NonInteractiveCommands", FL_SESSION_COMMAND },
    { "Port", FL_SESSION_PORT },
};

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

/* Agents up to 3.0.196.0 know no smux (protocol 3 §6); what has not four numbers is none. */
static bool knows_mux(const char *version)
{
    unsigned v[4];
    static const unsigned last[4] = { 3, 0, 196, 0 };
    char rest;

    if (!version || sscanf(version, "%u.%u.%u.%u%c", &v[0], &v[1], &v[2], &v[3], &rest) != 4)
        return false;
    for (size_t i = 0; i < FL_ARRAY_LEN(v); i++)
        if (v[i] != last[i])
            return v[i] > last[i];
    return false;
}

static int set_type(const struct fl_msg_client_action *action, struct fl_arena *arena,
                    struct fl_session_info *info, struct fl_err *err)
{
    const char *text = action->parameters.text ? action->parameters.text : "{}";
    struct fl_msg_session_type t = { 0 };
    int r = fl_json_decode(&fl_shape_session_type, text, strlen(text), FL_DECODE_NOCASE, arena, &t,
                           err);
    size_t i = 0;

    if (r < 0)
        return r;
    while (i < FL_ARRAY_LEN(types) && (!t.type || strcmp(types[i].name, t.type) != 0))
        i++;
    if (i == FL_ARRAY_LEN(types))
        return fl_err_set(err, -EOPNOTSUPP, NULL, "a session of type \"%s\" is not known",
                          t.type ? t.type : "");
    info->kind = types[i].kind;
    if (info->kind != FL_SESSION_PORT || !t.properties.text)
        return 0;
    return fl_json_decode(&port_shape, t.properties.text, strlen(t.properties.text),
                          FL_DECODE_NOCASE | FL_DECODE_LAX, arena, &info->port, err);
}

static void answer_action(const struct fl_msg_client_action *action, struct fl_arena *arena,
                          struct fl_session_info *info, struct fl_msg_processed_action *out,
                          struct fl_err *err)
{
    struct fl_err why = { 0 };
    int r = 0;

    if (action->type && strcmp(action->type, "SessionType") == 0)
        r = set_type(action, arena, info, &why);
    else if (action->type && strcmp(action->type, "KMSEncryption") == 0)
        r = fl_err_set(&why, -EOPNOTSUPP, NULL,
                       "the session wants a KMS key, which this client does not know");
    else
        r = fl_err_set(&why, -EOPNOTSUPP, NULL, "the node wants \"%s\", which is not known",
                       action->type ? action->type : "");
    *out = (struct fl_msg_processed_action){
        .type = action->type ? action->type : (char *)"",
        .status = r == 0 ? FL_ACTION_SUCCESS : FL_ACTION_UNSUPPORTED,
        .error = r == 0 ? (char *)"" : fl_arena_strdup(arena, why.text),
    };
    if (r < 0 && err && !err->code)
        *err = why;
}

int fl_session_hello(const char *request, size_t len, struct fl_arena *arena,
                     struct fl_session_agreed *ret, struct fl_buf *answer, struct fl_err *err)
{
    struct fl_msg_processed_action processed[ACTIONS_MAX];
    struct fl_msg_extras extras = { .max_payload = FL_DATA_MAX_PAYLOAD_BYTES,
                                    .end_of_input = true };
    struct fl_msg_handshake_response response = { .client_version =
                                                      (char *)FL_SESSION_CLIENT_VERSION,
                                                  .actions = processed };
    struct fl_msg_handshake_request in = { 0 };
    struct fl_session_agreed agreed = { .max_payload = FL_DATA_PAYLOAD_BYTES };
    struct fl_err why = { 0 };
    int r = fl_json_decode(&fl_shape_handshake_request, request, len, FL_DECODE_NOCASE, arena, &in,
                           err);

    if (r == 0 && in.n_actions > ACTIONS_MAX)
        r = fl_err_set(err, -EBADMSG, NULL, "the node wants too much");
    if (r < 0)
        return r;
    for (size_t i = 0; i < in.n_actions; i++)
        answer_action(&in.actions[i], arena, &agreed.info, &processed[response.n_actions++], &why);
    agreed.refused = why.code != 0;
    agreed.info.mux = knows_mux(in.agent_version);
    if (in.extras) {
        response.extras = &extras;
        agreed.info.end_of_input = in.extras->end_of_input;
        if (in.extras->max_payload > (int32_t)agreed.max_payload)
            agreed.max_payload =
                FL_MIN((size_t)in.extras->max_payload, (size_t)FL_DATA_MAX_PAYLOAD_BYTES);
    }
    r = fl_json_encode(&fl_shape_handshake_response, &response, answer);
    if (agreed.refused && err)
        *err = why;
    *ret = agreed;
    return r;
}

const char *fl_session_hello_done(const char *message, size_t len, struct fl_arena *arena)
{
    struct fl_msg_handshake_complete in = { 0 };

    fl_json_decode(&fl_shape_handshake_complete, message, len, FL_DECODE_NOCASE, arena, &in, NULL);
    return in.customer_message ? in.customer_message : "";
}
