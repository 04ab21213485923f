/* A package document: the first line is a node (platform, version, architecture, with a blank
 * between), the rest the document. What is chosen is safe to make files of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "plugins/configure_package/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_choice(const struct fl_package_choice *c)
{
    if (!fl_package_name_safe(c->version) || !c->file || strlen(c->sha256) != 64 ||
        strspn(c->sha256, "0123456789abcdef") != 64 || (c->location && !*c->location))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
    char *rest = fl_arena_memdup(&arena, data, size);
    char *line = rest ? strsep(&rest, "\n") : NULL;
    struct fl_package_choice choice = { 0 };
    struct fl_package_node node;
    struct fl_err err = { 0 };
    int r;

    if (!line || !rest)
        return 0;
    if (!fl_package_platform(line)->name)
        abort();
    node.platform = strsep(&line, " ");
    node.version = line ? strsep(&line, " ") : "";
    node.arch = line ? line : "";
    r = fl_package_choose(rest, &node, &arena, &choice, &err);
    if (r == 0)
        check_choice(&choice);
    else if ((r != -EINVAL && r != -ENOENT) || !err.text[0])
        abort();
    return 0;
}
