#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cli/command.h"
#include "cli/input.h"

static void seconds_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        { "0", 0 },     { "90", 90 },        { "90s", 90 }, { "5m", 300 },
        { "2h", 7200 }, { "7d", 604800 },    { "", -1 },    { "s", -1 },
        { "-1", -1 },   { " 1", -1 },        { "1x", -1 },  { "1mm", -1 },
        { "1.5h", -1 }, { "99999999d", -1 }, { "+1", -1 },  { "99999999999999999999", -1 },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        int64_t got = -1;
        int r = fl_seconds_parse(cases[i].text, &got);

        assert_int_equal(r, cases[i].want < 0 ? -EINVAL : 0);
        assert_int_equal(got, cases[i].want);
    }
}

/* What a row promises: names that can be found, options that can be told apart. */
static void the_table_is_sound(void **state)
{
    (void)state;
    for (const struct fl_command *const *c = fl_commands; *c; c++) {
        char name[64];
        char *words[2];
        int n = 0, found = 0;

        snprintf(name, sizeof(name), "%s", (*c)->name);
        for (char *at = strtok(name, " "); at && n < 2; at = strtok(NULL, " "))
            words[n++] = at;
        assert_ptr_equal(fl_command_find(n, words, &found), *c);
        assert_int_equal(found, n);
        assert_non_null((*c)->run);
        assert_true((*c)->max_args >= (*c)->min_args);
        assert_true((*c)->summary[strlen((*c)->summary) - 1] != '.');
        for (size_t i = 0; i < (*c)->n_options; i++) {
            const struct fl_opt *o = &(*c)->options[i];

            assert_int_equal(o->kind == FL_OPT_KIND_FLAG, o->arg == NULL);
            assert_true(o->offset < (*c)->options_bytes);
            for (size_t k = 0; k < i; k++) {
                assert_string_not_equal(o->name, (*c)->options[k].name);
                assert_false(o->letter && o->letter == (*c)->options[k].letter);
            }
            for (size_t k = 0; k < fl_n_global_options; k++) {
                assert_string_not_equal(o->name, fl_global_options[k].name);
                assert_false(o->letter && o->letter == fl_global_options[k].letter);
            }
        }
    }
}

struct options {
    bool flag;
    const char *text;
    struct fl_texts texts;
    struct fl_number number;
    struct fl_seconds seconds;
};
static const struct fl_opt options[] = {
    FL_OPT(struct options, flag, 'f', "flag", NULL, "a flag"),
    FL_OPT(struct options, text, 't', "text", "TEXT", "a text"),
    FL_OPT(struct options, texts, 'm', "many", "TEXT", "texts"),
    FL_OPT(struct options, number, 'n', "number", "N", "a number"),
    FL_OPT(struct options, seconds, 0, "time", "TIME", "a time"),
};
static const struct fl_command with_tail = {
    .name = "x", .args = "", FL_OPTIONS(struct options, options), .flags = FL_COMMAND_TAIL
};
static const struct fl_command without_tail = { .name = "x",
                                                .args = "",
                                                FL_OPTIONS(struct options, options) };

/* Results as text: "f t=T m=A,B n=N s=S j | arguments | tail". */
static void describe(int status, const struct options *o, const struct fl_globals *g,
                     const struct fl_args *a, char *out, size_t size)
{
    size_t n = 0;

    if (status) {
        snprintf(out, size, "status %d", status);
        return;
    }
#define PUT(...) n += (size_t)snprintf(out + n, size - n, __VA_ARGS__)
    PUT("%s%s", o->flag ? "f " : "", g->json ? "j " : "");
    if (o->text)
        PUT("t=%s ", o->text);
    for (size_t i = 0; i < o->texts.n; i++)
        PUT("m=%s ", o->texts.v[i]);
    if (o->number.set)
        PUT("n=%lld ", (long long)o->number.v);
    if (o->seconds.set)
        PUT("s=%lld ", (long long)o->seconds.v);
    PUT("|");
    for (size_t i = 0; i < a->n; i++)
        PUT(" %s", a->v[i]);
    if (a->tail)
        PUT(" |");
    for (size_t i = 0; i < a->n_tail; i++)
        PUT(" %s", a->tail[i]);
#undef PUT
}

static void command_lines_are_taken_apart(void **state)
{
    static const struct {
        const struct fl_command *c;
        const char *line, *want;
    } cases[] = {
        { &with_tail, "", "|" },
        { &with_tail, "a b", "| a b" },
        { &with_tail, "a -f b --json", "f j | a b" },
        { &with_tail, "-t x -m 1 --many=2 -n 3 --time 2m a", "t=x m=1 m=2 n=3 s=120 | a" },
        { &with_tail, "a -- -f --json", "| a | -f --json" },
        { &with_tail, "a --", "| a |" },
        { &with_tail, "a -- b -- c", "| a | b -- c" },
        { &without_tail, "a -- -f", "| a -f" },
        { &without_tail, "--fl --te x", "f t=x |" },
        { &without_tail, "--nope", "status 2" },
        { &without_tail, "-t", "status 2" },
        { &without_tail, "-n x", "status 2" },
        { &without_tail, "--time 5x", "status 2" },
        { &without_tail, "--flag=1", "status 2" },
        { NULL, "--json nodes --flag", "j | nodes --flag" },
        { NULL, "nodes --json", "| nodes --json" },
    };

    (void)state;
    assert_non_null(freopen("/dev/null", "w", stderr)); /* the complaints */
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char line[128], got[512], program[] = "x";
        char *argv[32] = { program };
        struct fl_globals g = { 0 };
        struct options o = { 0 };
        struct fl_args a = { 0 };
        int argc = 1, status;

        snprintf(line, sizeof(line), "%s", cases[i].line);
        for (char *at = strtok(line, " "); at; at = strtok(NULL, " "))
            argv[argc++] = at;
        status = fl_command_parse(cases[i].c, argc, argv, &g, &o, &a);
        describe(status, &o, &g, &a, got, sizeof(got));
        assert_string_equal(got, cases[i].want);
    }
}

static void words_are_quoted_for_a_shell(void **state)
{
    static const struct {
        const char *word, *want;
    } cases[] = {
        { "plain-1.2/x=y", "plain-1.2/x=y" },
        { "", "''" },
        { "two words", "'two words'" },
        { "$HOME", "'$HOME'" },
        { "it's", "'it'\\''s'" },
        { "'", "''\\'''" },
        { "a\nb", "'a\nb'" },
        { "~", "'~'" },
        { "*", "'*'" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(256);

        assert_int_equal(fl_shell_quote(&out, cases[i].word, false), 0);
        assert_string_equal(out.data, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seconds_have_units),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(command_lines_are_taken_apart),
        cmocka_unit_test(words_are_quoted_for_a_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
