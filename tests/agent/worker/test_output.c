/* Output: the vectors of protocol 4 §4.2, limits on disk and in memory, replies that always fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/worker/output.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"

#define T "\n----------ERROR-------\n"
#define O "\n---Output truncated---"
#define E "\n---Error truncated----"

static const struct {
    size_t out, err;
    size_t keep_out; /* of `o` */
    const char *after_out;
    size_t keep_err; /* of `e` */
    const char *after_err;
} cases[] = {
    { 0, 0, 0, "", 0, "" },
    { 5, 0, 5, "", 0, "" },
    { 0, 5, 0, T, 5, "" },
    { 2499, 0, 2499, "", 0, "" },
    { 2500, 0, 2477, O, 0, "" },         /* the protocol's vector */
    { 5000, 30000, 1215, O T, 1215, E }, /* the protocol's vector */
    { 1000, 1475, 1000, T, 1475, "" },   /* 2475 < 2476: all of it */
    { 1000, 1476, 1000, T, 1453, E },    /* out fits its half: err is cut */
    { 1238, 5000, 1238, T, 1215, E },
    { 1239, 1239, 1215, O T, 1215, E }, /* both over the half */
    { 5000, 100, 2353, O T, 100, "" },  /* err fits its half: out is cut */
    { 0, 5000, 0, T, 2453, E },
};

static void fill(struct fl_buf *b, char c, size_t n)
{
    fl_buf_init(b, 40000);
    assert_int_equal(fl_buf_reserve(b, n), 0);
    memset(b->data, c, n);
    b->len = n;
}

static void joined(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_buf out, err, got, want;

        fill(&out, 'o', cases[i].out);
        fill(&err, 'e', cases[i].err);
        fl_buf_init(&got, 4000);
        fill(&want, 'o', cases[i].keep_out);
        fl_buf_puts(&want, cases[i].after_out);
        for (size_t k = 0; k < cases[i].keep_err; k++)
            fl_buf_append(&want, "e", 1);
        fl_buf_puts(&want, cases[i].after_err);
        assert_int_equal(fl_output_join(&out, &err, &got), 0);
        assert_int_equal(got.len, want.len);
        if (want.len)
            assert_memory_equal(got.data, want.data, want.len);
        assert_true(got.len <= 2500);
        fl_buf_done(&out);
        fl_buf_done(&err);
        fl_buf_done(&got);
        fl_buf_done(&want);
    }
}

static void stream_text_is_cut_at_24000(void **state)
{
    static const size_t lens[] = { 0, 1, 23999, 24000, 24001 };

    for (size_t i = 0; i < FL_ARRAY_LEN(lens); i++) {
        struct fl_buf in, out;

        fill(&in, 'a', lens[i]);
        fl_buf_init(&out, 40000);
        assert_int_equal(fl_output_stream_text(&in, &out), 0);
        assert_int_equal(out.len, FL_MIN(lens[i], (size_t)24000));
        if (lens[i] >= 24000)
            assert_memory_equal(out.data + 23979, "a--output truncated--", 21);
        fl_buf_done(&in);
        fl_buf_done(&out);
    }
}

/* Bytes that need 6 each in JSON, 1 each, and 3 each (invalid UTF-8). */
static void three_texts_always_fit(void **state)
{
    static const char bytes[] = { '\0', 'a', (char)0xff, '"' };
    static const size_t limits[] = { 108000, 6000, 200, 6 };

    for (size_t i = 0; i < 4 * 4 * 4; i++)
        for (size_t l = 0; l < FL_ARRAY_LEN(limits); l++) {
            struct fl_buf texts[3];
            char *json[3];
            size_t sum = 0;

            fill(&texts[0], bytes[i % 4], 2500);
            fill(&texts[1], bytes[i / 4 % 4], 24000);
            fill(&texts[2], bytes[i / 16], 24000);
            assert_int_equal(fl_output_quote(texts, limits[l], json), 0);
            for (size_t k = 0; k < 3; k++) {
                sum += strlen(json[k]);
                assert_int_equal(json[k][0], '"');
                free(json[k]);
                fl_buf_done(&texts[k]);
            }
            assert_true(sum <= limits[l]);
        }
}

static void both_streams_keep_their_beginning(void **state)
{
    struct fl_buf texts[3];
    char *json[3];

    fill(&texts[0], '\0', 2500);
    fill(&texts[1], '\0', 23900);
    fill(&texts[2], '\0', 23900);
    assert_int_equal(fl_output_quote(texts, FL_REPLY_TEXT_MAX_BYTES, json), 0);
    assert_int_equal(strlen(json[0]), 6 * 2500 + 2);
    assert_true(strlen(json[1]) > 45000);
    assert_int_equal(strlen(json[1]), strlen(json[2]));
    for (size_t k = 0; k < 3; k++) {
        free(json[k]);
        fl_buf_done(&texts[k]);
    }
}

static void nothing_is_cut_that_fits(void **state)
{
    struct fl_buf texts[3];
    char *json[3];

    fill(&texts[0], 'a', 2500);
    fill(&texts[1], 'b', 24000);
    fill(&texts[2], 'c', 24000);
    assert_int_equal(fl_output_quote(texts, FL_REPLY_TEXT_MAX_BYTES, json), 0);
    assert_int_equal(strlen(json[0]), 2502);
    assert_int_equal(strlen(json[1]), 24002);
    assert_int_equal(strlen(json[2]), 24002);
    for (size_t k = 0; k < 3; k++) {
        free(json[k]);
        fl_buf_done(&texts[k]);
    }
}

static void much_output_stays_bounded(void **state)
{
    char dir[TMPDIR_BYTES], chunk[4096];
    struct fl_output s;
    struct stat st;
    int dir_fd;

    make_tmpdir(dir);
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    fl_output_init(&s, dir_fd, "stdout", 100000);
    assert_int_equal(fstatat(dir_fd, "stdout", &st, 0), -1); /* made with the first byte */
    memset(chunk, 'x', sizeof(chunk));
    for (int i = 0; i < 100; i++)
        fl_output_write(&s, chunk, sizeof(chunk));
    for (int i = 0; i < 1000; i++)
        fl_output_write(&s, "y", 1);
    assert_int_equal(s.total_bytes, 100 * 4096 + 1000);
    assert_int_equal(s.head.len, 24001);
    assert_int_equal(fstatat(dir_fd, "stdout", &st, 0), 0);
    assert_int_equal(st.st_size, 100000);
    assert_int_equal(st.st_mode & 0777, 0600);
    fl_output_done(&s);

    fl_output_init(&s, dir_fd, "stdout", 100000); /* what another worker left */
    fl_output_recover(&s);
    assert_int_equal(s.head.len, 24001);
    assert_int_equal(s.total_bytes, 100000);
    fl_output_done(&s);
    close(dir_fd);
    fl_dir_remove(dir, NULL);
}

static void runs_are_joined_by_a_line_feed_only_between_outputs(void **state)
{
    static const struct {
        const char *a, *b, *c, *want;
    } runs[] = {
        { "1\n", "2\n", "3\n", "1\n\n2\n\n3\n" },
        { "", "2", "3", "2\n3" },
        { "1", "", "3", "1\n3" },
        { "1", "", "", "1" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(runs); i++) {
        struct fl_output s;

        fl_output_init(&s, -1, "stdout", 0);
        fl_output_write(&s, runs[i].a, strlen(runs[i].a));
        fl_output_next_run(&s);
        fl_output_write(&s, runs[i].b, strlen(runs[i].b));
        fl_output_next_run(&s);
        fl_output_write(&s, runs[i].c, strlen(runs[i].c));
        assert_string_equal(s.head.data, runs[i].want);
        fl_output_done(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined),
        cmocka_unit_test(stream_text_is_cut_at_24000),
        cmocka_unit_test(three_texts_always_fit),
        cmocka_unit_test(both_streams_keep_their_beginning),
        cmocka_unit_test(nothing_is_cut_that_fits),
        cmocka_unit_test(much_output_stays_bounded),
        cmocka_unit_test(runs_are_joined_by_a_line_feed_only_between_outputs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
