/* fuzz_conf.c - server.json: any text is refused in words or gives usable settings. */
#include "server/conf.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    struct fl_plane_conf plane;
    struct fl_err err = { 0 };
    struct fl_conf conf;

    if (fl_conf_parse((const char *)data, size, &arena, &conf, &err) < 0) {
        assert(err.text[0]);
        return 0;
    }
    fl_conf_plane(&conf, "/data", &plane);
    assert(strlen(plane.account) == 12 && plane.region && plane.bind && plane.public_host);
    assert(plane.node_token_life_ms >= 900000);
    return 0;
}
