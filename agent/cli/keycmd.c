/* keycmd.c - commands that only change what the key process keeps: -clear, -fingerprint; -version.
 */
#include <stdio.h>
#include "agent/cli/cli.h"
#include "agent/lib/keyproc.h"
#include "agent/lib/platform.h"
#include "agent/lib/text.h"

#define TIMEOUT_MS 30000

struct once {
    struct fl_loop *loop;
    int status;
};

static void on_answer(void *arg, const struct fl_key_answer *answer, const char *why)
{
    struct once *o = arg;

    o->status = answer && !answer->error ? 0 : 1;
    if (o->status)
        fprintf(stderr, "fairlead-agent: %s\n", answer ? answer->error : why);
    fl_loop_stop(o->loop);
}

static int ask_once(const struct fl_paths *paths, const struct fl_key_request *req)
{
    struct once o = { .status = 1 };
    struct fl_keyproc *key = NULL;
    struct fl_err err = { 0 };
    int r = fl_loop_new(&o.loop);

    if (r == 0)
        r = fl_keyproc_new(o.loop, paths, on_answer, &o, &key, &err);
    if (r == 0)
        r = fl_keyproc_ask(key, req, TIMEOUT_MS, &err);
    if (r == 0)
        fl_loop_run(o.loop);
    else
        fprintf(stderr, "fairlead-agent: %s\n", fl_err_text(&err));
    fl_keyproc_free(key);
    fl_loop_free(o.loop);
    return o.status;
}

int fl_cli_clear(const struct fl_cli *cli, const struct fl_paths *paths)
{
    int status = ask_once(paths, &(struct fl_key_request){ .op = fl_text(FL_KEY_CLEAR) });

    if (status == 0)
        puts("Registration and fingerprint are cleared.");
    return status;
}

int fl_cli_fingerprint(const struct fl_cli *cli, const struct fl_paths *paths)
{
    return ask_once(paths, &(struct fl_key_request){ .op = fl_text(FL_KEY_THRESHOLD),
                                                     .threshold = cli->threshold });
}

int fl_cli_version(void)
{
    printf("fairlead-agent %s\nSSM Agent version: %s\n", FL_VERSION, FL_AGENT_WIRE_VERSION);
    return 0;
}
