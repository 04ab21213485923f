/* xml_read.c - see xml.h: the reader of one text element. One pass, no tree, no recursion. */
#include "common/codec/xml.h"
#include <errno.h>
#include <string.h>
#include "common/codec/utf8.h"

#define ENTITY_MAX_BYTES 10 /* "&#1114111;" */
#define WHITE            " \t\r\n"

struct reader {
    const char *p, *end;
};

static bool at(const struct reader *r, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(r->end - r->p) >= len && memcmp(r->p, word, len) == 0;
}

/* Moves behind the next `word`; *ret_at is where it starts. False if there is none. */
static bool skip_past(struct reader *r, const char *word, const char **ret_at)
{
    const char *found = memmem(r->p, (size_t)(r->end - r->p), word, strlen(word));

    if (!found)
        return false;
    *ret_at = found;
    r->p = found + strlen(word);
    return true;
}

struct tag {
    const char *name; /* without prefix; not NUL-terminated */
    size_t name_len;
    bool closing; /* </x> */
    bool empty;   /* <x/> */
};

/* Reads a tag at '<'; a '>' inside a quoted attribute does not end it. */
static bool read_tag(struct reader *r, struct tag *ret_tag)
{
    struct tag tag = { 0 };
    const char *name, *colon, *p = r->p + 1;
    char quote = '\0';

    if (p < r->end && *p == '/') {
        tag.closing = true;
        p++;
    }
    name = p;
    while (p < r->end && *p != '>' && *p != '/' && *p != '<' && !memchr(WHITE, *p, strlen(WHITE)))
        p++;
    colon = memchr(name, ':', (size_t)(p - name));
    tag.name = colon ? colon + 1 : name;
    tag.name_len = (size_t)(p - tag.name);
    for (; p < r->end && (quote || *p != '>'); p++) {
        if (quote)
            quote = *p == quote ? '\0' : quote;
        else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '<')
            return false;
    }
    if (p == r->end || tag.name_len == 0)
        return false;
    tag.empty = p[-1] == '/' && !tag.closing;
    r->p = p + 1;
    *ret_tag = tag;
    return true;
}

static bool parse_number(const char *s, size_t len, uint32_t *ret_code)
{
    unsigned base = len > 0 && s[0] == 'x' ? 16 : 10;
    uint32_t code = 0;

    s += base == 16;
    len -= base == 16;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = s[i] >= '0' && s[i] <= '9'   ? (unsigned)(s[i] - '0')
                         : s[i] >= 'a' && s[i] <= 'f' ? (unsigned)(s[i] - 'a' + 10)
                         : s[i] >= 'A' && s[i] <= 'F' ? (unsigned)(s[i] - 'A' + 10)
                                                      : base;

        if (digit >= base || code > 0x110000)
            return false;
        code = code * base + digit;
    }
    *ret_code = code;
    return len > 0 && code > 0 && code <= 0x10ffff;
}

/* Resolves the entity at '&'. */
static int read_entity(struct reader *r, struct fl_buf *out)
{
    static const struct {
        const char *name, *text;
    } named[] = { { "lt", "<" }, { "gt", ">" }, { "amp", "&" }, { "quot", "\"" }, { "apos", "'" } };
    const char *name = r->p + 1;
    const char *semi = memchr(name, ';', FL_MIN((size_t)(r->end - name), (size_t)ENTITY_MAX_BYTES));
    size_t len;
    char utf8[4];
    uint32_t code;

    if (!semi)
        return -EBADMSG;
    len = (size_t)(semi - name);
    r->p = semi + 1;
    for (size_t i = 0; i < FL_ARRAY_LEN(named); i++)
        if (len == strlen(named[i].name) && memcmp(name, named[i].name, len) == 0)
            return fl_buf_puts(out, named[i].text);
    if (len < 2 || name[0] != '#' || !parse_number(name + 1, len - 1, &code))
        return -EBADMSG;
    return fl_buf_append(out, utf8, fl_utf8_put(code, utf8));
}

/* Comments, processing instructions, declarations and, outside the element wanted, CDATA. */
static bool skip_other(struct reader *r)
{
    const char *start;

    if (at(r, "<!--"))
        return skip_past(r, "-->", &start);
    if (at(r, "<![CDATA["))
        return skip_past(r, "]]>", &start);
    return skip_past(r, at(r, "<?") ? "?>" : ">", &start);
}

/* Text up to the end tag that closes the element, whose start tag was just read. */
static int read_text(struct reader *r, struct fl_buf *out)
{
    const char *start, *stop;
    struct tag tag;
    size_t depth = 1;
    int res = 0;

    while (res == 0 && r->p < r->end) {
        start = r->p;
        if (*start == '&') {
            res = read_entity(r, out);
        } else if (*start != '<') {
            while (r->p < r->end && *r->p != '<' && *r->p != '&')
                r->p++;
            res = fl_buf_append(out, start, (size_t)(r->p - start));
        } else if (at(r, "<![CDATA[")) {
            start += strlen("<![CDATA[");
            if (!skip_past(r, "]]>", &stop) || stop < start)
                return -EBADMSG;
            res = fl_buf_append(out, start, (size_t)(stop - start));
        } else if (at(r, "<!") || at(r, "<?")) {
            if (!skip_other(r))
                return -EBADMSG;
        } else {
            if (!read_tag(r, &tag))
                return -EBADMSG;
            if (!tag.empty)
                depth += tag.closing ? -1 : 1;
            if (depth == 0)
                return 0;
        }
    }
    return res < 0 ? res : -EBADMSG;
}

/* The start tag of the next element of that name: 1, 0 none, -EBADMSG. */
static int find_start(struct reader *r, const char *local_name, struct tag *ret_tag, bool *any)
{
    while (r->p < r->end) {
        r->p = memchr(r->p, '<', (size_t)(r->end - r->p));
        if (!r->p)
            break;
        if (at(r, "<!") || at(r, "<?")) {
            if (!skip_other(r))
                return -EBADMSG;
            continue;
        }
        if (!read_tag(r, ret_tag))
            return -EBADMSG;
        *any = true;
        if (!ret_tag->closing && ret_tag->name_len == strlen(local_name) &&
            memcmp(ret_tag->name, local_name, ret_tag->name_len) == 0)
            return 1;
    }
    return 0;
}

int fl_xml_find_text(const char *xml, size_t len, const char *local_name, struct fl_buf *out)
{
    struct reader r = { xml, xml + len };
    struct tag tag;
    bool any = false;
    int found = find_start(&r, local_name, &tag, &any);

    if (found <= 0)
        return found < 0 || !any ? -EBADMSG : -ENOENT;
    return tag.empty ? 0 : read_text(&r, out);
}

/* The tag that closes the element whose start tag was just read. */
static bool find_end(struct reader *r, const char *local_name, const char **ret_at)
{
    struct tag tag;

    while (r->p < r->end) {
        const char *start = r->p = memchr(r->p, '<', (size_t)(r->end - r->p));

        if (!start)
            return false;
        if (at(r, "<!") || at(r, "<?")) {
            if (!skip_other(r))
                return false;
            continue;
        }
        if (!read_tag(r, &tag))
            return false;
        *ret_at = start;
        if (tag.closing && tag.name_len == strlen(local_name) &&
            memcmp(tag.name, local_name, tag.name_len) == 0)
            return true;
    }
    return false;
}

int fl_xml_next(const char **p, const char *end, const char *local_name, const char **ret_inner,
                size_t *ret_len)
{
    struct reader r = { *p, end };
    const char *inner, *stop;
    struct tag tag;
    bool any = false;
    int found = find_start(&r, local_name, &tag, &any);

    if (found <= 0)
        return found;
    inner = stop = r.p;
    if (!tag.empty && !find_end(&r, local_name, &stop))
        return -EBADMSG;
    *p = r.p;
    *ret_inner = inner;
    *ret_len = (size_t)(stop - inner);
    return 1;
}
