/* alarm.h - patterns over what is typed in a session: which of them a line raises. Pure.
 *
 * A line is looked at twice: as it was typed, and as the terminal showed it when Enter was pressed
 * (with the prompt before it), for what came out of a shell's history or by completion. Each alarm
 * is raised once for a line. Both are heuristics of a terminal: who wants to hide a command can;
 * they are there to notice, not to forbid.
 */
#pragma once
#include "common/base/err.h"
#include "common/session/text.h"

#define FL_ALARMS_MAX 64

struct fl_conf_alarm {
    char *name, *pattern;
    bool end; /* the session, too */
};

struct fl_alarms;

/* The rows of server.json; -EINVAL names the row whose pattern is wrong. */
int fl_alarms_new(const struct fl_conf_alarm *rows, size_t n, struct fl_alarms **ret_alarms,
                  struct fl_err *err);
struct fl_alarms *fl_alarms_free(struct fl_alarms *a);

/* What one session's terminal said. Zeroed is ready. */
struct fl_alarm_watch {
    struct fl_text typed, shown;
    unsigned entered; /* lines typed that were not seen on the terminal yet */
    uint64_t raised;  /* by the line that was typed last; bit i: row i */
};
void fl_alarm_watch_done(struct fl_alarm_watch *w);

/* Runs for each alarm that is raised. */
typedef void (*fl_alarm_fn)(void *arg, const struct fl_conf_alarm *alarm);

void fl_alarm_input(const struct fl_alarms *a, struct fl_alarm_watch *w, const void *data,
                    size_t len, fl_alarm_fn fn, void *arg);
void fl_alarm_output(const struct fl_alarms *a, struct fl_alarm_watch *w, const void *data,
                     size_t len, fl_alarm_fn fn, void *arg);
