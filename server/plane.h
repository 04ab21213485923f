/* plane.h - what the whole process shares: configuration, keys, store, bus, presence, metrics. */
#pragma once
#include "common/aws/crypto.h"
#include "server/bus/bus.h"
#include "server/channel/presence.h"
#include "server/metrics.h"
#include "server/op.h"
#include "server/store/store.h"

struct fl_audit;       /* server/audit.h */
struct fl_guard;       /* server/auth/guard.h */
struct fl_known;       /* server/auth/known.h */
struct fl_revoked;     /* server/auth/revoked.h */
struct fl_clones;      /* server/channel/clones.h */
struct fl_s3;          /* server/s3/s3.h */
struct fl_hubs;        /* server/session/hub.h */
struct fl_transcripts; /* server/session/transcript.h */
struct fl_conf_alarm;  /* server/session/alarm.h */

struct fl_plane_conf {
    char *data_dir;
    char *bind;        /* "0.0.0.0", "127.0.0.1", "::" */
    uint16_t port;     /* 0: any free one, written to <data>/run/port */
    char *public_host; /* name or address clients use; stands in certificates and stream URLs */
    char *account;     /* 12 digits */
    char *region;      /* "local" */
    unsigned loops;    /* loop threads of each kind (front.h); 0: one per core */
    unsigned readers;
    /* 0: the default (common/net/server.h); of all loop threads together */
    unsigned max_connections, max_guests, max_guests_per_address;
    unsigned header_s, idle_s, min_bytes_per_s;
    size_t max_body_bytes, max_header_bytes;
    unsigned silent_s;           /* a node not heard of for so long has lost its connection */
    int64_t node_token_life_ms;  /* 3600000 */
    struct fl_strs metrics_from; /* addresses and CIDRs that may read /metrics */
    struct fl_strs hosts;        /* its names, beside public_host */
    /* of all objects' files; of one put or part */
    int64_t objects_max_bytes, objects_max_files, object_max_bytes;
    int64_t logs_max_bytes;  /* of all log events */
    const char *transcripts; /* "on", "off" or NULL, "required"; server/conf.h */
    bool transcript_input;
    int64_t transcript_days, transcript_max_bytes, transcripts_max_bytes,
        transcript_index_max_bytes;
    const struct fl_conf_alarm *alarms; /* as long as the plane lives */
    size_t n_alarms;
    struct fl_intmap bucket_days;  /* for how long objects are kept, by bucket; others for ever */
    bool output_buckets_elsewhere; /* outputs may go to buckets that this plane does not have */
    int64_t sessions_max, sessions_max_per_node, sessions_max_per_owner; /* at once; 0: no limit */
    int64_t session_idle_minutes,
        session_max_minutes; /* where documents say nothing; 0: no limit */
    int64_t session_lost_ms; /* so long a client waits for a node that is not heard of */
};

struct fl_plane {
    struct fl_plane_conf conf;
    uint8_t seal_key[FL_SEAL_KEY_BYTES];      /* from <data>/keys/seal; seals secrets and tokens */
    uint8_t parameter_key[FL_SEAL_KEY_BYTES]; /* server/api/parameter_seal.h */
    struct fl_store *store;
    struct fl_bus *bus;
    struct fl_presence *presence;
    struct fl_metrics *metrics;
    struct fl_audit *audit; /* NULL: nothing is recorded (tests) */
    struct fl_revoked *revoked;
    struct fl_clones *clones;
    struct fl_guard *guard;
    struct fl_known *known;
    struct fl_s3 *s3; /* NULL: no objects (tests) */
    struct fl_hubs *hubs;
    struct fl_transcripts *transcripts; /* NULL: none are made */
};

/* Fills in everything but conf, the keys and audit: store (exclusive), bus, presence, metrics,
 * revoked, clones, guard, known, s3, transcripts. On failure what was made is freed. The database
 * directory is made if it is missing. */
int fl_plane_open(struct fl_plane *plane, struct fl_err *err);

/* Frees what fl_plane_open made, and the audit log. */
void fl_plane_close(struct fl_plane *plane);
