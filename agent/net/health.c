/* health.c - UpdateInstanceInformation (protocol 1 §6), without the official agent's hibernation: a
 * ping that fails is tried again with growing delays and keeps nothing else from starting. */
#include <errno.h>
#include <string.h>
#include "agent/lib/text.h"
#include "agent/net/net.h"
#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/rand.h"

#define TARGET          "AmazonSSM.UpdateInstanceInformation"
#define TIMEOUT_MS      15000
#define RETRY_MS        5000
#define CHANNEL_WAIT_MS 3000 /* the full ping waits so long for the channel, to tell of it */
#define MAX_BODY_BYTES  8192

struct ping {
    char *agent_name, *agent_status, *agent_version, *zone, *zone_id, *computer_name, *ip_address,
        *node_id, *platform_name, *platform_type, *platform_version, *channel;
};

/* The short form leaves out what is NULL. */
#define F(member, key) FL_FIELD(struct ping, member, key, 0)
static const struct fl_field ping_fields[] = {
    F(agent_name, "AgentName"),
    F(agent_status, "AgentStatus"),
    F(agent_version, "AgentVersion"),
    F(zone, "AvailabilityZone"),
    F(zone_id, "AvailabilityZoneId"),
    F(computer_name, "ComputerName"),
    F(ip_address, "IPAddress"),
    F(node_id, "InstanceId"),
    F(platform_name, "PlatformName"),
    F(platform_type, "PlatformType"),
    F(platform_version, "PlatformVersion"),
    F(channel, "SSMConnectionChannel"),
};
#undef F
static const struct fl_shape ping_shape = FL_SHAPE(struct ping, "ping", ping_fields);

enum phase { NOT_STARTED, SHORT_PING, WAITING, FIRST_FULL_PING, REGULAR };

struct fl_health {
    struct fl_net *net;
    struct fl_timer *timer;
    struct fl_backoff backoff;
    enum phase phase;
    bool under_way;
    bool failing;
};

static void ping(struct fl_health *h);

static void on_timer(void *arg)
{
    struct fl_health *h = arg;

    if (h->phase == WAITING)
        h->phase = FIRST_FULL_PING;
    ping(h);
}

static void on_success(struct fl_health *h)
{
    uint32_t period = (uint32_t)h->net->start.health_ms;

    fl_backoff_reset(&h->backoff);
    h->failing = false;
    fl_net_set_pinged(h->net);
    switch (h->phase) {
    case SHORT_PING:
        h->phase = WAITING;
        fl_timer_start(h->timer, fl_channel_is_open(h->net->channel) ? 0 : CHANNEL_WAIT_MS);
        break;
    case FIRST_FULL_PING:
        h->phase = REGULAR;
        fl_timer_start(h->timer, fl_random_between(0, period - 1));
        break;
    default:
        fl_timer_start(h->timer, period);
    }
}

static void on_failure(struct fl_health *h, const char *why)
{
    fl_net_set_error(h->net, "health ping failed", why, false);
    if (h->net->state.online && !h->failing)
        fl_log_warn("health ping failed", FL_S("error", why));
    h->failing = true;
    fl_timer_start(h->timer, fl_backoff_next_ms(&h->backoff, fl_random_u32()));
}

static void on_done(struct fl_net *net, const struct fl_api_result *result)
{
    struct fl_health *h = net->health;
    bool first = h->phase == SHORT_PING;
    struct fl_err words;

    h->under_way = false;
    if (result->status == 200) {
        on_success(h);
    } else {
        fl_err_set(&words, 0, NULL, "%s: %s", result->name, result->text);
        on_failure(h, words.text);
    }
    if (first)
        fl_channel_start(net->channel);
}

static void ping(struct fl_health *h)
{
    fl_autobuf struct fl_buf body = FL_BUF(MAX_BODY_BYTES);
    const struct fl_net_start *s = &h->net->start;
    char empty[] = "";
    struct ping p = { .agent_name = fl_text("amazon-ssm-agent"),
                      .agent_version = s->agent_version,
                      .node_id = s->node_id,
                      .platform_type = s->platform_type };
    int r;

    if (h->under_way)
        return;
    if (h->phase != SHORT_PING) {
        p.agent_status = fl_text("Active");
        p.zone = p.zone_id = empty;
        p.computer_name = s->computer_name;
        p.ip_address = s->ip_address;
        p.platform_name = s->platform_name ? s->platform_name : empty;
        p.platform_version = s->platform_version ? s->platform_version : empty;
        p.channel = fl_channel_is_open(h->net->channel) ? fl_text("ssmmessages") : empty;
    }
    r = fl_json_encode(&ping_shape, &p, &body);
    if (r == 0)
        r = fl_api_start(h->net,
                         &(struct fl_api_call){ .service = "ssm",
                                                .target = TARGET,
                                                .path = "/",
                                                .body = body.data,
                                                .timeout_ms = TIMEOUT_MS },
                         on_done);
    if (r < 0)
        on_failure(h, strerror(-r));
    else
        h->under_way = true;
}

int fl_health_new(struct fl_net *net, struct fl_health **ret_health)
{
    struct fl_health *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    h->net = net;
    h->backoff = (struct fl_backoff){ .base_ms = RETRY_MS, .cap_ms = 300000 };
    h->timer = fl_timer_new(net->loop, on_timer, h);
    if (!h->timer) {
        free(h);
        return -ENOMEM;
    }
    *ret_health = h;
    return 0;
}

struct fl_health *fl_health_free(struct fl_health *h)
{
    if (h)
        fl_timer_free(h->timer);
    free(h);
    return NULL;
}

void fl_health_start(struct fl_health *h)
{
    if (h->phase != NOT_STARTED)
        return;
    h->phase = SHORT_PING;
    ping(h);
}

void fl_health_channel_open(struct fl_health *h)
{
    if (h->phase == WAITING)
        fl_timer_start(h->timer, 0);
}
