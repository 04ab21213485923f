/* reliable.h - the reliability layer of a data channel: numbering, acknowledgement, order,
 * resending (protocol 3 §5).
 *
 * Pure: time is passed in, frames leave through a callback. One object is one end, with both
 * directions: the agent's sends output_stream_data, the client's input_stream_data. What is sent is
 * kept until acknowledged, up to a limit of bytes and messages; then there is no room, and the
 * owner stops reading its source: nothing is ever dropped. What comes is delivered once and in
 * order.
 *
 * Callbacks run inside of the calls below. They may call fl_reliable_write and the setters, but not
 * fl_reliable_free; `send` may call nothing. Times are milliseconds: `wall_ms` since the epoch (it
 * only stands in frames), `mono_ms` of a clock that never goes back.
 */
#pragma once
#include <sys/uio.h>
#include "common/session/seal.h"
#include "common/wire/datachannel.h"

struct fl_reliable;

struct fl_reliable_events {
    /* One whole frame for the WebSocket, which copies it. 0; anything else: not now, nothing was
     * taken; it is tried again by fl_reliable_kick(). */
    int (*send)(void *arg, const void *frame, size_t len);
    /* The next message: in order, once. 0: taken, and acknowledged. -EAGAIN: not ready; offered
     * again when the peer resends it and by fl_reliable_kick(). Any other error: the session fails,
     * and fl_reliable_input() or fl_reliable_kick() returns it. What is written meanwhile leaves
     * after the acknowledgement. */
    int (*deliver)(void *arg, uint32_t payload_type, const char *data, size_t len);
    /* An intact frame of any other type: channel_closed, agent_session_state, … May be NULL. */
    void (*other)(void *arg, const struct fl_frame *frame);
    /* fl_reliable_room() was 0 and is no more. May be NULL. */
    void (*on_room)(void *arg);
};

struct fl_reliable_conf {
    bool agent;             /* which end this is */
    size_t max_bytes;       /* from the oldest message not acknowledged to the newest; 0: 1 MiB */
    size_t max_messages;    /* the same; 0: 8192 */
    size_t max_early_bytes; /* held because something before it is missing or not taken; 0: 4 MiB */
};

struct fl_reliable_counters {
    uint64_t sent, resent;
    uint64_t delivered;
    uint64_t duplicates; /* acknowledged again */
    uint64_t early;      /* held until what is before them came */
    uint64_t dropped;    /* early and beyond the limits: the peer sends them again */
    uint64_t bad;        /* no frame, client: wrong digest, or the direction is not the peer's */
};

/* Begins as not connected. 0 or -ENOMEM. */
int fl_reliable_new(const struct fl_reliable_conf *conf, const struct fl_reliable_events *events,
                    void *arg, struct fl_reliable **ret_reliable);
struct fl_reliable *fl_reliable_free(struct fl_reliable *rel);

/* Bytes of data that a message may have: FL_DATA_PAYLOAD_BYTES at first, at most
 * FL_DATA_MAX_PAYLOAD_BYTES together with a seal. */
void fl_reliable_set_max_payload(struct fl_reliable *rel, size_t bytes);

/* From now on, what protocol 3 §7 has sealed is sealed when it is written, and opened before it is
 * delivered. What cannot be opened is not delivered, nor acknowledged: fl_reliable_input() or
 * fl_reliable_kick() returns -EBADMSG, and the session must end. The numbers of messages are not
 * sealed. If one that does not open were skipped, whoever relays could put it in the place of one
 * that does, and so take words out of what the peer said; like this it can only cut the session
 * off, which it can anyway. The seal stays the caller's, and must live as long as this. */
void fl_reliable_set_seal(struct fl_reliable *rel, struct fl_session_seal *seal);

/* Bytes of data that may be written now. 0 as long as not a whole message fits, and while the plane
 * has paused this end. */
size_t fl_reliable_room(const struct fl_reliable *rel);

/* Output and stderr are cut into messages; any other type is one. All of it or nothing: -ENOBUFS
 * beyond the room (what is not data has a reserve of its own), -ENOMEM. Without bytes nothing is
 * sent: messages are never empty. */
int fl_reliable_write(struct fl_reliable *rel, uint32_t payload_type, const void *data, size_t len,
                      int64_t wall_ms, int64_t mono_ms);

/* The same of several pieces, one behind the other. */
int fl_reliable_writev(struct fl_reliable *rel, uint32_t payload_type, const struct iovec *iov,
                       size_t n_iov, int64_t wall_ms, int64_t mono_ms);

/* A binary message that came. 0, also for what is ignored: no frame, a damaged one, one of no use.
 * Or the error of `deliver`, or of opening: the session must end. */
int fl_reliable_input(struct fl_reliable *rel, const void *frame, size_t len, int64_t wall_ms,
                      int64_t mono_ms);

/* Resends what is due; gives the time (mono_ms) of the next call, INT64_MAX if none is needed. It
 * changes with every other call here, and asking costs nothing. */
int64_t fl_reliable_tick(struct fl_reliable *rel, int64_t wall_ms, int64_t mono_ms);

/* The socket has room, or what said -EAGAIN is ready. As fl_reliable_input(). */
int fl_reliable_kick(struct fl_reliable *rel, int64_t wall_ms, int64_t mono_ms);

/* Nothing is sent without a connection. After one is made, fl_reliable_kick() sends everything not
 * acknowledged again, in order. */
void fl_reliable_set_connected(struct fl_reliable *rel, bool connected);

/* As pause_publication does: data and resends wait, there is no room. An agent's end sees to it by
 * itself. Going on is fl_reliable_kick(). */
void fl_reliable_set_paused(struct fl_reliable *rel, bool paused);

bool fl_reliable_idle(const struct fl_reliable *rel); /* everything written is acknowledged */

/* Bytes that came and could not be delivered yet. An owner whose peer has no limit (official
 * programs) stops reading the socket at a few MiB. */
size_t fl_reliable_held(const struct fl_reliable *rel);

const struct fl_reliable_counters *fl_reliable_counters(const struct fl_reliable *rel);
