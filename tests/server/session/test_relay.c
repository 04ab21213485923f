/* The rules of the relay (protocol 3 §11), each with frames as agents and clients send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include "common/wire/datachannel.h"
#include "server/session/relay.h"

#define WALL      1700000000000
#define SEEN_MAX  4096
#define TEXT_SIZE 400

/* What one side got: "output 3 1 hello", in order; `room` is how many frames its socket takes. */
static struct side {
    char seen[SEEN_MAX][TEXT_SIZE];
    size_t n, room;
    bool paused, ended;
} sides[FL_SIDE__N];
static enum fl_relay_word words[8];
static size_t n_words, n_stream, dates;
static int stream_gives;
static struct fl_relay relay;

static int on_send(void *arg, enum fl_side to, struct fl_msg *m)
{
    struct side *s = &sides[to];
    struct fl_frame f;

    (void)arg;
    assert_false(s->ended);
    if (s->room == 0)
        return -ENOBUFS;
    s->room--;
    assert_int_equal(fl_frame_decode(m->data, m->len, &f, NULL), 0);
    assert_true(f.payload_len > 0);
    assert_true(s->n < SEEN_MAX);
    snprintf(s->seen[s->n++], TEXT_SIZE, "%s %d %u %.*s", f.type, (int)f.sequence, f.payload_type,
             (int)FL_MIN(f.payload_len, (size_t)300), f.payload);
    s->ended = m->last;
    return 0;
}

static void on_pause(void *arg, enum fl_side from, bool paused)
{
    (void)arg;
    sides[from].paused = paused;
}

static void on_word(void *arg, enum fl_relay_word word)
{
    (void)arg;
    words[n_words++] = word;
}

static int on_stream(void *arg, enum fl_side from, const struct fl_msg *m, const char *payload,
                     size_t len)
{
    (void)arg;
    (void)from;
    (void)m;
    (void)payload;
    (void)len;
    n_stream++;
    return stream_gives;
}

static const struct fl_relay_events events = { on_send, on_pause, on_word, on_stream };

static void open_relay(const struct fl_relay_conf *more)
{
    struct fl_relay_conf conf = more ? *more : (struct fl_relay_conf){ 0 };

    conf.session_id = "alice-0123456789abcdefg";
    conf.node_id = "mi-0123456789abcdef0";
    memset(sides, 0, sizeof(sides));
    sides[0].room = sides[1].room = SEEN_MAX;
    n_words = n_stream = 0;
    stream_gives = 0;
    fl_relay_init(&relay, &conf, &events, NULL, 0);
}

static int setup(void **state)
{
    (void)state;
    open_relay(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_relay_done(&relay);
    return 0;
}

static int give(enum fl_side from, const char *type, int64_t seq, uint32_t payload_type,
                const void *payload, size_t len)
{
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = WALL + (uint64_t)dates++, /* of one that is repeated, too */
                          .sequence = seq,
                          .payload_type = payload_type,
                          .payload = payload,
                          .payload_len = len };
    fl_autobuf struct fl_buf out = FL_BUF(1 << 20);

    strcpy(f.type, type);
    assert_int_equal(fl_frame_encode(&f, &out), 0);
    return fl_relay_input(&relay, from, fl_msg_new(out.data, out.len), WALL, 5000 + seq % 1000);
}

static void output(int64_t seq, uint32_t type, const char *text)
{
    assert_int_equal(give(FL_SIDE_AGENT, FL_DATA_OUTPUT, seq, type, text, strlen(text)), 0);
}

static void input(int64_t seq, uint32_t type, const char *text)
{
    assert_int_equal(give(FL_SIDE_CLIENT, FL_DATA_INPUT, seq, type, text, strlen(text)), 0);
}

static void ack(enum fl_side from, int64_t seq)
{
    static const uint8_t id[16];
    char text[FL_DATA_ACK_MAX_BYTES];
    size_t len =
        fl_data_ack_encode(from == FL_SIDE_AGENT ? FL_DATA_INPUT : FL_DATA_OUTPUT, id, seq, text);

    assert_int_equal(give(from, FL_DATA_ACK, 0, 0, text, len), 0);
}

static enum fl_flow_known known(int64_t seq)
{
    const struct fl_msg m = { .sequence = seq };

    return fl_flow_find(&relay.to[FL_SIDE_CLIENT], &m, NULL);
}

/* The next frame a side got begins so. */
static void expect(enum fl_side side, size_t at, const char *want)
{
    assert_true(at < sides[side].n);
    assert_memory_equal(sides[side].seen[at], want, strlen(want));
}

static void attach(enum fl_side side)
{
    sides[side].ended = false;
    fl_relay_attach(&relay, side, WALL);
}

static void both(void)
{
    attach(FL_SIDE_AGENT);
    attach(FL_SIDE_CLIENT);
}

/* ---- rules ---- */

static void frames_pass_by_their_type(void **state)
{
    (void)state;
    both();
    output(0, 1, "$ ");
    input(0, 1, "ls\r");
    ack(FL_SIDE_CLIENT, 0);
    ack(FL_SIDE_AGENT, 0);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 0 1 $ ");
    expect(FL_SIDE_CLIENT, 1, "acknowledge 0 0 {\"AcknowledgedMessageType\":\"input_stream_data\"");
    assert_int_equal(sides[FL_SIDE_AGENT].n, 2);
    expect(FL_SIDE_AGENT, 0, "input_stream_data 0 1 ls\r");
    expect(FL_SIDE_AGENT, 1, "acknowledge 0 0 {\"AcknowledgedMessageType\":\"output_stream_data\"");
    assert_int_equal(relay.bad, 0);
}

static void what_does_not_belong_is_dropped(void **state)
{
    char text[] = "{\"SessionState\":\"Connected\"}";

    (void)state;
    both();
    give(FL_SIDE_CLIENT, FL_DATA_OUTPUT, 0, 1, "x", 1); /* a client that plays the agent */
    give(FL_SIDE_AGENT, FL_DATA_INPUT, 0, 1, "x", 1);
    give(FL_SIDE_CLIENT, FL_DATA_SESSION_STATE, 0, 0, text, strlen(text));
    give(FL_SIDE_CLIENT, FL_MSG_CHANNEL_CLOSED, 0, 0, "{}", 2);
    give(FL_SIDE_AGENT, FL_MSG_CHANNEL_CLOSED, 0, 0, "{}", 2);
    give(FL_SIDE_AGENT, FL_DATA_PAUSE, 0, 0, "{}", 2);
    give(FL_SIDE_AGENT, FL_DATA_ACK, 0, 0, "{}", 2);
    give(FL_SIDE_AGENT, FL_DATA_SESSION_STATE, 0, 0, "[]", 2);
    give(FL_SIDE_AGENT, FL_DATA_OUTPUT, -1, 1, "x", 1);
    give(FL_SIDE_AGENT, FL_DATA_OUTPUT, INT64_MAX, 1, "x", 1);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 0);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 0);
    assert_int_equal(n_words, 0);
    assert_int_equal(relay.bad, 10);
    assert_int_equal(fl_relay_input(&relay, FL_SIDE_AGENT, fl_msg_new("junk", 4), WALL, 0),
                     -EBADMSG);
}

static void the_agent_s_words_are_not_passed_on(void **state)
{
    static const char *const texts[] = { "{\"SchemaVersion\":1,\"SessionState\":\"Connected\"}",
                                         "{\"sessionstate\":\"Terminating\"}",
                                         "{\"SessionState\":\"Dancing\"}" };

    (void)state;
    both();
    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++)
        give(FL_SIDE_AGENT, FL_DATA_SESSION_STATE, 0, 0, texts[i], strlen(texts[i]));
    assert_int_equal(n_words, 2);
    assert_int_equal(words[0], FL_RELAY_CONNECTED);
    assert_int_equal(words[1], FL_RELAY_TERMINATING);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 0);
}

static void rule_2_held_until_the_client_comes(void **state)
{
    (void)state;
    attach(FL_SIDE_AGENT);
    output(0, 1, "a");
    output(1, 1, "b");
    output(0, 1, "a"); /* again, as its acknowledgement does not come */
    attach(FL_SIDE_CLIENT);
    output(2, 1, "c");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 3);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 0 1 a");
    expect(FL_SIDE_CLIENT, 1, "output_stream_data 1 1 b");
    expect(FL_SIDE_CLIENT, 2, "output_stream_data 2 1 c");
    assert_int_equal(sides[FL_SIDE_AGENT].n, 0); /* nobody was lost: no start_publication */
}

static void rule_3_replayed_to_a_client_that_comes_back(void **state)
{
    (void)state;
    both();
    output(0, 1, "a");
    output(1, 1, "b");
    ack(FL_SIDE_CLIENT, 0);
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    expect(FL_SIDE_AGENT, 1, "pause_publication");
    output(2, 1, "c");
    ack(FL_SIDE_AGENT, 0); /* stray */
    attach(FL_SIDE_CLIENT);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 4);
    expect(FL_SIDE_CLIENT, 2, "output_stream_data 1 1 b");
    expect(FL_SIDE_CLIENT, 3, "output_stream_data 2 1 c");
    expect(FL_SIDE_AGENT, 2, "start_publication");
    assert_int_equal(sides[FL_SIDE_AGENT].n, 3);
}

static void rule_3_an_agent_that_comes_back_is_paused_again(void **state)
{
    (void)state;
    both();
    input(0, 1, "x");
    fl_relay_detach(&relay, FL_SIDE_AGENT, WALL);
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    attach(FL_SIDE_AGENT);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 3);
    expect(FL_SIDE_AGENT, 1, "input_stream_data 0 1 x"); /* was not acknowledged */
    expect(FL_SIDE_AGENT, 2, "pause_publication");
}

static void rule_3_not_where_a_pause_would_harm(void **state)
{
    (void)state;
    fl_relay_done(&relay);
    open_relay(&(struct fl_relay_conf){ .no_pause = true });
    both();
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    attach(FL_SIDE_CLIENT);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 0);
}

static void rule_4_what_was_acknowledged_is_answered_here(void **state)
{
    (void)state;
    both();
    output(0, 1, "a");
    output(0, 1, "a"); /* not acknowledged: passed on again */
    ack(FL_SIDE_CLIENT, 0);
    output(0, 1, "a");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 2);
    expect(FL_SIDE_AGENT, 1,
           "acknowledge 0 0 {\"AcknowledgedMessageType\":\"output_stream_data\",");
    assert_non_null(strstr(sides[FL_SIDE_AGENT].seen[1], "SequenceNumber\":0,"));
    /* the agent does so itself */
    input(0, 1, "x");
    ack(FL_SIDE_AGENT, 0);
    input(0, 1, "x");
    assert_int_equal(sides[FL_SIDE_AGENT].n, 4);
    expect(FL_SIDE_AGENT, 3, "input_stream_data 0 1 x");
}

/* Acknowledgements are lost with a connection; plugins do not acknowledge again what they have, and
 * official agents repeat their oldest message alone. */
static void rule_4_what_a_plugin_is_silent_about(void **state)
{
    static const struct {
        bool back, later, resumed;
        size_t answers; /* to the agent's second repetition */
    } cases[] = {
        { true, true, false, 2 },
        { true, false, false, 0 }, /* whether it has seen them is not known */
        { false, true, false, 0 }, /* it may not be ready */
        { false, true, true, 2 },  /* to another relay it has been connected */
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        size_t n;

        fl_relay_done(&relay);
        open_relay(&(struct fl_relay_conf){ .no_pause = true, .resumed = cases[i].resumed });
        both();
        output(0, 1, "a");
        output(1, 1, "b");
        if (cases[i].back) {
            fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
            attach(FL_SIDE_CLIENT);
        }
        output(3, 1, "d"); /* 2 was not sent by an agent that was told to pause */
        if (cases[i].later)
            ack(FL_SIDE_CLIENT, 3);
        n = sides[FL_SIDE_CLIENT].n;
        output(0, 1, "a");
        assert_int_equal(sides[FL_SIDE_CLIENT].n, n + 1); /* in case that it does say so */
        n = sides[FL_SIDE_AGENT].n;
        output(0, 1, "a");
        assert_int_equal(sides[FL_SIDE_AGENT].n, n + cases[i].answers);
        for (size_t a = 0; a < cases[i].answers; a++) {
            char want[40];

            snprintf(want, sizeof(want), "SequenceNumber\":%zu,", a);
            assert_non_null(strstr(sides[FL_SIDE_AGENT].seen[n + a], want));
        }
        output(2, 1, "c");
        expect(FL_SIDE_CLIENT, sides[FL_SIDE_CLIENT].n - 1, "output_stream_data 2 1 c");
    }
}

/* It would end the pause. What was on its way is said again after it. */
static void rule_3_a_paused_agent_is_answered_nothing(void **state)
{
    (void)state;
    both();
    output(0, 1, "a");
    ack(FL_SIDE_CLIENT, 0);
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    expect(FL_SIDE_AGENT, 1, "pause_publication");
    output(0, 1, "a");
    assert_int_equal(sides[FL_SIDE_AGENT].n, 2);
    attach(FL_SIDE_CLIENT);
    expect(FL_SIDE_AGENT, 2, "start_publication");
    output(0, 1, "a");
    expect(FL_SIDE_AGENT, 3, "acknowledge 0 0 ");
}

static void rule_4_far_behind_and_far_ahead(void **state)
{
    (void)state;
    both();
    output(0, 1, "a");
    output(5, 1, "a");
    output(FL_FLOW_ACKS, 1, "a");
    output(10 * FL_FLOW_ACKS, 1, "a");
    ack(FL_SIDE_CLIENT, 0);
    ack(FL_SIDE_CLIENT, 5);            /* out of order */
    ack(FL_SIDE_CLIENT, FL_FLOW_ACKS); /* 0 is forgotten, 5 is not */
    assert_int_equal(known(0), FL_FLOW_NEW);
    assert_int_equal(known(5), FL_FLOW_ACKED);
    assert_int_equal(known(6), FL_FLOW_NEW);
    ack(FL_SIDE_CLIENT, 10 * FL_FLOW_ACKS);
    assert_int_equal(known(5), FL_FLOW_NEW);
    assert_int_equal(known(10 * FL_FLOW_ACKS), FL_FLOW_ACKED);
}

static void what_has_not_come_is_not_acknowledged(void **state)
{
    (void)state;
    both();
    ack(FL_SIDE_CLIENT, 0); /* as some clients say to an acknowledgement */
    output(0, 1, "a");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 0 1 a");
}

static void rule_6_handshake_complete_waits(void **state)
{
    (void)state;
    both();
    output(0, FL_DATA_TYPE_HANDSHAKE_REQUEST, "{}");
    ack(FL_SIDE_CLIENT, 0);
    input(0, FL_DATA_TYPE_HANDSHAKE_RESPONSE, "{}");
    output(1, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}");
    output(2, FL_DATA_TYPE_OUTPUT, "data");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    ack(FL_SIDE_AGENT, 0);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 4);
    expect(FL_SIDE_CLIENT, 1, "acknowledge");
    expect(FL_SIDE_CLIENT, 2, "output_stream_data 1 7");
    expect(FL_SIDE_CLIENT, 3, "output_stream_data 2 1 data");
}

static void rule_6_not_if_the_ack_came_first(void **state)
{
    (void)state;
    both();
    input(0, FL_DATA_TYPE_HANDSHAKE_RESPONSE, "{}");
    ack(FL_SIDE_AGENT, 0);
    output(0, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
}

static void rule_6_a_client_that_claims_to_have_it(void **state)
{
    (void)state;
    both();
    input(0, FL_DATA_TYPE_HANDSHAKE_RESPONSE, "{}");
    output(0, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}");
    ack(FL_SIDE_CLIENT, 0);
    output(1, 1, "x");
    ack(FL_SIDE_AGENT, 0);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 1 1 x");
}

static void rule_7_activity(void **state)
{
    (void)state;
    both();
    input(0, 1, "x");
    assert_int_equal(relay.active_ms, 5000);
    input(1, FL_DATA_TYPE_SIZE, "{\"cols\":80,\"rows\":24}");
    output(9, 1, "x");
    assert_int_equal(relay.active_ms, 5000);
    input(2, 1, "x");
    assert_int_equal(relay.active_ms, 5002);
    fl_relay_done(&relay);
    open_relay(&(struct fl_relay_conf){ .any_counts = true });
    output(9, 1, "x");
    assert_int_equal(relay.active_ms, 5009);
}

static void rule_9_closed_behind_what_is_buffered(void **state)
{
    (void)state;
    attach(FL_SIDE_AGENT);
    output(0, 1, "last words");
    fl_relay_close(&relay, FL_SIDE_CLIENT, "over: \"why\"", WALL);
    fl_relay_close(&relay, FL_SIDE_CLIENT, "again", WALL);
    fl_relay_close(&relay, FL_SIDE_AGENT, "", WALL);
    output(1, 1, "too late");
    expect(FL_SIDE_AGENT, 0,
           "channel_closed 0 0 {\"MessageType\":\"channel_closed\",\"MessageId\":\"");
    assert_false(sides[FL_SIDE_AGENT].ended);
    attach(FL_SIDE_CLIENT);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 0 1 last words");
    expect(FL_SIDE_CLIENT, 1, "channel_closed");
    assert_non_null(strstr(sides[FL_SIDE_CLIENT].seen[1],
                           "\"DestinationId\":\"mi-0123456789abcdef0\",\"SessionId\":"
                           "\"alice-0123456789abcdefg\",\"SchemaVersion\":1,\"CreatedDate\":\""));
    assert_non_null(strstr(sides[FL_SIDE_CLIENT].seen[1], "\"Output\":\"over: \\\"why\\\"\"}"));
    assert_true(sides[FL_SIDE_CLIENT].ended);
}

static void rule_9_closing_lifts_the_bar(void **state)
{
    (void)state;
    both();
    input(0, FL_DATA_TYPE_HANDSHAKE_RESPONSE, "{}");
    output(0, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}");
    fl_relay_close(&relay, FL_SIDE_CLIENT, "", WALL);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    assert_true(sides[FL_SIDE_CLIENT].ended);
}

/* ---- limits ---- */

static void a_slow_socket_stops_the_sender(void **state)
{
    static char big[64 * 1024];
    int64_t seq = 0;

    (void)state;
    both();
    memset(big, 'x', sizeof(big));
    sides[FL_SIDE_CLIENT].room = 1;
    while (!sides[FL_SIDE_AGENT].paused && seq < 1000)
        assert_int_equal(give(FL_SIDE_AGENT, FL_DATA_OUTPUT, seq++, 1, big, sizeof(big)), 0);
    assert_true(sides[FL_SIDE_AGENT].paused);
    assert_true(relay.to[FL_SIDE_CLIENT].unsent_bytes < FL_FLOW_HIGH_BYTES + 2 * sizeof(big));
    sides[FL_SIDE_CLIENT].room = 5;
    fl_relay_room(&relay, FL_SIDE_CLIENT);
    assert_true(sides[FL_SIDE_AGENT].paused);
    sides[FL_SIDE_CLIENT].room = SEEN_MAX;
    fl_relay_room(&relay, FL_SIDE_CLIENT);
    assert_false(sides[FL_SIDE_AGENT].paused);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, seq);
    /* the other direction was never stopped: its acknowledgements must come through */
    assert_false(sides[FL_SIDE_CLIENT].paused);
}

static void what_is_kept_has_a_limit(void **state)
{
    static char big[64 * 1024];

    (void)state;
    both();
    memset(big, 'x', sizeof(big));
    for (int64_t seq = 0; seq < 200; seq++)
        give(FL_SIDE_AGENT, FL_DATA_OUTPUT, seq, 1, big, sizeof(big));
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 200);
    assert_true(relay.to[FL_SIDE_CLIENT].sent_bytes <= FL_FLOW_KEEP_BYTES);
    assert_false(sides[FL_SIDE_AGENT].paused);
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    assert_true(sides[FL_SIDE_AGENT].paused); /* what it sends would have to be kept as well */
    attach(FL_SIDE_CLIENT);
    assert_false(sides[FL_SIDE_AGENT].paused);
    expect(FL_SIDE_CLIENT, 200, "output_stream_data 0 1 xxx");
}

static void every_message_is_told_of(void **state)
{
    (void)state;
    both();
    output(0, 1, "a");
    output(0, 1, "a");
    input(0, 1, "b");
    ack(FL_SIDE_AGENT, 0);
    assert_int_equal(n_stream, 3);
}

/* What is to be kept by somebody waits until it is; what was sent is not asked about again. */
static void what_may_not_pass_yet_waits(void **state)
{
    (void)state;
    both();
    fl_relay_let(&relay, FL_SIDE_AGENT, 1);
    output(0, 1, "a");
    output(1, 1, "b");
    output(2, 1, "c");
    input(0, 1, "x"); /* the other direction goes on */
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 1);
    assert_true(fl_relay_waits(&relay));
    fl_relay_let(&relay, FL_SIDE_AGENT, 2);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    fl_relay_detach(&relay, FL_SIDE_CLIENT, WALL);
    attach(FL_SIDE_CLIENT); /* both that it had once more, and no other */
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 4);
    fl_relay_let(&relay, FL_SIDE_AGENT, INT64_MAX);
    expect(FL_SIDE_CLIENT, 4, "output_stream_data 2 1 c");
    assert_false(fl_relay_waits(&relay));
}

/* The end waits behind what is to be written; what will never be is not waited for. */
static void what_may_never_pass_is_forgotten(void **state)
{
    (void)state;
    both();
    fl_relay_let(&relay, FL_SIDE_AGENT, 1);
    output(0, 1, "a");
    output(1, 1, "b");
    fl_relay_close(&relay, FL_SIDE_CLIENT, "the disk is full", WALL);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    fl_relay_shut(&relay);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 2);
    assert_non_null(strstr(sides[FL_SIDE_CLIENT].seen[1], "channel_closed"));
    assert_true(sides[FL_SIDE_CLIENT].ended);
    assert_int_equal(relay.to[FL_SIDE_CLIENT].unsent_bytes, 0);
}

static void who_keeps_can_stop_the_sender(void **state)
{
    (void)state;
    both();
    fl_relay_let(&relay, FL_SIDE_AGENT, 0);
    stream_gives = 1;
    output(0, 1, "a");
    assert_true(sides[FL_SIDE_AGENT].paused);
    stream_gives = 0;
    fl_relay_let(&relay, FL_SIDE_AGENT, 1);
    assert_false(sides[FL_SIDE_AGENT].paused);
    stream_gives = -ENOBUFS; /* not taken: it may come again */
    output(1, 1, "b");
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    assert_int_equal(known(1), FL_FLOW_NEW);
}

/* What a tap has not seen does not pass under the number of what it has. */
static void a_number_stands_for_one_message(void **state)
{
    (void)state;
    both();
    input(0, 1, "ls\r");
    input(0, 1, "rm\r");
    fl_relay_detach(&relay, FL_SIDE_AGENT, WALL);
    input(0, 1, "rm\r");
    attach(FL_SIDE_AGENT);
    assert_int_equal(sides[FL_SIDE_AGENT].n, 3);
    for (size_t i = 0; i < 3; i++)
        expect(FL_SIDE_AGENT, i, "input_stream_data 0 1 ls\r");
    stream_gives = FL_RELAY_SEEN;
    input(1, 1, "rm\r"); /* seen, and no more known here */
    assert_int_equal(sides[FL_SIDE_AGENT].n, 3);
    assert_int_equal(relay.bad, 1);
}

static void what_is_not_kept_is_known_again(void **state)
{
    static char big[FL_FLOW_KEEP_BYTES / 2 - FL_FRAME_HEADER_BYTES - 10];
    int64_t seq = 4;

    (void)state;
    both();
    memset(big, 'x', sizeof(big));
    give(FL_SIDE_AGENT, FL_DATA_OUTPUT, 0, 1, big, sizeof(big));
    give(FL_SIDE_AGENT, FL_DATA_OUTPUT, 1, 1, big, sizeof(big));
    output(2, 1, "two");
    output(3, 1, "three");
    assert_int_equal(relay.to[FL_SIDE_CLIENT].n_gone, 2);
    output(2, 1, "two"); /* lost on the way: as it was it passes, */
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 5);
    expect(FL_SIDE_CLIENT, 4, "output_stream_data 2 1 two");
    output(3, 1, "3"); /* and not otherwise */
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 5);
    assert_int_equal(relay.bad, 1);
    assert_int_equal(relay.to[FL_SIDE_CLIENT].n_gone, 2);

    for (; relay.to[FL_SIDE_CLIENT].n_gone < FL_FLOW_GONE && seq < 5000; seq++) {
        output(seq, 1, "more");
        sides[FL_SIDE_CLIENT].n = 0;
        sides[FL_SIDE_CLIENT].room = SEEN_MAX;
    }
    output(seq, 1, "last"); /* there is a limit, and then it waits */
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 0);
    ack(FL_SIDE_CLIENT, 2);
    assert_int_equal(sides[FL_SIDE_CLIENT].n, 1);
    expect(FL_SIDE_CLIENT, 0, "output_stream_data 4098 1 last");
    ack(FL_SIDE_CLIENT, 0);
    output(seq + 1, 1, "kept");
    assert_int_equal(relay.to[FL_SIDE_CLIENT].n_gone, FL_FLOW_GONE);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_number_stands_for_one_message),
        TEST(what_is_not_kept_is_known_again),
        TEST(frames_pass_by_their_type),
        TEST(what_does_not_belong_is_dropped),
        TEST(the_agent_s_words_are_not_passed_on),
        TEST(rule_2_held_until_the_client_comes),
        TEST(rule_3_replayed_to_a_client_that_comes_back),
        TEST(rule_3_an_agent_that_comes_back_is_paused_again),
        TEST(rule_3_not_where_a_pause_would_harm),
        TEST(rule_3_a_paused_agent_is_answered_nothing),
        TEST(rule_4_what_was_acknowledged_is_answered_here),
        TEST(rule_4_what_a_plugin_is_silent_about),
        TEST(rule_4_far_behind_and_far_ahead),
        TEST(what_has_not_come_is_not_acknowledged),
        TEST(rule_6_handshake_complete_waits),
        TEST(rule_6_not_if_the_ack_came_first),
        TEST(rule_6_a_client_that_claims_to_have_it),
        TEST(rule_7_activity),
        TEST(rule_9_closed_behind_what_is_buffered),
        TEST(rule_9_closing_lifts_the_bar),
        TEST(a_slow_socket_stops_the_sender),
        TEST(what_is_kept_has_a_limit),
        TEST(every_message_is_told_of),
        TEST(what_may_not_pass_yet_waits),
        TEST(what_may_never_pass_is_forgotten),
        TEST(who_keeps_can_stop_the_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
