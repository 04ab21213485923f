/* The control channel over a real WebSocket on loopback: a node that this test plays, a plane
 * without its HTTP front (signatures are tested elsewhere). */
#include "tests/runmode.h"
#include "tests/server/command/command_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/net/server.h"
#include "common/wire/agentmessage.h"
#include "common/wire/control.h"
#include "server/channel/clones.h"
#include "server/channel/control_priv.h"
#include "server/channel/channel_token.h"
#include "server/http/route.h"
#include "server/http/service.h"
#include "common/wire/datachannel.h"
#include "server/session/session.h"

#define WAIT_MS    patience_ms(5000)
#define INBOX_SIZE 16

static struct fl_fixture f;
static struct fl_loop *loop;
static struct fl_server *server;
static struct fl_ws_client *client;
static void *control;  /* state of the route */
static void *commands; /* state of the service */
static char node[24], cmd[37];

/* The node's side of one connection. Static in each test: it is written to until the teardown. */
struct peer {
    struct fl_ws *ws;
    bool open, closed;
    int code;
    struct message {
        struct fl_frame frame;
        char payload[8192];
    } inbox[INBOX_SIZE];
    size_t n_inbox, n_read;
};

/* ---- the plane's socket ---- */
static int on_upgrade(void *arg, struct fl_server_req *req, struct fl_ws_events *ret_events,
                      void **ret_arg, struct fl_ws_limits *ret_limits, char *ret_body,
                      const char **ret_type)
{
    const char *rest = fl_server_req_path(req) + strlen(fl_route_control_channel.prefix);
    const struct fl_identity who = { .kind = FL_ID_NODE, .node_id = node };
    const struct fl_upgrade_in in = { .rest = rest, .query = "", .who = &who };

    (void)arg;
    *ret_body = 0;
    *ret_type = "text/plain";
    return fl_route_control_channel.upgrade(control, &in, ret_events, ret_arg, ret_limits);
}

static void on_request(void *arg, struct fl_server_req *req)
{
    (void)arg;
    fl_server_reply(req, 404, "text/plain", NULL, 0, "", 0);
}

/* ---- the node's socket ---- */
static void peer_open(void *arg, struct fl_ws *ws)
{
    struct peer *p = arg;

    (void)ws;
    p->open = true;
}

static void peer_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                         size_t len)
{
    struct peer *p = arg;
    struct message *m = &p->inbox[p->n_inbox];

    (void)ws;
    assert_int_equal(kind, FL_WS_BINARY);
    assert_true(p->n_inbox < INBOX_SIZE);
    assert_int_equal(fl_frame_decode(data, len, &m->frame, NULL), 0);
    assert_true(m->frame.payload_len < sizeof(m->payload));
    memcpy(m->payload, m->frame.payload, m->frame.payload_len);
    m->payload[m->frame.payload_len] = 0;
    m->frame.payload = m->payload;
    p->n_inbox++;
}

static void peer_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct peer *p = arg;

    (void)ws;
    (void)http_status;
    (void)why;
    p->closed = true;
    p->code = code;
    p->ws = NULL;
}

/* Runs the loop until *flag, or fails. */
static void run_until(const bool *flag, const char *what)
{
    int64_t end = fl_mono_ms() + WAIT_MS;

    while (!*flag) {
        if (fl_mono_ms() > end)
            fail_msg("waited in vain: %s", what);
        fl_loop_run_once(loop, false);
        usleep(200);
    }
}

static struct message *next_message(struct peer *p, const char *type)
{
    int64_t end = fl_mono_ms() + WAIT_MS;

    while (p->n_read == p->n_inbox) {
        if (fl_mono_ms() > end)
            fail_msg("no message %s", type);
        fl_loop_run_once(loop, false);
        usleep(200);
    }
    assert_string_equal(p->inbox[p->n_read].frame.type, type);
    return &p->inbox[p->n_read++];
}

static void connect_peer(struct peer *p)
{
    static const struct fl_ws_events events = { .on_open = peer_open,
                                                .on_message = peer_message,
                                                .on_close = peer_close };
    static const struct fl_ws_limits limits = { .max_message_bytes = 1 << 20,
                                                .max_queue_bytes = 1 << 20 };
    char url[128];

    memset(p, 0, sizeof(*p));
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/v1/control-channel/%s?role=subscribe",
             (unsigned)fl_server_port(server), node);
    assert_int_equal(
        fl_ws_connect(client, url, NULL, 0, WAIT_MS, &limits, &events, p, &p->ws, NULL), 0);
    run_until(&p->open, "upgrade");
}

static void send_open(struct peer *p, const char *token, bool want_ready)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "{\"Cookie\":null,\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\","
             "\"TokenValue\":\"%s\",\"AgentVersion\":\"3.3.0.0\",\"PlatformType\":\"linux\"%s}",
             token, want_ready ? ",\"RequireAcknowledgement\":true" : "");
    assert_int_equal(fl_ws_send(p->ws, FL_WS_TEXT, text, strlen(text)), 0);
}

static void open_peer(struct peer *p)
{
    char *token = NULL;

    connect_peer(p);
    assert_int_equal(
        fl_channel_token_new(f.plane.seal_key, FL_TOKEN_CONTROL, node, fl_now_ms(), &token), 0);
    send_open(p, token, false);
    free(token);
}

static void send_frame(struct peer *p, const char *type, const char *payload, uint8_t id[16])
{
    struct fl_frame frame = { .schema_version = 1,
                              .created_ms = 1700000000123,
                              .payload = payload,
                              .payload_len = strlen(payload) };
    struct fl_buf out;

    fl_buf_init(&out, 1 << 20);
    snprintf(frame.type, sizeof(frame.type), "%s", type);
    fl_random_bytes(frame.message_id, sizeof(frame.message_id));
    if (id)
        memcpy(id, frame.message_id, 16);
    assert_int_equal(fl_frame_encode(&frame, &out), 0);
    assert_int_equal(fl_ws_send(p->ws, FL_WS_BINARY, out.data, out.len), 0);
    fl_buf_done(&out);
}

static void send_ack(struct peer *p, const char *command, const char *code)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{\"jobId\":\"%s\",\"acknowledgedMessageId\":\"x\",\"createdDate\":\"x\","
             "\"statusCode\":\"%s\",\"errorMessage\":\"x\"}",
             job_id(command, node), code);
    send_frame(p, FL_MSG_AGENT_JOB_ACK, text, NULL);
}

static void send_reply(struct peer *p, const char *command, const char *content, uint8_t id[16])
{
    struct fl_buf text;

    fl_buf_init(&text, 1 << 20);
    fl_buf_printf(&text,
                  "{\"schemaVersion\":1,\"jobId\":\"%s\",\"content\":", job_id(command, node));
    fl_json_quote(&text, content, strlen(content));
    fl_buf_puts(&text, ",\"topic\":\"aws.ssm.sendCommand\"}");
    send_frame(p, FL_MSG_AGENT_JOB_REPLY, text.data, id);
    fl_buf_done(&text);
}

static void expect_reply_ack(struct peer *p, const uint8_t id[16])
{
    struct message *m = next_message(p, FL_MSG_AGENT_JOB_REPLY_ACK);
    char text[FL_UUID_BYTES];

    fl_uuid_format(id, text);
    assert_non_null(strstr(m->payload, text));
}

/* Waits until what was sent so far has been dealt with, by an exchange that has an answer: a reply
 * about a command nobody knows. */
static void settle(struct peer *p)
{
    uint8_t id[16];

    send_reply(p, "00000000-0000-4000-8000-000000000000", REPLY_DONE, id);
    expect_reply_ack(p, id);
}

static int setup(void **state)
{
    static const struct fl_server_events events = { .on_request = on_request,
                                                    .on_upgrade = on_upgrade };
    const struct fl_server_conf conf = { .bind = "127.0.0.1" };
    const struct fl_ws_client_conf client_conf = { 0 };
    struct fl_err err = { 0 };

    (void)state;
    fl_fixture_open(&f);
    f.now_ms = fl_now_ms(); /* deadlines run by the real clock here */
    make_node(&f, NULL, false, node);
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_route_control_channel.start(&f.plane, loop, 0, &control, &err), 0);
    assert_int_equal(fl_service_start(&fl_service_commands, &f.plane, loop, &commands, &err), 0);
    if (fl_server_new(loop, &conf, &events, NULL, &server, &err) < 0)
        fail_msg("server: %s", fl_err_text(&err));
    if (fl_ws_client_new(loop, &client_conf, &client, &err) < 0)
        fail_msg("client: %s", fl_err_text(&err));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client = fl_ws_client_free(client);
    server = fl_server_free(server);
    for (int i = 0; i < 50; i++) { /* what the store still answers */
        fl_loop_run_once(loop, false);
        usleep(1000);
    }
    fl_service_stop(commands);
    fl_route_control_channel.stop(control);
    for (int i = 0; i < 50; i++) {
        fl_loop_run_once(loop, false);
        usleep(1000);
    }
    fl_fixture_close(&f);
    loop = fl_loop_free(loop);
    return 0;
}

/* ---- the tests ---- */
static void a_job_from_delivery_to_the_last_ack(void **state)
{
    struct message *m;
    static struct peer p;
    char want[160];
    uint8_t id[16];

    (void)state;
    open_peer(&p);
    settle(&p);
    assert_true(fl_presence_connected(f.plane.presence, node));
    send_to(&f, node, cmd);
    m = next_message(&p, FL_MSG_AGENT_JOB);
    snprintf(want, sizeof(want),
             "\"JobId\":\"%s\",\"Topic\":\"aws.ssm.sendCommand\","
             "\"SchemaVersion\":1}",
             job_id(cmd, node));
    assert_non_null(strstr(m->payload, want));
    assert_non_null(strstr(m->payload, "\\\"CloudWatchOutputEnabled\\\":\\\"false\\\""));
    send_ack(&p, cmd, "200");
    send_reply(&p, cmd, REPLY_STARTED, NULL); /* gets no ack */
    send_reply(&p, cmd, REPLY_STEP, id);
    expect_reply_ack(&p, id);
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
    send_reply(&p, cmd, REPLY_DONE, id);
    expect_reply_ack(&p, id);
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
    send_reply(&p, cmd, REPLY_DONE, id); /* a repetition is acknowledged too */
    expect_reply_ack(&p, id);
}

/* protocol 2 §3.5 */
static void a_failure_without_words_gets_no_ack(void **state)
{
    static struct peer p;
    uint8_t id[16];

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    send_ack(&p, cmd, "51408");
    send_reply(
        &p, cmd,
        "{\"documentStatus\":\"Failed\",\"documentTraceOutput\":\"\",\"runtimeStatus\":null}",
        NULL);
    settle(&p);
    assert_string_equal(invocation(&f, cmd, node), "Failed/Failed");

    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    send_ack(&p, cmd, "200");
    send_reply(&p, cmd,
               "{\"documentStatus\":\"Failed\",\"documentTraceOutput\":\"why\","
               "\"runtimeStatus\":null}",
               id);
    expect_reply_ack(&p, id);
    assert_string_equal(invocation(&f, cmd, node), "Failed/Failed");
}

static void what_waited_is_sent_on_connect(void **state)
{
    static struct peer p;

    (void)state;
    send_to(&f, node, cmd);
    assert_string_equal(invocation(&f, cmd, node), "Delayed/Delayed");
    open_peer(&p);
    next_message(&p, FL_MSG_AGENT_JOB);
    send_ack(&p, cmd, "200");
    settle(&p);
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
}

static void not_acknowledged_is_sent_again_after_a_reconnect(void **state)
{
    static struct peer p, q;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    fl_ws_close(p.ws, 1001, true);
    run_until(&p.closed, "end of the older channel");
    open_peer(&q);
    next_message(&q, FL_MSG_AGENT_JOB);
    send_ack(&q, cmd, "200");
    settle(&q);
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
}

static void not_acknowledged_is_sent_again_on_the_same_channel(void **state)
{
    struct fl_ctl_channel *ch;
    char want[160];
    static struct peer p;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    ch = fl_ctl_find(control, node, 0);
    assert_non_null(ch);
    fl_ctl_check_jobs(ch, fl_mono_ms() + FL_CTL_RESEND_MS - 1000);
    settle(&p);
    assert_int_equal(p.n_inbox, p.n_read); /* not yet */
    fl_ctl_check_jobs(ch, fl_mono_ms() + FL_CTL_RESEND_MS);
    snprintf(want, sizeof(want), "\"JobId\":\"%s\"", job_id(cmd, node));
    assert_non_null(strstr(next_message(&p, FL_MSG_AGENT_JOB)->payload, want));
    send_ack(&p, cmd, "200");
    settle(&p);
    ch = fl_ctl_find(control, node, 0);
    fl_ctl_check_jobs(ch, fl_mono_ms() + FL_CTL_RESEND_MS);
    settle(&p);
    assert_int_equal(p.n_inbox, p.n_read); /* never again */
}

static void a_window_of_jobs_and_then_the_rest(void **state)
{
    static struct peer p;
    char ids[12][37];

    (void)state;
    open_peer(&p);
    settle(&p);
    for (int i = 0; i < 12; i++, f.now_ms++) /* oldest first */
        send_to(&f, node, ids[i]);
    for (int i = 0; i < 10; i++)
        next_message(&p, FL_MSG_AGENT_JOB);
    settle(&p);
    assert_int_equal(p.n_inbox, p.n_read); /* the eleventh waits */
    p.n_inbox = p.n_read = 0;
    send_ack(&p, ids[0], "200");
    next_message(&p, FL_MSG_AGENT_JOB);
}

static void a_cancel_has_an_id_of_its_own(void **state)
{
    char request[80], target[160];
    struct message *m;
    static struct peer p;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    send_ack(&p, cmd, "200");
    settle(&p);
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\"}", cmd);
    fl_fixture_ok(&f, "CancelCommand", request);
    m = next_message(&p, FL_MSG_AGENT_JOB);
    snprintf(target, sizeof(target), "{\\\"CancelMessageId\\\":\\\"%s\\\"}", job_id(cmd, node));
    assert_non_null(strstr(m->payload, target));
    assert_non_null(strstr(m->payload, "\"Topic\":\"aws.ssm.cancelCommand\""));
    snprintf(target, sizeof(target), "\"JobId\":\"%s\"", job_id(cmd, node));
    assert_null(strstr(m->payload, target));
}

static void a_wrong_token_closes(void **state)
{
    static struct peer p;

    (void)state;
    connect_peer(&p);
    send_open(&p, "AAAA", false);
    run_until(&p.closed, "close after a wrong token");
    assert_false(fl_presence_connected(f.plane.presence, node));
}

static void a_first_frame_that_is_no_open_closes(void **state)
{
    static struct peer p;

    (void)state;
    connect_peer(&p);
    send_frame(&p, FL_MSG_AGENT_JOB_ACK, "{}", NULL);
    run_until(&p.closed, "close after a strange first frame");
}

static void a_token_works_once(void **state)
{
    char *token = NULL;
    static struct peer p, q;

    (void)state;
    connect_peer(&p);
    connect_peer(&q);
    assert_int_equal(
        fl_channel_token_new(f.plane.seal_key, FL_TOKEN_CONTROL, node, fl_now_ms(), &token), 0);
    send_open(&p, token, false);
    settle(&p);
    send_open(&q, token, false);
    free(token);
    run_until(&q.closed, "close after a used token");
    settle(&p); /* the first one lives */
}

static void a_newer_channel_replaces_the_older(void **state)
{
    struct fl_ctl_channel *older;
    static struct peer p, q;

    (void)state;
    open_peer(&p);
    settle(&p);
    older = fl_ctl_find(control, node, 0);
    open_peer(&q);
    settle(&q);
    older->retired_ms -= FL_CTL_PROBE_MS;
    run_until(&p.closed, "close of the older channel");
    assert_true(fl_presence_connected(f.plane.presence, node));
    assert_int_equal(fl_presence_count(f.plane.presence), 1);
}

struct sighting {
    int64_t times;
    char evidence[32];
};

static int read_sighting(struct fl_call *call, void *arg)
{
    struct sighting *s = arg;
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_clone_list, &c, NULL, FL_T(call->account));

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        assert_string_equal(fl_sql_text(c, 0), node);
        snprintf(s->evidence, sizeof(s->evidence), "%s", fl_sql_text(c, 1));
        s->times = fl_sql_int(c, 4);
    }
    return r;
}

static int64_t sightings(void)
{
    struct sighting s = { 0 };

    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, read_sighting, &s), 0); /* after its write */
    assert_true(s.times == 0 || strcmp(s.evidence, "channels") == 0);
    return s.times;
}

/* Two machines with one identity: both answer while both channels are open. What the older one has
 * on the wire is its own to acknowledge: the newer one does not get it. */
static void a_job_runs_on_one_of_two_clones(void **state)
{
    struct fl_ctl_channel *older, *newer;
    static struct peer p, q;
    uint8_t id[16];

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    older = fl_ctl_find(control, node, 0);
    open_peer(&q);
    settle(&q);
    newer = fl_ctl_find(control, node, 0);
    assert_true(newer->held);
    assert_false(p.closed);
    send_ack(&p, cmd, "200");
    while (newer->held)
        fl_loop_run_once(loop, true);
    send_reply(&p, cmd, REPLY_STEP, id); /* what it still says is heard for a while */
    expect_reply_ack(&p, id);
    older->retired_ms -= FL_CTL_LAST_MS;
    run_until(&p.closed, "close of the older channel");
    assert_int_equal(p.code, FL_CLOSE_CLONED);
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
    settle(&q);
    assert_int_equal(q.n_inbox, q.n_read);
    assert_int_equal(sightings(), 1);
    /* Both may come, but the place does not change hands at their pace. */
    assert_false(fl_clones_may_open(f.plane.clones, node, fl_mono_ms()));
    assert_true(fl_clones_may_open(f.plane.clones, node, fl_mono_ms() + FL_CLONES_TURN_MS + 1));
    assert_true(fl_clones_may_open(f.plane.clones, "mi-00000000000000000", fl_mono_ms()));
}

/* A connection that broke without a word does not answer: no clone, and its job goes to the next.
 */
static void a_dead_channel_is_no_clone(void **state)
{
    struct fl_ctl_channel *older;
    static struct peer p, q;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    older = fl_ctl_find(control, node, 0);
    older->pings = 2; /* so that the pong it gets here answers one of before */
    open_peer(&q);
    settle(&q);
    settle(&q);
    assert_false(older->alive);
    older->retired_ms -= FL_CTL_PROBE_MS;
    run_until(&p.closed, "close of the older channel");
    assert_int_equal(p.code, 1000);
    next_message(&q, FL_MSG_AGENT_JOB);
    assert_int_equal(sightings(), 0);
    assert_true(fl_clones_may_open(f.plane.clones, node, fl_mono_ms()));
}

/* Two loop threads are two managers; the bus tells the one about the other. */
static void a_newer_channel_on_another_thread_replaces_it_too(void **state)
{
    struct fl_ctl_channel *older;
    static struct peer p;
    char key[64];

    (void)state;
    open_peer(&p);
    settle(&p);
    older = fl_ctl_find(control, node, 0);
    snprintf(key, sizeof(key), "%s 1 192.0.2.9", node); /* an older generation does nothing */
    assert_int_equal(fl_bus_publish(f.plane.bus, "node.open", key), 0);
    settle(&p);
    snprintf(key, sizeof(key), "%s 999999999 192.0.2.9", node);
    assert_int_equal(fl_bus_publish(f.plane.bus, "node.open", key), 0);
    run_until(&older->retiring, "the older channel to be told");
    older->retired_ms -= FL_CTL_PROBE_MS;
    run_until(&p.closed, "close of the older channel");
}

static void ready_is_said_only_when_asked(void **state)
{
    char *token = NULL;
    static struct peer p;

    (void)state;
    connect_peer(&p);
    assert_int_equal(
        fl_channel_token_new(f.plane.seal_key, FL_TOKEN_CONTROL, node, fl_now_ms(), &token), 0);
    send_open(&p, token, true);
    free(token);
    assert_true(next_message(&p, FL_MSG_CONTROL_CHANNEL_READY)->frame.payload_len > 0);
}

static void a_deregistered_node_is_cut_off(void **state)
{
    static struct peer p;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    assert_int_equal(fl_bus_publish(f.plane.bus, FL_SUBJECT_NODE_DROP, node), 0);
    run_until(&p.closed, "close after deregistration");
    for (int i = 0; i < 500 && strcmp(invocation(&f, cmd, node), "Failed/Undeliverable") != 0;
         i++) {
        fl_loop_run_once(loop, false);
        usleep(1000);
    }
    assert_string_equal(invocation(&f, cmd, node), "Failed/Undeliverable");
}

/* Frames that must be dropped: protocol 2 §2.1, N1 to N9, made of a good one. */
static void bad_frames_are_dropped_and_survived(void **state)
{
    static const struct {
        size_t len; /* 0: whole */
        size_t at;
        uint8_t byte;
    } cases[] = {
        { 116, 0, 0 }, { 119, 0, 0 }, { 0, 3, 0 },   { 0, 1, 0xff }, { 0, 3, 112 },
        { 0, 80, 1 },  { 0, 119, 4 }, { 0, 119, 2 }, { 1, 0, 0 },
    };
    struct fl_frame good = { .type = FL_MSG_AGENT_TELEMETRY,
                             .schema_version = 1,
                             .created_ms = 1,
                             .payload = "{}",
                             .payload_len = 2 };
    static struct peer p;

    (void)state;
    open_peer(&p);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_buf out;

        fl_buf_init(&out, 4096);
        assert_int_equal(fl_frame_encode(&good, &out), 0);
        if (!cases[i].len)
            out.data[cases[i].at] = (char)cases[i].byte;
        assert_int_equal(
            fl_ws_send(p.ws, FL_WS_BINARY, out.data, cases[i].len ? cases[i].len : out.len), 0);
        fl_buf_done(&out);
    }
    send_frame(&p, "agent_telemetry_v2", "{}", NULL);
    send_frame(&p, FL_MSG_AGENT_TASK_COMPLETE, "{}", NULL);
    send_frame(&p, FL_MSG_AGENT_JOB_ACK, "not json", NULL);
    send_frame(&p, FL_MSG_AGENT_JOB_ACK, "{}", NULL);
    settle(&p);
    assert_false(p.closed);
}

static void an_unreadable_reply_is_acknowledged(void **state)
{
    static struct peer p;
    uint8_t id[16];

    (void)state;
    open_peer(&p);
    settle(&p);
    send_frame(&p, FL_MSG_AGENT_JOB_REPLY, "{\"jobId\":\"x\",\"content\":\"[]\"}", id);
    expect_reply_ack(&p, id);
}

static void a_reply_of_many_frames(void **state)
{
    char *content = malloc(300000);
    static struct peer p;
    uint8_t id[16];
    size_t n;

    (void)state;
    open_peer(&p);
    settle(&p);
    send_to(&f, node, cmd);
    next_message(&p, FL_MSG_AGENT_JOB);
    n = (size_t)sprintf(content, "{\"documentStatus\":\"Success\",\"runtimeStatus\":{\"s\":{"
                                 "\"status\":\"Success\",\"standardOutput\":\"");
    memset(content + n, 'x', 200000);
    strcpy(content + n + 200000, "\"}}}");
    send_reply(&p, cmd, content, id);
    free(content);
    expect_reply_ack(&p, id);
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
}

/* The store takes one job at a time here: what it has no room for waits, and none is lost. */
static void reports_wait_for_a_busy_store(void **state)
{
    char path[100], command[37];
    struct fl_store_conf conf = { .path = path, .readers = 1, .max_queue = 1 };
    static struct peer p;
    uint8_t ids[12][16];

    (void)state;
    open_peer(&p);
    settle(&p);
    snprintf(path, sizeof(path), "%s/store.db", f.dir);
    f.plane.store = fl_store_free(f.plane.store);
    assert_int_equal(fl_store_open(&conf, true, &f.plane.store, NULL), 0);
    for (int i = 0; i < 12; i++) {
        fl_uuid4(command);
        send_reply(&p, command, REPLY_DONE, ids[i]);
    }
    for (int i = 0; i < 12; i++)
        expect_reply_ack(&p, ids[i]); /* in their order */
}

/* ---- peers that say nothing ---- */

/* A channel is opened, and from then on neither read from nor written to, as by a machine that lost
 * its network; the socket. */
static int open_deaf_peer(void)
{
    struct sockaddr_in sa = { .sin_family = AF_INET,
                              .sin_port = htons(fl_server_port(server)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char *token = NULL, text[1024];
    uint8_t head[8] = { 0x81, 0x80 | 126 };
    int n;

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    n = snprintf(text, sizeof(text),
                 "GET /v1/control-channel/%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                 "Sec-WebSocket-Version: 13\r\n\r\n",
                 node);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    assert_int_equal(
        fl_channel_token_new(f.plane.seal_key, FL_TOKEN_CONTROL, node, fl_now_ms(), &token), 0);
    n = snprintf(text, sizeof(text),
                 "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"%s\"}",
                 token);
    free(token);
    head[2] = (uint8_t)(n >> 8);
    head[3] = (uint8_t)n; /* and a mask of zeroes */
    assert_int_equal(send(fd, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    for (int64_t end = fl_mono_ms() + WAIT_MS; !fl_presence_connected(f.plane.presence, node);) {
        assert_true(fl_mono_ms() < end);
        fl_loop_run_once(loop, true);
    }
    return fd;
}

/* As if that time had passed without a word of the node. */
static struct fl_ctl_channel *let_pass(int64_t ms)
{
    struct fl_control *ctl = control;
    struct fl_ctl_channel *ch = fl_ctl_find(ctl, node, 0);

    assert_non_null(ch);
    ch->heard_ms -= ms;
    fl_timer_start(ctl->slow_timer, 0);
    return ch;
}

static void a_vanished_node_is_noticed(void **state)
{
    struct fl_control *ctl = control;
    struct fl_ctl_channel *ch;
    uint8_t seen[4096];
    static struct peer next;
    size_t len = 0;
    ssize_t n;
    int fd;

    (void)state;
    assert_int_equal(ctl->silent_ms, FL_CTL_SILENT_S * 1000);
    fd = open_deaf_peer();
    send_to(&f, node, cmd); /* into the void */
    ch = let_pass(ctl->silent_ms / 3 * 2 + 1);
    run_until(&ch->pinged, "ping");
    fl_loop_run_once(loop, false);
    assert_true(fl_presence_connected(f.plane.presence, node)); /* it has time to answer */
    /* It may leave in pieces. */
    for (int64_t end = fl_mono_ms() + WAIT_MS; !memmem(seen, len, "\x89\x09keepalive", 11);) {
        assert_true(fl_mono_ms() < end && len < sizeof(seen));
        fl_loop_run_once(loop, false);
        n = recv(fd, seen + len, sizeof(seen) - len, MSG_DONTWAIT);
        len += n > 0 ? (size_t)n : 0;
    }
    let_pass(ctl->silent_ms);
    for (int64_t end = fl_mono_ms() + WAIT_MS; fl_presence_connected(f.plane.presence, node);) {
        assert_true(fl_mono_ms() < end);
        fl_loop_run_once(loop, true);
    }
    /* what it was sent and never acknowledged is for the next channel */
    open_peer(&next);
    assert_non_null(strstr(next_message(&next, FL_MSG_AGENT_JOB)->payload, job_id(cmd, node)));
    close(fd);
}

static void a_quiet_node_that_answers_stays(void **state)
{
    struct fl_control *ctl = control;
    struct fl_ctl_channel *ch;
    static struct peer p;
    int64_t then;

    (void)state;
    open_peer(&p);
    settle(&p);
    ch = let_pass(ctl->silent_ms / 3 * 2 + 1);
    then = ch->heard_ms;
    for (int64_t end = fl_mono_ms() + WAIT_MS; ch->heard_ms == then;) {
        assert_true(fl_mono_ms() < end);
        fl_loop_run_once(loop, true);
    }
    assert_false(ch->pinged);
    settle(&p);
    assert_true(fl_presence_connected(f.plane.presence, node));
}

static char session[FL_SESSION_ID_BYTES];

static void start_session(void)
{
    char request[80];

    snprintf(request, sizeof(request), "{\"Target\":\"%s\"}", node);
    fl_fixture_ok(&f, "StartSession", request);
    snprintf(session, sizeof(session), "%s", fl_fixture_text(&f, "SessionId"));
}

static int read_session(struct fl_call *call, void *arg)
{
    struct fl_session s;

    assert_int_equal(fl_session_load(call, session, &s, NULL), 1);
    snprintf(arg, 128, "%s: %s", fl_session_status_name((enum fl_session_status)s.status),
             s.details);
    return 0;
}

static const char *state_of_session(void)
{
    static char state[128];

    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, read_session, state), 0);
    return state;
}

/* Looks as late as that at a node that is to begin a session. */
static void look_at_starts(struct fl_ctl_channel *ch, int64_t ms)
{
    fl_ctl_check_starts(ch, fl_mono_ms() + ms);
}

static void run_until_started(struct fl_ctl_channel *ch)
{
    for (int64_t end = fl_mono_ms() + WAIT_MS; !ch->starts_ms;) {
        assert_true(fl_mono_ms() < end);
        fl_loop_run_once(loop, true);
    }
}

static void a_session_at_a_vanished_node_ends(void **state)
{
    struct fl_ctl_channel *ch;
    int fd = open_deaf_peer();

    (void)state;
    start_session();
    ch = fl_ctl_find(control, node, 0);
    run_until_started(ch);
    look_at_starts(ch, FL_CTL_ASK_MS - 1000);
    assert_false(ch->pinged);
    look_at_starts(ch, FL_CTL_ASK_MS);
    assert_true(ch->pinged);
    look_at_starts(ch, FL_FIXTURE_LOST_MS - 1000);
    assert_true(fl_presence_connected(f.plane.presence, node));
    assert_string_equal(state_of_session(), "Connecting: ");
    look_at_starts(ch, FL_FIXTURE_LOST_MS + 1000);
    assert_false(fl_presence_connected(f.plane.presence, node));
    assert_string_equal(state_of_session(),
                        "Failed: The node does not answer: it is off, or cut off from the "
                        "network.");
    close(fd);
}

/* The newer channel is told of the session, so it is not over. */
static void a_session_lives_if_its_node_came_back(void **state)
{
    static struct peer p;
    struct fl_ctl_channel *ch;
    int fd = open_deaf_peer();

    (void)state;
    start_session();
    ch = fl_ctl_find(control, node, 0);
    run_until_started(ch);
    assert_int_equal(fl_presence_add(f.plane.presence, node), 0); /* by another thread */
    look_at_starts(ch, FL_FIXTURE_LOST_MS + 1000);
    assert_string_equal(state_of_session(), "Connecting: ");
    fl_presence_drop(f.plane.presence, node);
    open_peer(&p);
    next_message(&p, FL_MSG_INTERACTIVE_SHELL);
    close(fd);
}

static void a_slow_start_is_no_vanished_node(void **state)
{
    struct fl_ctl_channel *ch;
    static struct peer p;

    (void)state;
    open_peer(&p);
    settle(&p);
    start_session();
    next_message(&p, FL_MSG_INTERACTIVE_SHELL);
    ch = fl_ctl_find(control, node, 0);
    look_at_starts(ch, FL_CTL_ASK_MS);
    assert_true(ch->pinged);
    for (int64_t end = fl_mono_ms() + WAIT_MS; ch->pinged;) { /* it answers */
        assert_true(fl_mono_ms() < end);
        fl_loop_run_once(loop, true);
    }
    look_at_starts(ch, FL_FIXTURE_LOST_MS - 1000);
    assert_true(fl_presence_connected(f.plane.presence, node));
    look_at_starts(ch, FL_SESSION_START_MS); /* after which its silence is nobody's business */
    assert_true(fl_presence_connected(f.plane.presence, node));
    assert_string_equal(state_of_session(), "Connecting: ");
}

/* An upgrade without OpenControlChannel is worth nothing. */
static void an_upgrade_that_says_nothing_is_closed(void **state)
{
    struct fl_control *ctl = control;
    static struct peer p;

    (void)state;
    connect_peer(&p);
    assert_non_null(LIST_FIRST(&ctl->channels));
    assert_int_equal(LIST_FIRST(&ctl->channels)->gen, 0);
    LIST_FIRST(&ctl->channels)->since_ms -= FL_CTL_OPEN_MS + 1;
    run_until(&p.closed, "close of a silent upgrade");
    assert_int_equal(p.code, 1008);
    assert_false(fl_presence_connected(f.plane.presence, node));
}

static void an_upgrade_for_another_node_is_refused(void **state)
{
    const struct fl_identity who = { .kind = FL_ID_NODE, .node_id = "mi-0123456789abcdef0" };
    const struct fl_upgrade_in in = { .rest = "mi-0123456789abcdef1", .query = "", .who = &who };
    struct fl_ws_events events;
    struct fl_ws_limits limits;
    void *arg;

    (void)state;
    assert_int_equal(fl_route_control_channel.upgrade(control, &in, &events, &arg, &limits), 403);
}

static void draining_closes_and_takes_no_more(void **state)
{
    const struct fl_identity who = { .kind = FL_ID_NODE, .node_id = node };
    const struct fl_upgrade_in in = { .rest = node, .query = "", .who = &who };
    struct fl_ws_events events;
    struct fl_ws_limits limits;
    static struct peer p;
    void *arg;

    (void)state;
    open_peer(&p);
    settle(&p);
    fl_route_control_channel.drain(control, 100);
    run_until(&p.closed, "close while draining");
    assert_int_equal(fl_route_control_channel.upgrade(control, &in, &events, &arg, &limits), 503);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_job_from_delivery_to_the_last_ack),
        CASE(a_failure_without_words_gets_no_ack),
        CASE(what_waited_is_sent_on_connect),
        CASE(not_acknowledged_is_sent_again_after_a_reconnect),
        CASE(not_acknowledged_is_sent_again_on_the_same_channel),
        CASE(a_window_of_jobs_and_then_the_rest),
        CASE(a_cancel_has_an_id_of_its_own),
        CASE(a_wrong_token_closes),
        CASE(a_first_frame_that_is_no_open_closes),
        CASE(a_token_works_once),
        CASE(a_newer_channel_replaces_the_older),
        CASE(a_job_runs_on_one_of_two_clones),
        CASE(a_dead_channel_is_no_clone),
        CASE(a_newer_channel_on_another_thread_replaces_it_too),
        CASE(ready_is_said_only_when_asked),
        CASE(a_deregistered_node_is_cut_off),
        CASE(bad_frames_are_dropped_and_survived),
        CASE(an_unreadable_reply_is_acknowledged),
        CASE(a_reply_of_many_frames),
        CASE(reports_wait_for_a_busy_store),
        CASE(a_vanished_node_is_noticed),
        CASE(a_quiet_node_that_answers_stays),
        CASE(a_session_at_a_vanished_node_ends),
        CASE(a_session_lives_if_its_node_came_back),
        CASE(a_slow_start_is_no_vanished_node),
        CASE(an_upgrade_that_says_nothing_is_closed),
        CASE(an_upgrade_for_another_node_is_refused),
        CASE(draining_closes_and_takes_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
