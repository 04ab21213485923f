/* command.h - a command of the client as data: its words, options, help and function.
 *
 * A module exports one `const struct fl_command` for each of its commands, registry.c lists them.
 * From that table come the parser, `--help`, the manual page and the shells' completion.
 */
#pragma once
#include "cli/cli.h"

/* What an argument or option value is, for completion. */
enum fl_complete {
    FL_COMPLETE_NONE,
    FL_COMPLETE_NODE,
    FL_COMPLETE_NODE_PATH, /* NODE:/PATH: the node of it */
    FL_COMPLETE_DOCUMENT,
    FL_COMPLETE_PARAMETER,
    FL_COMPLETE_SESSION,
    FL_COMPLETE_PROFILE,
    FL_COMPLETE_FILE,
    FL_COMPLETE_COMMAND, /* the client's own commands */
    FL_COMPLETE_WORDS,   /* those of `args`: "bash|zsh|fish" */
};

enum fl_opt_kind {
    FL_OPT_KIND_FLAG,
    FL_OPT_KIND_TEXT,
    FL_OPT_KIND_TEXTS,   /* may be given many times */
    FL_OPT_KIND_NUMBER,  /* decimal, not negative */
    FL_OPT_KIND_SECONDS, /* 90, 90s, 5m, 2h, 7d */
};

#define FL_TEXTS_MAX 64

struct fl_texts {
    const char *v[FL_TEXTS_MAX];
    size_t n;
};
struct fl_number {
    bool set;
    int64_t v;
};
struct fl_seconds {
    bool set;
    int64_t v;
};

struct fl_opt {
    const char *name;
    const char *arg; /* of the value in help: "NAME"; NULL for flags */
    const char *help;
    size_t offset; /* in the command's options */
    char letter;   /* 0: none */
    uint8_t kind;
    uint8_t complete; /* enum fl_complete */
};

/* clang-format off */
#define FL_OPT_KIND_OF(type, member)                                                               \
    _Generic(((type *)0)->member, bool: FL_OPT_KIND_FLAG, const char *: FL_OPT_KIND_TEXT,          \
        struct fl_texts: FL_OPT_KIND_TEXTS, struct fl_number: FL_OPT_KIND_NUMBER,                  \
        struct fl_seconds: FL_OPT_KIND_SECONDS)
/* clang-format on */
/* A row; its kind follows from the member's type. A completion may stand behind the help. */
#define FL_OPT(type, member, opt_letter, opt_name, opt_arg, opt_help, ...)         \
    {                                                                              \
        .name = (opt_name), .arg = (opt_arg), .help = (opt_help),                  \
        .offset = offsetof(type, member), .letter = (opt_letter),                  \
        .kind = FL_OPT_KIND_OF(type, member) __VA_OPT__(, .complete = __VA_ARGS__) \
    }

/* The words of a command line that are no options. */
struct fl_args {
    char **v;
    size_t n;
    char **tail; /* behind "--", for commands that take it; NULL: no "--" was there */
    size_t n_tail;
};

enum {
    FL_COMMAND_OFFLINE = 1, /* talks to no plane, or loads its settings itself */
    FL_COMMAND_TAIL = 2,    /* "--" ends its arguments and begins something else */
    FL_COMMAND_HIDDEN = 4,  /* not in help */
};
#define FL_ARGS_ANY 255

struct fl_command {
    const char *name;    /* one word or two: "nodes", "doc create" */
    const char *args;    /* as in the synopsis: "NODE..."; "" for none */
    const char *summary; /* one line, no full stop */
    const char *text;    /* more, for help and the manual; paragraphs with blank lines; or NULL */
    const struct fl_opt *options;
    size_t n_options;
    size_t options_bytes; /* size of the struct that the options fill; 0 without */
    uint8_t min_args, max_args;
    uint8_t flags;    /* FL_COMMAND_… */
    uint8_t complete; /* of the arguments: enum fl_complete */
    /* `options` is zeroed and filled; the result is the exit status (FL_EXIT_…). */
    int (*run)(struct fl_cli *cli, const void *options, const struct fl_args *args);
};

#define FL_OPTIONS(type, table) \
    .options = (table), .n_options = FL_ARRAY_LEN(table), .options_bytes = sizeof(type)

/* All commands, in the order of help; NULL at the end. */
extern const struct fl_command *const fl_commands[];

/* Options that every command takes; they fill a struct fl_globals. */
extern const struct fl_opt fl_global_options[];
extern const size_t fl_n_global_options;

struct fl_globals {
    const char *profile, *endpoint, *region, *ca_file;
    bool json, no_headers, help, version;
};

/* The command that argv[0..argc) begins with; *ret_words tells how many words its name has. NULL if
 * there is none. */
const struct fl_command *fl_command_find(int argc, char **argv, int *ret_words);

/* How many words of "doc create" stand at the beginning of argv; 0 if they are not all there. */
int fl_command_match(const struct fl_command *c, int argc, char **argv);

/* Takes argv[1..) apart by the two tables (argv[0] stands in complaints). `c` may be NULL: global
 * options alone, up to the first word that is none; then *ret_args has what follows. Order of argv
 * changes. 0, or FL_EXIT_USAGE after a complaint on stderr. */
int fl_command_parse(const struct fl_command *c, int argc, char **argv, struct fl_globals *globals,
                     void *options, struct fl_args *ret_args);

/* "90", "90s", "5m", "2h", "7d" -> seconds; -EINVAL. */
int fl_seconds_parse(const char *text, int64_t *ret_seconds);

/* help.c: texts made from the table. */
void fl_help_overview(FILE *out);
void fl_help_command(FILE *out, const struct fl_command *c);
/* The manual page fairlead(1), in man(7). */
void fl_help_manual(FILE *out);

/* "usage: …" and a pointer to help on stderr; FL_EXIT_USAGE. `fmt` says what is wrong. */
int fl_usage(const struct fl_command *c, const char *fmt, ...) FL_PRINTF(2, 3);

/* There is no command that these words (one at least) begin with: says so, and what may have been
 * meant. FL_EXIT_USAGE. */
int fl_unknown_command(size_t n, char *const *words);
