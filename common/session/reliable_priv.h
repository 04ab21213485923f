/* reliable_priv.h - between reliable.c (the sending half, and what a user calls) and reliable_in.c
 * (the receiving half). */
#pragma once
#include "common/session/reliable.h"
#include "common/session/seqring.h"

#define FL_NEVER_SENT INT64_MIN

struct fl_reliable_message {
    struct fl_reliable_message *next_spare;
    int64_t last_sent_ms; /* going out: FL_NEVER_SENT or mono_ms */
    uint32_t payload_type;
    bool acked;      /* going out: by the peer; coming in: by us */
    size_t len;      /* of the payload */
    uint8_t frame[]; /* header and payload */
};

struct fl_reliable_owed {
    int64_t sequence;
    uint8_t message_id[16];
};

struct fl_reliable {
    struct fl_reliable_conf conf;
    struct fl_reliable_events events;
    void *arg;
    const char *out_type, *in_type;
    size_t max_payload;
    bool connected;
    bool blocked; /* the socket is full */
    bool paused;
    bool delivering;
    bool had_room;
    uint8_t id[16]; /* of the next message: random, then counted up */

    struct fl_seqring out;
    int64_t next;       /* number of the next message written */
    int64_t next_send;  /* the first not sent since the connection was made */
    int64_t last_acked; /* the highest */
    size_t out_bytes;
    double srtt, rttvar, rto;
    int64_t round_ms; /* when something was last resent */
    unsigned tries;   /* resends of the oldest since anything was acknowledged */
    struct fl_reliable_message *spare;
    size_t spare_bytes;
    int64_t spare_used_ms;

    struct fl_reliable_owed *owed; /* ring */
    size_t owed_at, n_owed, owed_cap;

    struct fl_seqring early; /* its base is the number expected next */
    size_t early_bytes;
    struct fl_session_seal *seal; /* the owner's, or NULL */
    uint8_t *opened;              /* what was sealed */
    size_t opened_cap;
    struct fl_reliable_counters counters;
};

/* ---- reliable.c ---- */

/* The id of the next message of ours. */
void fl_reliable_next_id(struct fl_reliable *rel, uint8_t out[16]);

/* False: the socket is full, and nothing was taken. */
bool fl_reliable_send_frame(struct fl_reliable *rel, const void *frame, size_t len);

/* ---- reliable_in.c ---- */

/* Acknowledgements that are owed, as far as the socket takes them; true if none is left. */
bool fl_reliable_send_owed(struct fl_reliable *rel, int64_t wall_ms);

/* An intact stream message of the peer. 0, or the error of `deliver` or of opening. */
int fl_reliable_take(struct fl_reliable *rel, const struct fl_frame *f);

/* Delivers what is held and next in order. 0, or an error as above. */
int fl_reliable_drain(struct fl_reliable *rel);
