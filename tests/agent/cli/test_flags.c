#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "agent/cli/cli.h"

#define MAX_WORDS 24
#define MAX_TEXT  512

/* Splits "a b=c d" into an argv; blanks only separate. */
static int parse(const char *line, char *text, struct fl_cli *cli, struct fl_err *err)
{
    char *argv[MAX_WORDS] = { NULL };
    char *save = NULL;
    int argc = 0;

    argv[argc++] = text;
    strcpy(text, "fairlead-agent");
    text += strlen(text) + 1;
    strcpy(text, line);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    return fl_cli_parse(argc, argv, cli, err);
}

static void commands(void **state)
{
    static const struct {
        const char *line;
        enum fl_cli_command want;
    } cases[] = {
        { "", FL_CLI_RUN },
        { "run --config /c --state /s", FL_CLI_RUN },
        { "-register -id i -code c -region r", FL_CLI_REGISTER },
        { "--register --activation-id=i --activation-code=c --region=r --yes", FL_CLI_REGISTER },
        { "register -id i -code c -region r", FL_CLI_REGISTER },
        { "-register -id i --activation-code-file f -region r", FL_CLI_REGISTER },
        { "-register -role R -region r -tags []", FL_CLI_REGISTER },
        { "-register -clear", FL_CLI_CLEAR },
        { "-register -clear -y -id i", FL_CLI_CLEAR },
        { "-register -clear -id i -code c -region r", FL_CLI_REGISTER },
        { "-fingerprint", FL_CLI_FINGERPRINT },
        { "-fingerprint -similarityThreshold -1", FL_CLI_FINGERPRINT },
        { "-fingerprint -similarityThreshold=100", FL_CLI_FINGERPRINT },
        { "-version", FL_CLI_VERSION },
        { "--version", FL_CLI_VERSION },
        { "-h", FL_CLI_HELP },
        { "-register --help", FL_CLI_HELP },
        { "status --json", FL_CLI_STATUS },
        { "--state /s status", FL_CLI_STATUS },
        { "credentials", FL_CLI_CREDENTIALS },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char text[MAX_TEXT];
        struct fl_cli cli;

        print_message("%s\n", cases[i].line);
        assert_int_equal(parse(cases[i].line, text, &cli, NULL), 0);
        assert_int_equal(cli.command, cases[i].want);
    }
}

static void both_syntaxes_give_the_same(void **state)
{
    static const char *const lines[] = {
        "-register -y -id I -code C -region R -disableSimilarityCheck",
        "-register=true -y=1 -id=I -code=C -region=R -disableSimilarityCheck=TRUE",
        "--register --yes --activation-id I --code C --region R --disable-similarity-check",
        "--register -y --activation-id=I --code=C --region=R --disableSimilarityCheck",
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(lines); i++) {
        char text[MAX_TEXT];
        struct fl_cli cli;

        assert_int_equal(parse(lines[i], text, &cli, NULL), 0);
        assert_string_equal(cli.id, "I");
        assert_string_equal(cli.code, "C");
        assert_string_equal(cli.region, "R");
        assert_true(cli.yes);
        assert_true(cli.disable_similarity);
    }
}

static void errors_name_what_is_wrong(void **state)
{
    static const struct {
        const char *line, *word;
    } cases[] = {
        { "-nope", "-nope" },
        { "--nope=1", "--nope: unknown" },
        { "-regist", "did you mean -register?" },
        { "--jsn status", "did you mean --json?" },
        { "statu", "did you mean status?" },
        { "nonsense", "nonsense" },
        { "run status", "status" },
        { "-register", "-id" },
        { "-register -id i", "-code" },
        { "-register -id i -code c", "-region" },
        { "-register -role R", "-region" },
        { "-register -id", "-id" },
        { "-y=maybe -register -id i -code c -region r", "maybe" },
        { "-fingerprint -similarityThreshold 0", "similarityThreshold" },
        { "-fingerprint -similarityThreshold 101", "similarityThreshold" },
        { "-fingerprint -similarityThreshold x", "similarityThreshold" },
        { "-clear", "-register" },
        { "-id i", "-register" },
        { "-", "unknown" },
        { "--", "unknown" },
        { "-=x", "unknown" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char text[MAX_TEXT];
        struct fl_err err = { 0 };
        struct fl_cli cli;

        print_message("%s\n", cases[i].line);
        assert_int_equal(parse(cases[i].line, text, &cli, &err), -EINVAL);
        assert_non_null(strstr(err.text, cases[i].word));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(both_syntaxes_give_the_same),
        cmocka_unit_test(errors_name_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
