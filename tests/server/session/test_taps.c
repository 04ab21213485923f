/* Whatever order messages come in, a tap sees each once, in order, and is told of gaps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/session/pass.h"
#include "server/session/taps.h"

static char seen[4096]; /* "o0 o1 i0 o4(+2) end" */

static int on_message(void *state, const struct fl_tap_message *m)
{
    size_t len = strlen(seen);

    assert_ptr_equal(state, seen);
    assert_int_equal(m->len, 1);
    assert_int_equal(*(const char *)m->data, '0' + m->sequence % 10);
    len += (size_t)snprintf(seen + len, sizeof(seen) - len, "%c%d", m->input ? 'i' : 'o',
                            (int)m->sequence);
    if (m->lost)
        len += (size_t)snprintf(seen + len, sizeof(seen) - len, "(+%d)", (int)m->lost);
    snprintf(seen + len, sizeof(seen) - len, " ");
    return 0;
}

static void on_end(void *state, const struct fl_tap_end *end)
{
    snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s", end->over ? "over" : "down");
}

static const struct fl_tap tap = { .name = "test", .message = on_message, .end = on_end };

static struct fl_tapped open_taps(bool resumed)
{
    struct fl_tapped t = { .taps = { &tap }, .states = { seen }, .n = 1 };

    seen[0] = '\0';
    for (int side = 0; side < FL_SIDE__N; side++)
        t.from[side].expected = resumed ? -1 : 0;
    return t;
}

static void in_order_and_once(void **state)
{
    static const struct {
        bool resumed;
        const char *came; /* o: of the agent, i: of the client; then the number */
        const char *want;
    } cases[] = {
        { false, "o0 o1 i0 o2", "o0 o1 i0 o2 over" },
        { false, "o0 o0 o1 o0 o1", "o0 o1 over" },
        { false, "o0 o2 o1 o3", "o0 o1 o2 o3 over" },
        { false, "o3 o2 o1 o2 o0", "o0 o1 o2 o3 over" },
        { false, "o0 o2 i1 o4 i0", "o0 i0 i1 o2(+1) o4(+1) over" },
        { true, "o7 o8 i3 o7", "o7 o8 i3 over" },
        { true, "o8 o7 o9", "o8 o9 over" }, /* where it began is not known */
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_tapped t = open_taps(cases[i].resumed);
        const struct fl_tap_end end = { .over = true, .details = "" };

        TAILQ_INIT(&t.from[0].early);
        TAILQ_INIT(&t.from[1].early);
        for (const char *p = cases[i].came; p; p = strchr(p, ' ')) {
            char byte;

            p += *p == ' ';
            byte = p[1];
            fl_tapped_message(&t, *p == 'i' ? FL_SIDE_CLIENT : FL_SIDE_AGENT, p[1] - '0', 1, &byte,
                              1, 0);
        }
        fl_tapped_end(&t, &end);
        fl_tapped_end(&t, &end); /* nothing the second time */
        assert_string_equal(seen, cases[i].want);
    }
}

/* What waits for its turn has a limit. */
static void a_gap_is_not_waited_for_for_ever(void **state)
{
    struct fl_tapped t = open_taps(false);
    const struct fl_tap_end end = { .details = "" };

    (void)state;
    TAILQ_INIT(&t.from[0].early);
    TAILQ_INIT(&t.from[1].early);
    fl_tapped_message(&t, FL_SIDE_AGENT, 2, 1, "2", 1, 0);
    assert_string_equal(seen, "");
    t.from[FL_SIDE_AGENT].early_bytes += FL_TAPS_EARLY_BYTES; /* as if more had come */
    fl_tapped_message(&t, FL_SIDE_AGENT, 4, 1, "4", 1, 0);
    assert_string_equal(seen, "o2(+2) o4(+1) ");
    fl_tapped_message(&t, FL_SIDE_AGENT, 3, 1, "3", 1, 0);
    fl_tapped_end(&t, &end);
    assert_string_equal(seen, "o2(+2) o4(+1) down");
}

/* Where a message is sent on only after it was told, one that comes too early is not taken. */
static void what_waits_to_be_told_is_never_given_up(void **state)
{
    struct fl_tapped t = open_taps(false);
    const struct fl_tap_end end = { .details = "" };

    (void)state;
    TAILQ_INIT(&t.from[0].early);
    TAILQ_INIT(&t.from[1].early);
    t.pass = fl_pass_new(NULL, NULL, NULL);
    assert_non_null(t.pass);
    fl_pass_set(t.pass, FL_SIDE_AGENT, 0, false);
    assert_int_equal(fl_tapped_message(&t, FL_SIDE_AGENT, 2, 1, "2", 1, 0), 0);
    t.from[FL_SIDE_AGENT].early_bytes += FL_TAPS_EARLY_BYTES; /* as if more had come */
    assert_int_equal(fl_tapped_message(&t, FL_SIDE_AGENT, 4, 1, "4", 1, 0), -ENOBUFS);
    assert_string_equal(seen, "");
    fl_tapped_message(&t, FL_SIDE_AGENT, 0, 1, "0", 1, 0);
    fl_tapped_message(&t, FL_SIDE_AGENT, 1, 1, "1", 1, 0);
    assert_string_equal(seen, "o0 o1 o2 ");
    fl_tapped_end(&t, &end);
    fl_pass_unref(t.pass);
}

/* Of what was told here the relay hears that it was; of what another run of the plane was told
 * nothing is known. */
static void what_was_told_is_known(void **state)
{
    struct fl_tapped t = open_taps(true);
    const struct fl_tap_end end = { .details = "" };
    static const struct {
        int64_t sequence;
        const char *byte;
        int want;
    } cases[] = {
        { 3, "3", 0 }, { 5, "5", 0 }, { 5, "x", FL_RELAY_SEEN }, { 3, "x", FL_RELAY_SEEN },
        { 2, "2", 0 }, { 4, "4", 0 }, { 4, "x", FL_RELAY_SEEN }
    };

    (void)state;
    TAILQ_INIT(&t.from[0].early);
    TAILQ_INIT(&t.from[1].early);
    t.pass = fl_pass_new(NULL, NULL, NULL);
    assert_non_null(t.pass);
    fl_pass_set(t.pass, FL_SIDE_AGENT, 0, false);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(
            fl_tapped_message(&t, FL_SIDE_AGENT, cases[i].sequence, 1, cases[i].byte, 1, 0),
            cases[i].want);
    assert_string_equal(seen, "o3 o4 o5 ");
    fl_tapped_end(&t, &end);
    fl_pass_unref(t.pass);
}

/* A session that goes on: its messages wait until it is known which is next, and that is told
 * first, whatever came first. Without knowing, the lowest that has come. */
static void who_goes_on_knows_where(void **state)
{
    static const struct {
        int64_t first;
        const char *want;
    } cases[] = { { 3, "o3 o4 o5 " }, { 5, "o5 " }, { FL_PASS_ANY, "o3 o4 o5 " } };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_tapped t = open_taps(true);
        const struct fl_tap_end end = { .details = "" };

        TAILQ_INIT(&t.from[0].early);
        TAILQ_INIT(&t.from[1].early);
        t.pass = fl_pass_new(NULL, NULL, NULL);
        assert_non_null(t.pass);
        fl_pass_set(t.pass, FL_SIDE_AGENT, 0, false);
        fl_pass_begin(t.pass, FL_SIDE_AGENT, FL_PASS_ASKED);
        t.from[FL_SIDE_AGENT].expected = FL_PASS_ASKED;
        fl_tapped_message(&t, FL_SIDE_AGENT, 4, 1, "4", 1, 0);
        fl_tapped_message(&t, FL_SIDE_AGENT, 3, 1, "3", 1, 0);
        fl_tapped_moved(&t);
        assert_string_equal(seen, "");
        fl_pass_begin(t.pass, FL_SIDE_AGENT, cases[i].first);
        fl_tapped_moved(&t);
        fl_tapped_message(&t, FL_SIDE_AGENT, 5, 1, "5", 1, 0);
        assert_string_equal(seen, cases[i].want);
        fl_tapped_end(&t, &end);
        fl_pass_unref(t.pass);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_and_once),
        cmocka_unit_test(a_gap_is_not_waited_for_for_ever),
        cmocka_unit_test(what_waits_to_be_told_is_never_given_up),
        cmocka_unit_test(who_goes_on_knows_where),
        cmocka_unit_test(what_was_told_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
