/* control_open.c - the opening of a control channel: one per node, and what becomes of the one
 * before.
 *
 * Source of the protocol: protocol 2 §1 and §3.
 */
#include "server/channel/control_priv.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/wire/control.h"
#include "server/auth/revoked.h"
#include "server/channel/channel_token.h"
#include "server/channel/clones.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define OPEN_ARENA (64 * 1024)

/* Newer channels have higher numbers, on whatever thread they live. */
static atomic_uint_fast64_t last_gen;

/* ---- opening ---- */
static int check_open(struct fl_ctl_channel *ch, const char *data, size_t len, bool *ret_ready)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(OPEN_ARENA);
    struct fl_msg_open_channel open;
    struct fl_plane *plane = ch->ctl->plane;
    int r;

    r = fl_json_decode(&fl_shape_open_channel, data, len, FL_DECODE_NOCASE | FL_DECODE_LAX, &arena,
                       &open, NULL);
    if (r < 0 || !open.token)
        return -EBADMSG;
    *ret_ready = open.require_ack;
    /* Deregistered between the upgrade and this frame: NODE_DROP found no channel to close. */
    if (fl_revoked_has(plane->revoked, ch->node_id))
        return -EKEYREVOKED;
    return fl_channel_token_use(plane->seal_key, FL_TOKEN_CONTROL, open.token, ch->node_id,
                                fl_now_ms());
}

/* ---- the older channel ---- */

void fl_ctl_let_go(struct fl_ctl_channel *ch)
{
    if (!ch->held || fl_presence_channels(ch->ctl->plane->presence, ch->node_id) > 1)
        return;
    ch->held = false;
    fl_ctl_fetch(ch, true);
}

static void settle(struct fl_ctl_channel *ch)
{
    struct fl_ctl_channel *newest;

    if (ch->n_jobs == 0 && ch->present) {
        fl_presence_drop(ch->ctl->plane->presence, ch->node_id);
        ch->present = false;
        newest = fl_ctl_find(ch->ctl, ch->node_id, 0);
        if (newest)
            fl_ctl_let_go(newest);
    }
}

void fl_ctl_retire(struct fl_ctl_channel *ch, const char *other)
{
    const int64_t *slot = fl_counts_get(&ch->ctl->open, ch->node_id);

    if (slot && (struct fl_ctl_channel *)(intptr_t)*slot == ch)
        fl_counts_remove(&ch->ctl->open, ch->node_id);
    ch->retiring = true;
    ch->ctl->n_retiring++;
    ch->retired_ms = fl_mono_ms();
    snprintf(ch->other, sizeof(ch->other), "%s", other);
    fl_ctl_ping(ch);
    settle(ch);
    fl_ctl_arm(ch->ctl);
}

bool fl_ctl_check_retiring(struct fl_ctl_channel *ch, int64_t now)
{
    int64_t age_ms = now - ch->retired_ms;
    int64_t patience_ms = !ch->alive       ? FL_CTL_PROBE_MS
                          : ch->n_jobs > 0 ? FL_CTL_RESEND_MS
                                           : FL_CTL_LAST_MS;

    settle(ch);
    if (age_ms >= patience_ms) {
        fl_ctl_drop(ch, ch->alive ? FL_CLOSE_CLONED : FL_WS_NORMAL);
        return false;
    }
    return true;
}

void fl_ctl_on_open(struct fl_ctl_channel *ch, enum fl_ws_kind kind, const char *data, size_t len)
{
    struct fl_control *ctl = ch->ctl;
    struct fl_ctl_channel *older;
    bool ready = false;
    char key[128];
    int64_t *slot;
    int r = kind == FL_WS_TEXT ? check_open(ch, data, len, &ready) : -EBADMSG;

    if (r < 0) {
        fl_log_info("control channel refused", FL_S("node", ch->node_id),
                    FL_S("why", r == -ETIME         ? "token expired"
                                : r == -EALREADY    ? "token used before"
                                : r == -EKEYREVOKED ? "the node is deregistered"
                                                    : "no valid OpenControlChannel"));
        fl_metrics_count(ctl->plane->metrics,
                         r == -EBADMSG ? FL_CTR_BAD_FRAMES : FL_CTR_AUTH_FAILURES);
        fl_ctl_drop(ch, FL_WS_POLICY);
        return;
    }
    older = fl_ctl_find(ctl, ch->node_id, 0);
    if (older)
        fl_ctl_retire(older, ch->address);
    slot = fl_counts_put(&ctl->open, ch->node_id);
    if (!slot || fl_presence_add(ctl->plane->presence, ch->node_id) < 0) {
        fl_counts_remove(&ctl->open, ch->node_id);
        fl_ctl_drop(ch, FL_WS_GOING_AWAY);
        return;
    }
    *slot = (int64_t)(intptr_t)ch;
    ch->present = true;
    ch->gen = atomic_fetch_add(&last_gen, 1) + 1;
    ch->held = fl_presence_channels(ctl->plane->presence, ch->node_id) > 1;
    fl_clones_opened(ctl->plane->clones, ch->node_id, fl_mono_ms());
    fl_metrics_count(ctl->plane->metrics, FL_CTR_CHANNEL_OPENS);
    fl_ctl_count_open(ctl);
    snprintf(key, sizeof(key), "%s %" PRIu64 " %s", ch->node_id, ch->gen, ch->address);
    fl_bus_publish(ctl->plane->bus, FL_SUBJECT_NODE_OPEN, key);
    if (ready)
        fl_ctl_send(ch, FL_MSG_CONTROL_CHANNEL_READY, FL_MSG_CONTROL_CHANNEL_READY,
                    strlen(FL_MSG_CONTROL_CHANNEL_READY), NULL);
    fl_ctl_on_connected(ch);
    fl_ctl_fetch(ch, true);
    fl_ctl_tell_sessions(ch, NULL);
    fl_ctl_arm(ctl);
}
