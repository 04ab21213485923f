/* call.c - `fairlead call`: any operation. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/list.h"
#include "cli/term.h"
#include "common/base/file.h"

#define INPUT_MAX_BYTES (1 << 20)

static int run_call(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autofree char *input = NULL;
    fl_autofree char *answer = NULL;
    struct fl_err err = { 0 };
    const char *body = "{}";
    size_t len;
    int r = 0;

    (void)options;
    if (args->n == 2 && strcmp(args->v[1], "-") == 0) {
        r = fl_fd_read_all(STDIN_FILENO, INPUT_MAX_BYTES, &input, &len);
        if (r < 0)
            fl_err_set(&err, r, NULL, "standard input: %s", strerror(-r));
        body = input;
    } else if (args->n == 2) {
        body = args->v[1];
    }
    /* What it does is not known here: it is not done twice. */
    if (r == 0)
        r = fl_api_text(cli, args->v[0], true, body, &answer, &err);
    if (r < 0)
        return fl_cli_fail(&err);
    fl_put_json(answer);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_call = {
    .name = "call",
    .args = "OPERATION [JSON|-]",
    .summary = "Call one operation of the API and print its answer",
    .text = "OPERATION is a name of the API of AWS Systems Manager, such as ListCommands. JSON is "
            "its input, {} without; \"-\" reads it from standard input.",
    .min_args = 1,
    .max_args = 2,
    .run = run_call,
};
