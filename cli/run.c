/* run.c - `fairlead run`: a command sent to nodes, and followed. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/filter.h"
#include "cli/input.h"
#include "cli/nodes.h"
#include "cli/params.h"
#include "cli/send.h"
#include "cli/term.h"

#define SHELL_DOCUMENT "AWS-RunShellScript"
#define ARENA_BYTES    (8 << 20)
#define TARGETS_MAX    5
#define TIMEOUT_MIN_S  5 /* agents take less for a mistake, and an hour in its place */

struct run_options {
    bool all, detach, yes, quiet;
    const char *document, *version, *parameters, *script, *concurrency, *max_errors, *comment;
    struct fl_texts parameter;
    struct fl_seconds timeout, delivery;
};
static const struct fl_opt run_options[] = {
#define O(...) FL_OPT(struct run_options, __VA_ARGS__)
    O(all, 'a', "all", NULL, "every node, in place of TARGET"),
    O(script, 's', "script", "FILE", "run a script in place of COMMAND; - for standard input",
      FL_COMPLETE_FILE),
    O(document, 'D', "document", "NAME", "the document; " SHELL_DOCUMENT " without",
      FL_COMPLETE_DOCUMENT),
    O(version, 0, "document-version", "VERSION", "a version of it: a number, $LATEST, $DEFAULT"),
    O(parameter, 'p', "parameter", "NAME=VALUE",
      "a parameter of the document; again for more values of a list"),
    O(parameters, 0, "parameters", "JSON", "parameters as a JSON object; @FILE reads it"),
    O(timeout, 't', "timeout", "TIME",
      "how long it may run on a node (the document's executionTimeout): 90s, 5m, 2h"),
    O(delivery, 0, "delivery-timeout", "TIME", "how long nodes that are offline are waited for"),
    O(concurrency, 'c', "concurrency", "N|N%", "at so many nodes at once; 50 without"),
    O(max_errors, 'e', "max-errors", "N|N%",
      "go on with further nodes after so many failed; 0 without"),
    O(comment, 'm', "comment", "TEXT", "what it is for; lists show it"),
    O(detach, 'd', "detach", NULL, "print the command's id and do not wait"),
    O(yes, 'y', "yes", NULL, "Ctrl-C cancels without a question"),
    O(quiet, 'q', "quiet", NULL, "outputs alone: no headings, no progress"),
#undef O
};

extern const struct fl_command fl_cmd_run;

/* ---- targets ---- */

/* "tag:Key=Value[,Value]": the values of one key are any of them, several keys are all of them. */
static int add_tag(struct fl_send *in, const char *word, struct fl_arena *arena, struct fl_err *err)
{
    const char *mark = strchr(word, '=');
    struct fl_target *t = NULL;
    char *key;

    if (!mark || mark == word + strlen("tag:"))
        return fl_err_set(err, -EINVAL, NULL, "\"%s\" is not tag:KEY=VALUE", word);
    key = fl_arena_memdup(arena, word, (size_t)(mark - word));
    if (!key)
        return -ENOMEM;
    for (size_t i = 0; i < in->n_targets; i++)
        if (strcmp(in->targets[i].key, key) == 0)
            t = &in->targets[i];
    if (!t && in->n_targets == TARGETS_MAX)
        return fl_err_set(err, -E2BIG, NULL, "more than %d tags", TARGETS_MAX);
    if (!t) {
        t = &in->targets[in->n_targets++];
        t->key = key;
    }
    return fl_strs_add_each(&t->values, mark + 1, arena);
}

static int set_targets(struct fl_cli *cli, const struct run_options *o, const struct fl_args *args,
                       struct fl_send *in, struct fl_arena *arena, struct fl_err *err)
{
    size_t n_tags = 0;
    int r = 0;

    in->targets = fl_arena_calloc(arena, TARGETS_MAX, sizeof(*in->targets));
    if (!in->targets)
        return -ENOMEM;
    if (o->all) {
        in->targets[in->n_targets++].key = "InstanceIds";
        return fl_strs_add(&in->targets[0].values, "*", arena);
    }
    for (size_t i = 0; i < args->n && r == 0; i++)
        if (strncmp(args->v[i], "tag:", 4) == 0) {
            n_tags++;
            r = add_tag(in, args->v[i], arena, err);
        }
    if (r < 0 || n_tags == args->n)
        return r;
    if (n_tags)
        return fl_err_set(err, -EINVAL, NULL, "tags and names of nodes cannot stand together");
    r = fl_nodes_find(cli, args->v, args->n, arena, &in->nodes, err);
    if (r == 0 && in->nodes.n > FL_NODES_MAX)
        r = fl_err_set(err, -E2BIG, NULL, "%zu nodes: more than %d only by a tag, or --all",
                       in->nodes.n, FL_NODES_MAX);
    return r;
}

/* ---- parameters ---- */

/* One word is a line of shell as it stands; several are quoted, so that the node's shell sees the
 * words that were given. */
static int command_line(const struct fl_args *args, struct fl_buf *out)
{
    int r = 0;

    if (args->n_tail == 1)
        return fl_buf_puts(out, args->tail[0]);
    for (size_t i = 0; i < args->n_tail && r == 0; i++)
        r = fl_shell_quote(out, args->tail[i], i > 0);
    return r;
}

static int add_commands(const struct run_options *o, const struct fl_args *args, json_t *all,
                        struct fl_err *err)
{
    fl_autobuf struct fl_buf line = FL_BUF(FL_PARAMS_MAX_BYTES);
    fl_autofree char *script = NULL;
    int r;

    if (o->script) {
        r = fl_input_file(o->script, FL_PARAMS_MAX_BYTES, &script, err);
        if (r < 0)
            return r;
    } else if (args->n_tail == 0) {
        return 0;
    } else if (command_line(args, &line) < 0) {
        return fl_err_set(err, -E2BIG, NULL, "the command is over %d bytes", FL_PARAMS_MAX_BYTES);
    }
    r = fl_params_add(all, "commands", script ? script : line.data);
    return r < 0 ? fl_err_set(err, r, NULL, "the command is not UTF-8") : 0;
}

static int set_parameters(const struct run_options *o, const struct fl_args *args,
                          struct fl_send *in, struct fl_arena *arena, struct fl_err *err)
{
    char seconds[24];
    json_t *all = NULL;
    int r = fl_params_read(o->parameters, &o->parameter, &all, err);

    if (r == 0)
        r = add_commands(o, args, all, err);
    if (r == 0 && o->timeout.set) {
        snprintf(seconds, sizeof(seconds), "%lld", (long long)o->timeout.v);
        r = fl_params_add(all, "executionTimeout", seconds);
    }
    if (r == 0)
        r = fl_params_raw(all, arena, &in->parameters);
    json_decref(all);
    return r;
}

/* ---- sending ---- */

static int check(const struct run_options *o, const struct fl_args *args)
{
    bool has_command = args->n_tail || o->script;

    if (o->all ? args->n > 0 : args->n == 0)
        return fl_usage(&fl_cmd_run, "%s",
                        o->all ? "--all and TARGET exclude each other"
                               : "no TARGET; --all means every node");
    if (args->n_tail && o->script)
        return fl_usage(&fl_cmd_run, "--script and COMMAND exclude each other");
    if (o->timeout.set && o->timeout.v < TIMEOUT_MIN_S)
        return fl_usage(&fl_cmd_run, "--timeout: at least %ds", TIMEOUT_MIN_S);
    if (!has_command && !o->document)
        return fl_usage(&fl_cmd_run, "no COMMAND: it stands behind \"--\"");
    return 0;
}

static int send_it(struct fl_cli *cli, const struct run_options *o, const struct fl_send *in,
                   struct fl_arena *arena, struct fl_err *err)
{
    struct fl_follow f = { .yes = o->yes, .quiet = o->quiet };
    int r = fl_send_and_follow(cli, in, &f, o->detach, arena, err);

    if (r == 0 && o->detach)
        fl_put_textf(stdout, "%s\n", f.id);
    return r;
}

static int run_run(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct run_options *o = options;
    struct fl_send in = { .document = o->document ? o->document : SHELL_DOCUMENT,
                          .version = o->version,
                          .comment = o->comment,
                          .concurrency = o->concurrency,
                          .max_errors = o->max_errors,
                          .timeout_s = o->delivery.v };
    struct fl_err err = { 0 };
    int r = check(o, args);
    bool usage;

    if (r)
        return r;
    r = set_parameters(o, args, &in, &arena, &err);
    if (r == 0)
        r = set_targets(cli, o, args, &in, &arena, &err);
    usage = r == -EINVAL || r == -E2BIG || r == -EILSEQ;
    if (r == 0)
        r = send_it(cli, o, &in, &arena, &err);
    if (r >= 0)
        return r;
    fl_cli_failed(r, &err);
    return usage ? FL_EXIT_USAGE : FL_EXIT_SERVICE;
}

const struct fl_command fl_cmd_run = {
    .name = "run",
    .args = "TARGET... -- COMMAND [ARGUMENT...]",
    .summary = "Run a command on nodes, and print what it puts out",
    .text =
        "TARGET is the id of a node, the name of a node or its computer, a pattern of names such "
        "as 'web*', or tag:KEY=VALUE. Several names are all of these nodes. Several tags are the "
        "nodes that have them all; tag:KEY=VALUE,VALUE is any of the values.\n\n"
        "One COMMAND word is a line of shell as it stands; several words reach the node as the "
        "words they are. With --document the command becomes the parameter \"commands\" of that "
        "document, and may be absent.\n\n"
        "Each node's output is printed once the node has finished, standard output to standard "
        "output, standard error to standard error; for more than one node under a heading. A "
        "terminal also sees how many are still to come. A node keeps 24,000 characters of "
        "standard output and 8,000 of standard error.\n\n"
        "Ctrl-C asks whether to cancel the command; a second Ctrl-C leaves it running and prints "
        "its id. The exit status is 0 if it succeeded on all nodes, 1 if not, 130 if it was "
        "left. With --json each node is one line, with CommandId, InstanceId, InstanceName, "
        "Status, StatusDetails and the Steps, as GetCommandInvocation has them. Of a step "
        "that never ran, Output has the reason.",
    FL_OPTIONS(struct run_options, run_options),
    .max_args = FL_ARGS_ANY,
    .flags = FL_COMMAND_TAIL,
    .complete = FL_COMPLETE_NODE,
    .run = run_run,
};
