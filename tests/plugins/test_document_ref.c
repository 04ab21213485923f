#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "plugins/document_ref.h"

#define ARN "arn:aws:ssm:eu-west-1:111122223333:document/"

static const struct {
    const char *text, *name, *version, *bare; /* name NULL: refused */
} cases[] = {
    { "Doc.a-b_1", "Doc.a-b_1", NULL, "Doc.a-b_1" },
    { "Doc:3", "Doc", "3", "Doc" },
    { "Doc:$LATEST", "Doc", "$LATEST", "Doc" },
    { "Doc:", "Doc", NULL, "Doc" },
    { ARN "Doc", ARN "Doc", NULL, "Doc" },
    { ARN "Doc:2", ARN "Doc", "2", "Doc" },
    { "", NULL, NULL, NULL },
    { ":1", NULL, NULL, NULL },
    { "a/b", NULL, NULL, NULL },
    { "..", NULL, NULL, NULL },
    { ARN "..", NULL, NULL, NULL },
    { ARN, NULL, NULL, NULL },
    { "arn:aws:ssm", NULL, NULL, NULL },
    { "a b", NULL, NULL, NULL },
};

static void names_are_taken_apart(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_get_document_in in = { 0 };
        char *bare = NULL;
        int r = fl_document_ref_parse(cases[i].text, &arena, &in, &bare);
        print_message("%s\n", cases[i].text);
        assert_int_equal(r < 0, !cases[i].name);
        if (r < 0)
            continue;
        assert_string_equal(in.name, cases[i].name);
        assert_string_equal(in.version ? in.version : "", cases[i].version ? cases[i].version : "");
        assert_string_equal(bare, cases[i].bare);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(names_are_taken_apart) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
