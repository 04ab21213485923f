/* alarm.c - lines against patterns. */
#include "server/session/alarm.h"

#include <errno.h>
#include <string.h>
#include "common/codec/regexp.h"

struct fl_alarms {
    size_t n;
    const struct fl_conf_alarm *rows;
    struct fl_regexp *patterns[FL_ALARMS_MAX];
};

int fl_alarms_new(const struct fl_conf_alarm *rows, size_t n, struct fl_alarms **ret_alarms,
                  struct fl_err *err)
{
    struct fl_alarms *a = calloc(1, sizeof(*a));

    if (!a || n > FL_ALARMS_MAX) {
        free(a);
        return fl_err_nomem(err);
    }
    a->rows = rows;
    for (; a->n < n; a->n++) {
        struct fl_err found = { 0 };
        int r = fl_regexp_new(rows[a->n].pattern, 0, &a->patterns[a->n], &found);

        if (r < 0) {
            fl_err_set(err, r, NULL, "alarm %s: %s", rows[a->n].name, fl_err_text(&found));
            fl_alarms_free(a);
            return r;
        }
    }
    *ret_alarms = a;
    return 0;
}

struct fl_alarms *fl_alarms_free(struct fl_alarms *a)
{
    for (size_t i = 0; a && i < a->n; i++)
        fl_regexp_free(a->patterns[i]);
    free(a);
    return NULL;
}

void fl_alarm_watch_done(struct fl_alarm_watch *w)
{
    fl_text_done(&w->typed);
    fl_text_done(&w->shown);
}

struct look {
    const struct fl_alarms *alarms;
    struct fl_alarm_watch *watch;
    fl_alarm_fn fn;
    void *arg;
};

static void match(const struct look *k, const char *line, size_t len)
{
    for (size_t i = 0; i < k->alarms->n; i++) {
        unsigned hard_left = 1;

        if (k->watch->raised >> i & 1 ||
            fl_regexp_match(k->alarms->patterns[i], line, len, &hard_left, NULL) != 1)
            continue;
        k->watch->raised |= 1ull << i;
        k->fn(k->arg, &k->alarms->rows[i]);
    }
}

static void typed_line(void *arg, const char *line, size_t len)
{
    const struct look *k = arg;

    k->watch->raised = 0;
    match(k, line, len);
}

static void shown_line(void *arg, const char *line, size_t len)
{
    const struct look *k = arg;

    if (!k->watch->entered)
        return;
    k->watch->entered--;
    match(k, line, len);
}

void fl_alarm_input(const struct fl_alarms *a, struct fl_alarm_watch *w, const void *data,
                    size_t len, fl_alarm_fn fn, void *arg)
{
    struct look k = { a, w, fn, arg };
    const char *p = data;

    if (!a->n)
        return;
    for (size_t i = 0; i < len; i++)
        if (p[i] == '\r' || p[i] == '\n') {
            w->entered++;
            if (!w->typed.n)
                w->raised = 0; /* a line of which nothing was typed: from the history */
        }
    fl_text_typed(&w->typed, data, len, typed_line, &k);
}

void fl_alarm_output(const struct fl_alarms *a, struct fl_alarm_watch *w, const void *data,
                     size_t len, fl_alarm_fn fn, void *arg)
{
    struct look k = { a, w, fn, arg };
    const char *end = a->n && !w->entered ? memrchr(data, '\n', len) : NULL;

    if (!a->n)
        return;
    if (end) { /* of what is only printed, the line that is not complete will do */
        len -= (size_t)(end + 1 - (const char *)data);
        data = end + 1;
        w->shown.n = w->shown.cursor = 0;
        w->shown.state = w->shown.left = 0;
    }
    fl_text_output(&w->shown, data, len, shown_line, &k);
}
