/* optwords.c - see optwords.h. */
#include "common/base/optwords.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "common/base/nearest.h"

#define NAME_CHARS 60

/* `name`, of `len` bytes, fits no option, or several. */
static void no_option(const char *name, size_t len, const struct option *options, char *buf,
                      size_t size)
{
    char word[NAME_CHARS + 1];
    struct fl_nearest near = { .word = word };
    const struct option *first = NULL, *second = NULL;

    snprintf(word, sizeof(word), "%.*s", (int)len, name);
    for (const struct option *o = options; o->name; o++) {
        fl_nearest_add(&near, o->name);
        if (strncmp(o->name, word, strlen(word)) != 0)
            continue;
        second = first && !second ? o : second;
        first = first ? first : o;
    }
    if (second)
        snprintf(buf, size, "--%s may be --%s or --%s", word, first->name, second->name);
    else if (near.found)
        snprintf(buf, size, "there is no option --%s; did you mean --%s?", word, near.found);
    else
        snprintf(buf, size, "there is no option --%s", word);
}

const char *fl_option_words(char *const *argv, int result, const struct option *options, char *buf,
                            size_t size)
{
    const char *given = argv[optind - 1];
    bool is_long = strncmp(given, "--", 2) == 0;
    const struct option *o = options;

    while (o->name && o->val != optopt)
        o++;
    if (result == ':' && is_long && o->name)
        snprintf(buf, size, "--%s needs a value", o->name);
    else if (result == ':')
        snprintf(buf, size, "-%c needs a value", optopt);
    else if (optopt == 0)
        no_option(given + 2, strcspn(given + 2, "="), options, buf, size);
    else if (is_long && o->name)
        snprintf(buf, size, "--%s takes no value", o->name);
    else
        snprintf(buf, size, "there is no option -%c", optopt);
    return buf;
}
