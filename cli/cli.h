/* cli.h - the operator client: where it talks to, as whom, and one call of the API. */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_cli {
    char *endpoint; /* https://host[:port] */
    char *region;
    char *ca_file; /* NULL: the system's pool */
    char *access_key_id;
    char *secret_access_key;
    char *session_token; /* NULL for long-term keys */
    bool json;           /* --json: print the API's own JSON */
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

/* Commands: their arguments without the command's own name; the exit status. */
int fl_cmd_call(struct fl_cli *cli, int argc, char **argv);
int fl_cmd_nodes(struct fl_cli *cli, int argc, char **argv);
int fl_cmd_keygen(struct fl_cli *cli, int argc, char **argv); /* these two need no plane: */
int fl_cmd_sign(struct fl_cli *cli, int argc, char **argv);   /* nothing in `cli` is filled */

/* Prints "fairlead: …" with the error and returns the exit status for it. */
int fl_cli_fail(const struct fl_err *err);
