/* datachannel.h - what travels on a session's data channel, and around it, as shapes and small
 * codecs (protocol 3 §3, §4, §6, §7, §10).
 *
 * Frames are struct fl_frame (agentmessage.h). Encoding writes members in the order of the official
 * programs; decode with FL_DECODE_NOCASE.
 */
#pragma once
#include "common/codec/codec.h"
#include "common/wire/agentmessage.h"
#include "common/wire/control.h"

/* Message types of frames; channel_closed is FL_MSG_CHANNEL_CLOSED. */
#define FL_DATA_OUTPUT        "output_stream_data"
#define FL_DATA_INPUT         "input_stream_data"
#define FL_DATA_ACK           "acknowledge"
#define FL_DATA_SESSION_STATE "agent_session_state"
#define FL_DATA_PAUSE         "pause_publication"
#define FL_DATA_START         "start_publication"
#define FL_DATA_READY         "data_channel_ready"

enum { FL_FRAME_SYN = 1, FL_FRAME_FIN = 2 }; /* fl_frame.flags */

enum fl_data_type { /* payload types of stream data */
                    FL_DATA_TYPE_OUTPUT = 1,
                    FL_DATA_TYPE_ERROR,
                    FL_DATA_TYPE_SIZE,
                    FL_DATA_TYPE_PARAMETER,
                    FL_DATA_TYPE_HANDSHAKE_REQUEST,
                    FL_DATA_TYPE_HANDSHAKE_RESPONSE,
                    FL_DATA_TYPE_HANDSHAKE_COMPLETE,
                    FL_DATA_TYPE_CHALLENGE_REQUEST,
                    FL_DATA_TYPE_CHALLENGE_RESPONSE,
                    FL_DATA_TYPE_FLAG,
                    FL_DATA_TYPE_STDERR,
                    FL_DATA_TYPE_EXIT_CODE,
};

enum fl_data_flag { /* payload of FL_DATA_TYPE_FLAG: 4 bytes, big-endian */
                    FL_DATA_FLAG_DISCONNECT = 1,
                    FL_DATA_FLAG_TERMINATE,
                    FL_DATA_FLAG_CONNECT_ERROR,
                    /* Ours, only after both ends agreed (struct fl_msg_extras): no more input
                       comes. */
                    FL_DATA_FLAG_END_OF_INPUT = 0x464c0001,
                    /* The same: why the FL_DATA_FLAG_CONNECT_ERROR that follows. Text behind the
                       four bytes. */
                    FL_DATA_FLAG_CONNECT_REASON,
};

#define FL_DATA_REASON_BYTES 256 /* of text, at most */

#define FL_DATA_PAYLOAD_BYTES     1024  /* of a data message, before encryption */
#define FL_DATA_MAX_PAYLOAD_BYTES 65536 /* the same where our own ends agreed on more */

/* An agent of ours pings a plane of ours so often, and takes a connection on which nothing came
 * for FL_DATA_QUIET_MS for lost. */
#define FL_DATA_BEAT_MS  5000
#define FL_DATA_QUIET_MS 9000

/* What our own ends agree on: member "Fairlead" of interactive_shell's Content (plane to agent:
 * what the plane relays and the client asked for), of an agent's OpenDataChannel, of
 * HandshakeRequest and of HandshakeResponse. Absent: the official limits. Official programs ignore
 * it. */
struct fl_msg_extras {
    int32_t max_payload; /* 0: FL_DATA_PAYLOAD_BYTES */
    bool end_of_input;   /* FL_DATA_FLAG_END_OF_INPUT is understood, and half_close of smux.h */
    bool handshake;      /* Content only: run the handshake whatever the session's type is */
    bool beats;          /* OpenDataChannel only: pings come every FL_DATA_BEAT_MS */
    /* Content only: the plane itself takes what is shown to the bucket, to the log group */
    bool keeps_bucket, keeps_group;
};

/* POST /v1/data-channel/{SessionId}; the answer is XML (control.h). */
struct fl_msg_create_data {
    char *schema_version; /* "1.0" */
    char *request_id;
    char *client_id; /* agent: "" */
};
/* First text frame. An agent gives its instance id and an empty client id, a client the id it keeps
 * over reconnects. */
struct fl_msg_open_data {
    char *schema_version; /* "1.0" */
    char *request_id;
    char *token;
    char *instance_id; /* agent only */
    char *client_id;
    char *client_version; /* client only */
    bool require_ack;     /* agents 3.2.2086.0-3.3.130: answer data_channel_ready */
    struct fl_msg_extras *extras;
};

struct fl_msg_data_ack {
    char *type; /* of the message acknowledged */
    char *message_id;
    int64_t sequence;
    bool sequential;
};
struct fl_msg_session_state {
    int32_t schema_version; /* 1 */
    char *state;            /* "Connected", "Terminating" */
    char *session_id;
};
struct fl_msg_channel_closed {
    char *message_type; /* "channel_closed" */
    char *message_id;
    char *destination_id;
    char *session_id;
    int32_t schema_version; /* 1 */
    char *created_date;
    char *output; /* what the client prints; agents ignore it */
};
struct fl_msg_size {
    int64_t cols, rows; /* 32 bits each, of which terminals take 16 */
};

struct fl_msg_client_action {
    char *type;               /* "SessionType", "KMSEncryption" */
    struct fl_raw parameters; /* struct fl_msg_session_type, struct fl_msg_kms_request */
};
struct fl_msg_handshake_request {
    char *agent_version; /* four numbers */
    struct fl_msg_client_action *actions;
    size_t n_actions;
    struct fl_msg_extras *extras;
};
struct fl_msg_session_type {
    char *type;
    struct fl_raw properties;
};
struct fl_msg_kms_request {
    char *key_id;
    char *challenge; /* base64 of 16 random bytes */
};
enum fl_action_status { FL_ACTION_SUCCESS = 1, FL_ACTION_FAILED, FL_ACTION_UNSUPPORTED };
struct fl_msg_processed_action {
    char *type;
    int32_t status;       /* enum fl_action_status */
    struct fl_raw result; /* null, struct fl_msg_kms_result */
    char *error;
};
struct fl_msg_handshake_response {
    char *client_version;
    struct fl_msg_processed_action *actions;
    size_t n_actions;
    struct fl_raw errors; /* null or a list of strings */
    struct fl_msg_extras *extras;
};
struct fl_msg_kms_result {
    char *cipher_text_key; /* base64 of the encrypted data key */
    struct fl_raw cipher_text_hash;
    bool challenge_acknowledged; /* the challenge is part of the encryption context */
};
struct fl_msg_challenge {
    char *challenge; /* base64 of 64 random bytes, sealed */
};
struct fl_msg_handshake_complete {
    int64_t took_ns;
    char *customer_message;
};

/* Content of interactive_shell (struct fl_msg_task). */
struct fl_msg_session_content {
    char *session_id;
    char *document_name;
    struct fl_raw document_content;
    struct fl_raw parameters; /* object: name -> scalar */
    char *run_as_user;
    char *session_owner; /* ARN */
    struct fl_msg_extras *extras;
};
/* agent_task_complete and its acknowledgement, on the control channel. */
struct fl_msg_task_complete {
    int32_t schema_version; /* 1 */
    char *task_id;          /* session id */
    char *topic;            /* "agent_task_complete" */
    char *final_status;     /* "Success", "Failed", "Cancelled" */
    bool routing_failure;
    char *account_id;
    char *instance_id;
    char *output; /* error text */
    char *s3_bucket, *s3_suffix;
    char *log_group, *log_stream;
    int32_t retry_number; /* 1, and counted up with each repetition */
};
struct fl_msg_task_ack {
    int32_t schema_version; /* 1 */
    char *message_id;       /* of the frame that told of the end */
    char *task_id;
    char *topic;
};

extern const struct fl_shape fl_shape_extras, fl_shape_create_data, fl_shape_open_data,
    fl_shape_data_ack, fl_shape_session_state, fl_shape_channel_closed, fl_shape_size,
    fl_shape_handshake_request, fl_shape_session_type, fl_shape_kms_request,
    fl_shape_handshake_response, fl_shape_kms_result, fl_shape_challenge,
    fl_shape_handshake_complete, fl_shape_session_content, fl_shape_task_complete,
    fl_shape_task_ack;

/* Appends a frame whose payload is `msg` as JSON, with a message id of its own. Errors of fl_buf.
 */
int fl_data_frame(const char *type, uint64_t flags, const struct fl_shape *shape, const void *msg,
                  int64_t wall_ms, struct fl_buf *out);

/* The payload of an acknowledgement, with a NUL behind it; `ret_len` is at most
 * FL_DATA_ACK_MAX_BYTES - 1. As each message has one, it does not go by way of the shape; what it
 * writes is the same. */
#define FL_DATA_ACK_MAX_BYTES 256
size_t fl_data_ack_encode(const char *type, const uint8_t message_id[16], int64_t sequence,
                          char out[FL_DATA_ACK_MAX_BYTES]);

/* What an acknowledgement is for: all that counts of it. 0; -EBADMSG for anything else. */
int fl_data_ack_decode(const char *payload, size_t len, int64_t *ret_sequence);

/* "EXIT_CODE: 3"; decoding takes what follows the colon. -EBADMSG. */
#define FL_DATA_EXIT_CODE_BYTES 32
size_t fl_data_exit_code_encode(int code, char out[FL_DATA_EXIT_CODE_BYTES]);
int fl_data_exit_code_decode(const char *payload, size_t len, int *ret_code);

void fl_data_flag_encode(uint32_t flag, uint8_t out[4]);
int fl_data_flag_decode(const char *payload, size_t len, uint32_t *ret_flag); /* -EBADMSG */

/* The payload of FL_DATA_FLAG_CONNECT_REASON; returns its length. What is too long is cut off. */
size_t fl_data_reason_encode(const char *text, char out[4 + FL_DATA_REASON_BYTES]);
/* Writes a string; -EBADMSG. */
int fl_data_reason_decode(const char *payload, size_t len, char out[FL_DATA_REASON_BYTES + 1]);

/* A session id becomes a URL path segment, a folder, an object's key: 1 to 96 of [A-Za-z0-9._-],
 * not beginning with a dot. */
#define FL_SESSION_ID_BYTES 97 /* with NUL */
bool fl_session_id_valid(const char *id);
