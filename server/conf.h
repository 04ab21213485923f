/* conf.h - the plane's settings: <data>/server.json, and where things lie in the data directory.
 *
 *   server.json         settings (this file)
 *   keys/seal           32 random bytes; seals secrets and tokens
 *   keys/parameters     32 random bytes; seals SecureString parameters
 *   pki/                ca.crt, ca.key, server.crt, server.key
 *   db/fairlead.db      the store
 *   audit/audit.log     who did what
 *   objects/            contents of objects (server/s3/blobs.h)
 *   transcripts/        of sessions (server/session/transcript.h)
 *   run/port, run/ready written once the plane listens
 *   admin-credentials   the first administrator's access key, in AWS's file format
 *
 * server.json is one JSON object; a key that is not listed here is an error.
 *   Account           12 digits
 *   Region            default "local", known by any name (see server/auth/auth.c)
 *   Bind, Port        where to listen; port 0 takes any free one
 *   PublicHost        name or address clients use
 *   Hosts             further names for the certificate
 *   Loops             loop threads; 0: one per core
 *   Readers           store readers
 *   NodeTokenSeconds  life of a node's credentials, 900-43200
 *   MetricsFrom       addresses and CIDRs that may read /metrics; default loopback
 *   MaxConnections    at once; never more than the open files allow, less a reserve
 *   MaxUnauthenticated, MaxUnauthenticatedPerAddress
 *                     of them, those that have shown no credentials yet
 *   HeaderSeconds     for the TLS handshake and the head of a request
 *   IdleSeconds       between two requests of a connection
 *   MinBytesPerSecond at which a body must come and an answer must be read
 *   MaxBodyBytes, MaxHeaderBytes
 *   ObjectsMaxBytes, ObjectsMaxFiles
 *                     of all objects in the plane's buckets; 10 GiB, 1,000,000
 *   ObjectMaxBytes    of one put, or one part of an upload; 5 GiB
 *   BucketDays        {"bucket": days}: objects that are older are removed; {"outputs": 30}
 *   OutputBucketsElsewhere
 *                     outputs may go to buckets that the plane does not have; false
 *   LogsMaxBytes      of all log events; 1 GiB
 *   Transcripts       of sessions: on; off; required: a session that cannot be recorded is ended
 *   TranscriptInput   what is typed is recorded too, passwords and all; false. Its echo always is
 *   TranscriptDays    for how long they are kept; 365
 *   TranscriptMaxBytes, TranscriptsMaxBytes
 *                     of one session, of all; 64 MiB, 10 GiB. The oldest make room
 *   SessionAlarms     {"Name": "root", "Pattern": regular expression, "End": false}, …: a list; a
 *                     line typed in a session that matches is told to the audit log, with End the
 *                     session ends
 *   SilentNodeSeconds without a word of a node, its connection counts as lost
 *   SessionsMax, SessionsMaxPerNode, SessionsMaxPerOwner
 *                     sessions at once; 5000, 250, 1000; 0: no limit
 *   SessionIdleMinutes, SessionMaxMinutes
 *                     for session documents that say nothing; 20, 0 (no limit)
 *   SessionLostSeconds
 *                     a node not heard of for so long is lost to the client that waits; 12
 *   LogLevel          error, warn, info, debug
 *   LogFormat         text, json
 */
#pragma once
#include "server/plane.h"

#define FL_CONF_MAX_BYTES (64 * 1024)

struct fl_conf {
    char *account;
    char *region;
    char *bind;
    struct fl_opt_int port;
    char *public_host;
    struct fl_strs hosts;
    struct fl_opt_int loops;
    struct fl_opt_int readers;
    struct fl_opt_int node_token_s;
    struct fl_strs metrics_from;
    struct fl_opt_int max_connections;
    struct fl_opt_int max_guests;
    struct fl_opt_int max_guests_per_address;
    struct fl_opt_int header_s;
    struct fl_opt_int idle_s;
    struct fl_opt_int min_bytes_per_s;
    struct fl_opt_int max_body_bytes;
    struct fl_opt_int max_header_bytes;
    struct fl_opt_int objects_max_bytes;
    struct fl_opt_int objects_max_files;
    struct fl_opt_int object_max_bytes;
    struct fl_intmap bucket_days;
    bool output_buckets_elsewhere;
    struct fl_opt_int logs_max_bytes;
    char *transcripts;
    bool transcript_input;
    struct fl_opt_int transcript_days, transcript_max_bytes, transcripts_max_bytes,
        transcript_index_max_bytes;
    struct fl_conf_alarm *alarms;
    size_t n_alarms;
    struct fl_opt_int silent_s;
    struct fl_opt_int sessions_max, sessions_max_per_node, sessions_max_per_owner;
    struct fl_opt_int session_idle_minutes, session_max_minutes, session_lost_s;
    char *log_level;
    char *log_format;
};

extern const struct fl_shape fl_conf_shape;

/* Text into *ret_conf (memory from the arena), checked, defaults filled in. -EINVAL names the key.
 */
int fl_conf_parse(const char *text, size_t len, struct fl_arena *arena, struct fl_conf *ret_conf,
                  struct fl_err *err);

/* Whether `text` is an address that the plane can be told to listen on (`Bind`): IPv4 or IPv6. */
bool fl_conf_is_address(const char *text);

/* Reads <data_dir>/server.json. -ENOENT with advice if there is none. */
int fl_conf_load(const char *data_dir, struct fl_arena *arena, struct fl_conf *ret_conf,
                 struct fl_err *err);

/* What of it the plane works with; strings stay the arena's. */
void fl_conf_plane(const struct fl_conf *conf, const char *data_dir,
                   struct fl_plane_conf *ret_plane);

/* The data directory as an absolute path (fresh memory): `given`, or if that is NULL
 * /var/lib/fairlead-server for root, else below $XDG_STATE_HOME or ~/.local/state. -ENOENT without
 * a home. */
int fl_data_dir(const char *given, char **ret_dir, struct fl_err *err);

/* "<data_dir>/<name>" in the arena; NULL without memory. */
char *fl_data_path(struct fl_arena *arena, const char *data_dir, const char *name);

#define FL_DATA_CONF        "server.json"
#define FL_DATA_KEYS        "keys"
#define FL_DATA_SEAL        "keys/seal"
#define FL_DATA_PKI         "pki"
#define FL_DATA_CA          "pki/ca.crt"
#define FL_DATA_CERT        "pki/server.crt"
#define FL_DATA_KEY         "pki/server.key"
#define FL_DATA_DB          "db/fairlead.db"
#define FL_DATA_AUDIT       "audit"
#define FL_DATA_RUN         "run"
#define FL_DATA_PORT        "run/port"
#define FL_DATA_READY       "run/ready"
#define FL_DATA_OBJECTS     "objects"
#define FL_DATA_TRANSCRIPTS "transcripts"
#define FL_DATA_CREDENTIALS "admin-credentials"

#define FL_DATA_PARAMETER_KEY "keys/parameters"

/* A key below keys/, FL_DATA_SEAL or FL_DATA_PARAMETER_KEY: reads it (-ENOENT: there is none), or
 * makes it of random bytes, 0600. */
int fl_data_key_load(const char *data_dir, const char *name, uint8_t key[FL_SEAL_KEY_BYTES],
                     struct fl_err *err);
int fl_data_key_make(const char *data_dir, const char *name, uint8_t key[FL_SEAL_KEY_BYTES],
                     struct fl_err *err);
