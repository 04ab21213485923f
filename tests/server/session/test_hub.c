/* Sessions between loop threads: real WebSockets on loopback, two threads of a plane without its
 * HTTP front (signatures are tested elsewhere). Where it says so, the path a side takes is given:
 * thread 0 or 1.
 *
 * With SESSION_BENCH_MIB=1000 the bulk test says how fast it was, with SESSION_BENCH_MANY=2000 the
 * last one what so many sessions take.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/net/server.h"
#include "common/wire/datachannel.h"
#include "server/channel/channel_token.h"
#include "server/http/route.h"
#include "server/session/hub.h"
#include "server/session/transcript_priv.h"
#include "tests/runmode.h"
#include "tests/server/fixture.h"

#define WAIT_MS  patience_ms(10000)
#define THREADS  2
#define NODE     "mi-0123456789abcdef0"
#define PAYLOAD  65536
#define BULK_MIB 24
#define LOST_MS  500

static struct fl_fixture f;
static struct fl_loop *loop; /* of the peers */
static struct fl_ws_client *client;

/* ---- the disk ---- */

static enum { DISK_GOOD, DISK_STUCK, DISK_FULL } _Atomic disk; /* of transcripts only */

/* In place of the C library's, for the whole program. */
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    char link[40], path[300] = "";

    if (disk != DISK_GOOD) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "/transcripts/"))
            while (disk == DISK_STUCK)
                usleep(1000);
        if (strstr(path, "/transcripts/") && disk == DISK_FULL) {
            errno = ENOSPC;
            return -1;
        }
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return pwrite64(fd, data, len, at);
}

/* ---- the plane's threads ---- */

static struct thread {
    struct fl_loop *loop;
    struct fl_server *server;
    void *data; /* state of the route */
    pthread_t id;
    uint16_t port;
} threads[THREADS];

static int on_upgrade(void *arg, struct fl_server_req *req, struct fl_ws_events *ret_events,
                      void **ret_arg, struct fl_ws_limits *ret_limits, char *ret_body,
                      const char **ret_type)
{
    struct thread *t = arg;
    bool node = strcmp(fl_server_req_query(req), "node") == 0;
    const struct fl_identity who = { .kind = node ? FL_ID_NODE : FL_ID_ANONYMOUS,
                                     .node_id = node ? NODE : NULL,
                                     .source_ip = "127.0.0.1" };
    const struct fl_upgrade_in in = {
        .rest = fl_server_req_path(req) + strlen(fl_route_data_channel.prefix),
        .query = "",
        .who = &who,
    };

    *ret_body = 0;
    *ret_type = "text/plain";
    return fl_route_data_channel.upgrade(t->data, &in, ret_events, ret_arg, ret_limits);
}

static void on_request(void *arg, struct fl_server_req *req)
{
    (void)arg;
    fl_server_reply(req, 404, "text/plain", NULL, 0, "", 0);
}

static void on_abort(void *arg, struct fl_server_req *req)
{
    (void)arg;
    (void)req;
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;

    fl_loop_run(t->loop);
    return NULL;
}

static void stop_loop(void *arg)
{
    fl_loop_stop(arg);
}

static void open_transcripts(char *mode)
{
    f.plane.conf.transcripts = mode;
    f.plane.conf.transcript_days = 30;
    f.plane.conf.transcript_max_bytes = f.plane.conf.transcripts_max_bytes = 1 << 30;
    assert_int_equal(fl_transcripts_open(&f.plane, NULL), 0);
}

static int setup(void **state)
{
    static const struct fl_server_events events = { .on_request = on_request,
                                                    .on_upgrade = on_upgrade,
                                                    .on_abort = on_abort };
    const struct fl_server_conf conf = { .bind = "127.0.0.1" };
    const struct fl_ws_client_conf client_conf = { 0 };

    fl_fixture_open(&f);
    f.plane.conf.session_lost_ms = LOST_MS;
    if (*state)
        open_transcripts(*state);
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_ws_client_new(loop, &client_conf, &client, NULL), 0);
    for (size_t i = 0; i < THREADS; i++) {
        struct thread *t = &threads[i];

        assert_int_equal(fl_loop_new(&t->loop), 0);
        assert_int_equal(fl_server_new(t->loop, &conf, &events, t, &t->server, NULL), 0);
        t->port = fl_server_port(t->server);
        assert_int_equal(
            fl_route_data_channel.start(&f.plane, t->loop, (unsigned)i, &t->data, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i].id, NULL, thread_main, &threads[i]), 0);
    return 0;
}

/* As server/http/front.c does it. */
static void turns(void)
{
    for (int i = 0; i < 8; i++)
        for (size_t t = 0; t < THREADS; t++)
            fl_loop_run_once(threads[t].loop, false);
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        fl_loop_post(threads[i].loop, stop_loop, threads[i].loop);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i].id, NULL);
    disk = DISK_GOOD;
    client = fl_ws_client_free(client);
    for (size_t i = 0; i < THREADS; i++)
        threads[i].server = fl_server_free(threads[i].server);
    fl_store_close(f.plane.store);
    turns();
    for (size_t i = 0; i < THREADS; i++)
        fl_route_data_channel.stop(threads[i].data);
    turns();
    f.plane.transcripts = fl_transcripts_free(f.plane.transcripts);
    for (size_t i = 0; i < THREADS; i++)
        fl_loop_free(threads[i].loop);
    fl_loop_free(loop);
    fl_fixture_close(&f);
    return 0;
}

/* ---- the peers ---- */

struct peer {
    struct fl_ws *ws;
    bool agent, beats, open, closed;
    int code;
    int64_t expected; /* the next stream message */
    size_t bytes, n_acks, n_closed;
    uint64_t digest;       /* over what came, in order */
    bool deaf;             /* acknowledges nothing */
    int64_t sent, to_send; /* stream messages of PAYLOAD bytes */
};

static uint64_t mix(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i += 61) /* enough to see a byte out of its place */
        digest = (digest ^ p[i]) * 1099511628211u;
    return digest;
}

static void peer_send(struct peer *p, const char *type, int64_t seq, uint32_t payload_type,
                      const void *payload, size_t len)
{
    struct fl_frame frame = { .schema_version = 1,
                              .created_ms = 1700000000123,
                              .sequence = seq,
                              .payload_type = payload_type,
                              .payload = payload,
                              .payload_len = len };
    fl_autobuf struct fl_buf out = FL_BUF(1 << 20);

    strcpy(frame.type, type);
    assert_int_equal(fl_frame_encode(&frame, &out), 0);
    assert_int_equal(fl_ws_send(p->ws, FL_WS_BINARY, out.data, out.len), 0);
}

static void fill(char *data, int64_t seq)
{
    memset(data, (int)(seq * 7), PAYLOAD);
    snprintf(data, 32, "%lld", (long long)seq);
}

/* Keeps some of what is to be sent in the socket. */
static void feed(struct peer *p)
{
    static char data[PAYLOAD];

    while (p->sent < p->to_send && p->ws && fl_ws_queued(p->ws) < 1024 * 1024) {
        fill(data, p->sent);
        peer_send(p, p->agent ? FL_DATA_OUTPUT : FL_DATA_INPUT, p->sent++, 1, data, sizeof(data));
    }
}

static void peer_open(void *arg, struct fl_ws *ws)
{
    ((struct peer *)arg)->open = true;
}

static void peer_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                         size_t len)
{
    struct peer *p = arg;
    char text[FL_DATA_ACK_MAX_BYTES];
    struct fl_frame frame;

    assert_int_equal(kind, FL_WS_BINARY);
    assert_int_equal(fl_frame_parse(data, len, &frame, NULL), 0);
    if (strcmp(frame.type, FL_DATA_ACK) == 0) {
        p->n_acks++;
    } else if (strcmp(frame.type, FL_MSG_CHANNEL_CLOSED) == 0) {
        p->n_closed++;
    } else if (strcmp(frame.type, p->agent ? FL_DATA_INPUT : FL_DATA_OUTPUT) == 0) {
        if (frame.sequence == p->expected) {
            p->expected++;
            p->bytes += frame.payload_len;
            p->digest = mix(p->digest, frame.payload, frame.payload_len);
        }
        if (!p->deaf)
            peer_send(p, FL_DATA_ACK, 0, 0, text,
                      fl_data_ack_encode(frame.type, frame.message_id, frame.sequence, text));
    }
}

static void peer_drain(void *arg, struct fl_ws *ws)
{
    feed(arg);
}

static void peer_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct peer *p = arg;

    p->closed = true;
    p->code = code;
    p->ws = NULL;
}

#define WAIT_FOR(condition)                              \
    do {                                                 \
        int64_t end_ = fl_mono_ms() + WAIT_MS;           \
                                                         \
        while (!(condition)) {                           \
            if (fl_mono_ms() > end_)                     \
                fail_msg("waited in vain: " #condition); \
            fl_loop_run_once(loop, false);               \
            usleep(50);                                  \
        }                                                \
    } while (0)

static void dial(struct peer *p, const char *session_id, bool agent, unsigned thread)
{
    static const struct fl_ws_events events = { .on_open = peer_open,
                                                .on_message = peer_message,
                                                .on_drain = peer_drain,
                                                .on_close = peer_close };
    static const struct fl_ws_limits limits = { .max_message_bytes = 1 << 20,
                                                .max_queue_bytes = 16 << 20 };
    char url[200];

    *p = (struct peer){
        .agent = agent, .expected = p->expected, .bytes = p->bytes, .digest = p->digest
    };
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/v1/data-channel/%s?%s", threads[thread].port,
             session_id, agent ? "node" : "role=publish_subscribe");
    assert_int_equal(
        fl_ws_connect(client, url, NULL, 0, (uint32_t)WAIT_MS, &limits, &events, p, &p->ws, NULL),
        0);
}

static void show_token(struct peer *p, const char *session_id)
{
    char *token = NULL, text[1024];

    assert_int_equal(fl_channel_token_new(f.plane.seal_key,
                                          p->agent ? FL_TOKEN_DATA_AGENT : FL_TOKEN_DATA_CLIENT,
                                          session_id, fl_now_ms(), &token),
                     0);
    snprintf(text, sizeof(text),
             "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"r\",\"TokenValue\":\"%s\","
             "\"ClientId\":\"\"%s}",
             token, p->beats ? ",\"Fairlead\":{\"Beats\":true}" : "");
    assert_int_equal(fl_ws_send(p->ws, FL_WS_TEXT, text, strlen(text)), 0);
    free(token);
}

static void come(struct peer *p, const char *session_id, bool agent, unsigned thread)
{
    bool beats = p->beats;

    dial(p, session_id, agent, thread);
    p->beats = beats;
    WAIT_FOR(p->open || p->closed);
    assert_true(p->open);
    show_token(p, session_id);
}

static void go(struct peer *p)
{
    fl_ws_close(p->ws, 0, true);
    WAIT_FOR(p->closed);
}

/* ---- sessions ---- */

static int insert(struct fl_call *call, void *arg)
{
    static char none[] = "", type[] = "Standard_Stream", node[] = NODE, content[] = "{}";
    struct fl_session s = { .id = arg,
                            .node_id = node,
                            .owner = none,
                            .owner_id = none,
                            .document_name = none,
                            .session_type = type,
                            .content = content };

    return fl_session_insert(call, &s, "", 0, NULL);
}

static int terminate(struct fl_call *call, void *arg)
{
    return fl_session_terminate(call, arg, "enough", NULL);
}

static char *new_session(void)
{
    static char ids[2][64];
    static unsigned turn;
    char *id = ids[turn++ % 2], hex[18];

    fl_random_hex(hex, 17);
    snprintf(id, sizeof(ids[0]), "alice-%s", hex);
    f.now_ms = fl_now_ms();
    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, insert, id), 0);
    return id;
}

static int load(struct fl_call *call, void *arg)
{
    struct fl_session s;
    int r = fl_session_load(call, arg, &s, NULL);

    return r > 0 ? (int)s.status : -1;
}

static int status_of(char *id)
{
    return fl_fixture_run(&f, FL_LANE_READ, load, id);
}

/* ---- tests ---- */

/* Of both threads. */
static double plane_cpu_s(void)
{
    double sum = 0;

    for (size_t i = 0; i < THREADS; i++) {
        struct timespec ts = { 0 };
        clockid_t clock;

        if (pthread_getcpuclockid(threads[i].id, &clock) == 0)
            clock_gettime(clock, &ts);
        sum += (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
    }
    return sum;
}

static void bulk(struct peer *from, struct peer *to, char *id)
{
    const char *bench = getenv("SESSION_BENCH_MIB");
    int64_t n = (bench ? atoi(bench) : BULK_MIB) * (int64_t)(1024 * 1024 / PAYLOAD);
    int64_t since = fl_mono_ms(), ms;
    double cpu_s = plane_cpu_s();
    static char data[PAYLOAD];
    uint64_t want = 0;

    from->to_send = n;
    feed(from);
    WAIT_FOR(to->expected == n);
    ms = fl_mono_ms() - since;
    WAIT_FOR((int64_t)from->n_acks == n);
    if (bench)
        fprintf(stderr, "%s: %.0f MB/s, %.1f ms of the plane's CPU for a MiB\n",
                from->agent ? "output" : "input",
                (double)n * PAYLOAD / 1e3 / (double)FL_MAX(ms, (int64_t)1),
                (plane_cpu_s() - cpu_s) * 1e3 / ((double)n * PAYLOAD / 1048576));
    for (int64_t seq = 0; seq < n; seq++) {
        fill(data, seq);
        want = mix(want, data, sizeof(data));
    }
    assert_true(to->digest == want);
    (void)id;
}

static void all_of_it_comes_in_order(void **state)
{
    static const unsigned ways[][2] = { { 0, 0 }, { 0, 1 } };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(ways); i++) {
        static struct peer agent, person;
        char *id = new_session();

        agent = person = (struct peer){ 0 };
        come(&agent, id, true, ways[i][0]);
        come(&person, id, false, ways[i][1]);
        WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
        bulk(&agent, &person, id);
        bulk(&person, &agent, id);
        go(&agent);
        go(&person);
    }
}

/* Nothing is read from the sender beyond what the relay may hold. */
static void a_reader_that_stops_stops_the_writer(void **state)
{
    static struct peer agent, person;
    const int64_t n = 64 * 1024 * 1024 / PAYLOAD;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    fl_ws_pause(person.ws, true);
    agent.to_send = n;
    feed(&agent);
    /* 64 MiB do not fit into sockets and relay together */
    for (int i = 0; i < 200; i++) {
        fl_loop_run_once(loop, false);
        usleep(1000);
    }
    assert_true(agent.sent < n);
    assert_true(agent.sent * PAYLOAD < 40 * 1024 * 1024);
    fl_ws_pause(person.ws, false);
    WAIT_FOR(person.expected == n);
    go(&agent);
    go(&person);
}

static void what_was_said_before_waits(void **state)
{
    static struct peer agent, person;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    dial(&agent, id, true, 0);
    WAIT_FOR(agent.open);
    show_token(&agent, id);
    peer_send(&agent, FL_DATA_OUTPUT, 0, 1, "first", 5); /* right behind the token */
    come(&person, id, false, 1);
    WAIT_FOR(person.expected == 1);
    assert_int_equal(person.bytes, 5);
    go(&agent);
    go(&person);
    WAIT_FOR(status_of(id) == FL_SESS_DISCONNECTED);
}

static void a_newer_connection_takes_the_place(void **state)
{
    static struct peer agent, person, again;
    char *id = new_session();

    (void)state;
    agent = person = again = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 0);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    person.deaf = true;
    peer_send(&agent, FL_DATA_OUTPUT, 0, 1, "one", 3);
    WAIT_FOR(person.expected == 1);
    come(&again, id, false, 1);
    WAIT_FOR(person.closed);
    assert_int_equal(person.code, 4000);
    WAIT_FOR(again.expected == 1); /* replayed */
    peer_send(&agent, FL_DATA_OUTPUT, 1, 1, "two", 3);
    WAIT_FOR(again.expected == 2 && agent.n_acks == 2);
    go(&agent);
    go(&again);
}

static void both_are_told_of_the_end(void **state)
{
    static struct peer agent, person;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, terminate, id), 0);
    WAIT_FOR(person.n_closed == 1 && agent.n_closed == 1 && person.closed);
    assert_int_equal(person.code, 1000);
    assert_false(agent.closed);
    assert_int_equal(status_of(id), FL_SESS_TERMINATING);
    go(&agent);
}

/* Both sides come and go at random, on both threads; nothing hangs, and memory is found again. */
static void coming_and_going(void **state)
{
    static struct peer peers[2];
    char *id = new_session();

    (void)state;
    peers[0] = peers[1] = (struct peer){ 0 };
    for (int i = 0; i < 60; i++) {
        struct peer *p = &peers[fl_random_between(0, 1)];

        if (p->ws && p->open && !p->closed) {
            peer_send(p, p->agent ? FL_DATA_OUTPUT : FL_DATA_INPUT, i, 1, "x", 1);
            if (fl_random_between(0, 1))
                go(p);
        } else {
            come(p, id, p == &peers[0], fl_random_between(0, THREADS - 1));
        }
    }
    for (size_t i = 0; i < 2; i++)
        if (peers[i].ws)
            go(&peers[i]);
    WAIT_FOR(status_of(id) == FL_SESS_DISCONNECTED || status_of(id) == FL_SESS_CONNECTING);
}

static long resident_kib(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    if (fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return (long)(resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

/* All connect, say something, and are told of their end; then nothing of them is left. */
static void an_agent_that_is_silent(void **state)
{
    static struct peer quiet, beating, person;
    char *other = new_session(), *id = new_session();

    (void)state;
    quiet = beating = person = (struct peer){ 0 };
    beating.beats = true;
    come(&quiet, other, true, 0);
    come(&beating, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    WAIT_FOR(beating.closed);
    assert_false(quiet.closed); /* it has promised nothing */
    go(&quiet);
    go(&person);
}

static int count_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    size_t *bytes = arg;

    assert_int_not_equal(kind, FL_TF_GAP);
    *bytes += kind == FL_TF_OUTPUT ? len : 0;
    return 0;
}

/* How much output is recorded; with no gap. */
static size_t recorded(const char *id)
{
    struct fl_tf_end at = { 0 };
    size_t bytes = 0;
    int fd;

    fl_transcripts_settle(f.plane.transcripts);
    fd = fl_transcript_fd(f.plane.transcripts, id);
    assert_true(fd >= 0);
    assert_int_equal(fl_tf_read(fd, fl_transcript_key(f.plane.transcripts), id, &at, SIZE_MAX,
                                count_record, &bytes, NULL),
                     0);
    close(fd);
    return bytes;
}

static size_t held(void)
{
    struct fl_transcripts *t = f.plane.transcripts;
    size_t bytes;

    pthread_mutex_lock(&t->lock);
    bytes = t->held_bytes;
    pthread_mutex_unlock(&t->lock);
    return bytes;
}

/* What must be recorded is not shown before it is; its sender waits, and nothing is missing. */
static void a_disk_that_is_stuck_stops_the_writer(void **state)
{
    static struct peer agent, person;
    const int64_t n = 48 * 1024 * 1024 / PAYLOAD;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    disk = DISK_STUCK;
    agent.to_send = n;
    feed(&agent);
    for (int i = 0; i < 200; i++) {
        fl_loop_run_once(loop, false);
        usleep(1000);
    }
    assert_int_equal(person.expected, 0);
    assert_true(agent.sent < n);
    assert_true(agent.sent * PAYLOAD < 30 * 1024 * 1024);
    assert_true(held() < 4 * 1024 * 1024);
    disk = DISK_GOOD;
    WAIT_FOR(person.expected == n);
    assert_true(recorded(id) == (size_t)n * PAYLOAD);
    go(&agent);
    go(&person);
}

static void what_cannot_be_recorded_is_not_shown(void **state)
{
    static struct peer agent, person;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    peer_send(&agent, FL_DATA_OUTPUT, 0, 1, "one", 3);
    WAIT_FOR(person.expected == 1);
    assert_int_equal(recorded(id), 3);
    disk = DISK_FULL;
    for (int i = 1; i < 4; i++)
        peer_send(&agent, FL_DATA_OUTPUT, i, 1, "two", 3);
    WAIT_FOR(person.n_closed == 1 && person.closed);
    assert_int_equal(person.expected, 1);
    disk = DISK_GOOD;
    go(&agent);
    assert_int_equal(recorded(id), 3);
}

/* Where gaps are allowed, a disk that is stuck is not waited for without end. */
static void what_need_not_be_recorded_is_shown(void **state)
{
    static struct peer agent, person;
    char *id = new_session();

    (void)state;
    agent = person = (struct peer){ 0 };
    come(&agent, id, true, 0);
    come(&person, id, false, 1);
    WAIT_FOR(status_of(id) == FL_SESS_CONNECTED);
    disk = DISK_STUCK;
    for (int i = 0; i < 3; i++)
        peer_send(&agent, FL_DATA_OUTPUT, i, 1, "one", 3);
    WAIT_FOR(person.expected == 3);
    disk = DISK_GOOD;
    assert_int_equal(recorded(id), 9); /* and yet it is */
    go(&agent);
    go(&person);
}

static void many(void **state)
{
    const char *bench = getenv("SESSION_BENCH_MANY");
    size_t n = bench ? (size_t)atoi(bench) : 50;
    struct pair {
        struct peer agent, person;
        char id[64];
    } *pairs = calloc(n, sizeof(*pairs));
    long before = resident_kib();
    int64_t since = fl_mono_ms();

    (void)state;
    assert_non_null(pairs);
    for (size_t i = 0; i < n; i++) {
        struct pair *p = &pairs[i];

        strcpy(p->id, new_session());
        come(&p->agent, p->id, true, i % THREADS);
        come(&p->person, p->id, false, (i / 2) % THREADS);
    }
    for (size_t i = 0; i < n; i++) {
        peer_send(&pairs[i].agent, FL_DATA_OUTPUT, 0, 1, "hello", 5);
        peer_send(&pairs[i].person, FL_DATA_INPUT, 0, 1, "hello", 5);
    }
    for (size_t i = 0; i < n; i++)
        WAIT_FOR(pairs[i].person.n_acks == 1 && pairs[i].agent.n_acks == 1);
    assert_int_equal(fl_hubs_count(f.plane.hubs), n);
    if (bench)
        fprintf(stderr, "%zu sessions in %d ms, %ld KiB each, with both peers of it\n", n,
                (int)(fl_mono_ms() - since), (resident_kib() - before) / (long)n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, terminate, pairs[i].id), 0);
    for (size_t i = 0; i < n; i++)
        WAIT_FOR(pairs[i].person.closed && pairs[i].agent.n_closed == 1);
    for (size_t i = 0; i < n; i++)
        go(&pairs[i].agent);
    free(pairs);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_it_comes_in_order),
        TEST(a_reader_that_stops_stops_the_writer),
        TEST(what_was_said_before_waits),
        TEST(a_newer_connection_takes_the_place),
        TEST(both_are_told_of_the_end),
        TEST(coming_and_going),
        TEST(an_agent_that_is_silent),
        TEST(many),
#define RECORDED(fn, mode) cmocka_unit_test_prestate_setup_teardown(fn, setup, teardown, mode)
        RECORDED(a_disk_that_is_stuck_stops_the_writer, (char *)"required"),
        RECORDED(what_cannot_be_recorded_is_not_shown, (char *)"required"),
        RECORDED(what_need_not_be_recorded_is_shown, (char *)"on"),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
