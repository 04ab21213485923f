/* The index of transcripts: it finds what the files have, goes with them, and is made anew. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include <jansson.h>
#include "common/base/clock.h"
#include "common/codec/json_load.h"
#include "common/wire/datachannel.h"
#include "server/session/transcript_priv.h"
#include "tests/server/fixture.h"

#define NODE    "mi-0123456789abcdef0"
#define CONTENT "{\"DocumentContent\":{\"sessionType\":\"Standard_Stream\",\"inputs\":{}}}"

struct talk {
    struct fl_fixture f;
    int64_t now_ms;
    int64_t sequence;
};

static void plane_open(struct talk *t)
{
    struct fl_err err = { 0 };

    if (fl_transcripts_open(&t->f.plane, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static void plane_close(struct talk *t)
{
    t->f.plane.transcripts = fl_transcripts_free(t->f.plane.transcripts);
}

static void settle(struct talk *t)
{
    fl_transcripts_settle(t->f.plane.transcripts);
    fl_transcript_index_settle(t->f.plane.transcripts->index);
}

static int setup(void **state)
{
    struct talk *t = calloc(1, sizeof(*t));

    fl_fixture_open(&t->f);
    t->f.plane.conf.transcript_days = 30;
    t->f.plane.conf.transcript_max_bytes = 1 << 30;
    t->f.plane.conf.transcripts_max_bytes = 1ll << 40;
    t->f.plane.conf.transcript_index_max_bytes = 1 << 30;
    t->now_ms = fl_now_ms();
    plane_open(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct talk *t = *state;

    plane_close(t);
    fl_fixture_close(&t->f);
    free(t);
    return 0;
}

/* ---- sessions ---- */

static void *begin(struct talk *t, const char *id, const char *owner)
{
    const struct fl_tap_session s = { .session_id = id,
                                      .node_id = NODE,
                                      .owner = owner,
                                      .document_name = "d",
                                      .content = CONTENT,
                                      .started_ms = t->now_ms++ };
    void *rec;

    assert_int_equal(fl_tap_transcript.start(&t->f.plane, NULL, &s, &rec), 0);
    return rec;
}

static void pass(struct talk *t, void *rec, bool input, uint32_t type, const char *text)
{
    const struct fl_tap_message m = { .input = input,
                                      .type = type,
                                      .sequence = t->sequence++,
                                      .data = text,
                                      .len = strlen(text),
                                      .wall_ms = fl_now_ms() };

    fl_tap_transcript.message(rec, &m);
}

static void say(struct talk *t, void *rec, const char *text)
{
    pass(t, rec, false, FL_DATA_TYPE_OUTPUT, text);
}

static void end(void *rec, bool over)
{
    const struct fl_tap_end e = { over, FL_SESS_TERMINATED, "", fl_now_ms() };

    fl_tap_transcript.end(rec, &e);
}

static void a_session(struct talk *t, const char *id, const char *text)
{
    void *rec = begin(t, id, "arn:alice");

    say(t, rec, text);
    end(rec, true);
}

/* ---- what is there ---- */

/* All pages: "session line\n"; the number of pages. */
static int found(struct talk *t, const char *request, struct fl_buf *out)
{
    fl_autofree char *token = NULL;
    int pages = 0;

    fl_buf_reset(out);
    do {
        fl_autobuf struct fl_buf body = FL_BUF(8192);
        fl_autojson json_t *reply = NULL;
        const json_t *match;
        size_t i;

        fl_buf_printf(&body, "{%s%s%s%s}", request, token ? ",\"NextToken\":\"" : "",
                      token ? token : "", token ? "\"" : "");
        fl_fixture_ok(&t->f, "fairlead:SearchTranscripts", body.data);
        reply = json_loads(t->f.reply, 0, NULL);
        json_array_foreach(json_object_get(reply, "Matches"), i, match)
            fl_buf_printf(out, "%s %s\n", json_string_value(json_object_get(match, "SessionId")),
                          json_string_value(json_object_get(match, "Line")));
        free(token);
        token = NULL;
        if (json_object_get(reply, "NextToken"))
            token = strdup(json_string_value(json_object_get(reply, "NextToken")));
        assert_true(++pages < 1000);
    } while (token);
    fl_buf_puts(out, "");
    return pages;
}

/* In any order: the index may have one of two sessions while the other is still in its file. */
static void must_find(struct talk *t, const char *request, const char *want)
{
    size_t rest = strlen(want);

    fl_autobuf struct fl_buf text = FL_BUF(1 << 24);

    found(t, request, &text);
    for (const char *line = want, *end; *line && (end = strchr(line, '\n')); line = end + 1)
        if (memmem(text.data, text.len, line, (size_t)(end + 1 - line)))
            rest -= (size_t)(end + 1 - line);
    if (rest != 0 || strlen(text.data) != strlen(want))
        fail_msg("%s found:\n%s", request, text.data);
}

struct count {
    const char *match;
    int64_t chunks; /* that the index names; that are there in text */
    int64_t texts;
};

static int count_run(struct fl_call *call, void *arg)
{
    struct count *c = arg;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_transcript_trigram_find, &row, NULL, FL_T(c->match),
                        FL_N(INT64_MAX));

    while (r >= 0 && (r = fl_sql_next(row, NULL)) > 0) {
        c->chunks++;
        c->texts += fl_sql_scalar(call->tx, FL_SQL_transcript_text_get, -1, NULL,
                                  FL_N(fl_sql_int(row, 0))) >= 0;
    }
    return r;
}

/* Chunks of the index that have these three characters. */
static int64_t indexed(struct talk *t, const char *match)
{
    struct count c = { .match = match };

    assert_int_equal(fl_fixture_run(&t->f, FL_LANE_READ, count_run, &c), 0);
    assert_int_equal(c.chunks, c.texts);
    return c.chunks;
}

/* As if nothing were indexed; arg: and so it is not. */
static int forget_run(struct fl_call *call, void *arg)
{
    for (int64_t number = 1; number < 10; number++)
        if ((arg && fl_sql_exec(call->tx, FL_SQL_transcript_gone_add, NULL, FL_N(number)) < 0) ||
            fl_sql_exec(call->tx, FL_SQL_transcript_indexed_set, NULL, FL_N(number), FL_N(0),
                        FL_N(0), FL_N(0), FL_N(0), FL_N(0)) < 0)
            return -EIO;
    return 0;
}

/* ---- tests ---- */

static void what_is_found(void **state)
{
    static const struct {
        const char *request, *want;
    } cases[] = {
        { "\"Text\":\"rm -rf\"", "bob-1 $ RM -RF /\nalice-1 $ rm -rf /tmp/x\n" },
        { "\"Text\":\"rm -rf\",\"CaseSensitive\":true", "alice-1 $ rm -rf /tmp/x\n" },
        { "\"Text\":\"rm -rf\",\"Owner\":\"arn:bob\"", "bob-1 $ RM -RF /\n" },
        { "\"Text\":\"rm -rf\",\"Target\":\"mi-00000000000000000\"", "" },
        { "\"Text\":\"rm -rf\",\"After\":4102444800", "" },
        { "\"Text\":\"/tmp/\"", "alice-1 $ rm -rf /tmp/x\n" },
        { "\"Text\":\"a\\\"b\"", "alice-1 say \"a\"b\" OR NOT *\n" },
        { "\"Text\":\"OR NOT *\"", "alice-1 say \"a\"b\" OR NOT *\n" },
        { "\"Text\":\"größe\"", "alice-1 größer €\n" },
        { "\"Text\":\"r €\"", "alice-1 größer €\n" },
        { "\"Text\":\"€\"", "alice-1 größer €\n" }, /* no trigram: out of the files */
        { "\"Text\":\"x\\nl\"", "" },               /* lines are not one */
        { "\"Text\":\"rm -fr\"", "" },
        { "\"Text\":\"secret\"", "" }, /* typed, not echoed, and recorded */
    };
    struct talk *t = *state;
    void *rec;

    t->f.plane.conf.transcript_input = true;
    rec = begin(t, "alice-1", "arn:alice");
    say(t, rec, "$ rm -r");
    pass(t, rec, true, FL_DATA_TYPE_OUTPUT, "secret\r");
    say(t, rec, "f \x1b[1m/tmp/x\x1b[0m\r\nls\r\nsay \"a\"b\" OR NOT *\r\n");
    say(t, rec, "größer €");
    end(rec, true);
    rec = begin(t, "bob-1", "arn:bob");
    say(t, rec, "$ RM -RF /\r\n");
    end(rec, true);
    fl_transcripts_settle(t->f.plane.transcripts);
    for (int in_index = 0; in_index < 2; in_index++) {
        for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
            must_find(t, cases[i].request, cases[i].want);
        settle(t);
        assert_int_equal(indexed(t, "\"tmp\""), 1);
    }
    assert_int_equal(indexed(t, "\"sec\""), 0);
    fl_fixture_ok(&t->f, "fairlead:SearchTranscripts", "{\"Text\":\"tmp\"}");
    assert_string_equal(fl_fixture_text(&t->f, "Matches.0.Stream"), "output");
    assert_true(atoll(fl_fixture_text(&t->f, "Matches.0.Time")) > 1000000000);
}

/* Lines of which every 1,000th is marked, cut anywhere. */
static void chat(struct talk *t, void *rec, int lines, int salt)
{
    fl_autobuf struct fl_buf text = FL_BUF(1 << 24);

    for (int i = 0; i < lines; i++) {
        fl_buf_printf(&text, "%d line %d of %d%s\r\n", i * 7919 % 10007, i, salt,
                      i % 1000 == 999 ? " marked" : "");
        if (text.len > 5000) {
            say(t, rec, text.data);
            fl_buf_reset(&text);
            fl_buf_puts(&text, "");
        }
        if (i % 1000 == 500) /* blocks */
            fl_transcripts_settle(t->f.plane.transcripts);
    }
    if (text.len)
        say(t, rec, text.data);
}

static void four_sessions(struct talk *t)
{
    for (int i = 0; i < 4; i++) {
        char id[20];
        void *rec;

        snprintf(id, sizeof(id), "alice-%d", i);
        rec = begin(t, id, "arn:alice");
        chat(t, rec, 5000, i);
        end(rec, true);
    }
}

static const char *const requests[] = { "\"Text\":\"marked\"", "\"Text\":\"line 77\"",
                                        "\"Text\":\" of 3\"", "\"Text\":\"9999 line\"",
                                        "\"Text\":\"line\"" };

static void find_all(struct talk *t, struct fl_buf *out)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(requests); i++) {
        fl_autobuf struct fl_buf one = FL_BUF(1 << 24);

        found(t, requests[i], &one);
        fl_buf_printf(out, "%s:\n%s", requests[i], one.data);
    }
}

/* The same lines in the same order, and over many pages; then what is lost is made anew. */
static void index_and_files_agree(void **state)
{
    struct talk *t = *state;
    fl_autobuf struct fl_buf in_files = FL_BUF(1 << 24), in_index = FL_BUF(1 << 24),
                             again = FL_BUF(1 << 24), text = FL_BUF(1 << 24);
    int64_t n;

    four_sessions(t);
    settle(t);
    n = indexed(t, "\"lin\"");
    assert_true(n > 4 * 5000 * 16 / FL_TI_CHUNK_BYTES);
    find_all(t, &in_index);
    assert_true(found(t, "\"Text\":\"line\"", &text) > 20);

    assert_int_equal(fl_fixture_run(&t->f, FL_LANE_WRITE, forget_run, t), 0);
    plane_close(t);
    plane_open(t);
    settle(t);
    assert_int_equal(indexed(t, "\"lin\""), n);
    find_all(t, &again);
    assert_string_equal(again.data, in_index.data);

    plane_close(t);
    t->f.plane.conf.transcript_index_max_bytes = 0;
    plane_open(t);
    settle(t);
    assert_int_equal(indexed(t, "\"lin\""), 0);
    find_all(t, &in_files);
    assert_string_equal(in_files.data, in_index.data);
}

/* The oldest go when there is no room; they are found all the same. */
static void it_is_bounded(void **state)
{
    struct talk *t = *state;
    fl_autobuf struct fl_buf text = FL_BUF(1 << 24);

    plane_close(t);
    t->f.plane.conf.transcript_index_max_bytes = 300 * 1024; /* one has some 150 KiB */
    plane_open(t);
    four_sessions(t);
    settle(t);
    assert_int_equal(indexed(t, "\"f 0\""), 0);
    assert_true(indexed(t, "\"f 3\"") > 5);
    assert_true(indexed(t, "\"lin\"") * FL_TI_CHUNK_BYTES <= 300 * 1024);
    found(t, "\"Text\":\"marked\"", &text);
    for (int i = 0; i < 4; i++) {
        char want[40];

        snprintf(want, sizeof(want), "line 4999 of %d marked\n", i);
        assert_non_null(strstr(text.data, want));
    }
}

/* With the transcript's file and row goes what the index has of it. */
static void it_goes_with_the_transcript(void **state)
{
    struct talk *t = *state;

    four_sessions(t);
    settle(t);
    assert_true(indexed(t, "\"lin\"") > 0);
    t->f.plane.conf.transcript_days = -1;
    fl_transcripts_retire(t->f.plane.transcripts);
    must_find(t, "\"Text\":\"marked\"", "");
    t->f.plane.conf.transcript_days = 30; /* the thread looks for old ones, too */
    a_session(t, "bob-1", "another line\r\n");
    settle(t);
    assert_int_equal(indexed(t, "\"lin\""), 1);
    must_find(t, "\"Text\":\"line\"", "bob-1 another line\n");
}

/* Of a long session something is indexed while it goes on; no line is found twice or is lost, the
 * one that is not ended among them. */
static void while_it_goes_on(void **state)
{
    struct talk *t = *state;
    fl_autobuf struct fl_buf text = FL_BUF(1 << 24), later = FL_BUF(1 << 24);
    void *rec = begin(t, "alice-1", "arn:alice");
    int64_t n;

    say(t, rec, "first marked");
    chat(t, rec, 2000, 0);
    settle(t);
    assert_int_equal(indexed(t, "\"lin\""), 0); /* not worth it */
    chat(t, rec, 20000, 1);
    say(t, rec, "$ a prompt mar");
    settle(t);
    n = indexed(t, "\"lin\"");
    assert_true(n > 10);
    say(t, rec, "ked");
    fl_transcripts_settle(t->f.plane.transcripts);
    found(t, "\"Text\":\"marked\"", &text);
    assert_non_null(strstr(text.data, "$ a prompt marked\n"));
    say(t, rec, " once\r\nand more\r\n");
    end(rec, true);
    settle(t);
    found(t, "\"Text\":\"marked\"", &later);
    n = 0;
    for (const char *p = later.data; (p = strstr(p, "marked")); p++)
        n++;
    assert_int_equal(n, 1 + 2 + 20 + 1);
    assert_non_null(strstr(later.data, "$ a prompt marked once\n"));
}

/* The plane was killed between a chunk and the row that tells of it: the chunk is not searched, and
 * one that is made again takes its place. */
static void killed_between(void **state)
{
    struct talk *t = *state;

    a_session(t, "alice-1", "a line\r\n");
    settle(t);
    assert_int_equal(fl_fixture_run(&t->f, FL_LANE_WRITE, forget_run, NULL), 0);
    assert_int_equal(indexed(t, "\"lin\""), 1);
    must_find(t, "\"Text\":\"line\"", "alice-1 a line\n"); /* in the file */
    fl_transcript_index_settle(t->f.plane.transcripts->index);
    assert_int_equal(indexed(t, "\"lin\""), 1);
    must_find(t, "\"Text\":\"line\"", "alice-1 a line\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_PLANE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        WITH_PLANE(what_is_found),    WITH_PLANE(index_and_files_agree),
        WITH_PLANE(it_is_bounded),    WITH_PLANE(it_goes_with_the_transcript),
        WITH_PLANE(while_it_goes_on), WITH_PLANE(killed_between),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
