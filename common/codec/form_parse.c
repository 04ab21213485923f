/* form_parse.c - see form.h: a body into sorted pairs. */
#include "common/codec/form.h"
#include <errno.h>
#include <string.h>
#include "common/codec/utf8.h"

/* Resolves escapes from `s` into `out` (at least len bytes); the length, or -EBADMSG. */
static ssize_t unescape(const char *s, size_t len, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = s[i] == '+' ? ' ' : s[i];

        if (c == '%') {
            if (len - i < 3 || fl_hex_value(s[i + 1]) < 0 || fl_hex_value(s[i + 2]) < 0)
                return -EBADMSG;
            c = (char)(fl_hex_value(s[i + 1]) << 4 | fl_hex_value(s[i + 2]));
            i += 2;
        }
        out[n++] = c;
    }
    return (ssize_t)n;
}

/* Copies, with NUL and what is not UTF-8 replaced. */
static char *clean_copy(const char *s, size_t len, struct fl_arena *arena)
{
    size_t need = 1, n;
    char *out, *to;

    for (size_t i = 0; i < len; i += n ? n : 1) {
        n = s[i] ? fl_utf8_len(s + i, len - i) : 0;
        need += n ? n : strlen(FL_UTF8_REPLACEMENT);
    }
    to = out = fl_arena_alloc(arena, need);
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i += n ? n : 1) {
        n = s[i] ? fl_utf8_len(s + i, len - i) : 0;
        to = mempcpy(to, n ? s + i : FL_UTF8_REPLACEMENT, n ? n : strlen(FL_UTF8_REPLACEMENT));
    }
    return out;
}

/* One escaped part into the arena. */
static int take(const char *s, size_t len, char *scratch, struct fl_arena *arena, char **ret)
{
    ssize_t n = unescape(s, len, scratch);

    if (n < 0)
        return (int)n;
    *ret = clean_copy(scratch, (size_t)n, arena);
    return *ret ? 0 : -EMSGSIZE;
}

/* A pair and where it stood in the body. */
struct numbered {
    struct fl_form_pair pair;
    size_t at;
};

static int compare_pairs(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    int r = strcmp(x->pair.key, y->pair.key);

    return r ? r : (x->at > y->at) - (x->at < y->at);
}

static size_t part_len(const char *s, size_t len)
{
    const char *amp = memchr(s, '&', len);

    return amp ? (size_t)(amp - s) : len;
}

static int take_pair(const char *s, size_t len, char *scratch, struct fl_arena *arena,
                     struct fl_form_pair *ret_pair)
{
    const char *eq = memchr(s, '=', len);
    size_t key_len = eq ? (size_t)(eq - s) : len;
    int r = take(s, key_len, scratch, arena, &ret_pair->key);

    if (r < 0)
        return r;
    return take(eq ? eq + 1 : s, eq ? len - key_len - 1 : 0, scratch, arena, &ret_pair->value);
}

/* Sorts by key into `out` and keeps the last of equal ones. */
static size_t sort_unique(struct numbered *pairs, size_t n, struct fl_form_pair *out)
{
    size_t kept = 0;

    qsort(pairs, n, sizeof(pairs[0]), compare_pairs);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || strcmp(pairs[i].pair.key, pairs[i + 1].pair.key) != 0)
            out[kept++] = pairs[i].pair;
    return kept;
}

static size_t count_pairs(const char *body, size_t len)
{
    size_t n = 1;

    for (size_t i = 0; i < len; i++)
        n += body[i] == '&';
    return n;
}

int fl_form_parse(const char *body, size_t len, struct fl_arena *arena, struct fl_form *ret_form,
                  struct fl_err *err)
{
    fl_autofree struct numbered *pairs = NULL;
    fl_autofree char *scratch = NULL;
    struct fl_form form = { 0 };
    size_t max, n = 0, part;
    int r;

    if (len > FL_FORM_MAX_BYTES)
        return fl_err_set(err, -EMSGSIZE, NULL, "form over %d bytes", FL_FORM_MAX_BYTES);
    max = count_pairs(body, len);
    if (max > FL_FORM_MAX_PAIRS)
        return fl_err_set(err, -EMSGSIZE, NULL, "form of more than %d values", FL_FORM_MAX_PAIRS);
    pairs = calloc(max, sizeof(*pairs));
    scratch = malloc(len + 1);
    form.v = fl_arena_calloc(arena, max, sizeof(*form.v));
    if (!pairs || !scratch || !form.v)
        return fl_err_set(err, -EMSGSIZE, NULL, "form larger than its memory");

    for (size_t i = 0; i < len; i += part + 1) {
        part = part_len(body + i, len - i);
        if (part == 0)
            continue;
        r = take_pair(body + i, part, scratch, arena, &pairs[n].pair);
        if (r < 0)
            return fl_err_set(err, r, NULL,
                              r == -EBADMSG ? "form with a bad escape"
                                            : "form larger than its memory");
        pairs[n].at = n;
        n++;
    }
    form.n = sort_unique(pairs, n, form.v);
    *ret_form = form;
    return 0;
}
