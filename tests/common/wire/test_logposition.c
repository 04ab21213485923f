/* Positions in sequence tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/wire/logposition.h"

#define W "0123456789abcdef0123456789abcdef"

static void reads(void **state)
{
    static const struct {
        const char *token;
        bool good;
        uint64_t from, to;
    } cases[] = {
        { "fairlead:" W ":0:5", true, 0, 5 },
        { "fairlead:" W ":7:7", true, 7, 7 },
        { "fairlead:" W ":0:999999999999999999", true, 0, 999999999999999999 },
        { "fairlead:" W ":0:1000000000000000000", false, 0, 0 },
        { "fairlead:" W ":6:5", false, 0, 0 },
        { "fairlead:" W ":0:5 ", false, 0, 0 },
        { "fairlead:" W ":-1:5", false, 0, 0 },
        { "fairlead:" W ":0:", false, 0, 0 },
        { "fairlead:" W ":0", false, 0, 0 },
        { "fairlead:" W "0:0:5", false, 0, 0 },
        { "fairlead:0123:0:5", false, 0, 0 },
        { "fairlead:0123456789ABCDEF0123456789abcdef:0:5", false, 0, 0 },
        { "49590302469", false, 0, 0 },
        { "", false, 0, 0 },
        { NULL, false, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_log_position p = { .from = 1 };

        assert_int_equal(fl_log_position_read(cases[i].token, &p), cases[i].good);
        if (!cases[i].good)
            continue;
        assert_string_equal(p.writer, W);
        assert_true(p.from == cases[i].from && p.to == cases[i].to);
    }
}

static void what_is_written_is_read(void **state)
{
    const struct fl_log_position p = { W, 999999999999999998, 999999999999999999 };
    struct fl_log_position got;
    char text[FL_LOG_POSITION_BYTES];

    (void)state;
    fl_log_position_write(&p, text);
    assert_true(fl_log_position_read(text, &got));
    assert_string_equal(got.writer, p.writer);
    assert_true(got.from == p.from && got.to == p.to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(what_is_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
