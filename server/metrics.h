/* metrics.h - the plane's own counters, gauges and histograms in Prometheus' text format.
 *
 * Families are rows of a table in metrics.c; updating is lock-free or nearly so and may happen on
 * any thread.
 */
#pragma once
#include "common/base/buf.h"

struct fl_metrics;
struct fl_plane;

int fl_metrics_new(struct fl_metrics **ret_metrics);
struct fl_metrics *fl_metrics_free(struct fl_metrics *m);

/* One API call: operation name (a row of the registry, else "unknown"), HTTP status, duration. */
void fl_metrics_api(struct fl_metrics *m, const char *operation, int status, int64_t micros);

/* Moves one invocation between states: either may be NULL. Names as the API spells them. */
void fl_metrics_invocation(struct fl_metrics *m, const char *from, const char *to);

/* Sets the number of commands in a state (enum fl_cmd_state), as counted in the store. */
void fl_metrics_commands(struct fl_metrics *m, unsigned state, int64_t n);

enum fl_counter {
    FL_CTR_JOBS_SENT,
    FL_CTR_JOB_ACKS,
    FL_CTR_JOB_REPLIES,
    FL_CTR_AUTH_FAILURES,
    FL_CTR_GUESSES_SLOWED,
    FL_CTR_GUESSES_REFUSED,
    FL_CTR_BAD_FRAMES,
    FL_CTR_CHANNEL_OPENS,
    FL_CTR_CLONES,
    FL_CTR_DATA_OPENS,
    FL_CTR_DATA_REFUSED,
    FL_CTR_SESSION_MESSAGES,
    FL_CTR_CONNECTIONS_REFUSED,
    FL_CTR_CONNECTIONS_DROPPED,
    FL_CTR_ACCEPT_FAILURES,
    FL_CTR_SESSION_ALARMS,
    FL_CTR_TRANSCRIPT_GAPS,
    FL_CTR__N,
};
void fl_metrics_count(struct fl_metrics *m, enum fl_counter c);

/* Appends the whole page. */
int fl_metrics_render(struct fl_metrics *m, struct fl_plane *plane, struct fl_buf *out);
