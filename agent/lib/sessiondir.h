/* sessiondir.h - one session on disk, and the records that tell what became of it.
 *
 *   <state>/sessions/<session id>/   0700; gone once the service acknowledged the session's end
 *       session    one record: struct fl_session
 *       journal    the holder's records; whoever holds its flock is the session's holder
 *       sock       the holder's listening socket (ipc_holder.h)
 *       record     what it printed, for as long as that is to go elsewhere; "logged" beside it
 *                  says how far it came (agent/holder/record.h)
 *       told       its end is acknowledged
 *
 * Also an ended session has a holder while its record is on its way.
 *
 * A session is accepted once its `session` record is whole. The holder has it on disk before the
 * service hears of it, and so before anything runs. It has ended when its journal says so: the
 * holder writes that, or the monitor for a holder that is gone.
 */
#pragma once
#include "agent/lib/journal.h"
#include "common/base/rand.h"

#define FL_SESSION_CONTENT_MAX_BYTES (256u << 10)
#define FL_SESSION_OUTPUT_MAX_BYTES  2500 /* words in agent_task_complete (protocol 3 §10) */
#define FL_SESSION_NONCE_DIGITS      32
#define FL_SESSION_RECORD            "record"
#define FL_SESSION_TOLD              "told"

/* FinalTaskStatus (protocol 3 §10). */
#define FL_SESSION_SUCCESS "Success"
#define FL_SESSION_FAILED  "Failed"

/* The session and what the node was when it came: all that a holder needs, but credentials. */
struct fl_session {
    char *session_id, *document_name, *owner;
    char *content;       /* JSON text of interactive_shell's Content */
    int64_t accepted_ms; /* ours */
    char *nonce;         /* hex; the id of the report of its end is derived from it */
    char *node_id, *region;
    char *mgs_region, *mgs_url, *kms_url;
    char *agent_version;
    char *ca_file, *proxy_http, *proxy_https, *no_proxy; /* NULL: none */
    char *net_user;                                      /* whom the unprivileged part runs as */
    char *user;        /* whom a shell runs as that names nobody; NULL: ssm-user */
    char *pam_service; /* NULL: the usual one, if it is there */
    struct fl_strs denied_ips;
    bool require_challenge;
    char *log_level, *log_format;
};

enum fl_session_record_type {
    FL_SREC_SESSION = 1, /* struct fl_session */
    /* journal */
    FL_SREC_RUN,    /* struct fl_srec_run: a holder took it */
    FL_SREC_CHILD,  /* struct fl_srec_child: the user's process */
    FL_SREC_END,    /* struct fl_srec_end: the last record */
    FL_SREC_PLACES, /* struct fl_srec_places: where what is shown is to go */
};
struct fl_srec_run {
    int64_t time_ms;
    int64_t pid;
};
struct fl_srec_child {
    int64_t pid;
    int64_t start_ticks; /* field 22 of /proc/<pid>/stat */
    char *boot_id;
};
struct fl_srec_end {
    char *status; /* FL_SESSION_* */
    char *output; /* words for the operator; "" for none */
};

struct fl_srec_places {
    char *bucket, *key, *log_group; /* NULL: not there */
};

/* What a journal tells so far. */
struct fl_session_log {
    bool run, ended;
    struct fl_srec_child child; /* pid 0: none */
    struct fl_srec_end end;
    struct fl_srec_places places;
};

/* Makes the folder below `sessions_dir`; whole when it returns, and on disk when it was synced.
 * -EEXIST if there is one. A failure leaves nothing behind. */
int fl_sessiondir_create(const char *sessions_dir, const struct fl_session *session,
                         struct fl_err *err);

/* The folder, its entry, and what its files hold so far. */
int fl_sessiondir_sync(int dir_fd, struct fl_journal *journal, struct fl_err *err);

/* Removes a folder that is done with. */
void fl_sessiondir_remove(const char *sessions_dir, const char *session_id);

/* -ENOENT for a folder that was never accepted, -EBADMSG for a damaged record. */
int fl_sessiondir_load(int dir_fd, struct fl_arena *arena, struct fl_session *ret_session,
                       struct fl_err *err);
/* The same from the file itself, whose offset is moved. */
int fl_sessiondir_read(int file_fd, struct fl_arena *arena, struct fl_session *ret_session,
                       struct fl_err *err);

/* The journal, to append to. `lock`: -EWOULDBLOCK if a holder lives, else the lock goes with the
 * descriptor, and *ret_log (may be NULL; strings in the arena) has what is in it. */
int fl_sessiondir_open(int dir_fd, bool lock, struct fl_arena *arena,
                       struct fl_journal *ret_journal, struct fl_session_log *ret_log,
                       struct fl_err *err);
/* What is in the journal now. */
int fl_sessiondir_follow(int dir_fd, struct fl_arena *arena, struct fl_session_log *ret_log,
                         struct fl_err *err);

/* Appends and syncs. */
int fl_sessiondir_note(struct fl_journal *journal, uint16_t type, const void *record,
                       struct fl_err *err);

/* The id under which the end is reported, however often. */
void fl_session_message_id(const char *nonce, char out[FL_UUID_BYTES]);
