/* One end against what its peer may say, frame by frame. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/crypto.h"
#include "common/base/rand.h"
#include "common/session/reliable.h"

#define WALL   1700000000000
#define T0     5000 /* mono_ms at which everything begins */
#define SENT   4096
#define UUID_A "11223344-5566-4788-99aa-bbccddeeff00"

struct end {
    struct fl_reliable *reliable;
    struct {
        char *data;
        size_t len;
        struct fl_frame f;
    } sent[SENT];
    size_t n_sent;
    size_t socket_room; /* frames it takes before it is full */
    char got[65536];
    size_t n_got;
    uint32_t last_type;
    int answer; /* of deliver */
    bool reply; /* deliver writes something back */
    unsigned rooms, others;
    char other_type[FL_FRAME_TYPE_BYTES + 1];
};

static int on_send(void *arg, const void *frame, size_t len)
{
    struct end *e = arg;

    if (e->socket_room == 0)
        return -ENOBUFS;
    e->socket_room--;
    assert_true(e->n_sent < SENT);
    e->sent[e->n_sent].data = malloc(len);
    memcpy(e->sent[e->n_sent].data, frame, len);
    e->sent[e->n_sent].len = len;
    assert_int_equal(fl_frame_decode(e->sent[e->n_sent].data, len, &e->sent[e->n_sent].f, NULL), 0);
    e->n_sent++;
    return 0;
}

static int on_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct end *e = arg;

    if (e->answer == 0) {
        memcpy(e->got + e->n_got, data, len);
        e->n_got += len;
        e->got[e->n_got] = '\0';
        e->last_type = type;
    }
    if (e->reply)
        assert_int_equal(
            fl_reliable_write(e->reliable, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}", 2, WALL, T0), 0);
    return e->answer;
}

static void on_other(void *arg, const struct fl_frame *f)
{
    struct end *e = arg;

    e->others++;
    memcpy(e->other_type, f->type, sizeof(e->other_type));
}

static void on_room(void *arg)
{
    struct end *e = arg;

    e->rooms++;
}

static struct end *start(const struct fl_reliable_conf *conf)
{
    static const struct fl_reliable_events events = { on_send, on_deliver, on_other, on_room };
    struct end *e = calloc(1, sizeof(*e));

    e->socket_room = SENT;
    assert_int_equal(fl_reliable_new(conf, &events, e, &e->reliable), 0);
    fl_reliable_set_connected(e->reliable, true);
    return e;
}

static struct end *start_agent(void)
{
    return start(&(struct fl_reliable_conf){ .agent = true });
}

static void stop(struct end *e)
{
    for (size_t i = 0; i < e->n_sent; i++)
        free(e->sent[i].data);
    fl_reliable_free(e->reliable);
    free(e);
}

static int input(struct end *e, const struct fl_frame *f, int64_t mono_ms)
{
    fl_autobuf struct fl_buf out = FL_BUF(1 << 20);

    assert_int_equal(fl_frame_encode(f, &out), 0);
    return fl_reliable_input(e->reliable, out.data, out.len, WALL, mono_ms);
}

static int data(struct end *e, const char *type, int64_t sequence, const char *text)
{
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = WALL,
                          .sequence = sequence,
                          .payload_type = FL_DATA_TYPE_OUTPUT,
                          .payload = text,
                          .payload_len = strlen(text) };

    snprintf(f.type, sizeof(f.type), "%s", type);
    assert_int_equal(fl_uuid_parse(UUID_A, f.message_id), 0);
    return input(e, &f, T0);
}

static int in(struct end *e, int64_t sequence, const char *text)
{
    return data(e, FL_DATA_INPUT, sequence, text);
}

static void ack(struct end *e, int64_t sequence, int64_t mono_ms)
{
    static const uint8_t id[16];
    char text[FL_DATA_ACK_MAX_BYTES];
    struct fl_frame f = {
        .type = FL_DATA_ACK, .schema_version = 1, .created_ms = WALL, .flags = 3
    };

    f.payload = text;
    f.payload_len = fl_data_ack_encode(FL_DATA_OUTPUT, id, sequence, text);
    assert_int_equal(input(e, &f, mono_ms), 0);
}

static void control(struct end *e, const char *type)
{
    struct fl_frame f = {
        .schema_version = 1, .created_ms = WALL, .payload = "x", .payload_len = 1
    };

    snprintf(f.type, sizeof(f.type), "%s", type);
    assert_int_equal(input(e, &f, T0), 0);
}

static void write_text(struct end *e, const char *text, int64_t mono_ms)
{
    assert_int_equal(
        fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, strlen(text), WALL, mono_ms), 0);
}

/* The number that the i-th frame sent acknowledges. */
static int64_t acked(const struct end *e, size_t i)
{
    int64_t sequence = -1;

    assert_true(i < e->n_sent);
    assert_string_equal(e->sent[i].f.type, FL_DATA_ACK);
    assert_int_equal(e->sent[i].f.flags, 3);
    assert_int_equal(e->sent[i].f.payload_type, 0);
    assert_int_equal(fl_data_ack_decode(e->sent[i].f.payload, e->sent[i].f.payload_len, &sequence),
                     0);
    return sequence;
}

static int64_t tick(struct end *e, int64_t mono_ms)
{
    return fl_reliable_tick(e->reliable, WALL, mono_ms);
}

static void frames_are_as_official_ones(void **state)
{
    struct end *a = start_agent(), *c = start(&(struct fl_reliable_conf){ .agent = false });

    write_text(a, "first", T0);
    write_text(a, "second", T0);
    assert_int_equal(a->n_sent, 2);
    for (int64_t i = 0; i < 2; i++) {
        assert_string_equal(a->sent[i].f.type, FL_DATA_OUTPUT);
        assert_int_equal(a->sent[i].f.sequence, i);
        assert_int_equal(a->sent[i].f.flags, i == 0 ? 1 : 0);
        assert_int_equal(a->sent[i].f.schema_version, 1);
        assert_int_equal(a->sent[i].f.created_ms, WALL);
        assert_int_equal(a->sent[i].f.payload_type, FL_DATA_TYPE_OUTPUT);
        assert_int_equal(a->sent[i].f.message_id[6] >> 4, 4);
        assert_int_equal(a->sent[i].f.message_id[8] >> 6, 2);
    }
    assert_memory_not_equal(a->sent[0].f.message_id, a->sent[1].f.message_id, 16);
    assert_int_equal(fl_reliable_write(c->reliable, FL_DATA_TYPE_SIZE, "{\"cols\":80,\"rows\":24}",
                                       21, WALL, T0),
                     0);
    assert_string_equal(c->sent[0].f.type, FL_DATA_INPUT);
    assert_int_equal(c->sent[0].f.flags, 0);
    assert_int_equal(c->sent[0].f.payload_type, FL_DATA_TYPE_SIZE);
    stop(a);
    stop(c);
}

static void data_is_cut_other_types_are_not(void **state)
{
    struct end *e = start_agent();
    char text[3000];

    memset(text, 'x', sizeof(text));
    assert_int_equal(
        fl_reliable_write(e->reliable, FL_DATA_TYPE_STDERR, text, sizeof(text), WALL, T0), 0);
    assert_int_equal(e->n_sent, 3);
    assert_int_equal(e->sent[0].f.payload_len, 1024);
    assert_int_equal(e->sent[2].f.payload_len, 3000 - 2048);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_HANDSHAKE_REQUEST, text,
                                       sizeof(text), WALL, T0),
                     0);
    assert_int_equal(e->n_sent, 4);
    assert_int_equal(e->sent[3].f.payload_len, 3000);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, "", 0, WALL, T0), 0);
    assert_int_equal(e->n_sent, 4);
    stop(e);
}

static void each_message_is_delivered_once_and_acknowledged(void **state)
{
    struct end *e = start_agent();
    char id[FL_UUID_BYTES];

    assert_int_equal(in(e, 0, "a"), 0);
    assert_int_equal(in(e, 1, "b"), 0);
    assert_string_equal(e->got, "ab");
    assert_int_equal(e->n_sent, 2);
    assert_int_equal(acked(e, 0), 0);
    assert_int_equal(acked(e, 1), 1);
    fl_uuid_format(e->sent[0].f.message_id, id);
    assert_string_not_equal(id, UUID_A);
    assert_non_null(
        strstr(e->sent[0].f.payload, "\"AcknowledgedMessageType\":\"input_stream_data\""));
    assert_non_null(strstr(e->sent[0].f.payload, UUID_A));
    /* it may be that the acknowledgement was lost */
    assert_int_equal(in(e, 0, "a"), 0);
    assert_string_equal(e->got, "ab");
    assert_int_equal(acked(e, 2), 0);
    assert_int_equal(fl_reliable_counters(e->reliable)->duplicates, 1);
    stop(e);
}

static void early_messages_wait_and_are_acknowledged_at_once(void **state)
{
    struct end *e = start_agent();

    assert_int_equal(in(e, 2, "c"), 0);
    assert_int_equal(in(e, 1, "b"), 0);
    assert_int_equal(in(e, 2, "c"), 0);
    assert_int_equal(e->n_got, 0);
    assert_int_equal(e->n_sent, 3);
    assert_int_equal(acked(e, 0), 2);
    assert_int_equal(acked(e, 1), 1);
    assert_int_equal(acked(e, 2), 2);
    assert_true(fl_reliable_held(e->reliable) > 0);
    assert_int_equal(in(e, 0, "a"), 0);
    assert_string_equal(e->got, "abc");
    assert_int_equal(e->n_sent, 4);
    assert_int_equal(acked(e, 3), 0);
    assert_int_equal(fl_reliable_held(e->reliable), 0);
    stop(e);
}

static void early_messages_have_limits(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = true, .max_early_bytes = 200 });

    assert_int_equal(in(e, 1, "b"), 0);
    assert_int_equal(in(e, 2, "c"), 0);
    assert_int_equal(in(e, 3, "d"), 0);
    assert_int_equal(in(e, 4, "e"), 0); /* each costs more than its byte */
    assert_int_equal(in(e, 1 + 16384, "z"), 0);
    assert_int_equal(in(e, INT64_MAX, "z"), 0);
    assert_int_equal(e->n_sent, 3);
    assert_int_equal(fl_reliable_counters(e->reliable)->dropped, 3);
    assert_int_equal(in(e, 0, "a"), 0);
    assert_int_equal(in(e, 4, "e"), 0);
    assert_string_equal(e->got, "abcde");
    stop(e);
}

static void what_is_not_ready_is_not_acknowledged(void **state)
{
    struct end *e = start_agent();

    e->answer = -EAGAIN;
    assert_int_equal(in(e, 0, "a"), 0);
    assert_int_equal(in(e, 0, "a"), 0);
    assert_int_equal(in(e, 1, "b"), 0);
    assert_int_equal(e->n_sent, 1);
    assert_int_equal(acked(e, 0), 1);
    e->answer = 0;
    assert_int_equal(fl_reliable_kick(e->reliable, WALL, T0), 0);
    assert_string_equal(e->got, "ab");
    assert_int_equal(e->n_sent, 2);
    assert_int_equal(acked(e, 1), 0);

    e->answer = -EAGAIN; /* or when the peer sends it again */
    assert_int_equal(in(e, 2, "c"), 0);
    e->answer = 0;
    assert_int_equal(in(e, 2, "c"), 0);
    assert_string_equal(e->got, "abc");
    assert_int_equal(acked(e, 2), 2);
    stop(e);
}

static void an_error_of_the_owner_comes_back(void **state)
{
    struct end *e = start_agent();

    e->answer = -EBADMSG;
    assert_int_equal(in(e, 0, "a"), -EBADMSG);
    assert_int_equal(e->n_sent, 0);
    stop(e);
}

/* Protocol 3 §5, race b. */
static void the_acknowledgement_leaves_before_the_answer(void **state)
{
    struct end *e = start_agent();

    e->reply = true;
    assert_int_equal(in(e, 0, "{}"), 0);
    assert_int_equal(e->n_sent, 2);
    assert_int_equal(acked(e, 0), 0);
    assert_int_equal(e->sent[1].f.payload_type, FL_DATA_TYPE_HANDSHAKE_COMPLETE);
    stop(e);
}

static void acknowledgements_wait_for_the_socket_too(void **state)
{
    struct end *e = start_agent();

    e->socket_room = 0;
    for (int i = 0; i < 2000; i++)
        assert_int_equal(in(e, i, "a"), 0);
    write_text(e, "out", T0);
    assert_int_equal(e->n_sent, 0);
    e->socket_room = SENT;
    assert_int_equal(fl_reliable_kick(e->reliable, WALL, T0), 0);
    assert_int_equal(e->n_sent, 1024 + 1); /* the peer asks again for the rest */
    for (int i = 0; i < 1024; i++)
        assert_int_equal(acked(e, (size_t)i), i);
    assert_string_equal(e->sent[1024].f.type, FL_DATA_OUTPUT);
    stop(e);
}

static void a_wrong_digest_is_the_clients_affair(void **state)
{
    (void)state;
    for (int agent = 0; agent < 2; agent++) {
        struct end *e = start(&(struct fl_reliable_conf){ .agent = agent });
        fl_autobuf struct fl_buf out = FL_BUF(4096);
        struct fl_frame f = { .schema_version = 1,
                              .created_ms = WALL,
                              .payload_type = FL_DATA_TYPE_OUTPUT,
                              .payload = "x",
                              .payload_len = 1 };

        strcpy(f.type, agent ? FL_DATA_INPUT : FL_DATA_OUTPUT);
        assert_int_equal(fl_frame_encode(&f, &out), 0);
        out.data[out.len - 1] ^= 1;
        assert_int_equal(fl_reliable_input(e->reliable, out.data, out.len, WALL, T0), 0);
        assert_int_equal(e->n_got, agent);
        assert_int_equal(fl_reliable_counters(e->reliable)->bad, !agent);
        stop(e);
    }
}

/* That of nothing is looked at by nobody (protocol 3 §4). */
static void nothing_has_any_digest(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = false });
    fl_autobuf struct fl_buf out = FL_BUF(4096);
    struct fl_frame f = { .type = FL_DATA_OUTPUT,
                          .schema_version = 1,
                          .created_ms = WALL,
                          .payload_type = FL_DATA_TYPE_OUTPUT };

    (void)state;
    assert_int_equal(fl_frame_encode(&f, &out), 0);
    memset(out.data + 80, 0, FL_SHA256_BYTES);
    assert_int_equal(fl_reliable_input(e->reliable, out.data, out.len, WALL, T0), 0);
    assert_int_equal(fl_reliable_counters(e->reliable)->delivered, 1);
    assert_int_equal(fl_reliable_counters(e->reliable)->bad, 0);
    stop(e);
}

static void what_is_wrong_is_ignored(void **state)
{
    struct end *e = start_agent();
    fl_autobuf struct fl_buf out = FL_BUF(4096);
    struct fl_frame f = { .type = FL_DATA_INPUT,
                          .schema_version = 1,
                          .created_ms = WALL,
                          .payload = "x",
                          .payload_len = 1 };

    assert_int_equal(fl_frame_encode(&f, &out), 0);
    assert_int_equal(fl_reliable_input(e->reliable, out.data, 119, WALL, T0), 0);
    assert_int_equal(in(e, -1, "a"), 0);
    assert_int_equal(data(e, FL_DATA_OUTPUT, 0, "a"), 0);
    control(e, FL_DATA_ACK); /* whose payload is no JSON */
    assert_int_equal(e->n_got + e->n_sent, 0);
    assert_int_equal(fl_reliable_counters(e->reliable)->bad, 4);
    control(e, FL_MSG_CHANNEL_CLOSED);
    assert_int_equal(e->others, 1);
    assert_string_equal(e->other_type, FL_MSG_CHANNEL_CLOSED);
    ack(e, 0, T0); /* nothing was sent yet */
    ack(e, INT64_MAX, T0);
    stop(e);
}

/* Protocol 3 §5: SRTT 100 and RTTVAR 0 at first, RTO 200. */
static void resends_follow_the_rule(void **state)
{
    struct end *e = start_agent();

    assert_true(tick(e, T0) == INT64_MAX);
    write_text(e, "a", T0);
    assert_int_equal(tick(e, T0), T0 + 201);
    assert_int_equal(tick(e, T0 + 200), T0 + 201);
    assert_int_equal(e->n_sent, 1);
    tick(e, T0 + 201);
    assert_int_equal(e->n_sent, 2);
    assert_int_equal(e->sent[0].len, e->sent[1].len); /* identical, id and all */
    assert_memory_equal(e->sent[0].data, e->sent[1].data, e->sent[0].len);
    assert_int_equal(fl_reliable_counters(e->reliable)->resent, 1);

    /* a sample of 50 ms: RTTVAR 12.5, SRTT 93.75, RTO 143.75 */
    ack(e, 0, T0 + 251);
    assert_true(fl_reliable_idle(e->reliable));
    write_text(e, "b", T0 + 300);
    assert_int_equal(tick(e, T0 + 300), T0 + 300 + 144);
    /* one of 150 ms: RTTVAR 9.375 + 14.0625, SRTT 100.78125, RTO 194.53125 */
    ack(e, 1, T0 + 450);
    write_text(e, "c", T0 + 450);
    assert_int_equal(tick(e, T0 + 450), T0 + 450 + 195);
    /* one of 2 s: far over the 1000 that it is cut to */
    ack(e, 2, T0 + 2450);
    write_text(e, "d", T0 + 2450);
    assert_int_equal(tick(e, T0 + 2450), T0 + 2450 + 1001);
    /* with answers at once it goes down to SRTT + 10 ms */
    ack(e, 3, T0 + 2450);
    for (int64_t i = 4; i < 200; i++) {
        write_text(e, "x", T0 + 2450);
        ack(e, i, T0 + 2450);
    }
    write_text(e, "e", T0 + 2450);
    assert_int_equal(tick(e, T0 + 2450), T0 + 2450 + 11);
    stop(e);
}

static void a_silent_peer_is_asked_ever_less(void **state)
{
    struct end *e = start_agent();
    int64_t at = T0;
    size_t before;

    for (int64_t i = 0; i < 100; i++) {
        write_text(e, "x", T0);
        ack(e, i, T0);
    }
    write_text(e, "a", T0);
    write_text(e, "b", T0);
    before = e->n_sent;
    while (at < T0 + 10000)
        at = tick(e, at);
    /* only the oldest, about once a second at the end */
    assert_in_range(e->n_sent - before, 10, 16);
    for (size_t i = before; i < e->n_sent; i++)
        assert_int_equal(e->sent[i].f.sequence, 100);
    stop(e);
}

static void what_is_known_to_be_lost_is_resent_together(void **state)
{
    struct end *e = start_agent();
    size_t before;

    for (int i = 0; i < 10; i++)
        write_text(e, "x", T0);
    ack(e, 3, T0 + 1);
    ack(e, 6, T0 + 1);
    before = e->n_sent;
    tick(e, T0 + 1000);
    /* 0 as it is the oldest, 1 2 4 5 as 6 has arrived; 7 8 9 may be late */
    assert_int_equal(e->n_sent - before, 5);
    static const int64_t want[] = { 0, 1, 2, 4, 5 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(e->sent[before + i].f.sequence, want[i]);
    stop(e);
}

static void the_window_is_counted_from_the_oldest(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = true, .max_bytes = 4096 });
    char text[4096];

    memset(text, 'x', sizeof(text));
    assert_int_equal(fl_reliable_room(e->reliable), 4096);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 4097, WALL, T0),
                     -ENOBUFS);
    assert_int_equal(e->n_sent, 0);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 4096, WALL, T0), 0);
    assert_int_equal(fl_reliable_room(e->reliable), 0);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 1, WALL, T0),
                     -ENOBUFS);
    ack(e, 1, T0);
    ack(e, 2, T0);
    assert_int_equal(fl_reliable_room(e->reliable), 0); /* 0 is still out */
    assert_int_equal(e->rooms, 0);
    ack(e, 0, T0);
    assert_int_equal(fl_reliable_room(e->reliable), 3072);
    assert_int_equal(e->rooms, 1);
    assert_false(fl_reliable_idle(e->reliable));
    ack(e, 3, T0);
    assert_true(fl_reliable_idle(e->reliable));
    assert_int_equal(e->rooms, 1);
    stop(e);
}

static void the_window_counts_messages_too(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = true, .max_messages = 3 });

    for (int i = 0; i < 3; i++)
        write_text(e, "x", T0);
    assert_int_equal(fl_reliable_room(e->reliable), 0);
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, "x", 1, WALL, T0),
                     -ENOBUFS);
    ack(e, 0, T0);
    assert_int_equal(e->rooms, 1);
    assert_int_equal(fl_reliable_room(e->reliable), 1024);
    stop(e);
}

/* A flag or an exit code must get through where output does not. */
static void what_is_not_data_has_a_reserve(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = true, .max_bytes = 2048 });
    char text[2048];
    int n = 0;

    memset(text, 'x', sizeof(text));
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 2048, WALL, T0), 0);
    while (fl_reliable_write(e->reliable, FL_DATA_TYPE_FLAG, "\0\0\0\2", 4, WALL, T0) == 0)
        n++;
    assert_in_range(n, 60, 10000);
    assert_int_equal(fl_reliable_room(e->reliable), 0);
    stop(e);
}

static void a_longer_message_size_takes_room_and_gives_it_back(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = true, .max_bytes = 65536 });
    char text[1024];

    memset(text, 'x', sizeof(text));
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 1024, WALL, T0), 0);
    assert_true(fl_reliable_room(e->reliable) > 0);
    fl_reliable_set_max_payload(e->reliable, 65536);
    assert_int_equal(fl_reliable_room(e->reliable), 0);
    ack(e, 0, T0);
    assert_int_equal(e->rooms, 1);
    assert_int_equal(fl_reliable_room(e->reliable), 65536);
    stop(e);
}

static void after_a_reconnect_everything_goes_again_in_order(void **state)
{
    struct end *e = start_agent();
    size_t before;

    for (int i = 0; i < 5; i++)
        write_text(e, "x", T0);
    ack(e, 0, T0);
    ack(e, 2, T0);
    fl_reliable_set_connected(e->reliable, false);
    assert_true(tick(e, T0 + 10000) == INT64_MAX);
    before = e->n_sent;
    write_text(e, "y", T0 + 10000);
    assert_int_equal(e->n_sent, before);
    fl_reliable_set_connected(e->reliable, true);
    assert_int_equal(e->n_sent, before);
    assert_int_equal(fl_reliable_kick(e->reliable, WALL, T0 + 10000), 0);
    static const int64_t want[] = { 1, 3, 4, 5 };
    assert_int_equal(e->n_sent - before, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(e->sent[before + i].f.sequence, want[i]);
    assert_memory_equal(e->sent[before].data, e->sent[1].data, e->sent[1].len);
    stop(e);
}

static void a_full_socket_is_tried_again(void **state)
{
    struct end *e = start_agent();

    e->socket_room = 2;
    for (int i = 0; i < 5; i++)
        write_text(e, "x", T0);
    assert_int_equal(e->n_sent, 2);
    assert_true(tick(e, T0 + 1000) == INT64_MAX);
    e->socket_room = 1;
    fl_reliable_kick(e->reliable, WALL, T0);
    assert_int_equal(e->n_sent, 3);
    ack(e, 4, T0); /* of what has not left */
    e->socket_room = 9;
    fl_reliable_kick(e->reliable, WALL, T0);
    assert_int_equal(e->n_sent, 5);
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(e->sent[i].f.sequence, i);
    stop(e);
}

/* Protocol 3 §5: what ends a pause. */
static void a_paused_agent_waits(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct end *e = start_agent();

        write_text(e, "a", T0);
        control(e, FL_DATA_PAUSE);
        assert_int_equal(fl_reliable_room(e->reliable), 0);
        write_text(e, "in flight", T0);
        assert_true(tick(e, T0 + 10000) == INT64_MAX);
        assert_int_equal(e->n_sent, 1);
        if (how == 0)
            control(e, FL_DATA_START);
        else if (how == 1)
            assert_int_equal(in(e, 0, "k"), 0);
        else if (how == 2)
            ack(e, 77, T0);
        else {
            fl_reliable_set_paused(e->reliable, false);
            fl_reliable_kick(e->reliable, WALL, T0);
        }
        assert_int_equal(e->rooms, 1);
        assert_string_equal(e->sent[e->n_sent - 1].f.type, FL_DATA_OUTPUT);
        assert_int_equal(e->sent[e->n_sent - 1].f.sequence, 1);
        assert_int_equal(e->others, 0);
        stop(e);
    }
}

static void a_client_is_not_paused(void **state)
{
    struct end *e = start(&(struct fl_reliable_conf){ .agent = false });

    control(e, FL_DATA_PAUSE);
    write_text(e, "a", T0);
    assert_int_equal(e->n_sent, 1);
    stop(e);
}

static void a_seal_covers_data_only(void **state)
{
    static const uint8_t key[FL_SESSION_KEY_BYTES] = { 1, 2, 3 };
    struct fl_session_seal *agent = fl_session_seal_new(true, key);
    struct fl_session_seal *client = fl_session_seal_new(false, key);
    struct end *e = start_agent(), *c = start(&(struct fl_reliable_conf){ .agent = false });

    fl_reliable_set_seal(e->reliable, agent);
    fl_reliable_set_seal(c->reliable, client);
    write_text(e, "secret", T0);
    assert_int_equal(e->sent[0].f.payload_len, 6 + FL_SESSION_SEAL_BYTES);
    assert_null(memmem(e->sent[0].data, e->sent[0].len, "secret", 6));
    assert_int_equal(
        fl_reliable_write(e->reliable, FL_DATA_TYPE_HANDSHAKE_COMPLETE, "{}", 2, WALL, T0), 0);
    assert_int_equal(e->sent[1].f.payload_len, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(fl_reliable_input(c->reliable, e->sent[i].data, e->sent[i].len, WALL, T0),
                         0);
    assert_string_equal(c->got, "secret{}");
    /* what was not sealed is not taken, nor does it take the place of what was */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(data(c, FL_DATA_OUTPUT, 2, "plain text that is long enough"), -EBADMSG);
    assert_string_equal(c->got, "secret{}");
    assert_int_equal(c->n_sent, 2);
    stop(e);
    stop(c);
    fl_session_seal_free(agent);
    fl_session_seal_free(client);
}

/* What lies between the ends takes no longer ones. */
static void a_sealed_message_is_no_longer_than_others(void **state)
{
    static const uint8_t key[FL_SESSION_KEY_BYTES] = { 1, 2, 3 };
    static const char text[2 * FL_DATA_MAX_PAYLOAD_BYTES];
    struct fl_session_seal *seal = fl_session_seal_new(true, key);

    for (int first = 0; first < 2; first++) {
        struct end *e = start_agent();

        if (first)
            fl_reliable_set_seal(e->reliable, seal);
        fl_reliable_set_max_payload(e->reliable, FL_DATA_MAX_PAYLOAD_BYTES);
        fl_reliable_set_seal(e->reliable, seal);
        assert_int_equal(
            fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, sizeof(text), WALL, T0), 0);
        assert_int_equal(e->n_sent, 3);
        assert_int_equal(e->sent[0].f.payload_len, FL_DATA_MAX_PAYLOAD_BYTES);
        stop(e);
    }
    fl_session_seal_free(seal);
}

static void unused_memory_is_given_back(void **state)
{
    struct end *e = start_agent();
    char text[1024];

    memset(text, 'x', sizeof(text));
    assert_int_equal(fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, text, 1024, WALL, T0), 0);
    ack(e, 0, T0 + 5);
    assert_int_equal(tick(e, T0 + 5), T0 + 1000);
    assert_true(tick(e, T0 + 1000) == INT64_MAX);
    stop(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_as_official_ones),
        cmocka_unit_test(data_is_cut_other_types_are_not),
        cmocka_unit_test(each_message_is_delivered_once_and_acknowledged),
        cmocka_unit_test(early_messages_wait_and_are_acknowledged_at_once),
        cmocka_unit_test(early_messages_have_limits),
        cmocka_unit_test(what_is_not_ready_is_not_acknowledged),
        cmocka_unit_test(an_error_of_the_owner_comes_back),
        cmocka_unit_test(the_acknowledgement_leaves_before_the_answer),
        cmocka_unit_test(acknowledgements_wait_for_the_socket_too),
        cmocka_unit_test(a_wrong_digest_is_the_clients_affair),
        cmocka_unit_test(nothing_has_any_digest),
        cmocka_unit_test(what_is_wrong_is_ignored),
        cmocka_unit_test(resends_follow_the_rule),
        cmocka_unit_test(a_silent_peer_is_asked_ever_less),
        cmocka_unit_test(what_is_known_to_be_lost_is_resent_together),
        cmocka_unit_test(the_window_is_counted_from_the_oldest),
        cmocka_unit_test(the_window_counts_messages_too),
        cmocka_unit_test(what_is_not_data_has_a_reserve),
        cmocka_unit_test(a_longer_message_size_takes_room_and_gives_it_back),
        cmocka_unit_test(after_a_reconnect_everything_goes_again_in_order),
        cmocka_unit_test(a_full_socket_is_tried_again),
        cmocka_unit_test(a_paused_agent_waits),
        cmocka_unit_test(a_client_is_not_paused),
        cmocka_unit_test(a_seal_covers_data_only),
        cmocka_unit_test(a_sealed_message_is_no_longer_than_others),
        cmocka_unit_test(unused_memory_is_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
