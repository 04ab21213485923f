/* main.c - fairlead-agent-net: everything of the agent that faces the network for long.
 *
 * Unprivileged: no capabilities, no files to write, nothing to run, no identity key. What it learns
 * it passes to the monitor in bounded messages (ipc_net.h), and from there come its orders.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include "agent/lib/begun.h"
#include "agent/lib/role.h"
#include "agent/lib/sandbox.h"
#include "agent/net/net.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define FETCH_IDLE_MS     10000
#define MAX_START_BYTES   (256 << 10)
#define MMAP_THRESHOLD    65536 /* large buffers go back to the system when freed */
#define DEFAULT_HEALTH_MS 300000

static struct {
    int argc;
    char **argv;
} command_line;

static void on_need_fetch(void *arg)
{
    struct fl_net *net = arg;

    if (fl_ipc_send(net->monitor, FL_NET_NEED_FETCH, 0, NULL, NULL, 0) < 0)
        fl_fetcher_refused(net->fetcher, "the monitor is not there");
}

static int on_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_net_fetch *in = msg->in;
    struct fl_net *net = arg;

    if (!net->fetcher)
        return 0;
    if (!in->ok || msg->n_fds != 1) {
        fl_fetcher_refused(net->fetcher, in->error ? in->error : "no fetch process");
        return 0;
    }
    fl_fetcher_attach(net->fetcher, FL_TAKE_FD(msg->fds[0]));
    return 0;
}

/* A struct outlives its message by a round through its packed form. */
static int keep(const struct fl_shape *shape, const void *in, struct fl_arena *arena, void *out)
{
    fl_autobuf struct fl_buf packed = FL_BUF(MAX_START_BYTES);
    int r = fl_pack_encode(shape, in, &packed);

    return r < 0 ? r : fl_pack_decode(shape, packed.data, packed.len, arena, out);
}

static const struct fl_shape *shape_of(uint16_t type)
{
    for (size_t i = 0; i < fl_n_net_rows; i++)
        if (fl_net_rows[i].type == type)
            return fl_net_rows[i].shape;
    return NULL;
}

static char *none_if_empty(char *s)
{
    return s && *s ? s : NULL;
}

static int set_up(struct fl_net *net, struct fl_err *err)
{
    const struct fl_net_start *s = &net->start;
    struct fl_ws_client_conf ws_conf = { .proxy = &net->proxy };
    int r;

    net->ca_path = fl_role_ca_path(command_line.argc, command_line.argv, s->ca_file);
    net->fetch_conf = (struct fl_fetch_conf){
        .ca_file = s->ca_file,
        .proxy_http = s->proxy_http,
        .proxy_https = s->proxy_https,
        .no_proxy = s->no_proxy,
        .user_agent = fl_arena_printf(&net->start_arena, "%s/%s", s->agent_name, s->agent_version),
        .log_level = s->log_level,
        .log_format = s->log_format,
        .idle_ms = FETCH_IDLE_MS,
    };
    if (s->proxy_http && *s->proxy_http)
        net->proxy.http = strdup(s->proxy_http);
    if (s->proxy_https && *s->proxy_https)
        net->proxy.https = strdup(s->proxy_https);
    if (s->no_proxy && *s->no_proxy)
        net->proxy.no_proxy = strdup(s->no_proxy);
    r = fl_proxy_from_env(&net->proxy);
    if (r == 0)
        r = fl_fetcher_new(net->loop, &net->fetch_conf, on_need_fetch, net, &net->fetcher);
    ws_conf.ca_file = net->ca_path;
    if (r == 0)
        r = fl_ws_client_new(net->loop, &ws_conf, &net->ws_client, err);
    if (r < 0)
        fl_role_ca_rename(err, s->ca_file);
    if (r == 0)
        r = fl_channel_new(net, &net->channel, err);
    if (r == 0)
        r = fl_health_new(net, &net->health);
    return r;
}

static int on_start(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;
    struct fl_net_start *s = &net->start;
    int r;

    if (s->node_id)
        return fl_err_set(err, -EPROTO, NULL, "a second start");
    r = keep(shape_of(FL_NET_START), msg->in, &net->start_arena, s);
    if (r < 0)
        return r;
    fl_role_log_setup(s->log_level, s->log_format, "net");
    s->ca_file = none_if_empty(s->ca_file);
    s->computer_name = s->computer_name ? s->computer_name : fl_arena_strdup(&net->start_arena, "");
    if (!s->node_id || !s->region || !s->mgs_region || !s->ssm_url || !s->mgs_url ||
        !s->agent_version || !s->platform_type || !s->agent_name)
        return fl_err_set(err, -EPROTO, NULL, "an incomplete start");
    if (s->health_ms <= 0)
        s->health_ms = DEFAULT_HEALTH_MS;
    return set_up(net, err);
}

static int on_creds(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;
    int r;

    if (!net->health)
        return fl_err_set(err, -EPROTO, NULL, "credentials before start");
    fl_arena_done(&net->creds_arena);
    fl_arena_init(&net->creds_arena, MAX_START_BYTES);
    r = keep(shape_of(FL_NET_CREDS), msg->in, &net->creds_arena, &net->creds);
    if (r < 0 || !net->creds.access_key_id || !net->creds.secret_access_key) {
        net->creds = (struct fl_net_creds){ 0 };
        return fl_err_set(err, -EPROTO, NULL, "incomplete credentials");
    }
    net->state.creds_refused = false;
    fl_channel_fresh_creds(net->channel);
    fl_health_start(net->health);
    return 0;
}

static int on_token_call(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_net_signed_call *in = msg->in;
    struct fl_net *net = arg;

    if (!net->fetcher || !in->operation || !in->amz_date || !in->authorization ||
        !in->content_sha256 || !in->host || !in->body)
        return fl_err_set(err, -EPROTO, NULL, "an incomplete call");
    fl_token_call(net, in);
    return 0;
}

static int on_job_ack(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;

    if (net->channel)
        fl_channel_ack(net->channel, msg->in);
    return 0;
}

static int on_job_reply(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;

    if (net->channel)
        fl_channel_reply(net->channel, msg->in);
    return 0;
}

static int on_task_complete(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;

    if (net->channel)
        fl_channel_task_complete(net->channel, msg->in);
    return 0;
}

static void on_stopped(struct fl_net *net)
{
    fl_loop_stop(net->loop);
}

static int on_stop(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_net *net = arg;

    if (net->channel)
        fl_channel_stop(net->channel, on_stopped);
    else
        fl_loop_stop(net->loop);
    return 0;
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct fl_net *net = arg;

    if (why != 0)
        fl_log_error("connection to the monitor ended", FL_S("error", fl_err_text(err)));
    fl_loop_stop(net->loop);
}

static const struct fl_ipc_binding bindings[] = {
    { FL_NET_START, on_start },
    { FL_NET_CREDS, on_creds },
    { FL_NET_TOKEN_CALL, on_token_call },
    { FL_NET_JOB_ACK, on_job_ack },
    { FL_NET_JOB_REPLY, on_job_reply },
    { FL_NET_FETCH, on_fetch },
    { FL_NET_STOP, on_stop },
    { FL_NET_TASK_COMPLETE, on_task_complete },
};

static void tear_down(struct fl_net *net)
{
    /* Connections end with their callbacks, so the channel goes after them. */
    net->fetcher = fl_fetcher_free(net->fetcher);
    net->ws_client = fl_ws_client_free(net->ws_client);
    net->channel = fl_channel_free(net->channel);
    net->health = fl_health_free(net->health);
    net->monitor = fl_ipc_free(net->monitor);
    net->loop = fl_loop_free(net->loop);
    fl_proxy_conf_done(&net->proxy);
    fl_arena_done(&net->start_arena);
    fl_arena_done(&net->creds_arena);
    free(net->last_error);
}

int main(int argc, char **argv)
{
    struct fl_ipc_row rows[FL_N_NET_ROWS];
    struct fl_net net = { .offset_ms = fl_now_ms() - fl_boot_ms() };
    struct fl_err err = { 0 };
    int r;

    if (!fl_begun("fairlead-agent-net", fl_begun_with_socket(FL_ROLE_SOCKET_FD)))
        return 2;
    prctl(PR_SET_NAME,
          "fairlead-net"); /* it was run through a descriptor, whose number it would bear */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* of a terminal: the monitor ends us in order */
    fl_role_log_setup(NULL, NULL, "net");
    command_line.argc = argc;
    command_line.argv = argv;
    fl_arena_init(&net.start_arena, MAX_START_BYTES);
    fl_arena_init(&net.creds_arena, MAX_START_BYTES);
    fl_ipc_bind(fl_net_rows, FL_N_NET_ROWS, bindings, FL_ARRAY_LEN(bindings), rows);

    fl_loop_pool_size(1); /* for name lookups, one at a time */
    r = fl_sandbox_enter(&err);
    if (r == 0)
        r = fl_loop_new(&net.loop);
    if (r == 0)
        r = fl_ipc_new(net.loop, FL_ROLE_SOCKET_FD, rows, FL_N_NET_ROWS, on_close, &net,
                       &net.monitor);
    if (r == 0)
        r = fl_ipc_send(net.monitor, FL_NET_READY, 0, NULL, NULL, 0);
    if (r < 0) {
        fl_log_error("cannot start", FL_S("error", err.text[0] ? err.text : strerror(-r)));
        return 1;
    }
    fl_loop_run(net.loop);
    tear_down(&net);
    return 0;
}
