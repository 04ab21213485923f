#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "common/base/optwords.h"
#include "common/base/util.h"

static const struct option options[] = {
    { "data", required_argument, NULL, 'd' },    { "json", no_argument, NULL, 'j' },
    { "profile", required_argument, NULL, 257 }, { "proxy", required_argument, NULL, 258 },
    { "quiet", no_argument, NULL, 'q' },         { 0 },
};

static const struct {
    const char *argv[4], *want;
} cases[] = {
    { { "x", "--jsn" }, "there is no option --jsn; did you mean --json?" },
    { { "x", "--jsn=1" }, "there is no option --jsn; did you mean --json?" },
    { { "x", "word", "--elephant" }, "there is no option --elephant" },
    { { "x", "--pro", "p" }, "--pro may be --profile or --proxy" },
    { { "x", "--data" }, "--data needs a value" },
    { { "x", "--dat" }, "--data needs a value" },
    { { "x", "word", "--profile" }, "--profile needs a value" },
    { { "x", "--quiet=1" }, "--quiet takes no value" },
    { { "x", "-V" }, "there is no option -V" },
    { { "x", "-qV" }, "there is no option -V" },
    { { "x", "--json", "-qV" }, "there is no option -V" },
    { { "x", "-d" }, "-d needs a value" },
};

static void words(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char *argv[5] = { NULL };
        char buf[200];
        int argc = 0, opt;

        for (; argc < 4 && cases[i].argv[argc]; argc++)
            argv[argc] = (char *)cases[i].argv[argc];
        optind = 0;
        opterr = 0;
        do
            opt = getopt_long(argc, argv, ":d:q", options, NULL);
        while (opt != -1 && opt != '?' && opt != ':');
        assert_int_not_equal(opt, -1);
        assert_string_equal(fl_option_words(argv, opt, options, buf, sizeof(buf)), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(words) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
