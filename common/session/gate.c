/* gate.c - see gate.h. */
#include "common/session/gate.h"

#define MAX_PARTS 8

/* 1 to MAX_PARTS numbers; 0 for anything else. */
static size_t parts(const char *version, uint32_t out[MAX_PARTS])
{
    size_t n = 0;

    for (const char *p = version; n < MAX_PARTS; p++) {
        uint32_t v = 0;
        size_t digits = 0;

        for (; *p >= '0' && *p <= '9' && digits < 9; p++, digits++)
            v = 10 * v + (uint32_t)(*p - '0');
        if (digits == 0)
            return 0;
        out[n++] = v;
        if (*p == '\0')
            return n;
        if (*p != '.')
            return 0;
    }
    return 0;
}

/* protocol 3 §6. The plugin takes only agent versions of four parts. */
static const struct {
    const char *above;
    bool or_equal;
    bool four_parts;
} gates[FL_GATE__N] = {
    [FL_GATE_CLIENT_MUX] = { "1.1.70", true, false },
    [FL_GATE_CLIENT_NO_KEEPALIVE] = { "1.2.331.0", false, false },
    [FL_GATE_CLIENT_SEPARATE_OUTPUT] = { "1.2.295.0", false, false },
    [FL_GATE_AGENT_MUX] = { "3.0.196.0", false, true },
    [FL_GATE_AGENT_NO_KEEPALIVE] = { "3.1.1511.0", false, true },
    [FL_GATE_AGENT_TERMINATE_FLAG] = { "2.3.722.0", false, true },
};

bool fl_gate_open(enum fl_gate gate, const char *peer_version)
{
    uint32_t theirs[MAX_PARTS], limit[MAX_PARTS];
    size_t n = peer_version ? parts(peer_version, theirs) : 0;
    size_t n_limit = parts(gates[gate].above, limit);

    if (n == 0 || (gates[gate].four_parts && n != 4))
        return false;
    for (size_t i = 0; i < n && i < n_limit; i++)
        if (theirs[i] != limit[i])
            return theirs[i] > limit[i];
    return n > n_limit || (n == n_limit && gates[gate].or_equal); /* a missing part is less */
}
