/* flags.c - the command line as a table (cli.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/cli/cli.h"
#include "agent/lib/fingerprint.h"
#include "common/base/nearest.h"

enum kind { FLAG, TEXT, NUMBER };

/* What the boolean flags without a member in struct fl_cli ask for. */
enum wish { NO_WISH, REGISTER, CLEAR, FINGERPRINT, VERSION, HELP, WISH__N };

struct option {
    const char *name; /* without dashes */
    enum kind kind;
    enum wish wish;
    size_t offset;
};

#define WISH(n, w)    \
    {                 \
        n, FLAG, w, 0 \
    }
#define SET(n, k, field)                              \
    {                                                 \
        n, k, NO_WISH, offsetof(struct fl_cli, field) \
    }

static const struct option options[] = {
    WISH("register", REGISTER),
    WISH("clear", CLEAR),
    WISH("fingerprint", FINGERPRINT),
    WISH("version", VERSION),
    WISH("help", HELP),
    WISH("h", HELP),
    SET("id", TEXT, id),
    SET("activation-id", TEXT, id),
    SET("code", TEXT, code),
    SET("activation-code", TEXT, code),
    SET("activation-code-file", TEXT, code_file),
    SET("region", TEXT, region),
    SET("role", TEXT, role),
    SET("tags", TEXT, tags),
    SET("y", FLAG, yes),
    SET("yes", FLAG, yes),
    SET("disableSimilarityCheck", FLAG, disable_similarity),
    SET("disable-similarity-check", FLAG, disable_similarity),
    SET("similarityThreshold", NUMBER, threshold),
    SET("similarity-threshold", NUMBER, threshold),
    SET("endpoint", TEXT, endpoint),
    SET("ca-file", TEXT, ca_file),
    SET("config", TEXT, config),
    SET("state", TEXT, state),
    SET("runtime", TEXT, runtime),
    SET("log-level", TEXT, log_level),
    SET("json", FLAG, json),
    SET("document", TEXT, document),
    SET("document-file", TEXT, document_file),
    SET("parameters", TEXT, parameters),
};

static const struct {
    const char *name;
    enum fl_cli_command command;
} commands[] = {
    { "run", FL_CLI_RUN },
    { "status", FL_CLI_STATUS },
    { "credentials", FL_CLI_CREDENTIALS },
    { "policy", FL_CLI_POLICY },
    { "register", FL_CLI_REGISTER },
    { "version", FL_CLI_VERSION },
    { "help", FL_CLI_HELP },
};

static const char usage[] =
    "fairlead-agent: the node's daemon\n"
    "\n"
    "  fairlead-agent [run]                be the service\n"
    "  fairlead-agent status [--json]      what the running agent is doing\n"
    "  fairlead-agent credentials          temporary AWS credentials as JSON, for "
    "credential_process\n"
    "  fairlead-agent policy check [FILE]  whether a policy is good, and what it says of a "
    "document\n"
    "  fairlead-agent --register --activation-id ID --activation-code CODE --region REGION\n"
    "                                      make this machine a managed node\n"
    "\n"
    "Registration (single dashes and -flag=value work as well)\n"
    "  -id,   --activation-id ID           the activation\n"
    "  -code, --activation-code CODE       its code; \"-\" reads it from standard input, which "
    "keeps\n"
    "                                      it out of the process list\n"
    "         --activation-code-file FILE  the code is the first line of FILE\n"
    "  -region REGION                      region of the control plane\n"
    "  -y,    --yes                        replace an existing registration without asking\n"
    "         --endpoint URL               a control plane of one's own (written to the "
    "configuration)\n"
    "         --ca-file FILE               its CA, PEM (written to the configuration)\n"
    "  -role NAME [-tags JSON]             register with the AWS credentials of this machine "
    "instead\n"
    "  -disableSimilarityCheck             keep the machine's fingerprint whatever its hardware\n"
    "  -register -clear                    forget registration and fingerprint\n"
    "  -fingerprint -similarityThreshold N change how alike the hardware must stay: -1, or 1-100 "
    "(40)\n"
    "\n"
    "Policy\n"
    "         --document-file FILE         JSON; with it `policy check` tells whether it would run "
    "here\n"
    "         --document NAME              the name it would come under\n"
    "         --parameters JSON            as the document sees them: {\"name\": \"v\" or "
    "[\"v\"]}\n"
    "\n"
    "Everywhere\n"
    "  --config FILE  --state DIR  --runtime DIR   where this agent keeps its things\n"
    "  --log-level error|warn|info|debug\n"
    "  --version  --help\n";

const char *fl_cli_usage(void)
{
    return usage;
}

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(options); i++)
        if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

/* Go's strconv.ParseBool. */
static int parse_bool(const char *s, bool *ret)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = {
        { "1", true },  { "t", true },  { "true", true },
        { "0", false }, { "f", false }, { "false", false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(words); i++) {
        if (strcasecmp(s, words[i].text) == 0) {
            *ret = words[i].value;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_number(const char *s, int *ret)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(s, &end, 10);
    if (errno || end == s || *end || v < -1000000 || v > 1000000)
        return -EINVAL;
    *ret = (int)v;
    return 0;
}

static int apply(const struct option *o, const char *value, struct fl_cli *cli, bool *wishes,
                 struct fl_err *err)
{
    char *member = (char *)cli + o->offset;
    bool on = true;
    int r = 0;

    switch (o->kind) {
    case FLAG:
        r = value ? parse_bool(value, &on) : 0;
        if (r == 0 && o->wish)
            wishes[o->wish] = on;
        else if (r == 0)
            *(bool *)(void *)member = on;
        break;
    case TEXT:
        *(const char **)(void *)member = value;
        break;
    case NUMBER:
        r = parse_number(value, (int *)(void *)member);
        break;
    }
    return r < 0 ? fl_err_set(err, r, NULL, "-%s: \"%s\" is not a usable value", o->name, value)
                 : 0;
}

static int missing(struct fl_err *err, const char *flags)
{
    return fl_err_set(err, -EINVAL, NULL, "registration needs %s (see --help)", flags);
}

static int decide_register(struct fl_cli *cli, bool clear, struct fl_err *err)
{
    bool code = cli->code || cli->code_file;

    cli->command = FL_CLI_REGISTER;
    if (cli->role) {
        if (!cli->region)
            return missing(err, "-region beside -role");
        return 0;
    }
    if (cli->id && code && cli->region)
        return 0;
    if (clear) {
        cli->command = FL_CLI_CLEAR;
        return 0;
    }
    if (!cli->id)
        return missing(err, "-id, the id of an activation");
    if (!code)
        return missing(err, "-code, the code of the activation");
    return missing(err, "-region");
}

static int decide(struct fl_cli *cli, const bool *wishes, struct fl_err *err)
{
    if (wishes[HELP]) {
        cli->command = FL_CLI_HELP;
        return 0;
    }
    if (wishes[VERSION]) {
        cli->command = FL_CLI_VERSION;
        return 0;
    }
    if (wishes[REGISTER] || cli->command == FL_CLI_REGISTER)
        return decide_register(cli, wishes[CLEAR], err);
    if (wishes[FINGERPRINT]) {
        cli->command = FL_CLI_FINGERPRINT;
        if (cli->threshold != -1 && (cli->threshold < 1 || cli->threshold > 100))
            return fl_err_set(err, -EINVAL, NULL, "-similarityThreshold must be -1 or 1 to 100");
        return 0;
    }
    if (cli->command == FL_CLI_POLICY && (!cli->n_words || strcmp(cli->words[0], "check") != 0))
        return fl_err_set(err, -EINVAL, NULL, "policy: say \"policy check\" (see --help)");
    if (wishes[CLEAR])
        return fl_err_set(err, -EINVAL, NULL, "-clear goes with -register only");
    if (cli->command == FL_CLI_RUN && (cli->id || cli->code || cli->code_file || cli->role))
        return fl_err_set(err, -EINVAL, NULL, "registration flags need -register");
    return 0;
}

/* `given` is how it was typed: with one dash or two, perhaps with "=value". */
static int unknown_flag(const char *given, const char *name, size_t len, struct fl_err *err)
{
    char word[64];
    struct fl_nearest near = { .word = word };
    int dashes = (int)(name - given);

    snprintf(word, sizeof(word), "%.*s", (int)len, name);
    for (size_t i = 0; i < FL_ARRAY_LEN(options); i++)
        fl_nearest_add(&near, options[i].name);
    if (near.found)
        return fl_err_set(err, -EINVAL, NULL,
                          "%.*s%s: unknown flag; did you mean %.*s%s? (see --help)", dashes, given,
                          word, dashes, given, near.found);
    return fl_err_set(err, -EINVAL, NULL, "%.*s%s: unknown flag (see --help)", dashes, given, word);
}

static int unknown_command(const char *word, struct fl_err *err)
{
    struct fl_nearest near = { .word = word };

    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++)
        fl_nearest_add(&near, commands[i].name);
    if (near.found)
        return fl_err_set(err, -EINVAL, NULL,
                          "%.100s: unknown command; did you mean %s? (see --help)", word,
                          near.found);
    return fl_err_set(err, -EINVAL, NULL, "%.100s: unknown command (see --help)", word);
}

int fl_cli_parse(int argc, char **argv, struct fl_cli *ret_cli, struct fl_err *err)
{
    struct fl_cli cli = { .command = FL_CLI_RUN, .threshold = FL_FINGERPRINT_THRESHOLD };
    bool wishes[WISH__N] = { false };
    bool command_seen = false;
    int r;

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = NULL;
        const struct option *o;
        size_t len;

        if (*name != '-') {
            size_t c = 0;

            if (cli.command == FL_CLI_POLICY && cli.n_words < FL_CLI_MAX_WORDS) {
                cli.words[cli.n_words++] = name;
                continue;
            }
            while (c < FL_ARRAY_LEN(commands) && strcmp(commands[c].name, name) != 0)
                c++;
            if (command_seen)
                return fl_err_set(err, -EINVAL, NULL, "%.100s: unexpected argument (see --help)",
                                  name);
            if (c == FL_ARRAY_LEN(commands))
                return unknown_command(name, err);
            cli.command = commands[c].command;
            command_seen = true;
            continue;
        }
        name += name[1] == '-' ? 2 : 1;
        len = strcspn(name, "=");
        if (name[len] == '=')
            value = name + len + 1;
        o = find_option(name, len);
        if (!o)
            return unknown_flag(argv[i], name, len, err);
        if (!value && o->kind != FLAG) {
            if (++i == argc)
                return fl_err_set(err, -EINVAL, NULL, "-%s needs a value", o->name);
            value = argv[i];
        }
        r = apply(o, value, &cli, wishes, err);
        if (r < 0)
            return r;
    }
    r = decide(&cli, wishes, err);
    if (r == 0)
        *ret_cli = cli;
    return r;
}
