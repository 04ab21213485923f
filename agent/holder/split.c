/* split.c - see split.h. */
#include "agent/holder/split.h"
#include <errno.h>
#include <string.h>

/* The word at *p, without its quotes, to `out`, and *p moved behind it. */
static int take_word(const char **p, char *out, struct fl_err *err)
{
    char quote = '\0';
    const char *s = *p;

    for (; *s && (quote || !strchr(" \t\r\n", *s)); s++) {
        if (quote == '\'' ? *s == '\'' : quote && *s == quote) {
            quote = '\0';
        } else if (!quote && (*s == '\'' || *s == '"')) {
            quote = *s;
        } else if (*s == '\\' && quote != '\'') {
            if (!s[1])
                return fl_err_set(err, -EINVAL, NULL, "commands: end after a backslash");
            *out++ = *++s;
        } else {
            *out++ = *s;
        }
    }
    if (quote)
        return fl_err_set(err, -EINVAL, NULL, "commands: a quote is not closed");
    *out = '\0';
    *p = s;
    return 0;
}

int fl_split(const char *line, struct fl_arena *arena, char ***ret_words, struct fl_err *err)
{
    char **words = fl_arena_calloc(arena, FL_SPLIT_MAX_WORDS + 1, sizeof(*words));
    char *room = fl_arena_alloc(arena, 2 * strlen(line) + 2);
    size_t n = 0;
    int r;

    if (!words || !room)
        return fl_err_nomem(err);
    for (;;) {
        line += strspn(line, " \t\r\n");
        if (*line == '#') {
            line += strcspn(line, "\n");
            continue;
        }
        if (!*line)
            break;
        if (n == FL_SPLIT_MAX_WORDS)
            return fl_err_set(err, -EINVAL, NULL, "commands: more than %d words",
                              FL_SPLIT_MAX_WORDS);
        r = take_word(&line, room, err);
        if (r < 0)
            return r;
        words[n++] = room;
        room += strlen(room) + 1;
    }
    if (n == 0)
        return fl_err_set(err, -EINVAL, NULL, "commands: there is none");
    *ret_words = words;
    return 0;
}
