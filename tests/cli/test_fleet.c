#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "cli/fleet.h"
#include "cli/fleet_files.h"
#include "cli/table.h"

static void answers_are_read(void **state)
{
    static const struct {
        struct fl_outcome o;
        const char *error; /* NULL: an answer */
    } cases[] = {
        { { .status = "Success", .out = "{\"data\":{\"results\":[1],\"nextToken\":null}}" }, NULL },
        { { .status = "Success", .out = "{\"data\":{\"results\":[]},\"error\":null}\n" }, NULL },
        { { .status = "Success", .out = "{\"data\":{\"results\":[]},\"error\":\"\"}" }, NULL },
        /* the node's own words win, whatever else there is */
        { { .status = "Failed",
            .details = "Failed",
            .out = "{\"data\":{\"results\":[]},\"error\":\"/x: gone\"}",
            .error = "failed to run commands: exit status 1" },
          "web1: /x: gone" },
        { { .status = "Success", .out = "{\"data\":{\"results\":[1]},\"error\":\"half\"}" },
          "web1: half" },
        /* no answer: what the step said */
        { { .status = "Failed", .details = "Failed", .out = "", .error = "\nsh: no\nmore" },
          "web1: Failed: sh: no" },
        { { .status = "Success", .details = "Success", .out = "Step execution skipped\n" },
          "web1: Success: Step execution skipped" },
        { { .status = "Failed", .details = "DeliveryTimedOut" }, "web1: DeliveryTimedOut" },
        { { .status = "TimedOut", .details = "" }, "web1: TimedOut" },
        { { .status = "Success", .details = "Success" }, "web1: Success: nothing was put out" },
        /* what only looks like one */
        { { .status = "Success", .out = "{\"data\":{\"results\":{}}}" },
          "web1: Success: {\"data\":{\"results\":{}}}" },
        { { .status = "Success", .out = "[]" }, "web1: Success: []" },
        { { .status = "Success", .out = "{\"data\":{\"results\":[" },
          "web1: Success: {\"data\":{\"results\":[" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_err err = { 0 };
        json_t *data = NULL;
        int r = fl_fleet_read("web1", &cases[i].o, &data, &err);

        assert_int_equal(r, cases[i].error ? -EREMOTE : 0);
        assert_true((data != NULL) == (cases[i].error == NULL));
        if (cases[i].error)
            assert_string_equal(fl_err_text(&err), cases[i].error);
        else
            assert_true(json_is_array(json_object_get(data, "results")));
        json_decref(data);
    }
}

static void the_last_lines(void **state)
{
    static const struct {
        const char *text;
        size_t lines, want, want_lines;
    } cases[] = {
        { "", 3, 0, 0 },         { "\n", 1, 0, 1 },     { "a", 1, 0, 1 },
        { "a\n", 1, 0, 1 },      { "a\nb", 1, 2, 1 },   { "a\nb\n", 1, 2, 1 },
        { "a\nb\n", 2, 0, 2 },   { "a\nb\n", 3, 0, 2 }, { "\n\n\n", 2, 1, 2 },
        { "a\n\nb\n", 2, 2, 2 }, { "a\nb\n", 0, 4, 0 }, { "a\nbb\nccc", 2, 2, 2 },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        size_t n = 99;

        assert_int_equal(fl_last_lines(cases[i].text, strlen(cases[i].text), cases[i].lines, &n),
                         cases[i].want);
        assert_int_equal(n, cases[i].want_lines);
    }
}

static void sizes_have_four_characters_at_most(void **state)
{
    static const struct {
        double bytes;
        const char *want;
    } cases[] = {
        { -5, "0" },         { 0, "0" },          { 999, "999" },         { 1000, "1.0K" },
        { 1024, "1.0K" },    { 10188, "9.9K" },   { 10189, "10K" },       { 12345, "12K" },
        { 1023487, "999K" }, { 1023488, "1.0M" }, { 1610612736, "1.5G" }, { 1e15, "909T" },
        { 9.2e18, "8.0E" },
    };
    char text[FL_SIZE_BYTES];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_size(cases[i].bytes, text);
        assert_string_equal(text, cases[i].want);
    }
    fl_size(1e300, text); /* a node may say anything */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(the_last_lines),
        cmocka_unit_test(sizes_have_four_characters_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
