/* All operations together: unique names, whole rows, patterns that compile, shapes that encode. */
#include "server/api/registry.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/pattern.h"

#define DEPTH_MAX 12

static void check_pattern(const char *op, const struct fl_field *f, const struct fl_limits *l)
{
    if (l->pattern && fl_pattern_check(l->pattern) < 0)
        fail_msg("%s %s: %s", op, f->key, l->pattern);
}

static void check_shape(const char *op, const struct fl_shape *shape, int depth)
{
    if (depth > DEPTH_MAX)
        return; /* a shape may contain itself: NodeAggregator */
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        check_pattern(op, f, &f->limits);
        check_pattern(op, f, &f->elem);
        check_pattern(op, f, &f->map_key);
        if (f->kind == FL_KIND_STRUCT || f->kind == FL_KIND_LIST)
            check_shape(op, f->shape, depth + 1);
    }
}

static void rows_are_whole(void **state)
{
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n_ops; i++) {
            const struct fl_op *op = &(*t)->ops[i];

            if (!op->name || !op->in || !op->out || !op->fn)
                fail_msg("%s: row %zu is not whole", (*t)->service, i);
            check_shape(op->name, op->in, 0);
            check_shape(op->name, op->out, 0);
            assert_ptr_equal(fl_op_find((*t)->service, op->name), op); /* no second one */
        }
}

static void targets(void **state)
{
    const char *service = NULL;

    assert_non_null(fl_op_find_target("AmazonSSM.SendCommand", &service));
    assert_string_equal(service, "ssm");
    assert_null(fl_op_find_target("AmazonSSM.sendcommand", &service));
    assert_null(fl_op_find_target("AmazonSSM.", &service));
    assert_null(fl_op_find_target("", &service));
    assert_null(fl_op_find_target("GetCallerIdentity", &service)); /* sts has no targets */
    assert_null(fl_op_find("sts", "SendCommand"));
}

static void patterns_match_whole_values(void **state)
{
    assert_true(fl_pattern_match(NULL, "[a-z]{2}", "ab"));
    assert_false(fl_pattern_match(NULL, "[a-z]{2}", "abc"));
    assert_false(fl_pattern_match(NULL, "[a-z]{2}", "ab\n"));
    assert_false(fl_pattern_match(NULL, "a|ab", "abc"));
    assert_true(fl_pattern_match(NULL, "a|ab", "ab"));
    assert_true(fl_pattern_match(NULL, "[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*",
                                 "Gr\xc3\xb6\xc3\x9f"
                                 "e 1"));
    assert_false(fl_pattern_match(NULL, "[\\p{L}]*", "a!"));
    assert_false(fl_pattern_match(NULL, "(a+)+b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"));
    assert_int_not_equal(fl_pattern_check("["), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(targets),
        cmocka_unit_test(patterns_match_whole_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
