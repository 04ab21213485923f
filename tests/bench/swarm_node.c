/* swarm_node.c - see swarm.h: the life of a node, from its registration on, and what the agent's
 * network code asks of the processes around it.
 *
 * The linker gives this file some of the calls that the agent's code makes (mk/tests.mk, --wrap):
 * fl_ipc_send, which is the way to the monitor; fl_ws_connect, to know the socket of a channel;
 * fl_ws_ping, to count; and malloc_trim, which one agent may afford and thousands in one process
 * may not.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include "agent/lib/platform.h"
#include "agent/lib/service.h"
#include "agent/lib/text.h"
#include "agent/monitor/reply.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "tests/bench/swarm.h"

#define FETCH_IDLE_MS    10000 /* agent/net/main.c: a fetch process without a call ends */
#define CALL_TIMEOUT_MS  60000
#define RESEND_MS        (5 * 60 * 1000) /* agent/monitor/job_replies.c */
#define LOOK_MS          1000
#define RETRY_BASE_MS    1000
#define RETRY_CAP_MS     30000
#define CONTENT_BYTES    (64 << 10)
#define NODE_ARENA_BYTES (16 << 10)
#define MAX_ERRORS       32
#define BUCKET_MS        250
#define PING_TICK_MS     10
#define BUCKETS          480

enum { STEP_REPLY, FINAL_REPLY, N_REPLIES };

struct reply {
    TAILQ_ENTRY(reply) waiting; /* sent and not acknowledged, oldest first */
    struct job *job;
    char id[FL_UUID_BYTES];
    bool acked, queued;
    int64_t sent_ms;
};

struct job {
    SLIST_ENTRY(job) link;
    struct node *node;
    char *id, *command_id;
    int64_t done_ms;
    unsigned came;
    struct reply replies[N_REPLIES];
};

struct node {
    struct fl_net net; /* what the agent's code sees */
    struct sw_fleet *fleet;
    char id[32];
    char fingerprint[FL_UUID_BYTES];
    const struct fl_rsa *key;
    const char *public_key;
    const struct activation *activation;
    struct sw_http *http;
    struct fl_ws *ws; /* of the open or opening channel */
    struct fl_timer *retry;
    struct fl_backoff backoff;
    bool started; /* was online once, or has given up its place among those that start */
    SLIST_HEAD(, job) jobs;
};

struct activation {
    char *id, *code;
    unsigned limit;
};

struct sw_fleet {
    struct sw *sw;
    struct node **nodes;
    unsigned n, starting, at_once, wanted;
    struct activation *activations;
    unsigned n_activations, taken; /* `taken` of the last activation in use */
    unsigned activation;           /* the one in use */
    struct fl_rsa **keys;
    char **public_keys;
    unsigned n_keys;
    struct fl_timer *look;
    TAILQ_HEAD(, reply) waiting;
    struct {
        char text[96];
        int64_t n;
    } errors[MAX_ERRORS];
    int64_t mark_ms;
    uint32_t tries[BUCKETS], opens[BUCKETS];
    struct fl_timer *ping;
    unsigned ping_at, ping_ticks;
};

static struct node *answered; /* whose call is being answered: it may open its channel now */
static int64_t pings_sent;

static const struct fl_reply_agent reply_agent = { "en-US", "", "1" };

static struct sw_stats *stats(struct node *n)
{
    return &n->fleet->sw->stats;
}

static struct node *node_of(struct fl_net *net)
{
    return FL_CONTAINER_OF(net, struct node, net);
}

static void note_error(struct sw_fleet *f, const char *what, const char *why)
{
    char text[96];
    int i = 0;

    snprintf(text, sizeof(text), "%s: %s", what, why);
    for (char *p = text; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '\'';
    while (i < MAX_ERRORS - 1 && f->errors[i].n && strcmp(f->errors[i].text, text) != 0)
        i++;
    if (!f->errors[i].n)
        memcpy(f->errors[i].text, i == MAX_ERRORS - 1 ? "others" : text, sizeof(text));
    f->errors[i].n++;
}

static void count_at(const struct sw_fleet *f, uint32_t *buckets)
{
    int64_t i = (fl_mono_ms() - f->mark_ms) / BUCKET_MS;

    if (i >= 0 && i < BUCKETS)
        buckets[i]++;
}

/* ---- the monitor's part: jobs and replies ---- */

static int reply_content(const struct job *job, int which, struct fl_buf *out)
{
    char json[] = "\"hi\\n\"", none[] = "\"\"";
    const struct fl_jrec_step_done step = { .key = fl_text("aws:runShellScript"),
                                            .plugin = fl_text("aws:runShellScript"),
                                            .status = fl_text("Success"),
                                            .start_ms = job->done_ms,
                                            .end_ms = job->done_ms,
                                            .output_json = json,
                                            .stdout_json = json,
                                            .stderr_json = none };
    struct fl_intmap_entry one = { fl_text("Success"), 1 };
    const struct fl_jrec_doc_done doc = { .status = fl_text("Success"),
                                          .counts = { &one, 1 },
                                          .n_results = 1 };

    return which == STEP_REPLY ? fl_reply_step(&reply_agent, &step, fl_now_ms(), out)
                               : fl_reply_final(&reply_agent, &doc, &step, fl_now_ms(), out);
}

static void send_reply(struct reply *reply)
{
    fl_autobuf struct fl_buf content = FL_BUF(CONTENT_BYTES);
    struct job *job = reply->job;
    struct sw_fleet *f = job->node->fleet;

    if (reply->queued)
        TAILQ_REMOVE(&f->waiting, reply, waiting);
    TAILQ_INSERT_TAIL(&f->waiting, reply, waiting);
    reply->queued = true;
    reply->sent_ms = fl_mono_ms();
    if (reply_content(job, (int)(reply - job->replies), &content) < 0)
        return;
    f->sw->stats.replies_sent++;
    fl_channel_reply(job->node->net.channel,
                     &(struct fl_net_job_reply){ .job_id = job->id,
                                                 .topic = fl_text(FL_TOPIC_SEND),
                                                 .message_id = reply->id,
                                                 .content = content.data,
                                                 .expect_ack = true });
}

static void send_in_progress(struct node *n, const struct fl_net_job *in, const char *topic)
{
    fl_autobuf struct fl_buf content = FL_BUF(CONTENT_BYTES);
    char id[FL_UUID_BYTES];

    if (fl_reply_bare(&reply_agent, "InProgress", NULL, fl_now_ms(), &content) < 0)
        return;
    fl_uuid4(id);
    fl_channel_reply(n->net.channel, &(struct fl_net_job_reply){ .job_id = in->job_id,
                                                                 .topic = fl_text(topic),
                                                                 .message_id = id,
                                                                 .content = content.data });
}

static void send_ack(struct node *n, const struct fl_net_job *in, const char *code)
{
    fl_channel_ack(n->net.channel, &(struct fl_net_job_ack){ .job_id = in->job_id,
                                                             .message_id = in->message_id,
                                                             .created_ms = in->created_ms,
                                                             .status_code = fl_text(code) });
}

static struct job *find_job(struct node *n, const char *command_id)
{
    struct job *job;

    SLIST_FOREACH(job, &n->jobs, link)
    if (strcmp(job->command_id, command_id) == 0)
        return job;
    return NULL;
}

static struct job *new_job(struct node *n, const struct fl_net_job *in)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job || !(job->id = strdup(in->job_id)) || !(job->command_id = strdup(in->command_id))) {
        fprintf(stderr, "swarm: out of memory\n");
        abort();
    }
    job->node = n;
    job->came = 1;
    job->done_ms = fl_now_ms();
    for (int i = 0; i < N_REPLIES; i++) {
        job->replies[i].job = job;
        fl_uuid4(job->replies[i].id);
    }
    SLIST_INSERT_HEAD(&n->jobs, job, link);
    return job;
}

static void on_job(struct node *n, const struct fl_net_job *in)
{
    struct job *job;

    if (in->cancel) { /* whatever it names is over already */
        stats(n)->cancels++;
        send_ack(n, in, FL_ACK_OK);
        send_in_progress(n, in, FL_TOPIC_CANCEL);
        return;
    }
    job = find_job(n, in->command_id);
    if (job) {
        job->came++;
        stats(n)->duplicates++;
        send_ack(n, in, FL_ACK_DUPLICATE);
        return;
    }
    job = new_job(n, in);
    stats(n)->jobs++;
    stats(n)->replies += N_REPLIES;
    send_ack(n, in, FL_ACK_OK);
    send_in_progress(n, in, FL_TOPIC_SEND);
    for (int i = 0; i < N_REPLIES; i++)
        send_reply(&job->replies[i]);
}

static void on_acked(struct node *n, const char *message_id)
{
    struct job *job;

    SLIST_FOREACH(job, &n->jobs, link)
    for (int i = 0; i < N_REPLIES; i++) {
        struct reply *reply = &job->replies[i];

        if (reply->acked || strcasecmp(reply->id, message_id) != 0)
            continue;
        reply->acked = true;
        if (reply->queued)
            TAILQ_REMOVE(&n->fleet->waiting, reply, waiting);
        reply->queued = false;
        stats(n)->replies_acked++;
        return;
    }
    stats(n)->unknown_acks++;
}

static void on_look(void *arg)
{
    struct sw_fleet *f = arg;
    int64_t before = fl_mono_ms() - RESEND_MS;
    struct reply *reply;

    while ((reply = TAILQ_FIRST(&f->waiting)) && reply->sent_ms < before)
        send_reply(reply);
    fl_timer_start(f->look, LOOK_MS);
}

/* What net tells its monitor. */
int __wrap_fl_ipc_send(struct fl_ipc *ipc, uint16_t type, uint32_t id, const void *in,
                       const int *fds, size_t n_fds);
int __wrap_fl_ipc_send(struct fl_ipc *ipc, uint16_t type, uint32_t id, const void *in,
                       const int *fds, size_t n_fds)
{
    struct node *n = (struct node *)ipc;

    if (type == FL_NET_JOB)
        on_job(n, in);
    else if (type == FL_NET_REPLY_ACKED)
        on_acked(n, ((const struct fl_net_reply_acked *)in)->message_id);
    return 0;
}

/* ---- what the agent's network code says of itself (agent/net/state.c) ---- */

static void start_more(struct sw_fleet *f);

static void leave_start(struct node *n)
{
    if (n->started)
        return;
    n->started = true;
    n->fleet->starting--;
    start_more(n->fleet);
}

void fl_net_set_online(struct fl_net *net, bool online)
{
    struct node *n = node_of(net);
    struct job *job;

    if (net->state.online == online)
        return;
    net->state.online = online;
    if (!online)
        return;
    stats(n)->online++;
    stats(n)->opens++;
    count_at(n->fleet, n->fleet->opens);
    SLIST_FOREACH(job, &n->jobs,
                  link) /* a new channel knows nothing of what the old one was given */
    for (int i = 0; i < N_REPLIES; i++)
        if (!job->replies[i].acked)
            send_reply(&job->replies[i]);
    leave_start(n);
}

void fl_net_set_pinged(struct fl_net *net)
{
    stats(node_of(net))->health_pings++;
}

void fl_net_set_error(struct fl_net *net, const char *what, const char *why, bool offline)
{
    struct node *n = node_of(net);

    note_error(n->fleet, what, why);
    if (!offline)
        return;
    n->ws = NULL;
    if (net->state.online) {
        stats(n)->online--;
        stats(n)->losses++;
    } else {
        stats(n)->failed_opens++;
    }
    net->state.online = false;
}

void fl_net_note_refusal(struct fl_net *net, const char *error_name)
{
    note_error(node_of(net)->fleet, "refused", error_name);
}

void fl_net_audit(struct fl_net *net, const char *event, const char *subject, const char *detail)
{
    note_error(node_of(net)->fleet, event, detail ? detail : "");
}

int64_t fl_net_now_ms(const struct fl_net *net)
{
    return fl_now_ms();
}

/* ---- calls (agent/net/call.c over the fetch process) ---- */

struct api_call {
    struct node *node;
    struct sw_http *own; /* the node's connection was busy: one for this call */
    fl_api_done_fn done;
};

static void on_api_answer(void *arg, const struct sw_answer *answer)
{
    fl_autofree struct api_call *c = arg;
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_api_result result = {
        .status = answer->status, .body = answer->body, .name = "", .text = ""
    };
    char *name = NULL, *text = NULL;

    if (answer->r < 0) {
        result.status = 0;
        result.name = "RequestError";
        result.text = strerror(-answer->r);
    } else if (answer->status < 200 || answer->status > 299) {
        fl_service_error(answer->body, &arena, &name, &text);
        result.name = name && *name ? name : "UnknownError";
        result.text = text ? text : "";
    }
    sw_http_free(c->own);
    answered = c->node;
    c->done(&c->node->net, &result);
    answered = NULL;
}

int fl_api_start(struct fl_net *net, const struct fl_api_call *call, fl_api_done_fn done)
{
    struct node *n = node_of(net);
    struct api_call *c = calloc(1, sizeof(*c));
    const struct fl_aws_creds creds = { net->creds.access_key_id, net->creds.secret_access_key,
                                        net->creds.session_token };
    int r;

    if (!c)
        return -ENOMEM;
    *c = (struct api_call){ .node = n, .done = done };
    if (strcmp(call->service, "ssmmessages") == 0)
        count_at(n->fleet, n->fleet->tries);
    if (sw_http_busy(n->http))
        c->own = sw_http_new(n->fleet->sw, 1);
    r = sw_http_call(c->own ? c->own : n->http,
                     &(struct sw_call){ .service = call->service,
                                        .target = call->target,
                                        .path = call->path,
                                        .body = call->body,
                                        .creds = &creds,
                                        .timeout_ms = call->timeout_ms },
                     on_api_answer, c);
    if (r < 0) {
        sw_http_free(c->own);
        free(c);
    }
    return r;
}

int __real_fl_ws_connect(struct fl_ws_client *client, const char *url,
                         const struct fl_http_header *headers, size_t n_headers,
                         uint32_t timeout_ms, const struct fl_ws_limits *limits,
                         const struct fl_ws_events *events, void *arg, struct fl_ws **ret_ws,
                         struct fl_err *err);
int __wrap_fl_ws_connect(struct fl_ws_client *client, const char *url,
                         const struct fl_http_header *headers, size_t n_headers,
                         uint32_t timeout_ms, const struct fl_ws_limits *limits,
                         const struct fl_ws_events *events, void *arg, struct fl_ws **ret_ws,
                         struct fl_err *err);
int __wrap_fl_ws_connect(struct fl_ws_client *client, const char *url,
                         const struct fl_http_header *headers, size_t n_headers,
                         uint32_t timeout_ms, const struct fl_ws_limits *limits,
                         const struct fl_ws_events *events, void *arg, struct fl_ws **ret_ws,
                         struct fl_err *err)
{
    int r = __real_fl_ws_connect(client, url, headers, n_headers, timeout_ms, limits, events, arg,
                                 ret_ws, err);

    if (r == 0 && answered)
        answered->ws = *ret_ws;
    return r;
}

int __real_fl_ws_ping(struct fl_ws *ws, const void *payload, size_t len);
int __wrap_fl_ws_ping(struct fl_ws *ws, const void *payload, size_t len);
int __wrap_fl_ws_ping(struct fl_ws *ws, const void *payload, size_t len)
{
    pings_sent++;
    return __real_fl_ws_ping(ws, payload, len);
}

int __wrap_malloc_trim(size_t pad);
int __wrap_malloc_trim(size_t pad)
{
    return 0;
}

/* ---- from nothing to credentials ---- */

static void start_node(void *arg);

static void again(struct node *n, const char *what, const char *why)
{
    note_error(n->fleet, what, why);
    fl_timer_start(n->retry, fl_backoff_next_ms(&n->backoff, fl_random_u32()));
}

static const char *reason(const struct sw_answer *answer, struct fl_arena *arena)
{
    char *name = NULL, *text = NULL;

    if (answer->r < 0)
        return strerror(-answer->r);
    fl_service_error(answer->body, arena, &name, &text);
    return name && *name ? name : "no answer of a plane";
}

struct token_answer {
    char *access_key_id, *secret_access_key, *session_token;
    struct fl_time expires;
};
#define F(member, key) FL_FIELD(struct token_answer, member, key, FL_REQUIRED)
static const struct fl_field token_fields[] = {
    F(access_key_id, "AccessKeyId"),
    F(secret_access_key, "SecretAccessKey"),
    F(session_token, "SessionToken"),
    F(expires, "TokenExpirationDate"),
};
#undef F
static const struct fl_shape token_shape = FL_SHAPE(struct token_answer, "token", token_fields);

static void on_token(void *arg, const struct sw_answer *answer)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(NODE_ARENA_BYTES * 4);
    struct node *n = arg;
    struct fl_arena *own = &n->net.creds_arena;
    struct token_answer t;
    int64_t now = fl_now_ms();

    if (answer->r < 0 || answer->status != 200 ||
        fl_json_decode(&token_shape, answer->body, answer->body_len, 0, &arena, &t, NULL) < 0) {
        again(n, "token", reason(answer, &arena));
        return;
    }
    fl_arena_done(own);
    fl_arena_init(own, NODE_ARENA_BYTES);
    n->net.creds = (struct fl_net_creds){ fl_arena_strdup(own, t.access_key_id),
                                          fl_arena_strdup(own, t.secret_access_key),
                                          fl_arena_strdup(own, t.session_token), t.expires.ms };
    fl_backoff_reset(&n->backoff);
    fl_timer_start(n->retry, (uint64_t)FL_MAX((t.expires.ms - now) / 2, (int64_t)RETRY_BASE_MS));
    fl_channel_fresh_creds(n->net.channel);
    fl_health_start(n->net.health);
}

static void request_token(struct node *n)
{
    char body[128];
    int r;

    snprintf(body, sizeof(body), "{\"Fingerprint\":\"%s\"}", n->fingerprint);
    r = sw_http_call(n->http,
                     &(struct sw_call){ .service = "ssm",
                                        .target = "AmazonSSM.RequestManagedInstanceRoleToken",
                                        .path = "/",
                                        .body = body,
                                        .rsa = n->key,
                                        .node_id = n->id,
                                        .timeout_ms = CALL_TIMEOUT_MS },
                     on_token, n);
    if (r < 0)
        again(n, "token", strerror(-r));
}

struct registered {
    char *id;
};
static const struct fl_field registered_fields[] = {
    FL_FIELD(struct registered, id, "InstanceId", FL_REQUIRED),
};
static const struct fl_shape registered_shape =
    FL_SHAPE(struct registered, "registration", registered_fields);

static void on_registered(void *arg, const struct sw_answer *answer)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(NODE_ARENA_BYTES * 4);
    struct fl_err err = { 0 };
    struct registered in;
    struct node *n = arg;

    if (answer->r < 0 || answer->status != 200 ||
        fl_json_decode(&registered_shape, answer->body, answer->body_len, 0, &arena, &in, NULL) <
            0) {
        again(n, "registration", reason(answer, &arena));
        return;
    }
    snprintf(n->id, sizeof(n->id), "%s", in.id);
    stats(n)->registered++;
    n->net.start.node_id = n->id;
    if (fl_channel_new(&n->net, &n->net.channel, &err) < 0 ||
        fl_health_new(&n->net, &n->net.health) < 0) {
        note_error(n->fleet, "node", "out of memory");
        return;
    }
    request_token(n);
}

static void register_node(struct node *n)
{
    fl_autobuf struct fl_buf body = FL_BUF(8192);
    int r;

    r = fl_buf_printf(&body,
                      "{\"ActivationCode\":\"%s\",\"ActivationId\":\"%s\",\"Fingerprint\":\"%s\","
                      "\"PublicKey\":\"%s\",\"PublicKeyType\":\"Rsa\"}",
                      n->activation->code, n->activation->id, n->fingerprint, n->public_key);
    if (r == 0)
        r = sw_http_call(n->http,
                         &(struct sw_call){ .service = "ssm",
                                            .target = "AmazonSSM.RegisterManagedInstance",
                                            .path = "/",
                                            .body = body.data,
                                            .timeout_ms = CALL_TIMEOUT_MS },
                         on_registered, n);
    if (r < 0)
        again(n, "registration", strerror(-r));
}

/* Begins, tries again, and renews credentials. */
static void start_node(void *arg)
{
    struct node *n = arg;

    if (!n->id[0])
        register_node(n);
    else if (sw_http_busy(n->http))
        fl_timer_start(n->retry, RETRY_BASE_MS);
    else
        request_token(n);
}

/* ---- the fleet ---- */

static int make_keys(struct sw_fleet *f, unsigned n)
{
    struct fl_rsa **keys = realloc(f->keys, n * sizeof(*keys));
    char **texts = realloc(f->public_keys, n * sizeof(*texts));

    if (keys)
        f->keys = keys;
    if (texts)
        f->public_keys = texts;
    if (!keys || !texts)
        return -ENOMEM;
    for (; f->n_keys < n; f->n_keys++) {
        int r = fl_rsa_generate(&f->keys[f->n_keys], NULL);

        if (r == 0)
            r = fl_rsa_public_text(f->keys[f->n_keys], &f->public_keys[f->n_keys]);
        if (r < 0)
            return r;
    }
    return 0;
}

int sw_fleet_activation(struct sw_fleet *f, const char *id, const char *code, unsigned limit)
{
    struct activation *v = realloc(f->activations, (f->n_activations + 1) * sizeof(*v));

    if (!v)
        return -ENOMEM;
    f->activations = v;
    v[f->n_activations++] = (struct activation){ strdup(id), strdup(code), limit };
    return make_keys(f, FL_MAX(limit, f->n_keys));
}

static struct node *node_new(struct sw_fleet *f)
{
    struct sw *sw = f->sw;
    struct node *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->fleet = f;
    n->activation = &f->activations[f->activation];
    n->key = f->keys[f->taken];
    n->public_key = f->public_keys[f->taken];
    if (++f->taken == n->activation->limit) {
        f->activation++;
        f->taken = 0;
    }
    fl_uuid4(n->fingerprint);
    n->backoff = (struct fl_backoff){ .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS };
    n->http = sw_http_new(sw, FETCH_IDLE_MS);
    n->retry = fl_timer_new(sw->loop, start_node, n);
    n->net = (struct fl_net){ .loop = sw->loop,
                              .monitor = (struct fl_ipc *)n,
                              .ws_client = sw->ws_client,
                              .start = { .region = fl_text(sw->region),
                                         .mgs_region = fl_text(sw->region),
                                         .ssm_url = fl_text(sw->url),
                                         .mgs_url = fl_text(sw->url),
                                         .agent_name = fl_text("amazon-ssm-agent"),
                                         .agent_version = fl_text(FL_AGENT_WIRE_VERSION),
                                         .platform_type = fl_text("Linux"),
                                         .platform_name = fl_text("Swarm Linux"),
                                         .platform_version = fl_text("1"),
                                         .computer_name = fl_text("swarm.example.net"),
                                         .ip_address = fl_text("192.0.2.1"),
                                         .health_ms = sw->health_ms } };
    fl_arena_init(&n->net.creds_arena, NODE_ARENA_BYTES);
    if (n->http && n->retry)
        return n;
    sw_http_free(n->http);
    fl_timer_free(n->retry);
    free(n);
    return NULL;
}

static void start_more(struct sw_fleet *f)
{
    while (f->wanted > 0 && f->starting < f->at_once) {
        struct node *n = node_new(f);

        f->wanted--;
        if (!n) {
            note_error(f, "node", "out of memory");
            return;
        }
        f->nodes[f->n++] = n;
        f->starting++;
        f->sw->stats.nodes++;
        fl_timer_start(n->retry, 0);
    }
}

int sw_fleet_start(struct sw_fleet *f, unsigned n, unsigned at_once)
{
    struct node **nodes = realloc(f->nodes, (f->n + f->wanted + n) * sizeof(*nodes));
    unsigned room = 0;

    if (!nodes)
        return -ENOMEM;
    f->nodes = nodes;
    for (unsigned i = f->activation; i < f->n_activations; i++)
        room += f->activations[i].limit - (i == f->activation ? f->taken : 0);
    if (f->wanted + n > room)
        return -ENOKEY;
    f->wanted += n;
    f->at_once = at_once;
    start_more(f);
    return 0;
}

unsigned sw_fleet_drop(struct sw_fleet *f, unsigned n)
{
    unsigned dropped = 0;

    for (unsigned i = 0; i < f->n && dropped < n; i++)
        if (f->nodes[i]->ws && f->nodes[i]->net.state.online) {
            fl_ws_close(f->nodes[i]->ws, FL_WS_GOING_AWAY, true);
            dropped++;
        }
    return dropped;
}

static void on_ping(void *arg)
{
    struct sw_fleet *f = arg;
    unsigned until = f->ping_at + (f->n - f->ping_at) / FL_MAX(f->ping_ticks, 1u);

    for (; f->ping_at < until; f->ping_at++)
        if (f->nodes[f->ping_at]->ws && f->nodes[f->ping_at]->net.state.online)
            fl_ws_ping(f->nodes[f->ping_at]->ws, "keepalive", 9);
    if (--f->ping_ticks > 0)
        fl_timer_start(f->ping, PING_TICK_MS);
}

void sw_fleet_ping(struct sw_fleet *f, unsigned ms)
{
    f->ping_at = 0;
    f->ping_ticks = ms / PING_TICK_MS + 1;
    on_ping(f);
}

const char *sw_fleet_node_id(const struct sw_fleet *f, unsigned index)
{
    return index < f->n && f->nodes[index]->id[0] ? f->nodes[index]->id : NULL;
}

int sw_fleet_write_jobs(const struct sw_fleet *f, const char *path)
{
    FILE *out = fopen(path, "we");
    struct job *job;

    if (!out)
        return -errno;
    for (unsigned i = 0; i < f->n; i++)
        SLIST_FOREACH(job, &f->nodes[i]->jobs, link)
    fprintf(out, "%s %s %u\n", job->command_id, f->nodes[i]->id, job->came);
    return fclose(out) == 0 ? 0 : -errno;
}

/* ---- reports ---- */

void sw_fleet_mark(struct sw_fleet *f)
{
    f->mark_ms = fl_mono_ms();
    memset(f->tries, 0, sizeof(f->tries));
    memset(f->opens, 0, sizeof(f->opens));
    memset(f->errors, 0, sizeof(f->errors));
}

static int put_buckets(struct fl_buf *out, const char *name, const uint32_t *v)
{
    unsigned n = BUCKETS;
    int r = fl_buf_printf(out, ",\"%s\":[", name);

    while (n > 0 && v[n - 1] == 0)
        n--;
    for (unsigned i = 0; i < n && r == 0; i++)
        r = fl_buf_printf(out, "%s%u", i ? "," : "", v[i]);
    return r < 0 ? r : fl_buf_puts(out, "]");
}

int sw_fleet_spread(const struct sw_fleet *f, struct fl_buf *out)
{
    int r = fl_buf_printf(out, "\"bucket_ms\":%d", BUCKET_MS);

    if (r == 0)
        r = put_buckets(out, "tries", f->tries);
    return r < 0 ? r : put_buckets(out, "opens", f->opens);
}

int sw_fleet_errors(const struct sw_fleet *f, struct fl_buf *out)
{
    int r = fl_buf_puts(out, "{");

    for (int i = 0; i < MAX_ERRORS && r == 0; i++)
        if (f->errors[i].n)
            r = fl_buf_printf(out, "%s\"%s\":%lld", out->data[out->len - 1] == '{' ? "" : ",",
                              f->errors[i].text, (long long)f->errors[i].n);
    return r < 0 ? r : fl_buf_puts(out, "}");
}

int64_t sw_fleet_pings(void)
{
    return pings_sent;
}

int sw_fleet_new(struct sw *sw, struct sw_fleet **ret_fleet)
{
    struct sw_fleet *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->sw = sw;
    TAILQ_INIT(&f->waiting);
    f->mark_ms = fl_mono_ms();
    f->look = fl_timer_new(sw->loop, on_look, f);
    f->ping = fl_timer_new(sw->loop, on_ping, f);
    if (!f->look || !f->ping)
        return -ENOMEM;
    fl_timer_start(f->look, LOOK_MS);
    *ret_fleet = f;
    return 0;
}
