/* upgrade.h - WebSocket upgrades: find the route, verify the node, hand over. */
#pragma once
#include "server/http/route.h"

#define FL_UPGRADE_BODY_BYTES 1024 /* of fl_server_events.on_upgrade's ret_body */

struct fl_upgrade_result {
    struct fl_ws_events *events;
    void **arg;
    struct fl_ws_limits *limits;
    char *body;
    const char **type;
};

/* 0 to accept, else the HTTP status to refuse with; `states` are this thread's, by route. */
int fl_upgrade(struct fl_plane *plane, void *const *states, struct fl_server_req *req,
               const struct fl_upgrade_result *result);
