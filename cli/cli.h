/* cli.h - the operator client: where it talks to, as whom, and calls of the API. */
#pragma once
#include <stdio.h>
#include "common/base/buf.h"
#include "common/base/err.h"

/* Exit statuses of all commands. */
enum {
    FL_EXIT_OK = 0,
    FL_EXIT_FAILED = 1,  /* the service did it, and it failed: a command on some node */
    FL_EXIT_USAGE = 2,   /* the command line */
    FL_EXIT_SERVICE = 3, /* refused or not reached; no credentials */
    FL_EXIT_INTERRUPTED = 130,
};

struct fl_cli {
    char *endpoint; /* https://host[:port] */
    char *region;
    char *ca_file; /* NULL: the system's pool */
    char *access_key_id;
    char *secret_access_key;
    char *session_token; /* NULL for long-term keys */
    bool json;           /* --json: print the API's own JSON */
    bool no_headers;     /* --no-headers */
};

/* Options win over the environment (FAIRLEAD_ENDPOINT, AWS_ENDPOINT_URL_SSM, AWS_ENDPOINT_URL,
 * AWS_DEFAULT_REGION, AWS_REGION, AWS_CA_BUNDLE, AWS_ACCESS_KEY_ID, …), which wins over the
 * profile's entries in AWS's credentials and config files. Arguments may be NULL. */
int fl_cli_load(struct fl_cli *cli, const char *profile, const char *endpoint, const char *region,
                struct fl_err *err);
void fl_cli_done(struct fl_cli *cli);

/* One signed call of ssm; waits for it. 0 with the answer's JSON in `ret_body` (caller frees);
 * -EREMOTEIO when the API refused: err->text is "Name: message". */
int fl_cli_call(const struct fl_cli *cli, const char *operation, const char *body, char **ret_body,
                struct fl_err *err);

/* Prints "fairlead: …" with the error and returns FL_EXIT_SERVICE. */
int fl_cli_fail(const struct fl_err *err);
