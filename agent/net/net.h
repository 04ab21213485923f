/* net.h - the network process: what its parts share.
 *
 * main.c owns it and talks to the monitor; call.c signs and sends API calls through a fetch
 * process; channel.c keeps the control channel open; dispatch.c reads what comes over it; health.c
 * pings.
 */
#pragma once
#include "agent/lib/fetcher.h"
#include "agent/lib/ipc_net.h"
#include "common/net/ws.h"

struct fl_channel;
struct fl_health;

struct fl_net {
    struct fl_loop *loop;
    struct fl_ipc *monitor;
    struct fl_fetcher *fetcher;
    struct fl_fetch_conf fetch_conf;
    struct fl_ws_client *ws_client;
    struct fl_proxy_conf proxy;
    struct fl_channel *channel;
    struct fl_health *health;

    struct fl_arena start_arena;
    struct fl_net_start start; /* node_id NULL until FL_NET_START came */
    const char *ca_path;       /* start.ca_file as it is opened here; NULL: the system's pool */
    struct fl_arena creds_arena;
    struct fl_net_creds creds; /* access_key_id NULL: none yet */

    int64_t offset_ms; /* the service's time minus fl_boot_ms(), which no clock change moves */
    struct fl_net_state state;
    char *last_error; /* state.last_error */
};

/* ---- state.c: what the monitor is told ---- */
void fl_net_set_online(struct fl_net *net, bool online);
void fl_net_set_pinged(struct fl_net *net);
/* `what` failed; `offline`: and the control channel is gone with it. The monitor logs what it
 * means. */
void fl_net_set_error(struct fl_net *net, const char *what, const char *why, bool offline);
/* Looks whether a failed call failed for its credentials. */
void fl_net_note_refusal(struct fl_net *net, const char *error_name);
void fl_net_audit(struct fl_net *net, const char *event, const char *subject, const char *detail);

/* ---- call.c: calls signed with the temporary credentials ---- */
struct fl_api_call {
    const char *service; /* "ssm" or "ssmmessages" */
    const char *target;  /* "AmazonSSM.UpdateInstanceInformation"; NULL for REST */
    const char *path;    /* "/" or the REST path */
    const char *body;
    uint32_t timeout_ms;
};
struct fl_api_result {
    int status;       /* HTTP; 0: no answer */
    const char *body; /* "" if none */
    const char *name; /* of the error; "" on success */
    const char *text;
};
/* `result` dies with the callback. A 4xx or 5xx is a result with name and text. */
typedef void (*fl_api_done_fn)(struct fl_net *net, const struct fl_api_result *result);

/* 0, or a negative errno when the call cannot be started; then nothing is called back. */
int fl_api_start(struct fl_net *net, const struct fl_api_call *call, fl_api_done_fn done);

/* Carries a call that the monitor had signed; answers with FL_NET_TOKEN_RESULT. */
void fl_token_call(struct fl_net *net, const struct fl_net_signed_call *call);

int64_t fl_net_now_ms(const struct fl_net *net); /* the service's time */

/* ---- channel.c ---- */
int fl_channel_new(struct fl_net *net, struct fl_channel **ret_channel, struct fl_err *err);
struct fl_channel *fl_channel_free(struct fl_channel *c);
/* Opens it and keeps it open; calling it again does nothing. */
void fl_channel_start(struct fl_channel *c);
/* A wait that began with refused credentials is over. */
void fl_channel_fresh_creds(struct fl_channel *c);
bool fl_channel_is_open(const struct fl_channel *c);
/* Closes in order; net ends once that is done. */
void fl_channel_stop(struct fl_channel *c, void (*done)(struct fl_net *net));
void fl_channel_ack(struct fl_channel *c, const struct fl_net_job_ack *ack);
void fl_channel_reply(struct fl_channel *c, const struct fl_net_job_reply *reply);
void fl_channel_task_complete(struct fl_channel *c, const struct fl_net_task_complete *complete);

/* ---- health.c ---- */
int fl_health_new(struct fl_net *net, struct fl_health **ret_health);
struct fl_health *fl_health_free(struct fl_health *h);
/* The first ping; when its outcome is known the channel is started. */
void fl_health_start(struct fl_health *h);
/* The channel is open: the full ping can say so now. */
void fl_health_channel_open(struct fl_health *h);
