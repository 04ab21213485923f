/* credfile.c - see credfile.h. Works line by line; what is kept is copied as it stands. */
#include "common/aws/credfile.h"
#include <errno.h>
#include <string.h>
#include "common/base/buf.h"

#define TEXT_MAX_BYTES (1 << 20)
#define CONFIG_PREFIX  "profile "

struct span {
    const char *s;
    size_t len;
};

enum line_kind {
    LINE_OTHER, /* blank, comment, or nothing we know */
    LINE_SECTION,
    LINE_ENTRY,
    LINE_CONTINUATION, /* indented: belongs to the entry above */
};

struct line {
    enum line_kind kind;
    struct span raw;  /* with its line end */
    struct span name; /* of the section or key */
    struct span value;
};

static struct span trim(struct span t)
{
    while (t.len > 0 && strchr(" \t\r\n", t.s[0]))
        t = (struct span){ t.s + 1, t.len - 1 };
    while (t.len > 0 && strchr(" \t\r\n", t.s[t.len - 1]))
        t.len--;
    return t;
}

static bool equals(struct span a, const char *b)
{
    return a.len == strlen(b) && memcmp(a.s, b, a.len) == 0;
}

/* "name = value"; false without "=". */
static bool split_entry(struct span body, struct line *line)
{
    const char *mark = memchr(body.s, '=', body.len);

    if (!mark)
        return false;
    line->name = trim((struct span){ body.s, (size_t)(mark - body.s) });
    line->value = trim((struct span){ mark + 1, (size_t)(body.s + body.len - mark) - 1 });
    return true;
}

/* Cuts the next line off *text; false at the end. */
static bool next_line(const char **text, struct line *ret_line)
{
    struct line line = { .raw = { *text, strcspn(*text, "\n") } };
    struct span body;
    const char *mark;

    if (!**text)
        return false;
    line.raw.len += line.raw.s[line.raw.len] == '\n';
    *text += line.raw.len;
    body = line.raw;
    if (body.len >= 3 && memcmp(body.s, "\xef\xbb\xbf", 3) == 0)
        body = (struct span){ body.s + 3, body.len - 3 }; /* byte order mark of Windows editors */
    body = trim(body);
    if (body.len == 0 || body.s[0] == '#' || body.s[0] == ';') {
        line.kind = LINE_OTHER;
    } else if (line.raw.s[0] == ' ' || line.raw.s[0] == '\t') {
        line.kind = LINE_CONTINUATION;
        split_entry(body, &line);
    } else if (body.s[0] == '[' && (mark = memchr(body.s, ']', body.len)) != NULL) {
        line.kind = LINE_SECTION;
        line.name = trim((struct span){ body.s + 1, (size_t)(mark - body.s) - 1 });
    } else if (split_entry(body, &line)) {
        line.kind = LINE_ENTRY;
    }
    *ret_line = line;
    return true;
}

static bool names_profile(struct span section, const char *profile)
{
    size_t prefix = strlen(CONFIG_PREFIX);

    if (equals(section, profile))
        return true;
    return section.len > prefix && memcmp(section.s, CONFIG_PREFIX, prefix) == 0 &&
           equals(trim((struct span){ section.s + prefix, section.len - prefix }), profile);
}

/* `sub` NULL: the entry itself. */
static int find(const char *text, const char *profile, const char *key, const char *sub,
                char **ret_value)
{
    struct span found = { 0 };
    bool inside = false, below = false;
    struct line line;
    char *value;

    while (next_line(&text, &line)) {
        if (line.kind == LINE_SECTION)
            inside = names_profile(line.name, profile);
        if (line.kind == LINE_SECTION || line.kind == LINE_ENTRY)
            below = inside && line.kind == LINE_ENTRY && equals(line.name, key);
        /* the last one counts, as in AWS's own readers */
        if (below && !sub && line.kind == LINE_ENTRY)
            found = line.value;
        if (below && sub && line.kind == LINE_CONTINUATION && equals(line.name, sub))
            found = line.value;
    }
    if (!found.s)
        return -ENOENT;
    value = strndup(found.s, found.len);
    if (!value)
        return -ENOMEM;
    *ret_value = value;
    return 0;
}

int fl_credfile_get(const char *text, const char *profile, const char *key, char **ret_value)
{
    return find(text, profile, key, NULL, ret_value);
}

int fl_credfile_get_nested(const char *text, const char *section, const char *key, const char *sub,
                           char **ret_value)
{
    return find(text, section, key, sub, ret_value);
}

void fl_credfile_each(const char *text, fl_credfile_fn fn, void *arg)
{
    struct line line;

    while (next_line(&text, &line))
        if (line.kind == LINE_SECTION)
            fn(arg, line.name.s, line.name.len);
}

/* No text of ours may start a line or a section of its own. */
static bool writable(const char *s, const char *forbidden)
{
    if (!*s)
        return false;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < 0x20 || strchr(forbidden, *p))
            return false;
    return s[0] != ' ' && s[strlen(s) - 1] != ' ';
}

static int put_entries(const struct fl_credfile_entry *entries, size_t n, struct fl_buf *out)
{
    size_t width = 0;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        width = FL_MAX(width, strlen(entries[i].key));
    for (size_t i = 0; i < n && r == 0; i++)
        r = fl_buf_printf(out, "%-*s = %s\n", (int)width, entries[i].key, entries[i].value);
    return r;
}

/* Copies the text without the entries of the section; the new ones stand behind its first name
 * line. *ret_done tells whether the section was there. */
static int replace(const char *text, const char *profile, const struct fl_credfile_entry *entries,
                   size_t n, struct fl_buf *out, bool *ret_done)
{
    bool inside = false, done = false;
    struct line line;
    int r = 0;

    while (r == 0 && next_line(&text, &line)) {
        bool ours = line.kind == LINE_SECTION && equals(line.name, profile);

        if (line.kind == LINE_SECTION)
            inside = ours;
        if (inside && line.kind != LINE_OTHER && (!ours || done))
            continue; /* an old entry, or a second section of this name */
        r = fl_buf_append(out, line.raw.s, line.raw.len);
        if (r < 0 || !ours)
            continue;
        if (line.raw.s[line.raw.len - 1] != '\n')
            r = fl_buf_puts(out, "\n");
        if (r == 0)
            r = put_entries(entries, n, out);
        done = true;
    }
    *ret_done = done;
    return r;
}

int fl_credfile_set(const char *text, const char *profile, const struct fl_credfile_entry *entries,
                    size_t n, char **ret_text)
{
    fl_autobuf struct fl_buf out = FL_BUF(TEXT_MAX_BYTES);
    bool done = false;
    char *result;
    int r;

    if (!writable(profile, "[]"))
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!writable(entries[i].key, "=#;[] ") || !writable(entries[i].value, ""))
            return -EINVAL;

    r = replace(text ? text : "", profile, entries, n, &out, &done);
    if (r == 0 && !done) {
        if (out.len > 0)
            r = fl_buf_puts(&out, out.data[out.len - 1] == '\n' ? "\n" : "\n\n");
        if (r == 0)
            r = fl_buf_printf(&out, "[%s]\n", profile);
        if (r == 0)
            r = put_entries(entries, n, &out);
    }
    if (r < 0)
        return r;
    result = fl_buf_take(&out, NULL);
    if (!result)
        return -ENOMEM;
    *ret_text = result;
    return 0;
}
