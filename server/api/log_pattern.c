/* log_pattern.c - see log_pattern.h. */
#include "server/api/log_pattern.h"

#include <errno.h>
#include <string.h>

static int invalid(struct fl_err *err, const char *why)
{
    return fl_err_set(err, -EINVAL, "InvalidParameterException", "Invalid filter pattern: %s", why);
}

int fl_log_pattern_read(const char *text, struct fl_arena *arena,
                        struct fl_log_pattern *ret_pattern, struct fl_err *err)
{
    struct fl_log_pattern out = { 0 };
    const char *p = text ? text : "";

    p += strspn(p, " ");
    if (*p == '{' || *p == '[' || *p == '%')
        return invalid(err, "only terms are known here");
    while (*p) {
        size_t len;

        if (out.n == FL_LOG_TERMS_MAX)
            return invalid(err, "too many terms");
        out.terms[out.n].kind = *p == '-' ? FL_TERM_NONE : *p == '?' ? FL_TERM_ANY : FL_TERM_ALL;
        p += out.terms[out.n].kind != FL_TERM_ALL;
        if (*p == '"') {
            len = strcspn(++p, "\"");
            if (!p[len])
                return invalid(err, "a quote is open");
        } else {
            len = strcspn(p, " ");
        }
        out.terms[out.n].text = fl_arena_memdup(arena, p, len);
        if (!out.terms[out.n++].text)
            return fl_err_nomem(err);
        p += len;
        p += *p == '"';
        p += strspn(p, " ");
    }
    *ret_pattern = out;
    return 0;
}

bool fl_log_pattern_matches(const struct fl_log_pattern *p, const char *message)
{
    bool any = false, wants_any = false;

    for (size_t i = 0; i < p->n; i++) {
        bool there = strstr(message, p->terms[i].text) != NULL;

        switch (p->terms[i].kind) {
        case FL_TERM_ALL:
            if (!there)
                return false;
            break;
        case FL_TERM_NONE:
            if (there)
                return false;
            break;
        case FL_TERM_ANY:
            wants_any = true;
            any |= there;
            break;
        }
    }
    return any || !wants_any;
}
