/* clones.h - identities that two live machines hold: noticing, telling, and keeping the peace.
 *
 * A node's id, key and fingerprint copied with a disk image make two machines one node. Which of
 * them is meant only a person knows, so both are told of (log, audit log, metric, `fairlead-server
 * admin clone list`), and both stay able to connect. What the wire gives:
 *   - channels: a control channel was opened, and the one before it, pinged after that, answered. A
 *     connection that merely broke without a word cannot.
 *   - fingerprint: a token request was signed with the node's key by a machine whose fingerprint is
 *     another one. It gets no credentials.
 * The newer channel takes the node's place (protocol 2 §8.13), so two holders would take it from
 * each other for ever, the official agent every second or two: for a while after a sighting the
 * place changes at most once a minute, by refusing CreateControlChannel, which every agent backs
 * off from.
 */
#pragma once
#include "server/plane.h"

#define FL_CLONES_TURN_MS   60000  /* a contested place is kept so long */
#define FL_CLONES_MEMORY_MS 600000 /* after a sighting */

struct fl_clones;

int fl_clones_new(struct fl_clones **ret_clones);
struct fl_clones *fl_clones_free(struct fl_clones *c);

enum fl_clone_evidence { FL_CLONE_CHANNELS, FL_CLONE_FINGERPRINT };

/* From any thread; never blocks on the disk. `address` (NULL: unknown) is the machine's that had
 * the place, `other` the one's that came. */
void fl_clones_seen(struct fl_plane *plane, const char *node_id, enum fl_clone_evidence evidence,
                    const char *address, const char *other);

/* A channel was opened at `mono_ms`. Remembered only for nodes that were sighted. */
void fl_clones_opened(struct fl_clones *c, const char *node_id, int64_t mono_ms);

/* False while another machine has its turn as this node. */
bool fl_clones_may_open(struct fl_clones *c, const char *node_id, int64_t mono_ms);
