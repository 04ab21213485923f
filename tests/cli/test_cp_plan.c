#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cli/cp_plan.h"

static void nodes_stand_before_a_colon(void **state)
{
    static const struct {
        const char *word;
        size_t want;
    } cases[] = { { "web1:/etc", 4 }, { "web1:", 4 }, { "web1", 0 }, { "./a:b", 0 },
                  { "/a:b", 0 },      { "a/b:c", 0 }, { ":x", 0 },   { "", 0 },
                  { "mi-1:a:b", 4 },  { "x:~/y", 1 } };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_cp_node_len(cases[i].word), cases[i].want);
}

static void heads_are_read(void **state)
{
    static const struct {
        const char *line, *want; /* NULL: refused */
    } cases[] = {
        { "f 644 12", "0 644 12" },
        { "f 4755 0", "0 755 0" }, /* what a mode gives to others is not taken over */
        { "d 0 0", "1 0 0" },
        { "x 644 12", NULL },
        { "f 644", NULL },
        { "f 644 12 x", NULL },
        { "", NULL },
        { "f 9 1", NULL },
        { "cat: x", NULL },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_cp_head h = { 0 };
        char got[64];

        assert_int_equal(fl_cp_head_parse(cases[i].line, &h), cases[i].want ? 0 : -EBADMSG);
        snprintf(got, sizeof(got), "%d %o %llu", h.folder, h.mode, (unsigned long long)h.size);
        assert_string_equal(got, cases[i].want ? cases[i].want : "0 0 0");
    }
}

static int collect(void *arg, const char *data, size_t len)
{
    return fl_buf_append(arg, data, len);
}

/* Whatever the pieces, data and trailer come apart. */
static void the_trailer_is_held_back(void **state)
{
    static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char all[400];

    (void)state;
    for (size_t data = 0; data < 200; data += 33)
        for (size_t step = 1; step < 150; step += 7) {
            fl_autobuf struct fl_buf got = FL_BUF(1024);
            struct fl_cp_tail t = { 0 };
            char found[FL_CP_TRAILER_BYTES];
            size_t len = data + FL_CP_TRAILER_BYTES;

            for (size_t i = 0; i < data; i++)
                all[i] = (char)i;
            snprintf(all + data, sizeof(all) - data, "%s\n", digest);
            for (size_t at = 0; at < len; at += step)
                assert_int_equal(
                    fl_cp_tail_feed(&t, all + at, FL_MIN(step, len - at), collect, &got), 0);
            assert_int_equal(got.len, data);
            if (data)
                assert_memory_equal(got.data, all, data);
            assert_int_equal(fl_cp_tail_digest(&t, found), 0);
            assert_string_equal(found, digest);
        }
}

static void what_is_no_trailer_is_refused(void **state)
{
    fl_autobuf struct fl_buf got = FL_BUF(1024);
    struct fl_cp_tail t = { 0 };
    char found[FL_CP_TRAILER_BYTES];

    (void)state;
    assert_int_equal(fl_cp_tail_digest(&t, found), -EBADMSG);
    assert_int_equal(fl_cp_tail_feed(&t, "abc\n", 4, collect, &got), 0);
    assert_int_equal(fl_cp_tail_digest(&t, found), -EBADMSG);
    memset(t.kept, 'x', sizeof(t.kept));
    t.n = sizeof(t.kept);
    assert_int_equal(fl_cp_tail_digest(&t, found), -EBADMSG);
    t.kept[sizeof(t.kept) - 1] = '\n';
    assert_int_equal(fl_cp_tail_digest(&t, found), -EBADMSG);
}

/* Names reach the node's shell as words, whatever is in them. */
static void paths_are_quoted(void **state)
{
    fl_autobuf struct fl_buf up = FL_BUF(65536);
    fl_autobuf struct fl_buf down = FL_BUF(65536);
    const struct fl_cp_up plan = { .target = "a'$(x)", .base = "`y`", .mode = 0106755 };

    (void)state;
    assert_int_equal(fl_cp_up_line(&plan, &up), 0);
    assert_int_equal(
        strncmp(up.data, "path='a'\\''$(x)'\nbase='`y`'\nfolder=0 force=0 mode=755\n", 51), 0);
    assert_int_equal(fl_cp_down_line("; reboot", true, &down), 0);
    assert_int_equal(strncmp(down.data, "path='; reboot'\nfolders=1\n", 26), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_stand_before_a_colon),
        cmocka_unit_test(heads_are_read),
        cmocka_unit_test(the_trailer_is_held_back),
        cmocka_unit_test(what_is_no_trailer_is_refused),
        cmocka_unit_test(paths_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
