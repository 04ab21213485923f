/* command.c - see command.h: command lines taken apart by the tables, with getopt_long underneath.
 */
#include "cli/command.h"
#include <errno.h>
#include <string.h>
#include "common/base/optwords.h"

#define OPTIONS_MAX 48
#define LONG_ONLY   256 /* getopt's value of row i without a letter: LONG_ONLY + i */

const struct fl_opt fl_global_options[] = {
#define G(...) FL_OPT(struct fl_globals, __VA_ARGS__)
    G(profile, 0, "profile", "NAME", "the profile to use", FL_COMPLETE_PROFILE),
    G(endpoint, 0, "endpoint", "URL", "the control plane's address"),
    G(region, 0, "region", "NAME", "the region"),
    G(ca_file, 0, "ca-file", "FILE", "trust the CA certificates in FILE alone", FL_COMPLETE_FILE),
    G(json, 0, "json", NULL, "print JSON, one object a line, with the API's own members"),
    G(no_headers, 0, "no-headers", NULL, "print tables without their first line"),
    G(help, 'h', "help", NULL, "explain the command"),
    G(version, 0, "version", NULL, "print the version"),
#undef G
};
const size_t fl_n_global_options = FL_ARRAY_LEN(fl_global_options);

int fl_command_match(const struct fl_command *c, int argc, char **argv)
{
    const char *name = c->name;
    int words = 0;

    while (*name) {
        size_t len = strcspn(name, " ");

        if (words == argc || strlen(argv[words]) != len || memcmp(argv[words], name, len) != 0)
            return 0;
        words++;
        name += len + (name[len] == ' ');
    }
    return words;
}

const struct fl_command *fl_command_find(int argc, char **argv, int *ret_words)
{
    for (const struct fl_command *const *c = fl_commands; *c; c++) {
        int words = fl_command_match(*c, argc, argv);

        if (words > 0) {
            *ret_words = words;
            return *c;
        }
    }
    return NULL;
}

/* ---- values ---- */

static int parse_number(const char *text, const char *suffixes, int64_t *ret_number)
{
    char *end;
    long long v;

    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno || (*end && (!suffixes || !strchr(suffixes, *end) || end[1])))
        return -EINVAL;
    *ret_number = v;
    return *end; /* the suffix; 0 for none */
}

int fl_seconds_parse(const char *text, int64_t *ret_seconds)
{
    static const struct {
        char suffix;
        int64_t seconds;
    } units[] = { { 0, 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    int64_t n = 0;
    int suffix = parse_number(text, "smhd", &n);

    for (size_t i = 0; suffix >= 0 && i < FL_ARRAY_LEN(units); i++)
        if (units[i].suffix == suffix && n <= INT32_MAX / units[i].seconds) {
            *ret_seconds = n * units[i].seconds;
            return 0;
        }
    return -EINVAL;
}

/* 0, or -EINVAL with what a value should be in *ret_wants. */
static int set_option(const struct fl_opt *o, const char *value, void *base, const char **ret_wants)
{
    void *at = (char *)base + o->offset;
    struct fl_texts *texts = at;
    struct fl_number *number = at;
    struct fl_seconds *seconds = at;

    switch ((enum fl_opt_kind)o->kind) {
    case FL_OPT_KIND_FLAG:
        *(bool *)at = true;
        return 0;
    case FL_OPT_KIND_TEXT:
        *(const char **)at = value;
        return 0;
    case FL_OPT_KIND_TEXTS:
        *ret_wants = "not so many times";
        if (texts->n == FL_TEXTS_MAX)
            return -EINVAL;
        texts->v[texts->n++] = value;
        return 0;
    case FL_OPT_KIND_NUMBER:
        *ret_wants = "a number";
        number->set = true;
        return parse_number(value, NULL, &number->v);
    case FL_OPT_KIND_SECONDS:
        *ret_wants = "a time such as 90, 90s, 5m, 2h or 7d";
        seconds->set = true;
        return fl_seconds_parse(value, &seconds->v);
    }
    return -EINVAL;
}

/* ---- the command line ---- */

/* getopt's two ways to say which options there are, and the way back to the rows. */
struct spec {
    const struct fl_opt *rows[OPTIONS_MAX];
    void *bases[OPTIONS_MAX];
    struct option longs[OPTIONS_MAX + 1];
    char letters[2 * OPTIONS_MAX + 3];
    size_t n;
};

static void add_rows(struct spec *s, const struct fl_opt *rows, size_t n, void *base)
{
    for (size_t i = 0; i < n && s->n < OPTIONS_MAX; i++, s->n++) {
        char *end = s->letters + strlen(s->letters);
        bool has_arg = rows[i].kind != FL_OPT_KIND_FLAG;

        s->rows[s->n] = &rows[i];
        s->bases[s->n] = base;
        s->longs[s->n] = (struct option){ rows[i].name, has_arg, NULL,
                                          rows[i].letter ? rows[i].letter : LONG_ONLY + (int)s->n };
        if (rows[i].letter) {
            *end++ = rows[i].letter;
            if (has_arg)
                *end++ = ':';
        }
    }
}

static size_t row_of(const struct spec *s, int c)
{
    size_t i = 0;

    while (i < s->n && s->longs[i].val != c)
        i++;
    return i;
}

int fl_command_parse(const struct fl_command *c, int argc, char **argv, struct fl_globals *globals,
                     void *options, struct fl_args *ret_args)
{
    struct spec s = { .letters = "+:" };
    char words[200];
    const char *wants = NULL;
    int opt, mark = argc;

    if (c) {
        strcpy(s.letters, ":");
        add_rows(&s, c->options, c->n_options, options);
    }
    add_rows(&s, fl_global_options, fl_n_global_options, globals);
    if (c && c->flags & FL_COMMAND_TAIL)
        for (mark = 1; mark < argc && strcmp(argv[mark], "--") != 0; mark++)
            ;
    optind = 0; /* begins anew: this is called twice */
    opterr = 0;
    while ((opt = getopt_long(mark, argv, s.letters, s.longs, NULL)) != -1) {
        size_t i = row_of(&s, opt);

        if (i == s.n) {
            fprintf(stderr, "%s: %s\nTry \"%s --help\".\n", argv[0],
                    fl_option_words(argv, opt, s.longs, words, sizeof(words)), argv[0]);
            return FL_EXIT_USAGE;
        }
        if (set_option(s.rows[i], optarg, s.bases[i], &wants) < 0) {
            fprintf(stderr, "%s: --%s: \"%s\" is not %s\n", argv[0], s.rows[i]->name, optarg,
                    wants);
            return FL_EXIT_USAGE;
        }
    }
    *ret_args = (struct fl_args){ .v = argv + optind, .n = (size_t)(mark - optind) };
    if (mark < argc) {
        ret_args->tail = argv + mark + 1;
        ret_args->n_tail = (size_t)(argc - mark - 1);
    }
    return 0;
}

int fl_usage(const struct fl_command *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "fairlead %s: ", c->name);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\nusage: fairlead %s%s%s%s\nTry \"fairlead %s --help\".\n", c->name,
            c->n_options ? " [OPTION...]" : "", *c->args ? " " : "", c->args, c->name);
    va_end(ap);
    return FL_EXIT_USAGE;
}
