#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "common/base/nearest.h"
#include "common/base/util.h"

static const char *const names[] = { "run",      "nodes",    "status",           "session",
                                     "sessions", "doc list", "transcripts list", "y" };

static const struct {
    const char *word, *want;
} cases[] = {
    { "statsu", "status" },    /* two swapped */
    { "statu", "status" },     /* one left out */
    { "sttus", "status" },     /* the same in the middle */
    { "nodess", "nodes" },     /* one too many */
    { "nodez", "nodes" },      /* another */
    { "sta", "status" },       /* the beginning */
    { "sessionz", "session" }, /* as near as "sessions", and before it */
    { "docs list", "doc list" },
    { "doc lst", "doc list" },
    { "rn", "run" },
    { "x", NULL }, /* every letter another */
    { "", NULL },
    { "st", NULL }, /* too short for a beginning */
    { "nothing", NULL },
    { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
};

static void nearest(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_nearest near = { .word = cases[i].word };

        print_message("%s\n", cases[i].word);
        for (size_t k = 0; k < FL_ARRAY_LEN(names); k++)
            fl_nearest_add(&near, names[k]);
        if (cases[i].want)
            assert_string_equal(near.found ? near.found : "(none)", cases[i].want);
        else
            assert_null(near.found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nearest) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
