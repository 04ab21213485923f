/* help.c - help and the manual page, both made from the table. */
#include <string.h>
#include "cli/command.h"

static const char synopsis[] = "fairlead [OPTION...] COMMAND [ARGUMENT...]";

static const char settings_text[] =
    "A profile says where the control plane is and who calls: \"fairlead login\" makes one. Each "
    "setting is taken from the first place that has it: an option, the environment "
    "(FAIRLEAD_PROFILE, FAIRLEAD_ENDPOINT, FAIRLEAD_CA_FILE and the variables of the AWS CLI), the "
    "profile in ~/.config/fairlead/config, the profile in ~/.aws/credentials and ~/.aws/config. "
    "The keys of a profile that is named by --profile win over keys in the environment.";

static const struct {
    const char *status, *meaning;
} statuses[] = {
    { "0", "all succeeded" },
    { "1", "a command failed on a node, or was cancelled" },
    { "2", "the command line is wrong; nothing was done" },
    { "3", "the service refused, could not be reached, or there are no credentials" },
    { "130", "interrupted; what was begun on nodes goes on" },
};

static const struct {
    const char *name, *meaning;
} variables[] = {
    { "FAIRLEAD_PROFILE, AWS_PROFILE", "the profile to use" },
    { "FAIRLEAD_ENDPOINT, AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL", "the control plane's address" },
    { "FAIRLEAD_CA_FILE, AWS_CA_BUNDLE", "CA certificates to trust in place of the system's" },
    { "FAIRLEAD_CONFIG", "the client's own file, in place of ~/.config/fairlead/config" },
    { "AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE", "the AWS CLI's files" },
    { "AWS_REGION, AWS_DEFAULT_REGION", "the region" },
    { "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "who calls" },
    { "AWS_MAX_ATTEMPTS", "how often a call is tried, 3 by default" },
    { "https_proxy, no_proxy", "a proxy on the way" },
};

/* ---- help on a terminal ---- */

static void option_name(const struct fl_opt *o, char *out, size_t size)
{
    snprintf(out, size, "%s%c%s--%s%s%s", o->letter ? "-" : "", o->letter ? o->letter : ' ',
             o->letter ? ", " : "   ", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
}

/* Words of `text` in lines of at most 78 columns; a blank line stays one. */
static void put_wrapped(FILE *out, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t len = strcspn(text, " \n");

        if (column && column + 1 + len > 78) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(out, "%s%.*s", column ? " " : "", (int)len, text);
        text += len;
        if (*text == '\n') {
            fputc('\n', out);
            column = 0;
        }
        text += *text != '\0';
    }
    fputc('\n', out);
}

static void put_options(FILE *out, const struct fl_opt *rows, size_t n)
{
    char name[80];
    int width = 0;

    for (size_t i = 0; i < n; i++) {
        option_name(&rows[i], name, sizeof(name));
        width = FL_MAX(width, (int)strlen(name));
    }
    for (size_t i = 0; i < n; i++) {
        option_name(&rows[i], name, sizeof(name));
        fprintf(out, "  %-*s  %s\n", width, name, rows[i].help);
    }
}

void fl_help_overview(FILE *out)
{
    fprintf(out, "usage: %s\n\n", synopsis);
    for (const struct fl_command *const *c = fl_commands; *c; c++)
        if (!((*c)->flags & FL_COMMAND_HIDDEN))
            fprintf(out, "  %-18s %s\n", (*c)->name, (*c)->summary);
    fprintf(out, "\nOptions of all commands:\n");
    put_options(out, fl_global_options, fl_n_global_options);
    fputc('\n', out);
    put_wrapped(out, settings_text);
    fprintf(out, "\n\"fairlead help COMMAND\" tells more; so does the manual page, fairlead(1).\n");
}

void fl_help_command(FILE *out, const struct fl_command *c)
{
    fprintf(out, "usage: fairlead %s %s%s\n\n", c->name, c->n_options ? "[OPTION...] " : "",
            c->args);
    fprintf(out, "%s.\n", c->summary);
    if (c->text) {
        fputc('\n', out);
        put_wrapped(out, c->text);
    }
    if (c->n_options) {
        fprintf(out, "\nOptions:\n");
        put_options(out, c->options, c->n_options);
    }
    fprintf(out, "\nOptions of all commands:\n");
    put_options(out, fl_global_options, fl_n_global_options);
}

/* ---- the manual page ---- */

/* Text for roff: its own characters escaped, no line that begins a request. */
static void roff(FILE *out, const char *text)
{
    bool at_start = true;

    for (; *text; text++) {
        if (at_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        at_start = *text == '\n';
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\n' && text[1] == '\n')
            fputs("\n.PP", out);
        else
            fputc(*text, out);
    }
    fputc('\n', out);
}

static void roff_options(FILE *out, const struct fl_opt *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        fputs(".TP\n", out);
        if (rows[i].letter)
            fprintf(out, "\\fB\\-%c\\fR, ", rows[i].letter);
        fputs("\\fB\\-\\-", out);
        for (const char *p = rows[i].name; *p; p++)
            fprintf(out, *p == '-' ? "\\-" : "%c", *p);
        fputs("\\fR", out);
        if (rows[i].arg)
            fprintf(out, " \\fI%s\\fR", rows[i].arg);
        fputc('\n', out);
        roff(out, rows[i].help);
    }
}

static void roff_command(FILE *out, const struct fl_command *c)
{
    fprintf(out, ".SS \"%s", c->name);
    if (*c->args)
        fprintf(out, " %s", c->args);
    fputs("\"\n", out);
    roff(out, c->summary);
    if (c->text) {
        fputs(".PP\n", out);
        roff(out, c->text);
    }
    roff_options(out, c->options, c->n_options);
}

void fl_help_manual(FILE *out)
{
    fprintf(out, ".TH FAIRLEAD 1 \"\" \"fairlead %s\" \"User Commands\"\n.nh\n.ad l\n", FL_VERSION);
    fputs(".SH NAME\nfairlead \\- run commands on managed nodes, and keep what they need\n", out);
    fputs(".SH SYNOPSIS\n", out);
    roff(out, synopsis);
    fputs(".SH DESCRIPTION\n", out);
    roff(out, "fairlead is the operator's client of a fairlead control plane, and of AWS Systems "
              "Manager, whose API the control plane speaks.\n\n");
    roff(out, settings_text);
    fputs(".SH OPTIONS\nThese may stand before or behind every command.\n", out);
    roff_options(out, fl_global_options, fl_n_global_options);
    fputs(".SH COMMANDS\n", out);
    for (const struct fl_command *const *c = fl_commands; *c; c++)
        if (!((*c)->flags & FL_COMMAND_HIDDEN))
            roff_command(out, *c);
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < FL_ARRAY_LEN(statuses); i++) {
        fprintf(out, ".TP\n\\fB%s\\fR\n", statuses[i].status);
        roff(out, statuses[i].meaning);
    }
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < FL_ARRAY_LEN(variables); i++) {
        fprintf(out, ".TP\n\\fB%s\\fR\n", variables[i].name);
        roff(out, variables[i].meaning);
    }
    fputs(".SH SEE ALSO\n.BR fairlead\\-agent (8),\n.BR fairlead\\-server (8)\n", out);
}

/* ---- fairlead help ---- */

struct help_options {
    bool manual;
};
static const struct fl_opt help_options[] = {
    FL_OPT(struct help_options, manual, 0, "man", NULL, "print the manual page, as roff"),
};

static int run_help(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct help_options *o = options;
    const struct fl_command *c;
    int words = 0;

    (void)cli;
    if (o->manual) {
        fl_help_manual(stdout);
        return FL_EXIT_OK;
    }
    if (args->n == 0) {
        fl_help_overview(stdout);
        return FL_EXIT_OK;
    }
    c = fl_command_find((int)args->n, args->v, &words);
    if (c && words == (int)args->n) {
        fl_help_command(stdout, c);
        return FL_EXIT_OK;
    }
    if (args->n == 1) { /* "help doc": all that begin so */
        size_t len = strlen(args->v[0]), n = 0;

        for (const struct fl_command *const *p = fl_commands; *p; p++)
            if (strncmp((*p)->name, args->v[0], len) == 0 && (*p)->name[len] == ' ') {
                printf("  fairlead %-20s %s\n", (*p)->name, (*p)->summary);
                n++;
            }
        if (n)
            return FL_EXIT_OK;
    }
    return fl_unknown_command(args->n, args->v);
}

const struct fl_command fl_cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "Explain a command",
    FL_OPTIONS(struct help_options, help_options),
    .max_args = 2,
    .flags = FL_COMMAND_OFFLINE,
    .complete = FL_COMPLETE_COMMAND,
    .run = run_help,
};
