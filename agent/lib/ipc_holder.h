/* ipc_holder.h - what monitor, holder and session process say to each other, as rows of ipc.h.
 *
 * Monitor and holder: the journal in the session's folder is the truth. The socket says "look at
 * it", carries an end that the service asked for, and credentials. A holder gets one end of a
 * socketpair as descriptor 3 when it is started, and listens on <folder>/sock for a monitor that
 * was restarted (fl_worker_listen, ipc_worker.h).
 *
 * Holder and session process: the session process faces the network; it decides nothing. It says
 * when its client is there, gets the descriptors of the process that runs for the user, and tells
 * how it went.
 */
#pragma once
#include "agent/lib/ipc_net.h"

enum fl_holder_msg {
    /* monitor -> holder */
    FL_HOLDER_CREDS = 1, /* struct fl_holder_creds: use these from now on */
    FL_HOLDER_END,       /* empty: the service ended the session */
    FL_HOLDER_FETCH,     /* struct fl_worker_fetch (ipc_worker.h) + 1 fd if ok */
    /* holder -> monitor */
    FL_HOLDER_LOOK = 32,  /* empty: the journal has grown and is on disk */
    FL_HOLDER_NEED_CREDS, /* empty: answer with FL_HOLDER_CREDS when there are newer ones */
    FL_HOLDER_NEED_FETCH, /* empty: answer with FL_HOLDER_FETCH */
};
struct fl_holder_creds {
    char *access_key_id, *secret_access_key, *session_token;
    int64_t offset_ms; /* the service's time less fl_boot_ms() */
};
#define FL_N_HOLDER_ROWS 6
extern const struct fl_ipc_row fl_holder_rows[FL_N_HOLDER_ROWS];

/* Exit statuses of a holder; anything else is a crash. */
enum {
    FL_HOLDER_EXIT_DONE = 0,  /* the session's end is in the journal, its record where it goes */
    FL_HOLDER_EXIT_BUSY = 73, /* another holder has this session */
    FL_HOLDER_EXIT_IO = 74,   /* the folder cannot be read or written */
};

enum fl_sess_msg {
    /* holder -> session process */
    FL_SESS_START = 1, /* struct fl_sess_start, first message; + 1 fd if what the session prints
                          is kept: a file, open for appending, of record_max_bytes at most */
    FL_SESS_CREDS,     /* struct fl_holder_creds */
    FL_SESS_CHILD,     /* struct fl_sess_child + descriptors if ok: answer to FL_SESS_RUN.
                          The terminal; or standard output, then standard error if it is
                          separate, then standard input if there is one */
    FL_SESS_EXITED,    /* struct fl_sess_exited: the user's process has ended */
    FL_SESS_END,       /* empty: the service ended the session */
    FL_SESS_KEPT,      /* empty: it is on disk, and the service may hear of it */
    /* session process -> holder */
    FL_SESS_RUN = 32,   /* struct fl_sess_run: the client is there, start */
    FL_SESS_SIGNAL,     /* struct fl_sess_signal: SIGINT or SIGQUIT for the user's process */
    FL_SESS_OVER,       /* struct fl_sess_over: the last message */
    FL_SESS_NEED_CREDS, /* empty: those it has are refused */
};
struct fl_sess_start {
    char *session_id, *node_id, *region;
    char *mgs_region, *mgs_url, *kms_url, *agent_version;
    char *ca_file, *proxy_http, *proxy_https, *no_proxy;
    char *log_level, *log_format;
    char *type;       /* FL_SESSION_TYPE_* (session_plan.h) */
    char *properties; /* Port: JSON object, resolved; else NULL */
    char *kms_key_id; /* NULL: not encrypted */
    bool require_challenge;
    bool handshake; /* also where the official agent has none */
    int32_t max_payload;
    bool end_of_input; /* the plane and its client know of it */
    bool separate_output, has_stdin;
    char *stdout_prefix, *stderr_prefix;
    char *profile; /* a line for the shell, before all input; NULL: none */
    struct fl_strs denied_ips;
    int64_t record_max_bytes;
};
struct fl_sess_run {
    int32_t cols, rows; /* 0: not known */
};
struct fl_sess_child {
    bool ok;
    char *error;
};
struct fl_sess_exited {
    int32_t code; /* 128 + signal for one that was killed */
};
struct fl_sess_signal {
    int32_t signo;
};
struct fl_sess_over {
    char *status; /* FL_SESSION_* */
    char *output; /* "" for none */
};
#define FL_N_SESS_ROWS 10
extern const struct fl_ipc_row fl_sess_rows[FL_N_SESS_ROWS];
