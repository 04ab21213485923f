/* presence.h - which nodes hold a control channel on this plane right now. Thread-safe. */
#pragma once
#include "common/base/util.h"

struct fl_presence;

int fl_presence_new(struct fl_presence **ret_presence);
struct fl_presence *fl_presence_free(struct fl_presence *p);

/* Counts channels: a node is connected while adds exceed drops. */
int fl_presence_add(struct fl_presence *p, const char *node_id);
void fl_presence_drop(struct fl_presence *p, const char *node_id);

/* How many channels it has: more than one while an older one is not done with. */
unsigned fl_presence_channels(struct fl_presence *p, const char *node_id);
bool fl_presence_connected(struct fl_presence *p, const char *node_id);
size_t fl_presence_count(struct fl_presence *p);
