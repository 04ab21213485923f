/* unknown.c - what is said of a command that there is not. */
#include <string.h>
#include "cli/command.h"
#include "common/base/nearest.h"

/* Whether there are commands of two words that begin with this one. */
static bool any_begins(const char *word)
{
    size_t len = strlen(word);

    for (const struct fl_command *const *c = fl_commands; *c; c++)
        if (strncmp((*c)->name, word, len) == 0 && (*c)->name[len] == ' ')
            return true;
    return false;
}

static const char *nearest(const char *words)
{
    struct fl_nearest near = { .word = words };

    for (const struct fl_command *const *c = fl_commands; *c; c++)
        if (!((*c)->flags & FL_COMMAND_HIDDEN))
            fl_nearest_add(&near, (*c)->name);
    return near.found;
}

int fl_unknown_command(size_t n, char *const *words)
{
    bool group = any_begins(words[0]);
    const char *near = NULL;
    char both[160];

    if (group && n == 1) {
        fprintf(stderr, "fairlead: \"%s\" needs a command behind it\nTry \"fairlead help %s\".\n",
                words[0], words[0]);
        return FL_EXIT_USAGE;
    }
    snprintf(both, sizeof(both), "%s %s", words[0], n > 1 ? words[1] : "");
    if (n > 1)
        near = nearest(both);
    if (!near && !group)
        near = nearest(words[0]);
    fprintf(stderr, "fairlead: there is no command \"%s\"", group ? both : words[0]);
    if (near)
        fprintf(stderr, "; did you mean \"%s\"?", near);
    fprintf(stderr, "\nTry \"fairlead help%s%s\".\n", group ? " " : "", group ? words[0] : "");
    return FL_EXIT_USAGE;
}
