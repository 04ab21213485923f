/* attachcmd.c - `fairlead session`, `exec` and `ssh-proxy`: sessions at the user's own
 * streams. */
#include <errno.h>
#include <string.h>
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/escape.h"
#include "cli/input.h"
#include "cli/nodes.h"
#include "cli/params.h"

#define ARENA_BYTES (4 << 20)

#define EXEC_DOCUMENT    "Fairlead-Exec"
#define COMMAND_DOCUMENT "AWS-StartNonInteractiveCommand"
#define OUT_PREFIX       "out:"
#define ERR_PREFIX       "err:"
#define SSH_DOCUMENT     "AWS-StartSSHSession"
#define SSH_PORT         "22"
#define EXEC_FAILURE     255 /* as ssh: a status that commands rarely have */

static int start(struct fl_cli *cli, struct fl_session_wish *wish, const json_t *parameters,
                 struct fl_arena *arena, struct fl_session_grant *ret_grant, struct fl_err *err)
{
    int r = fl_params_raw(parameters, arena, &wish->parameters);

    return r < 0 ? r : fl_session_start(cli, wish, arena, ret_grant, err);
}

static int attach(struct fl_cli *cli, int r, const struct fl_session_grant *grant,
                  const struct fl_attach_conf *conf, struct fl_err *err)
{
    if (r == 0)
        return fl_attach(cli, grant, conf);
    fl_cli_failed(r, err);
    return conf->failure;
}

static int run_attached(struct fl_cli *cli, char *node, struct fl_session_wish *wish,
                        const json_t *parameters, const struct fl_attach_conf *conf)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_session_grant grant;
    struct fl_err err = { 0 };
    int r = fl_node_find_one(cli, node, &arena, &wish->node, &err);

    if (r == 0)
        r = start(cli, wish, parameters, &arena, &grant, &err);
    return attach(cli, r, &grant, conf, &err);
}

/* ---- session ---- */

struct session_options {
    const char *document, *parameters, *reason, *escape;
    struct fl_texts parameter;
    bool quiet;
};
static const struct fl_opt session_options[] = {
#define O(...) FL_OPT(struct session_options, __VA_ARGS__)
    O(document, 'D', "document", "NAME", "the session document; the account's shell without",
      FL_COMPLETE_DOCUMENT),
    O(parameter, 'p', "parameter", "NAME=VALUE", "a parameter of the document"),
    O(parameters, 0, "parameters", "JSON", "parameters as a JSON object; @FILE reads it"),
    O(reason, 'm', "reason", "TEXT", "what it is for; lists and audit show it"),
    O(escape, 'e', "escape", "CHAR", "the escape character: ~ without, ^] and the like, or none"),
    O(quiet, 'q', "quiet", NULL, "no notes on standard error"),
#undef O
};

extern const struct fl_command fl_cmd_session;

static int run_session(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct session_options *o = options;
    const struct fl_attach_conf conf = { .escape = o->escape,
                                         .quiet = o->quiet,
                                         .listens = o->document != NULL,
                                         .failure = FL_EXIT_SERVICE };
    struct fl_session_wish wish = { .document = o->document, .reason = o->reason };
    struct fl_escape escape;
    struct fl_err err = { 0 };
    json_t *all = NULL;
    int status;

    if (o->escape && fl_escape_init(&escape, o->escape) < 0)
        return fl_usage(&fl_cmd_session, "--escape: \"%s\" is no character, ^CHARACTER or none",
                        o->escape);
    if (fl_params_read(o->parameters, &o->parameter, &all, &err) < 0)
        return fl_usage(&fl_cmd_session, "%s", fl_err_text(&err));
    status = run_attached(cli, args->v[0], &wish, all, &conf);
    json_decref(all);
    return status;
}

const struct fl_command fl_cmd_session = {
    .name = "session",
    .args = "NODE",
    .summary = "Open a terminal on a node",
    .text =
        "Keys go to the node as they are. Behind a line end, ~. ends the session, ~^Z suspends "
        "fairlead, ~? lists these escapes and ~~ sends the character itself. A connection that is "
        "lost is made again, for ten minutes, and nothing typed or printed is lost by it. In a "
        "pipe, standard input is typed on the node, and all of the output is printed before "
        "fairlead ends.\n\n"
        "With --document the session is what that document says: a command, a port. The exit "
        "status is 0 if the node's program has ended, 3 if something else ended the session: the "
        "plane, a limit of time, a node that is gone.",
    FL_OPTIONS(struct session_options, session_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_NODE,
    .run = run_session,
};

/* ---- exec ---- */

struct exec_options {
    const char *shell, *reason;
    bool no_stdin, quiet;
};
static const struct fl_opt exec_options[] = {
#define O(...) FL_OPT(struct exec_options, __VA_ARGS__)
    O(shell, 's', "shell", "LINE", "a line for the node's shell, in place of COMMAND"),
    O(no_stdin, 'n', "no-stdin", NULL, "the command's standard input is empty"),
    O(reason, 'm', "reason", "TEXT", "what it is for; lists and audit show it"),
    O(quiet, 'q', "quiet", NULL, "no notes on standard error"),
#undef O
};

extern const struct fl_command fl_cmd_exec;

/* AWS has no Fairlead-Exec. Its own document gives no input, runs no shell, and its outputs are
 * told apart by what stands before them; how it spells its booleans is not documented. */
static const struct way {
    const char *refusal; /* of the way before, after which this is tried */
    const char *document;
    const char *separate; /* NULL: our own document */
} ways[] = {
    { NULL, EXEC_DOCUMENT, NULL },
    { "InvalidDocument", COMMAND_DOCUMENT, "true" },
    { "ValidationException", COMMAND_DOCUMENT, "True" },
};

static int command_line(const struct exec_options *o, const struct fl_args *args, bool has_shell,
                        struct fl_buf *out)
{
    int r = 0;

    if (o->shell && has_shell)
        return fl_buf_puts(out, o->shell);
    if (o->shell) {
        r = fl_buf_puts(out, "sh -c");
        return r < 0 ? r : fl_shell_quote(out, o->shell, true);
    }
    for (size_t i = 0; i < args->n_tail && r == 0; i++)
        r = fl_shell_quote(out, args->tail[i], i > 0);
    return r;
}

static json_t *way_parameters(const struct way *way, const char *line)
{
    json_t *all = json_object();
    int r = fl_params_add(all, "command", line);

    if (r == 0 && way->separate) {
        r = fl_params_add(all, "separateOutputStream", way->separate);
        if (r == 0)
            r = fl_params_add(all, "stdoutSeparatorPrefix", OUT_PREFIX);
        if (r == 0)
            r = fl_params_add(all, "stderrSeparatorPrefix", ERR_PREFIX);
    }
    if (r == 0)
        return all;
    json_decref(all);
    return NULL;
}

/* Up to an answer of the plane, which may be that it does not know this way. */
static int try_way(struct fl_cli *cli, const struct way *way, struct fl_session_wish *wish,
                   const struct exec_options *o, const struct fl_args *args, struct fl_arena *arena,
                   struct fl_session_grant *ret_grant, struct fl_err *err)
{
    fl_autobuf struct fl_buf line = FL_BUF(FL_PARAMS_MAX_BYTES);
    json_t *all;
    int r;

    if (command_line(o, args, !way->separate, &line) < 0)
        return fl_err_set(err, -EMSGSIZE, NULL, "the command is over %d bytes",
                          FL_PARAMS_MAX_BYTES);
    all = way_parameters(way, line.data);
    if (!all)
        return fl_err_set(err, -EILSEQ, NULL, "the command is not UTF-8");
    wish->document = way->document;
    r = start(cli, wish, all, arena, ret_grant, err);
    json_decref(all);
    return r;
}

static int run_exec(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct exec_options *o = options;
    struct fl_attach_conf conf = {
        .no_input = o->no_stdin, .wants_code = true, .quiet = o->quiet, .failure = EXEC_FAILURE
    };
    struct fl_session_wish wish = { .reason = o->reason };
    struct fl_session_grant grant;
    struct fl_err err = { 0 };
    int r;

    if (o->shell ? args->n_tail > 0 : args->n_tail == 0)
        return fl_usage(&fl_cmd_exec, "%s",
                        o->shell ? "--shell and COMMAND exclude each other"
                                 : "no COMMAND: it stands behind \"--\"");
    r = fl_node_find_one(cli, args->v[0], &arena, &wish.node, &err);
    if (r < 0)
        return attach(cli, r, NULL, &conf, &err);
    for (size_t i = 0; i < FL_ARRAY_LEN(ways); i++) {
        if (i > 0 && !fl_api_refused(r, &err, ways[i].refusal))
            break;
        err = (struct fl_err){ 0 };
        r = try_way(cli, &ways[i], &wish, o, args, &arena, &grant, &err);
        if (r == -EMSGSIZE || r == -EILSEQ)
            return fl_usage(&fl_cmd_exec, "%s", fl_err_text(&err));
        conf.out_prefix = ways[i].separate ? OUT_PREFIX : NULL;
        conf.err_prefix = ways[i].separate ? ERR_PREFIX : NULL;
        if (r == 0)
            break;
    }
    return attach(cli, r, &grant, &conf, &err);
}

const struct fl_command fl_cmd_exec = {
    .name = "exec",
    .args = "NODE -- COMMAND [ARGUMENT...]",
    .summary = "Run one command on a node, with its input, outputs and exit status",
    .text =
        "Standard input, output and error are the command's, and nothing else is written to them; "
        "so is the exit status. The command gets each argument exactly as given; no shell reads "
        "them. --shell gives a line to the node's shell. There is no terminal: \"fairlead "
        "session\" has one.\n\n"
        "The exit status is 255 if the session failed, and 128 plus the signal's number if one "
        "ended fairlead; the command is then ended, too.\n\n"
        "Where there is no document Fairlead-Exec, as at AWS, AWS-StartNonInteractiveCommand is "
        "used: the command then gets no input.",
    FL_OPTIONS(struct exec_options, exec_options),
    .min_args = 1,
    .max_args = 1,
    .flags = FL_COMMAND_TAIL,
    .complete = FL_COMPLETE_NODE,
    .run = run_exec,
};

/* ---- ssh-proxy ---- */

struct proxy_options {
    const char *reason;
};
static const struct fl_opt proxy_options[] = {
    FL_OPT(struct proxy_options, reason, 'm', "reason", "TEXT",
           "what it is for; lists and audit show it"),
};

static int run_ssh_proxy(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct fl_attach_conf conf = { .failure = EXEC_FAILURE };
    const struct proxy_options *o = options;
    struct fl_session_wish wish = { .document = SSH_DOCUMENT, .reason = o->reason };
    json_t *all = json_object();
    int status;

    fl_params_add(all, "portNumber", args->n > 1 ? args->v[1] : SSH_PORT);
    status = run_attached(cli, args->v[0], &wish, all, &conf);
    json_decref(all);
    return status;
}

const struct fl_command fl_cmd_ssh_proxy = {
    .name = "ssh-proxy",
    .args = "NODE [PORT]",
    .summary = "Connect standard input and output to a port of a node, for ssh",
    .text = "In ~/.ssh/config:\n\n"
            "Host mi-* \n"
            "    ProxyCommand fairlead ssh-proxy %h %p\n\n"
            "Then ssh, scp, sftp and rsync reach the node's own sshd by its id. PORT is 22 "
            "without.",
    FL_OPTIONS(struct proxy_options, proxy_options),
    .min_args = 1,
    .max_args = 2,
    .complete = FL_COMPLETE_NODE,
    .run = run_ssh_proxy,
};
