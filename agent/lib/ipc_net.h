/* ipc_net.h - what monitor and net say to each other (and to fetch, as a worker does), as rows of
 * ipc.h.
 *
 * The monitor trusts nothing that comes from net: every string is bounded by its handler before
 * use.
 */
#pragma once
#include "common/codec/codec.h"
#include "common/ipc/ipc.h"

/* Phases of the monitor's end: what net may send when. */
#define FL_PHASE_STARTING 1u /* only READY */
#define FL_PHASE_RUNNING  2u

enum fl_net_msg {
    /* monitor -> net */
    FL_NET_START = 1,  /* struct fl_net_start, first message */
    FL_NET_CREDS,      /* struct fl_net_creds: use these from now on */
    FL_NET_TOKEN_CALL, /* struct fl_net_signed_call: send it, answer with FL_NET_TOKEN_RESULT */
    FL_NET_JOB_ACK,    /* struct fl_net_job_ack: send agent_job_ack */
    FL_NET_JOB_REPLY,  /* struct fl_net_job_reply: send agent_job_reply, tell when acknowledged */
    FL_NET_FETCH,      /* struct fl_net_fetch + 1 fd: a socket to a fresh fetch process */
    FL_NET_STOP,       /* empty: close the channel in order and exit */
    FL_NET_TASK_COMPLETE, /* struct fl_net_task_complete: send agent_task_complete */
    /* net -> monitor */
    FL_NET_READY = 32,   /* empty */
    FL_NET_TOKEN_RESULT, /* struct fl_net_token_result */
    FL_NET_JOB,          /* struct fl_net_job: a job or cancel from the control channel */
    FL_NET_REPLY_ACKED,  /* struct fl_net_reply_acked */
    FL_NET_NEED_FETCH,   /* empty: answer with FL_NET_FETCH */
    FL_NET_STATE,        /* struct fl_net_state: for `fairlead-agent status` */
    FL_NET_AUDIT, /* struct fl_net_audit: something refused that a person should find in the log */
    FL_NET_SESSION,       /* struct fl_net_session: a session from the control channel */
    FL_NET_SESSION_CLOSE, /* struct fl_net_session_close: the service ended it */
    FL_NET_TASK_ACKED,    /* struct fl_net_reply_acked: of an agent_task_complete */
};

struct fl_net_start {
    char *node_id, *region;  /* what calls are signed for */
    char *mgs_region;        /* and those of ssmmessages */
    char *ssm_url, *mgs_url; /* https://host[:port] */
    char *ca_file;           /* NULL: the system's pool */
    char *proxy_http, *proxy_https, *no_proxy;
    char *agent_name, *agent_version;
    char *platform_type, *platform_name, *platform_version;
    char *computer_name, *ip_address;
    char *log_level, *log_format; /* as in the configuration; NULL: info, text */
    int64_t health_ms;
};
struct fl_net_creds {
    char *access_key_id, *secret_access_key, *session_token;
    int64_t expires_ms;
};
/* A request that the monitor had signed with the identity key; net only carries it. */
struct fl_net_signed_call {
    char *operation; /* RequestManagedInstanceRoleToken | UpdateManagedInstancePublicKey */
    char *amz_date, *authorization, *content_sha256;
    char *host;
    char *body;
};
struct fl_net_token_result {
    char *operation;
    int32_t http_status; /* 0: no answer arrived */
    char *error_name; /* NULL on success; service error, or "RequestError" for transport faults */
    char *error_text;
    char *access_key_id, *secret_access_key, *session_token;
    int64_t expires_ms;
    int64_t server_ms; /* Date header of the answer, to the second; 0: none came */
    bool update_key_pair;
};
struct fl_net_job {
    char *job_id;
    char *command_id; /* derived from job_id; checked by the monitor: [A-Za-z0-9._-]{1,100} */
    char *message_id; /* UUID of the frame */
    int64_t created_ms;
    bool cancel;
    char *cancel_job_id; /* cancel: the job to end */
    char *document_name;
    char *content; /* send: the job's Content, JSON text, as received */
};
struct fl_net_job_ack {
    char *job_id, *message_id;
    int64_t created_ms;
    char *status_code; /* FL_ACK_* */
};
struct fl_net_job_reply {
    char *job_id, *topic;
    char *message_id; /* stable across resends */
    char *content;    /* JSON text of struct fl_msg_result; at most 120,000 bytes */
    bool expect_ack;  /* false: fire and forget */
};
struct fl_net_reply_acked {
    char *message_id;
};
struct fl_net_fetch {
    bool ok;
    char *error;
};
struct fl_net_state {
    bool online;          /* the control channel is open */
    int64_t since_ms;     /* of that state */
    int64_t last_ping_ms; /* last successful UpdateInstanceInformation */
    char *last_error;     /* NULL or the newest failure, in words */
    int64_t last_error_ms;
    bool creds_refused; /* the service does not know or no longer accepts the credentials */
};
struct fl_net_audit {
    char *event; /* "session-refused" */
    char *subject;
    char *detail;
};

struct fl_net_session {
    char *session_id; /* checked by the monitor: [A-Za-z0-9._-]{1,96} */
    char *document_name, *owner;
    char *content; /* the message's Content, JSON text, as received */
};
struct fl_net_session_close {
    char *session_id;
};
struct fl_net_task_complete {
    char *session_id;
    char *message_id;               /* stable across resends */
    char *status;                   /* Success, Failed, Cancelled */
    char *output;                   /* words for the operator; "" for none */
    char *bucket, *key, *log_group; /* where what it showed goes; NULL: not there */
    int32_t time;                   /* on this connection: 1 for the first */
};

/* Types, names, shapes and phases; the ends add their handlers to a copy. */
#define FL_N_NET_ROWS 18
extern const struct fl_ipc_row fl_net_rows[FL_N_NET_ROWS];
extern const size_t fl_n_net_rows;

/* ---- net (or a download) <-> fetch: one HTTP call ---- */
enum fl_fetch_msg {
    FL_FETCH_CONF = 1,    /* struct fl_fetch_conf, first message */
    FL_FETCH_CALL,        /* struct fl_fetch_call + body_file, then to_file */
    FL_FETCH_CANCEL,      /* empty, id of the call: no answer is wanted any more */
    FL_FETCH_ANSWER = 32, /* struct fl_fetch_answer, id of the call */
};
struct fl_fetch_endpoint {
    char *service;      /* as it is signed for: "ssm" */
    char *url;          /* https://host[:port] */
    bool fixed;         /* as configured: the same for every region */
    bool virtual_hosts; /* s3: buckets are host names where they can be */
};
struct fl_fetch_conf {
    char *ca_file, *proxy_http, *proxy_https, *no_proxy, *user_agent;
    char *log_level, *log_format;
    int64_t idle_ms; /* exit after this long without a call */
    /* For calls that name a service; absent for a process whose user signs by itself. */
    char *region;
    char *access_key_id, *secret_access_key, *session_token;
    int64_t expires_ms, offset_ms; /* in the service's time, which is fl_boot_ms() + offset_ms */
    struct fl_fetch_endpoint *endpoints;
    size_t n_endpoints;
    char *service_domain; /* of endpoints in other regions; NULL: the region's */
};
struct fl_fetch_header {
    char *name, *value;
};
struct fl_fetch_call {
    char *method;
    char *url;        /* NULL: path_query at the service's endpoint */
    char *path_query; /* "/key?list-type=2", encoded as it is sent */
    char *bucket;     /* s3 without url: path_query is of this bucket; NULL: of the service */
    char *service;    /* signed for it with the node's credentials; NULL: not signed */
    char *region;     /* of the signature; NULL: the node's */
    struct fl_fetch_header *headers;
    size_t n_headers;
    char *body;
    size_t body_len;
    bool body_file; /* a descriptor comes along: so many bytes of it from there on are the body */
    int64_t body_offset, body_bytes;
    char *body_sha256; /* of body_file; NULL: unsigned payload, which only s3 takes */
    bool to_file;      /* a descriptor comes along: the body of a 2xx answer goes there */
    int64_t to_max_bytes;
    int32_t auth; /* enum fl_http_auth */
    char *user, *password;
    int32_t max_redirects;
    bool insecure_redirects; /* from https to http, too */
    int64_t timeout_ms, max_response_bytes;
};
struct fl_fetch_answer {
    /* 0 or negative errno as in http.h; -EKEYEXPIRED: no credentials, or they are no longer good */
    int32_t error;
    int32_t status;
    char *body; /* any bytes and a NUL; fl_fetch_text for those who read text */
    size_t body_len;
    struct fl_fetch_header *headers; /* those of fl_http_kept_headers that came */
    size_t n_headers;
    int64_t written; /* to to_file */
    char *sha256;    /* of that, lower-case hex */
    char *date;
    char *error_text;
};
#define FL_N_FETCH_ROWS 4
extern const struct fl_ipc_row fl_fetch_rows[FL_N_FETCH_ROWS];
extern const size_t fl_n_fetch_rows;
extern const struct fl_shape fl_shape_fetch_conf, fl_shape_fetch_call;

/* The answer's body as text: "" for none, NULs are blanks. */
const char *fl_fetch_text(const struct fl_fetch_answer *answer);

/* Copies `n` rows to `out`, putting in the handlers of this end. */
struct fl_ipc_binding {
    uint16_t type;
    fl_ipc_handler_fn handler;
};
void fl_ipc_bind(const struct fl_ipc_row *rows, size_t n, const struct fl_ipc_binding *bindings,
                 size_t n_bindings, struct fl_ipc_row *out);
