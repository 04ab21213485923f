/* completion.c - `fairlead completion SHELL`, and what its scripts ask of the program.
 *
 * The scripts hand the words of the line to "fairlead __complete" and offer what it prints, so they
 * never have to be made anew. Names of nodes, documents and parameters are asked of the plane, once
 * and for two seconds at most; where that fails nothing is offered and nothing is said.
 */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/nodes.h"

#define ASK_MS        2000
#define OFFERS_MAX    1000
#define FILES_DEFAULT ":files" /* tells the script: complete names of files */

static const char bash_script[] =
    "# fairlead completion for bash:  source <(fairlead completion bash)\n"
    "_fairlead() {\n"
    "    local IFS=$'\\n' word=${COMP_WORDS[COMP_CWORD]} line=() offers\n"
    "    # \"tag:Env=x\" and \"--opt=x\" are several words to bash; whole ones are asked for\n"
    "    local text=${COMP_LINE:0:COMP_POINT}\n"
    "    IFS=$' \\t\\n' read -r -a line <<< \"$text\"\n"
    "    [[ $text == *[[:space:]] || ${#line[@]} -eq 0 ]] && line+=('')\n"
    "    offers=$(fairlead __complete -- \"${line[@]:1}\" 2>/dev/null)\n"
    "    if [[ $offers == :files ]]; then\n"
    "        compopt -o filenames 2>/dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
    "        return\n"
    "    fi\n"
    "    local whole=${line[${#line[@]}-1]}\n"
    "    local skip=${whole%\"$word\"}\n"
    "    mapfile -t COMPREPLY <<< \"$offers\"\n"
    "    [[ -n $offers ]] || COMPREPLY=()\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$skip\"}\")\n"
    "    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace "
    "2>/dev/null\n"
    "    return 0\n"
    "}\n"
    "complete -F _fairlead fairlead\n";

static const char zsh_script[] =
    "#compdef fairlead\n"
    "# fairlead completion for zsh:  source <(fairlead completion zsh)\n"
    "_fairlead() {\n"
    "    local -a offers\n"
    "    offers=(${(f)\"$(fairlead __complete -- ${words[2,CURRENT]} 2>/dev/null)\"})\n"
    "    if [[ $offers[1] == :files ]]; then\n"
    "        _files\n"
    "    else\n"
    "        compadd -- $offers\n"
    "    fi\n"
    "}\n"
    "# as a file of the function path it is called, read by source it is named\n"
    "if [[ $funcstack[1] == _fairlead ]]; then _fairlead \"$@\"; else compdef _fairlead fairlead; "
    "fi\n";

static const char fish_script[] =
    "# fairlead completion for fish:  fairlead completion fish | source\n"
    "function __fairlead_offers\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    set -l offers (fairlead __complete -- $words[2..-1] 2>/dev/null)\n"
    "    if test \"$offers[1]\" = :files\n"
    "        __fish_complete_path (commandline -ct)\n"
    "    else\n"
    "        printf '%s\\n' $offers\n"
    "    end\n"
    "end\n"
    "complete -c fairlead -f -a '(__fairlead_offers)'\n";

static const struct {
    const char *shell, *script;
} scripts[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

static int run_completion(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    (void)cli;
    (void)options;
    for (size_t i = 0; i < FL_ARRAY_LEN(scripts); i++)
        if (strcmp(scripts[i].shell, args->v[0]) == 0) {
            fputs(scripts[i].script, stdout);
            return FL_EXIT_OK;
        }
    fprintf(stderr, "fairlead: the shell is bash, zsh or fish, not \"%s\"\n", args->v[0]);
    return FL_EXIT_USAGE;
}

const struct fl_command fl_cmd_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .summary = "Print a script that completes command lines",
    .text = "In ~/.bashrc: source <(fairlead completion bash). In ~/.zshrc, after compinit: source "
            "<(fairlead completion zsh). For fish: fairlead completion fish > "
            "~/.config/fish/completions/fairlead.fish",
    .min_args = 1,
    .max_args = 1,
    .flags = FL_COMMAND_OFFLINE,
    .complete = FL_COMPLETE_WORDS,
    .run = run_completion,
};

/* ---- what could stand here ---- */

struct offering {
    struct fl_cli *cli;
    const char *word;   /* what is there of it already */
    const char *before; /* goes in front of each offer: "--opt=" */
    const char *after;  /* goes behind it: ":/"; NULL: nothing */
    size_t n;
};

static void offer(struct offering *o, const char *text)
{
    const char *after = o->after ? o->after : "";
    size_t len = text ? strlen(text) : 0;
    size_t typed = strlen(o->word);

    if (len == 0 || strncmp(text, o->word, FL_MIN(typed, len)) != 0 || text[strcspn(text, " \t\n")])
        return;
    if ((typed > len && strncmp(after, o->word + len, typed - len) != 0) || o->n++ >= OFFERS_MAX)
        return;
    printf("%s%s%s\n", o->before, text, after);
}

static void offer_words(struct offering *o, const char *list)
{
    char word[64];

    while (list && *list) {
        size_t len = strcspn(list, "|");

        snprintf(word, sizeof(word), "%.*s", (int)len, list);
        offer(o, word);
        list += len + (list[len] == '|');
    }
}

static int offer_node(void *arg, const void *item, const void *json)
{
    const struct fl_node *n = item;

    (void)json;
    offer(arg, n->id);
    offer(arg, n->name);
    if (!n->name || !n->computer || strcmp(n->name, n->computer) != 0)
        offer(arg, n->computer);
    return 0;
}

struct named {
    char *name;
};
static const struct fl_field named_fields[] = { FL_FIELD(struct named, name, "Name", 0) };
static const struct fl_shape named_shape = FL_SHAPE(struct named, "named", named_fields);

static const struct fl_field open_fields[] = { FL_FIELD(struct named, name, "SessionId", 0) };
static const struct fl_shape open_shape = FL_SHAPE(struct named, "open", open_fields);

static int offer_named(void *arg, const void *item, const void *json)
{
    (void)json;
    offer(arg, ((const struct named *)item)->name);
    return 0;
}

/* The kinds that the plane knows. */
static const struct {
    enum fl_complete kind;
    const char *query;
    struct fl_list list;
    fl_list_fn fn;
} asked[] = {
    { FL_COMPLETE_DOCUMENT,
      "{}",
      { .operation = "ListDocuments",
        .key = "DocumentIdentifiers",
        .shape = &named_shape,
        .page = 50 },
      offer_named },
    { FL_COMPLETE_PARAMETER,
      "{}",
      { .operation = "DescribeParameters", .key = "Parameters", .shape = &named_shape, .page = 50 },
      offer_named },
    { FL_COMPLETE_SESSION,
      "{\"State\":\"Active\"}",
      { .operation = "DescribeSessions", .key = "Sessions", .shape = &open_shape, .page = 50 },
      offer_named },
};

static void ask_plane(struct offering *o, enum fl_complete kind)
{
    struct fl_err err = { 0 };

    if (fl_cli_load(o->cli, &err) < 0)
        return;
    o->cli->max_attempts = 1;
    o->cli->timeout_ms = ASK_MS;
    if (kind == FL_COMPLETE_NODE_PATH)
        o->after = ":/";
    if (kind == FL_COMPLETE_NODE || kind == FL_COMPLETE_NODE_PATH)
        fl_list_each(o->cli, &fl_node_list, "{}", offer_node, o, &err);
    for (size_t i = 0; i < FL_ARRAY_LEN(asked); i++)
        if (asked[i].kind == kind)
            fl_list_each(o->cli, &asked[i].list, asked[i].query, asked[i].fn, o, &err);
}

static void offer_profile(void *arg, const char *name, const char *file)
{
    (void)file;
    offer(arg, name);
}

static void offer_profiles(struct offering *o)
{
    struct fl_profiles *p = NULL;

    if (fl_profiles_read(&p, NULL) < 0)
        return;
    fl_profiles_each(p, offer_profile, o);
    fl_profiles_free(p);
}

/* The word that continues `done` words of a command's name, each once. */
static void offer_commands(struct offering *o, char **words, int done)
{
    char last[64] = "";

    for (const struct fl_command *const *c = fl_commands; *c; c++) {
        const char *at = (*c)->name;
        char word[64];

        if ((*c)->flags & FL_COMMAND_HIDDEN)
            continue;
        for (int i = 0; i < done && at; i++) {
            size_t len = strlen(words[i]);

            at = strncmp(at, words[i], len) == 0 && at[len] == ' ' ? at + len + 1 : NULL;
        }
        if (!at)
            continue;
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, " "), at);
        if (strcmp(word, last) != 0)
            offer(o, word);
        memcpy(last, word, sizeof(last));
    }
}

static void offer_kind(struct offering *o, enum fl_complete kind, const char *args)
{
    switch (kind) {
    case FL_COMPLETE_NONE:
        break;
    case FL_COMPLETE_NODE:
    case FL_COMPLETE_NODE_PATH:
    case FL_COMPLETE_DOCUMENT:
    case FL_COMPLETE_PARAMETER:
    case FL_COMPLETE_SESSION:
        ask_plane(o, kind);
        break;
    case FL_COMPLETE_PROFILE:
        offer_profiles(o);
        break;
    case FL_COMPLETE_FILE:
        puts(FILES_DEFAULT);
        break;
    case FL_COMPLETE_COMMAND:
        offer_commands(o, NULL, 0);
        break;
    case FL_COMPLETE_WORDS:
        offer_words(o, args);
        break;
    }
}

static void offer_value(struct offering *o, const struct fl_opt *opt)
{
    if (opt->complete == FL_COMPLETE_NONE && opt->arg && strchr(opt->arg, '|'))
        offer_words(o, opt->arg);
    else
        offer_kind(o, (enum fl_complete)opt->complete, opt->arg);
}

static void offer_options(struct offering *o, const struct fl_opt *rows, size_t n)
{
    char name[64];

    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "--%s", rows[i].name);
        offer(o, name);
    }
}

/* The option that `word` names ("--name", "--name=…", "-x"), in a command's table or the common
 * one. */
static const struct fl_opt *option_of(const struct fl_command *c, const char *word)
{
    const struct {
        const struct fl_opt *rows;
        size_t n;
    } tables[] = { { c ? c->options : NULL, c ? c->n_options : 0 },
                   { fl_global_options, fl_n_global_options } };

    for (size_t t = 0; t < FL_ARRAY_LEN(tables); t++)
        for (size_t i = 0; i < tables[t].n; i++) {
            const struct fl_opt *o = &tables[t].rows[i];
            size_t len = strlen(o->name);

            if (word[0] == '-' && o->letter && word[1] == o->letter && !word[2])
                return o;
            if (strncmp(word, "--", 2) == 0 && strncmp(word + 2, o->name, len) == 0 &&
                (!word[2 + len] || word[2 + len] == '='))
                return o;
        }
    return NULL;
}

/* The line so far: its words without options and their values, and what the last word is. */
struct line {
    const struct fl_command *command; /* NULL: not named yet */
    char *words[64];
    int n_words;
    const struct fl_opt *value_of; /* the last word is this option's value */
    bool behind_mark;              /* "--" was there */
    struct fl_globals globals;     /* texts alone */
};

/* --profile and the like decide which plane is asked. */
static void take_global(struct line *l, const struct fl_opt *o, const char *value)
{
    if (o >= fl_global_options && o < fl_global_options + fl_n_global_options)
        *(const char **)((char *)&l->globals + o->offset) = value;
}

static void read_line(struct line *l, const struct fl_args *args)
{
    int named = 0;

    for (size_t i = 0; i + 1 < args->n_tail; i++) {
        char *word = args->tail[i];
        const struct fl_opt *o;

        if (strcmp(word, "--") == 0) {
            l->behind_mark = true;
            return;
        }
        o = word[0] == '-' ? option_of(l->command, word) : NULL;
        if (o && o->kind != FL_OPT_KIND_FLAG && !strchr(word, '=')) {
            if (i + 2 == args->n_tail)
                l->value_of = o;
            else
                take_global(l, o, args->tail[i + 1]);
            i++;
        } else if (word[0] != '-' && l->n_words < (int)FL_ARRAY_LEN(l->words)) {
            l->words[l->n_words++] = word;
        }
        /* "session end" is another command than "session" */
        l->command = fl_command_find(l->n_words, l->words, &named);
    }
}

static int run_complete(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const char *word = args->n_tail ? args->tail[args->n_tail - 1] : "";
    struct offering o = { .cli = cli, .word = word, .before = "" };
    struct line l = { 0 };
    const char *mark;
    char before[80];

    (void)options;
    read_line(&l, args);
    cli->given = (struct fl_cli_given){ l.globals.profile, l.globals.endpoint, l.globals.region,
                                        l.globals.ca_file };
    mark = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    if (mark && !l.value_of) {
        l.value_of = option_of(l.command, word);
        snprintf(before, sizeof(before), "%.*s", (int)(mark + 1 - word), word);
        o.before = before;
        o.word = mark + 1;
    }
    if (l.behind_mark) {
        puts(FILES_DEFAULT);
    } else if (l.value_of) {
        offer_value(&o, l.value_of);
    } else if (word[0] == '-') {
        if (l.command)
            offer_options(&o, l.command->options, l.command->n_options);
        offer_options(&o, fl_global_options, fl_n_global_options);
    } else if (!l.command) {
        offer_commands(&o, l.words, l.n_words);
    } else {
        offer_kind(&o, (enum fl_complete)l.command->complete, l.command->args);
    }
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_complete = {
    .name = "__complete",
    .args = "-- WORD...",
    .summary = "Print what could stand in place of the last word",
    .flags = FL_COMMAND_OFFLINE | FL_COMMAND_TAIL | FL_COMMAND_HIDDEN,
    .run = run_complete,
};
