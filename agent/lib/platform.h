/* platform.h - what the health ping tells of this machine (protocol 1 §6.1). */
#pragma once
#include "common/base/err.h"

struct fl_platform {
    char type[16]; /* "Linux" */
    char name[128];
    char version[64];
    char computer_name[256];
    char ip_address[64];
};
void fl_platform_get(struct fl_platform *ret_platform);

/* The AgentVersion to report: a 3.3 number, since AWS gates features by it (protocol 1 §6.1). */
#define FL_AGENT_WIRE_VERSION "3.3.987.0"
