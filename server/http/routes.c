/* routes.c - the list of REST and WebSocket services, and of background services. */
#include "server/http/route.h"
#include "server/http/service.h"

#include <string.h>

const struct fl_route *const fl_routes[] = { &fl_route_control_channel, &fl_route_data_channel,
                                             NULL };

const struct fl_service *const fl_services[] = { &fl_service_commands, &fl_service_objects,
                                                 &fl_service_sessions, NULL };

const struct fl_route *fl_route_find(const char *path)
{
    for (const struct fl_route *const *r = fl_routes; *r; r++)
        if (strncmp(path, (*r)->prefix, strlen((*r)->prefix)) == 0)
            return *r;
    return NULL;
}
