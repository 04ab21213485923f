#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/crypto.h"
#include "common/session/smux.h"

#define WIRE_BYTES  (1 << 20)
#define MAX_STREAMS 300

/* One end: what it says goes to `out`; what its streams get is counted and checked. */
struct end {
    struct fl_smux *smux;
    struct end *peer;
    uint8_t *out;
    size_t out_len;
    size_t room;
    struct fl_smux_stream *streams[MAX_STREAMS];
    size_t n_opened, n_ends, n_fins, n_data;
    size_t sent[MAX_STREAMS], got[MAX_STREAMS]; /* by the stream's number */
    bool fin[MAX_STREAMS];
    bool refuse, close_at_data, close_at_fin, pause_at_data;
    char last[64];
};

static size_t slot(const struct fl_smux_stream *st)
{
    assert_in_range(fl_smux_stream_id(st) / 2, 0, MAX_STREAMS - 1);
    return fl_smux_stream_id(st) / 2;
}

static size_t on_room(void *arg)
{
    struct end *e = arg;

    return e->room;
}

static int on_write(void *arg, const struct iovec *iov, size_t n)
{
    struct end *e = arg;

    for (size_t i = 0; i < n; i++) {
        assert_true(iov[i].iov_len <= e->room);
        memcpy(e->out + e->out_len, iov[i].iov_base, iov[i].iov_len);
        e->out_len += iov[i].iov_len;
        e->room -= iov[i].iov_len;
    }
    return 0;
}

static int on_open(void *arg, struct fl_smux_stream *st)
{
    struct end *e = arg;

    e->n_opened++;
    if (e->refuse)
        return -ECONNREFUSED;
    e->streams[slot(st)] = st;
    fl_smux_stream_set_arg(st, e);
    return 0;
}

static char byte_of(uint32_t id, size_t at)
{
    return (char)((at * 31 + id) ^ (at >> 8));
}

static void on_data(void *arg, struct fl_smux_stream *st, const char *data, size_t len)
{
    struct end *e = arg;
    size_t i = slot(st);

    e->n_data++;
    assert_ptr_equal(fl_smux_stream_arg(st), e);
    assert_in_range(len, 1, 65536);
    if (len < sizeof(e->last)) {
        memcpy(e->last, data, len);
        e->last[len] = '\0';
    }
    if (e->close_at_data) {
        fl_smux_stream_close(st);
        e->streams[i] = NULL;
    } else if (e->pause_at_data) {
        fl_smux_stream_pause(st, true);
    }
    if (e->peer && e->peer->sent[i])
        for (size_t k = 0; k < len; k++)
            if (data[k] != byte_of((uint32_t)(2 * i + 1), e->got[i] + k))
                fail_msg("wrong byte %zu of stream %zu", e->got[i] + k, i);
    e->got[i] += len;
}

static void on_fin(void *arg, struct fl_smux_stream *st)
{
    struct end *e = arg;

    e->n_fins++;
    assert_false(e->fin[slot(st)]);
    e->fin[slot(st)] = true;
    if (e->close_at_fin) {
        e->streams[slot(st)] = NULL;
        fl_smux_stream_close(st);
    }
}

static void on_end(void *arg, struct fl_smux_stream *st)
{
    ((struct end *)arg)->n_ends++;
}

static struct end *start(const struct fl_smux_conf *conf)
{
    static const struct fl_smux_events events = { on_room, on_write, on_open,
                                                  on_data, on_end,   on_fin };
    struct end *e = calloc(1, sizeof(*e));

    e->out = malloc(WIRE_BYTES);
    e->room = WIRE_BYTES;
    assert_int_equal(fl_smux_new(conf, &events, e, 0, &e->smux), 0);
    return e;
}

static struct end *start_server(void)
{
    return start(&(struct fl_smux_conf){ .server = true });
}

static void stop(struct end *e)
{
    fl_smux_free(e->smux);
    free(e->out);
    free(e);
}

static int input_hex(struct end *e, const char *hex)
{
    size_t len = strlen(hex) / 2;
    uint8_t *wire = malloc(len ? len : 1);
    int r;

    assert_int_equal(fl_hex_decode(hex, wire, len), 0);
    r = fl_smux_input(e->smux, wire, len, 0);
    free(wire);
    return r;
}

static void said(struct end *e, const char *hex)
{
    char got[1024];

    assert_in_range(e->out_len, 0, sizeof(got) / 2 - 1);
    fl_hex_encode(e->out, e->out_len, got);
    assert_string_equal(got, hex);
    e->out_len = 0;
}

#define SYN3 "0100000003000000"
#define FIN3 "0101000003000000"
#define GET3 "0102030003000000474554"
#define SYN5 "0100000005000000"

/* Protocol 3 §13. */
static void a_client_speaks_like_the_plugin(void **state)
{
    struct end *c = start(&(struct fl_smux_conf){ .server = false });
    struct fl_smux_stream *st, *second;

    assert_int_equal(fl_smux_open(c->smux, c, &st), 0);
    assert_int_equal(fl_smux_stream_id(st), 3);
    assert_int_equal(fl_smux_stream_write(st, "GET", 3), 0);
    said(c, SYN3 GET3);
    assert_int_equal(fl_smux_open(c->smux, c, &second), 0);
    said(c, SYN5);
    fl_smux_stream_close(st);
    said(c, FIN3);
    assert_int_equal(fl_smux_streams(c->smux), 1);
    /* what still comes for it is nobody's */
    assert_int_equal(input_hex(c, GET3 FIN3), 0);
    assert_int_equal(c->n_data + c->n_fins, 0);
    stop(c);
}

static void a_server_is_told(void **state)
{
    struct end *s = start_server();

    assert_int_equal(input_hex(s, SYN3 GET3), 0);
    assert_int_equal(s->n_opened, 1);
    assert_string_equal(s->last, "GET");
    assert_int_equal(fl_smux_stream_write(s->streams[1], "x", 1), 0);
    said(s, "010201000300000078");
    assert_int_equal(input_hex(s, FIN3 GET3), 0);
    assert_int_equal(s->n_fins, 1);
    assert_int_equal(s->n_data, 1);
    assert_int_equal(fl_smux_stream_write(s->streams[1], "x", 1), -EPIPE);
    fl_smux_stream_close(s->streams[1]);
    said(s, FIN3);
    assert_int_equal(fl_smux_streams(s->smux), 0);
    stop(s);
}

static void a_number_is_used_once(void **state)
{
    struct end *s = start_server();

    assert_int_equal(input_hex(s, SYN5 SYN5 SYN3), 0);
    assert_int_equal(s->n_opened, 1);
    fl_smux_stream_close(s->streams[2]);
    assert_int_equal(input_hex(s, SYN5), 0);
    assert_int_equal(s->n_opened, 1);
    stop(s);
}

static void what_is_refused_is_closed(void **state)
{
    struct end *s = start_server(), *c = start(&(struct fl_smux_conf){ .server = false });

    s->refuse = true;
    assert_int_equal(input_hex(s, SYN3 GET3), 0);
    said(s, FIN3);
    assert_int_equal(s->n_data, 0);
    assert_int_equal(input_hex(c, SYN3 GET3), 0); /* a client accepts none */
    said(c, FIN3);
    assert_int_equal(c->n_opened, 0);
    stop(s);
    stop(c);
}

static void streams_have_a_limit(void **state)
{
    struct end *s = start(&(struct fl_smux_conf){ .server = true, .max_streams = 2 });
    struct end *c = start(&(struct fl_smux_conf){ .server = false, .max_streams = 1 });
    struct fl_smux_stream *st;

    assert_int_equal(input_hex(s, SYN3 SYN5 "0100000007000000"), 0);
    assert_int_equal(s->n_opened, 2);
    said(s, "0101000007000000");
    s->room = 0; /* refusals that cannot be said are kept for a while, not for ever */
    assert_int_equal(input_hex(s, "0100000009000000"
                                  "010000000b000000"
                                  "010000000d000000"),
                     0);
    s->room = 1000;
    assert_int_equal(fl_smux_kick(s->smux), 0);
    said(s, "0101000009000000"
            "010100000b000000");
    fl_smux_stream_close(s->streams[1]);
    s->out_len = 0;
    assert_int_equal(input_hex(s, "010000000f000000"), 0);
    assert_int_equal(s->n_opened, 3);
    assert_int_equal(fl_smux_open(c->smux, c, &st), 0);
    assert_int_equal(fl_smux_open(c->smux, c, &st), -EMFILE);
    stop(s);
    stop(c);
}

static const char *const broken[] = {
    "0000000003000000", "0200000003000000",                     /* version */
    "0104000003000000", "01ff000003000000",                     /* command */
    "0100010003000000", "0101010003000000", "0103010000000000", /* data where none belongs */
};

static void what_is_not_smux_ends_the_session(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(broken); i++) {
        struct end *s = start_server();

        assert_int_equal(input_hex(s, broken[i]), -EBADMSG);
        stop(s);
    }
}

static void the_paused_are_kept_in_order(void **state)
{
    struct end *s = start_server();

    assert_int_equal(input_hex(s, SYN3 SYN5), 0);
    fl_smux_stream_pause(s->streams[1], true);
    assert_int_equal(input_hex(s, GET3 "01020100030000004b"
                                       "010201000500000078" FIN3),
                     0);
    assert_string_equal(s->last, "x"); /* the other goes on */
    assert_int_equal(s->n_fins, 0);
    fl_smux_stream_pause(s->streams[1], false);
    assert_string_equal(s->last, "GETK");
    assert_int_equal(s->n_fins, 1);
    stop(s);
}

static void too_much_kept_fills_the_session(void **state)
{
    struct end *s = start(&(struct fl_smux_conf){ .server = true, .max_kept_bytes = 5 });

    assert_int_equal(input_hex(s, SYN3 SYN5), 0);
    fl_smux_stream_pause(s->streams[1], true);
    fl_smux_stream_pause(s->streams[2], true);
    assert_int_equal(input_hex(s, GET3), 0);
    assert_false(fl_smux_full(s->smux));
    assert_int_equal(input_hex(s, "0102020005000000"
                                  "6162"),
                     0);
    assert_true(fl_smux_full(s->smux));
    fl_smux_stream_close(s->streams[2]);
    assert_false(fl_smux_full(s->smux));
    assert_int_equal(input_hex(s, GET3), 0);
    assert_true(fl_smux_full(s->smux));
    s->pause_at_data = true;
    fl_smux_stream_pause(s->streams[1], false);
    assert_false(fl_smux_full(s->smux));
    stop(s);
}

static void a_stream_may_be_closed_inside_of_its_callback(void **state)
{
    struct end *s = start_server();

    s->close_at_data = s->close_at_fin = true;
    assert_int_equal(input_hex(s, SYN3 GET3 GET3 FIN3), 0);
    assert_int_equal(s->n_data, 1);
    said(s, FIN3);
    assert_int_equal(input_hex(s, SYN5 "0101000005000000"), 0);
    said(s, "0101000005000000");
    assert_int_equal(input_hex(s, "0100000007000000"), 0); /* while data is kept */
    fl_smux_stream_pause(s->streams[3], true);
    assert_int_equal(input_hex(s, "010201000700000061"
                                  "010201000700000062"),
                     0);
    fl_smux_stream_pause(s->streams[3], false);
    assert_int_equal(s->n_data, 2);
    assert_int_equal(fl_smux_streams(s->smux), 0);
    stop(s);
}

static void without_room_openings_and_ends_wait(void **state)
{
    struct end *c = start(&(struct fl_smux_conf){ .server = false });
    struct fl_smux_stream *a, *b;

    c->room = 7;
    assert_int_equal(fl_smux_open(c->smux, c, &a), 0);
    assert_int_equal(fl_smux_open(c->smux, c, &b), 0);
    assert_int_equal(fl_smux_room(c->smux), 0);
    assert_int_equal(fl_smux_stream_write(a, "x", 1), -ENOBUFS);
    fl_smux_stream_close(a);
    assert_int_equal(c->out_len, 0);
    c->room = 100; /* but they come first */
    assert_int_equal(fl_smux_room(c->smux), 0);
    assert_int_equal(fl_smux_stream_write(b, "x", 1), -ENOBUFS);
    c->room = 20;
    assert_int_equal(fl_smux_kick(c->smux), 0);
    said(c, SYN3 FIN3);
    assert_int_equal(fl_smux_room(c->smux), 0);
    c->room = 17;
    assert_int_equal(fl_smux_kick(c->smux), 0);
    said(c, SYN5);
    assert_int_equal(fl_smux_room(c->smux), 1);
    assert_int_equal(fl_smux_stream_write(b, "xy", 2), -ENOBUFS);
    assert_int_equal(fl_smux_stream_write(b, "x", 1), 0);
    said(c, "010201000500000078");
    stop(c);
}

static void frames_fit_messages(void **state)
{
    struct end *c = start(&(struct fl_smux_conf){ .server = false });
    char *data = calloc(1, 200000);
    struct fl_smux_stream *st;

    assert_int_equal(fl_smux_open(c->smux, c, &st), 0);
    c->out_len = 0;
    c->room = 65536;
    assert_int_equal(fl_smux_room(c->smux), 2 * FL_SMUX_DATA_BYTES);
    assert_int_equal(fl_smux_stream_write(st, data, 2 * FL_SMUX_DATA_BYTES), 0);
    assert_int_equal(c->out_len, 65536);
    c->room = 1024;
    assert_int_equal(fl_smux_room(c->smux), 1016);
    c->room = 8;
    assert_int_equal(fl_smux_room(c->smux), 0);
    free(data);
    stop(c);
}

#define END3 "0180000003000000"

static void one_direction_may_end_alone(void **state)
{
    struct end *s = start(&(struct fl_smux_conf){ .server = true, .half_close = true });
    struct end *c = start(&(struct fl_smux_conf){ .half_close = true });
    struct end *plain = start_server();
    struct fl_smux_stream *st;

    assert_int_equal(fl_smux_open(c->smux, c, &st), 0);
    c->out_len = 0;
    c->room = 7;
    assert_int_equal(fl_smux_stream_end(st), 0);
    assert_int_equal(fl_smux_stream_write(st, "x", 1), -EPIPE);
    c->room = 100;
    assert_int_equal(fl_smux_kick(c->smux), 0);
    assert_int_equal(fl_smux_stream_end(st), 0);
    said(c, END3);
    assert_int_equal(input_hex(c, GET3), 0); /* the answer */
    assert_string_equal(c->last, "GET");
    fl_smux_stream_close(st);
    said(c, FIN3);

    assert_int_equal(input_hex(s, SYN3), 0);
    fl_smux_stream_pause(s->streams[1], true);
    assert_int_equal(input_hex(s, GET3 END3 GET3), 0);
    assert_int_equal(s->n_ends, 0);
    fl_smux_stream_pause(s->streams[1], false);
    assert_string_equal(s->last, "GET"); /* once: nothing comes behind the end */
    assert_int_equal(s->n_ends, 1);
    assert_int_equal(fl_smux_stream_write(s->streams[1], "x", 1), 0);
    said(s, "010201000300000078");
    assert_int_equal(input_hex(s, END3 FIN3), 0);
    assert_int_equal(s->n_ends, 1);
    assert_int_equal(s->n_fins, 1);

    assert_int_equal(input_hex(plain, SYN3), 0);
    assert_int_equal(fl_smux_stream_end(plain->streams[1]), -EOPNOTSUPP);
    assert_int_equal(plain->out_len, 0);
    assert_int_equal(input_hex(plain, END3), -EBADMSG);
    stop(s);
    stop(c);
    stop(plain);
}

static void keepalive_is_a_choice(void **state)
{
    struct end *c = start(&(struct fl_smux_conf){ .keepalive = true }), *quiet = start_server();
    int64_t next;

    assert_int_equal(fl_smux_tick(quiet->smux, 1000000, &next), 0);
    assert_true(next == INT64_MAX);
    assert_int_equal(fl_smux_tick(c->smux, 9999, &next), 0);
    assert_int_equal(next, 10000);
    assert_int_equal(c->out_len, 0);
    assert_int_equal(fl_smux_tick(c->smux, 10000, &next), 0);
    assert_int_equal(next, 20000);
    said(c, "0103000000000000");
    assert_int_equal(fl_smux_input(c->smux, "\1\3\0\0\0\0\0\0", 8, 15000), 0);
    assert_int_equal(fl_smux_tick(c->smux, 44999, &next), 0);
    assert_int_equal(next, 45000);
    assert_int_equal(fl_smux_tick(c->smux, 45000, &next), -ETIMEDOUT);
    stop(c);
    stop(quiet);
}

/* Nothing is heard of a peer whose words wait for a slow reader. */
static void who_is_not_read_is_not_silent(void **state)
{
    struct end *s =
        start(&(struct fl_smux_conf){ .server = true, .keepalive = true, .max_kept_bytes = 3 });
    int64_t next;

    assert_int_equal(input_hex(s, SYN3), 0);
    fl_smux_stream_pause(s->streams[1], true);
    assert_int_equal(input_hex(s, GET3), 0);
    assert_true(fl_smux_full(s->smux));
    assert_int_equal(fl_smux_tick(s->smux, 100000, &next), 0);
    assert_int_equal(next, 110000);
    fl_smux_stream_pause(s->streams[1], false);
    assert_int_equal(fl_smux_tick(s->smux, 129999, &next), 0);
    assert_int_equal(fl_smux_tick(s->smux, 130000, &next), -ETIMEDOUT);
    stop(s);
}

static uint32_t lcg(uint64_t *s)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*s >> 33);
}

static void send_some(struct end *e, uint64_t *rnd, size_t i, size_t total)
{
    static char data[100000];
    size_t n = lcg(rnd) % sizeof(data);

    n = FL_MIN(FL_MIN(n, total - e->sent[i]), fl_smux_room(e->smux));
    for (size_t k = 0; k < n; k++)
        data[k] = byte_of((uint32_t)(2 * i + 1), e->sent[i] + k);
    assert_int_equal(fl_smux_stream_write(e->streams[i], data, n), 0);
    e->sent[i] += n;
}

/* As much as the other end wants, cut anywhere. */
static void carry(struct end *from, struct end *to, uint64_t *rnd)
{
    size_t at = 0;

    while (at < from->out_len && !fl_smux_full(to->smux)) {
        size_t n = 1 + lcg(rnd) % 5000;

        n = FL_MIN(n, from->out_len - at);
        assert_int_equal(fl_smux_input(to->smux, from->out + at, n, 0), 0);
        at += n;
    }
    memmove(from->out, from->out + at, from->out_len - at);
    from->out_len -= at;
    from->room = WIRE_BYTES / 2 - from->out_len;
    assert_int_equal(fl_smux_kick(from->smux), 0);
}

/* Many streams both ways, readers that pause, a wire that cuts anywhere. */
static void streams_do_not_mix(void **state)
{
    enum { N = 40, TOTAL = 150000 };
    struct end *c = start(&(struct fl_smux_conf){ .max_kept_bytes = 100000 });
    struct end *s = start(&(struct fl_smux_conf){ .server = true, .max_kept_bytes = 100000 });
    uint64_t rnd = 42;
    size_t done = 0;

    c->peer = s;
    s->peer = c;
    c->room = s->room = WIRE_BYTES / 2;
    for (size_t i = 1; i <= N; i++)
        assert_int_equal(fl_smux_open(c->smux, c, &c->streams[i]), 0);
    for (int round = 0; done < 2 * N; round++) {
        assert_in_range(round, 0, 100000);
        for (int k = 0; k < 8; k++) {
            struct end *e = lcg(&rnd) % 2 ? c : s;
            size_t i = 1 + lcg(&rnd) % N;

            if (e->streams[i])
                send_some(e, &rnd, i, TOTAL);
            if (e->streams[i])
                fl_smux_stream_pause(e->streams[i], lcg(&rnd) % 3 == 0);
        }
        carry(c, s, &rnd);
        carry(s, c, &rnd);
        done = 0;
        for (size_t i = 1; i <= N; i++)
            done += (c->got[i] == TOTAL) + (s->got[i] == TOTAL);
    }
    for (size_t i = 1; i <= N; i++) {
        fl_smux_stream_pause(s->streams[i], false);
        fl_smux_stream_close(c->streams[i]);
    }
    s->close_at_fin = true;
    carry(c, s, &rnd);
    assert_int_equal(s->n_fins, N);
    assert_int_equal(fl_smux_streams(c->smux) + fl_smux_streams(s->smux), 0);
    stop(c);
    stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_speaks_like_the_plugin),
        cmocka_unit_test(a_server_is_told),
        cmocka_unit_test(a_number_is_used_once),
        cmocka_unit_test(what_is_refused_is_closed),
        cmocka_unit_test(streams_have_a_limit),
        cmocka_unit_test(what_is_not_smux_ends_the_session),
        cmocka_unit_test(the_paused_are_kept_in_order),
        cmocka_unit_test(too_much_kept_fills_the_session),
        cmocka_unit_test(a_stream_may_be_closed_inside_of_its_callback),
        cmocka_unit_test(without_room_openings_and_ends_wait),
        cmocka_unit_test(frames_fit_messages),
        cmocka_unit_test(one_direction_may_end_alone),
        cmocka_unit_test(keepalive_is_a_choice),
        cmocka_unit_test(who_is_not_read_is_not_silent),
        cmocka_unit_test(streams_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
