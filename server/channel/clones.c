/* clones.c - see clones.h. */
#include "server/channel/clones.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "server/audit.h"
#include "server/counts.h"

#define LOG_EVERY_MS 3600000 /* about one node */

struct fl_clones {
    pthread_mutex_t lock;
    /* node id -> monotonic ms; nodes that were ever sighted since the start */
    struct fl_counts seen, logged, opened;
};

static const char *const evidence_names[] = {
    [FL_CLONE_CHANNELS] = "channels",
    [FL_CLONE_FINGERPRINT] = "fingerprint",
};

int fl_clones_new(struct fl_clones **ret_clones)
{
    struct fl_clones *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    *ret_clones = c;
    return 0;
}

struct fl_clones *fl_clones_free(struct fl_clones *c)
{
    if (!c)
        return NULL;
    fl_counts_done(&c->seen);
    fl_counts_done(&c->logged);
    fl_counts_done(&c->opened);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}

static void set(struct fl_counts *m, const char *node_id, int64_t value)
{
    int64_t *slot = fl_counts_put(m, node_id);

    if (slot)
        *slot = value;
}

/* True if a line about this node is due. */
static bool remember(struct fl_clones *c, const char *node_id, enum fl_clone_evidence evidence)
{
    int64_t now = fl_mono_ms();
    const int64_t *logged;
    bool due;

    pthread_mutex_lock(&c->lock);
    if (evidence == FL_CLONE_CHANNELS) {
        set(&c->seen, node_id, now);
        set(&c->opened, node_id, now);
    }
    logged = fl_counts_get(&c->logged, node_id);
    due = !logged || now - *logged >= LOG_EVERY_MS;
    if (due)
        set(&c->logged, node_id, now);
    pthread_mutex_unlock(&c->lock);
    return due;
}

/* ---- the row ---- */

struct sighting {
    struct fl_plane *plane;
    char node_id[32], address[64], other[64];
    enum fl_clone_evidence evidence;
    int64_t now_ms;
};

static int store_sighting(struct fl_tx *tx, void *arg)
{
    const struct sighting *s = arg;
    int r = fl_sql_exec(tx, FL_SQL_clone_seen, NULL, FL_T(s->node_id), FL_T(s->plane->conf.account),
                        FL_T(s->plane->conf.region), FL_T(evidence_names[s->evidence]),
                        FL_T(s->address), FL_T(s->other), FL_N(s->now_ms));

    return r < 0 ? r : 0;
}

static void stored(void *arg, int r)
{
    free(arg);
}

/* One line of the audit log for each of the two. */
static void audit(const struct sighting *s)
{
    const char *const addresses[] = { s->address, s->other };
    char request_id[FL_UUID_BYTES];

    fl_uuid4(request_id);
    for (size_t i = 0; i < FL_ARRAY_LEN(addresses); i++)
        fl_audit_write(s->plane->audit, &(struct fl_audit_entry){
                                            .time_ms = s->now_ms,
                                            .request_id = request_id,
                                            .operation = "fairlead:CloneSighted",
                                            .caller = s->node_id,
                                            .source_ip = *addresses[i] ? addresses[i] : NULL,
                                            .error = evidence_names[s->evidence],
                                        });
}

void fl_clones_seen(struct fl_plane *plane, const char *node_id, enum fl_clone_evidence evidence,
                    const char *address, const char *other)
{
    struct sighting *s = calloc(1, sizeof(*s));

    fl_metrics_count(plane->metrics, FL_CTR_CLONES);
    if (remember(plane->clones, node_id, evidence))
        fl_log_warn("two machines hold one node's identity: deregister the node, and register both "
                    "again",
                    FL_S("node", node_id), FL_S("evidence", evidence_names[evidence]),
                    FL_S("address", address), FL_S("other", other));
    if (!s)
        return;
    s->plane = plane;
    s->evidence = evidence;
    s->now_ms = fl_now_ms();
    snprintf(s->node_id, sizeof(s->node_id), "%s", node_id);
    snprintf(s->address, sizeof(s->address), "%s", address ? address : "");
    snprintf(s->other, sizeof(s->other), "%s", other ? other : "");
    audit(s);
    if (fl_store_submit(plane->store, FL_LANE_WRITE, store_sighting, stored, s, NULL) < 0)
        free(s);
}

/* ---- turns ---- */

void fl_clones_opened(struct fl_clones *c, const char *node_id, int64_t mono_ms)
{
    pthread_mutex_lock(&c->lock);
    if (fl_counts_get(&c->seen, node_id))
        set(&c->opened, node_id, mono_ms);
    pthread_mutex_unlock(&c->lock);
}

bool fl_clones_may_open(struct fl_clones *c, const char *node_id, int64_t mono_ms)
{
    const int64_t *seen, *opened;
    bool may;

    pthread_mutex_lock(&c->lock);
    seen = fl_counts_get(&c->seen, node_id);
    opened = fl_counts_get(&c->opened, node_id);
    may = !seen || !opened || mono_ms - *seen >= FL_CLONES_MEMORY_MS ||
          mono_ms - *opened >= FL_CLONES_TURN_MS;
    pthread_mutex_unlock(&c->lock);
    return may;
}
