/* The agent's configuration file: any bytes load or are refused with words, and never twice
 * differently. */
#include <string.h>
#include "agent/lib/config.h"
#include "tests/fuzz/memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    static char path[MEMFILE_PATH_BYTES];
    static int fd = -1;
    struct fl_agent_config c;
    struct fl_err err = { 0 };
    int r;

    if (fd < 0)
        fd = memfile_new(path);
    memfile_set(fd, data, size);
    r = fl_agent_config_load(path, &arena, &c, &err);
    if (r < 0 && !err.text[0])
        abort();
    if (r == 0 && (!c.net_user || !c.agent_name || !c.ssm_endpoint || c.command_workers < 1 ||
                   c.health_minutes < 5 || c.health_minutes > 60))
        abort();
    return 0;
}
