/* cli.h - what a person or a script asks of fairlead-agent on its command line.
 *
 * The official agent's flags in Go's syntax (-x v, -x=v, --x all equal; protocol 1 §1.3), long GNU
 * forms of them, and subcommands (run, status, credentials, policy). main.c parses and dispatches.
 */
#pragma once
#include "agent/lib/paths.h"
#include "common/base/err.h"

enum fl_cli_command {
    FL_CLI_RUN,         /* no flags but paths: be the service */
    FL_CLI_REGISTER,    /* -register with an activation or a role */
    FL_CLI_CLEAR,       /* -register -clear */
    FL_CLI_FINGERPRINT, /* -fingerprint -similarityThreshold N */
    FL_CLI_VERSION,
    FL_CLI_HELP,
    FL_CLI_STATUS,
    FL_CLI_CREDENTIALS, /* the helper for credential_process */
    FL_CLI_POLICY,      /* policy check [FILE] */
};

/* Strings point into argv and live as long as it does. */
struct fl_cli {
    enum fl_cli_command command;
    const char *config, *state, *runtime; /* --config --state --runtime; NULL: the default */
    const char *log_level;                /* --log-level; NULL: the configuration's */
    bool json;                            /* --json, for status */

    const char *id, *code, *code_file, *region, *role, *tags;
    const char *endpoint; /* --endpoint: goes to Ssm.Endpoint and its like */
    const char *ca_file;  /* --ca-file: goes to Fairlead.CaFile */
    bool yes;
    bool disable_similarity;
    int threshold; /* FL_FINGERPRINT_THRESHOLD if not given */

#define FL_CLI_MAX_WORDS 2
    const char *words[FL_CLI_MAX_WORDS]; /* behind `policy` */
    size_t n_words;
    const char *document, *document_file, *parameters;
};

/* 0, or -EINVAL with words for the user. */
int fl_cli_parse(int argc, char **argv, struct fl_cli *ret_cli, struct fl_err *err);

/* The text of --help. */
const char *fl_cli_usage(void);

/* Each does its command, talks to the user on stdout and stderr, and returns the exit status. */
int fl_cli_register(const struct fl_cli *cli, const struct fl_paths *paths);
int fl_cli_clear(const struct fl_cli *cli, const struct fl_paths *paths);
int fl_cli_fingerprint(const struct fl_cli *cli, const struct fl_paths *paths);
int fl_cli_credentials(const struct fl_cli *cli, const struct fl_paths *paths);
int fl_cli_version(void);

/* policy.c: exit status 0 good (and the document would run), 1 not. */
int fl_cli_policy(const struct fl_cli *cli, const struct fl_paths *paths);

/* status.c: asks the running agent over <runtime>/status.sock. */
int fl_cli_status(const struct fl_cli *cli, const struct fl_paths *paths);
