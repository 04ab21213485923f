/* gate.h - what an end of a session may do depends on its peer's version (protocol 3 §6). */
#pragma once
#include "common/base/util.h"

/* Unknown versions are old ones. */
enum fl_gate {
    FL_GATE_CLIENT_MUX,             /* LocalPortForwarding by smux, else one connection at a time */
    FL_GATE_CLIENT_NO_KEEPALIVE,    /* smux without keepalive of its own */
    FL_GATE_CLIENT_SEPARATE_OUTPUT, /* knows stderr and exit codes */
    FL_GATE_AGENT_MUX,
    FL_GATE_AGENT_NO_KEEPALIVE,
    FL_GATE_AGENT_TERMINATE_FLAG, /* FL_DATA_FLAG_TERMINATE ends a session, else TerminateSession */
    FL_GATE__N,
};
bool fl_gate_open(enum fl_gate gate, const char *peer_version);
