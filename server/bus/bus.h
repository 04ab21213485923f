/* bus.h - publish/subscribe by subject between the plane's threads (and, later, its machines).
 *
 * A hint, never the truth: whoever is told "node X has work" reads the work from the store, and the
 * same reading happens when a node connects, so a lost message loses nothing.
 */
#pragma once
#include "common/base/loop.h"

#define FL_SUBJECT_NODE_WORK "node.work" /* key: node id; there may be jobs or cancels to send */
#define FL_SUBJECT_NODE_DROP "node.drop" /* key: node id; deregistered: close its channels */

struct fl_bus;

typedef void (*fl_bus_fn)(void *arg, const char *key);

int fl_bus_new(struct fl_bus **ret_bus);
struct fl_bus *fl_bus_free(struct fl_bus *bus);

/* fn runs on `loop`, once per published key (equal keys that wait are folded into one). Subscribe
 * before the threads start. */
int fl_bus_subscribe(struct fl_bus *bus, const char *subject, struct fl_loop *loop, fl_bus_fn fn,
                     void *arg);

/* From any thread. */
int fl_bus_publish(struct fl_bus *bus, const char *subject, const char *key);
