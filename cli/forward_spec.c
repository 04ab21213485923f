/* forward_spec.c - see forward_spec.h. */
#include "cli/forward_spec.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PARTS_MAX 4

struct part {
    const char *at;
    size_t len;
};

/* Parts between colons; those in brackets may hold colons. How many, 0 if it is not well-formed. */
static size_t split(const char *text, struct part parts[PARTS_MAX])
{
    size_t n = 0;

    for (;;) {
        const char *end = text;

        if (n == PARTS_MAX)
            return 0;
        if (*text == '[') {
            end = strchr(++text, ']');
            if (!end || (end[1] && end[1] != ':'))
                return 0;
        } else {
            end = text + strcspn(text, ":");
        }
        parts[n++] = (struct part){ text, (size_t)(end - text) };
        end += *end == ']';
        if (!*end)
            return n;
        text = end + 1;
    }
}

static bool is_number(const struct part *p)
{
    for (size_t i = 0; i < p->len; i++)
        if (p->at[i] < '0' || p->at[i] > '9')
            return false;
    return p->len > 0;
}

static bool to_port(const struct part *p, bool zero, uint16_t *ret)
{
    unsigned long v;

    if (!is_number(p) || p->len > 5)
        return false;
    v = strtoul(p->at, NULL, 10);
    if (v > UINT16_MAX || (v == 0 && !zero))
        return false;
    *ret = (uint16_t)v;
    return true;
}

static bool to_text(const struct part *p, char *out, size_t size)
{
    if (p->len == 0 || p->len >= size)
        return false;
    memcpy(out, p->at, p->len);
    out[p->len] = '\0';
    return true;
}

static bool to_local(const struct part *p, struct fl_forward_spec *s)
{
    if (memchr(p->at, '/', p->len))
        return to_text(p, s->path, sizeof(s->path));
    return to_port(p, true, &s->local);
}

int fl_forward_spec_parse(const char *text, struct fl_forward_spec *ret, struct fl_err *err)
{
    struct part parts[PARTS_MAX] = { 0 };
    struct fl_forward_spec s = { 0 };
    size_t n = split(text, parts);
    const struct part *at = parts, *last = parts + n;
    bool ok = n > 0;

    /* Of three, the first is an address if it can be no port or path. */
    if (ok && (n == 4 || (n == 3 && !is_number(at) && !memchr(at->at, '/', at->len))))
        ok = to_text(at++, s.bind, sizeof(s.bind));
    if (ok)
        ok = to_port(--last, false, &s.remote);
    if (ok && at == last) /* PORT alone */
        s.local = s.remote;
    else if (ok)
        ok = to_local(at++, &s);
    if (ok && at < last)
        ok = to_text(at, s.host, sizeof(s.host));
    if (!ok || (s.path[0] && s.bind[0]))
        return fl_err_set(err, -EINVAL, NULL,
                          "\"%s\" is not [BIND:]LOCAL:[HOST:]REMOTE with ports of 1 to 65535",
                          text);
    *ret = s;
    return 0;
}

int fl_forward_spec_said(const char *port, const char *path, struct fl_forward_spec *ret,
                         struct fl_err *err)
{
    const struct part p = { port, port ? strlen(port) : 0 };
    const struct part file = { path, path ? strlen(path) : 0 };
    struct fl_forward_spec s = { 0 };

    if (path ? !to_text(&file, s.path, sizeof(s.path)) : p.len > 0 && !to_port(&p, true, &s.local))
        return fl_err_set(err, -EINVAL, NULL, "the session's %s \"%.100s\" is none",
                          path ? "localUnixSocket" : "localPortNumber", path ? path : port);
    *ret = s;
    return 0;
}
