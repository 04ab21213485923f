/* escape.c - see escape.h. */
#include "cli/escape.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CTRL_Z 0x1a

static const struct {
    char key;
    enum fl_escape_action action;
    const char *name, *help;
} keys[] = {
    { '.', FL_ESCAPE_QUIT, ".", "end the session" },
    { CTRL_Z, FL_ESCAPE_SUSPEND, "^Z", "suspend fairlead" },
    { '?', FL_ESCAPE_HELP, "?", "this help" },
};

int fl_escape_init(struct fl_escape *e, const char *text)
{
    *e = (struct fl_escape){ .ch = -1 };
    if (strcmp(text, "none") == 0)
        return 0;
    if (text[0] == '^' && text[1] >= '?' && text[1] <= '_' && !text[2])
        e->ch = text[1] ^ 0x40;
    else if (text[0] && !text[1] && (unsigned char)text[0] < 0x80)
        e->ch = text[0];
    else
        return -EINVAL;
    return 0;
}

static enum fl_escape_action action_of(char c)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++)
        if (keys[i].key == c)
            return keys[i].action;
    return FL_ESCAPE_NONE;
}

enum fl_escape_action fl_escape_feed(struct fl_escape *e, const char *in, size_t len,
                                     size_t *ret_used, char *out, size_t *ret_out)
{
    enum fl_escape_action action = FL_ESCAPE_NONE;
    size_t i, n = 0;

    for (i = 0; i < len && action == FL_ESCAPE_NONE; i++) {
        char c = in[i];

        if (e->pending) {
            e->pending = false;
            action = action_of(c);
            if (action != FL_ESCAPE_NONE)
                continue; /* still at the beginning of a line */
            if (c != e->ch)
                out[n++] = (char)e->ch;
        } else if (c == e->ch && !e->in_line) {
            e->pending = true;
            continue;
        }
        out[n++] = c;
        e->in_line = c != '\r' && c != '\n';
    }
    *ret_used = i;
    *ret_out = n;
    return action;
}

void fl_escape_help(const struct fl_escape *e, char out[FL_ESCAPE_HELP_BYTES])
{
    char name[3] = { (char)e->ch, '\0', '\0' };
    size_t n;

    if (e->ch < ' ' || e->ch == 0x7f) {
        name[0] = '^';
        name[1] = (char)(e->ch ^ 0x40);
    }
    n = (size_t)snprintf(out, FL_ESCAPE_HELP_BYTES, "%s?\r\nEscapes, behind a line end:\r\n", name);
    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++)
        n += (size_t)snprintf(out + n, FL_ESCAPE_HELP_BYTES - n, "  %s%-3s %s\r\n", name,
                              keys[i].name, keys[i].help);
    snprintf(out + n, FL_ESCAPE_HELP_BYTES - n, "  %s%-3s send %s\r\n", name, name, name);
}
