/* cli.h - the operator client: where it talks to, as whom, and calls of the API. */
#pragma once
#include <stdio.h>
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/codec/codec.h"

/* Exit statuses of all commands. */
enum {
    FL_EXIT_OK = 0,
    FL_EXIT_FAILED = 1,  /* the service did it, and it failed: a command on some node */
    FL_EXIT_USAGE = 2,   /* the command line */
    FL_EXIT_SERVICE = 3, /* refused or not reached; no credentials */
    FL_EXIT_INTERRUPTED = 130,
};

/* What the command line says of the connection; members may be NULL. */
struct fl_cli_given {
    const char *profile, *endpoint, *region, *ca_file;
};

struct fl_keys {
    char *access_key_id;
    char *secret_access_key;
    char *session_token; /* NULL for long-term keys */
};

struct fl_wire; /* loop, connections and what is left of the retries */

struct fl_cli {
    struct fl_cli_given given;
    char *profile;
    char *endpoint;     /* of ssm: https://host[:port] */
    char *sts_endpoint; /* of sts */
    char *kms_endpoint; /* of kms */
    char *region;
    char *ca_file; /* NULL: the system's pool */
    struct fl_keys keys;
    unsigned max_attempts; /* of one call; at least 1 */
    uint32_t timeout_ms;   /* of one attempt */
    bool json;             /* --json: print the API's own JSON */
    bool no_headers;       /* --no-headers */
    struct fl_wire *wire;  /* made by the first call */
};

/* ---- load.c, creds.c: settings ---- */

/* Fills the rest from cli->given: profile, endpoints, region, CA, keys. The order of sources is in
 * help.c and load.c. */
int fl_cli_load(struct fl_cli *cli, struct fl_err *err);
void fl_cli_done(struct fl_cli *cli);

/* Limits of calls that hold when no file was read. */
#define FL_CLI_MAX_ATTEMPTS 3 /* of the SDKs' standard mode */
#define FL_CLI_TIMEOUT_MS   (60 * 1000)

/* The client's own configuration file, ~/.config/fairlead/config; NULL if there is no home. Fresh
 * memory. */
char *fl_cli_config_path(void);

/* The name of the profile to use: given, of the environment, or "default". Fresh memory. */
char *fl_cli_profile_name(const struct fl_cli *cli);

struct fl_profiles; /* the three files, read once */

/* -ENOMEM, or -EACCES and the like for a file that is there and cannot be read. */
int fl_profiles_read(struct fl_profiles **ret_profiles, struct fl_err *err);
struct fl_profiles *fl_profiles_free(struct fl_profiles *p);

/* The value of a key in the first file that has it for this profile, fresh memory; NULL. */
char *fl_profiles_get(const struct fl_profiles *p, const char *profile, const char *key);
bool fl_profiles_has(const struct fl_profiles *p, const char *profile);

/* Tells each profile once with the file it is first found in. */
typedef void (*fl_profile_fn)(void *arg, const char *profile, const char *file);
void fl_profiles_each(const struct fl_profiles *p, fl_profile_fn fn, void *arg);

/* Who: fills cli->keys from the environment (unless the profile was named on the command line) or
 * the profile: its keys, a role to assume, or a credential_process. Talks to sts for a role. */
int fl_creds_find(struct fl_cli *cli, const struct fl_profiles *p, bool use_env,
                  struct fl_err *err);
void fl_keys_done(struct fl_keys *keys);

/* ---- api.c: calls ---- */

/* One operation of ssm; a row beside the code that uses it. */
struct fl_op {
    /* With a dot: of the plane's own ("Fairlead.ListTranscripts"), of kms ("TrentService.…"). */
    const char *name;
    const struct fl_shape *in;
    const struct fl_shape *out; /* NULL: nothing of the answer is wanted */
    bool once; /* calling twice does it twice: not tried again when it may have been taken */
};

/* One signed call that is waited for, tried again as AWS's SDKs do (standard mode). *out lives in
 * the arena. -EREMOTEIO when the API refused: err->name is the error's name (known ones only),
 * err->text "Name: message". */
int fl_api_call(struct fl_cli *cli, const struct fl_op *op, const void *in, struct fl_arena *arena,
                void *out, struct fl_err *err);

/* The same with JSON text both ways; the caller frees. */
int fl_api_text(struct fl_cli *cli, const char *operation, bool once, const char *body,
                char **ret_body, struct fl_err *err);

/* A call of sts in the query protocol: `form` begins "Action=". The answer's XML; the caller frees.
 */
int fl_api_sts(struct fl_cli *cli, const struct fl_keys *keys, const char *form, char **ret_xml,
               struct fl_err *err);

/* A call that is not waited for. `body` is copied. The callback runs once, on the loop; with a
 * negative r there is no text. */
typedef void (*fl_api_fn)(void *arg, int r, const char *text, const struct fl_err *err);
int fl_api_start(struct fl_cli *cli, const struct fl_op *op, const void *in, fl_api_fn fn,
                 void *arg, struct fl_err *err);

/* The loop all calls run on; NULL with `err` if it cannot be made. */
struct fl_loop *fl_cli_loop(struct fl_cli *cli, struct fl_err *err);

/* WebSockets on it, with the same CA and proxy; likewise. */
struct fl_ws_client *fl_cli_ws(struct fl_cli *cli, struct fl_err *err);

/* Runs the loop until *done or for so long (0: no limit), whichever is first. */
int fl_cli_wait(struct fl_cli *cli, const bool *done, uint32_t ms);

/* True if the API refused with this name. */
bool fl_api_refused(int r, const struct fl_err *err, const char *name);

/* Prints "fairlead: …" with the error, and what to do about it if that is known; FL_EXIT_SERVICE.
 */
int fl_cli_fail(const struct fl_err *err);

/* The same of a call that gave `r`, and maybe no words for it. */
int fl_cli_failed(int r, struct fl_err *err);

/* The same where -EINVAL is the fault of what was typed: FL_EXIT_USAGE then. */
int fl_cli_failed_input(int r, struct fl_err *err);
