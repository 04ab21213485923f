/* routes.c - the list of REST and WebSocket services, and of background services. */
#include "server/http/route.h"

const struct fl_route *const fl_routes[] = { &fl_route_control_channel, NULL };

const struct fl_service *const fl_services[] = { &fl_service_commands, NULL };
