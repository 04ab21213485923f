/* signcmd.c - `fairlead keygen` and `fairlead sign`: an operator's key, and what is signed with it.
 *
 * Neither talks to a plane: what is signed is read from the operator's own files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "cli/sign.h"
#include "cli/term.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/json_load.h"

#define MAX_KEY_BYTES   (16u << 10)
#define MAX_DOC_BYTES   (2u << 20)
#define MAX_LINE_BYTES  1024
#define EARLY_S         300 /* a signature holds from a little ago: clocks of nodes lag */
#define DEFAULT_LIFE_S  600
#define MIN_PASS_BYTES  8
#define ARENA_MAX_BYTES (1u << 20)

struct keygen_options {
    const char *name, *passphrase_file;
    bool no_passphrase, public_only;
};

struct sign_options {
    const char *key, *name, *document, *document_file, *parameters, *targets, *passphrase_file;
    struct fl_seconds expires;
    bool send_ready;
};

/* ---- passphrases ---- */

static void free_secret_text(char **text)
{
    if (*text)
        fl_free_secret(*text, strlen(*text));
}
#define auto_secret FL_CLEANUP(free_secret_text)

static int read_passphrase_file(const char *path, char **ret, struct fl_err *err)
{
    auto_secret char *text = NULL;
    int r = strcmp(path, "-") == 0 ? fl_fd_read_all(STDIN_FILENO, MAX_LINE_BYTES, &text, NULL)
                                   : fl_file_read(path, MAX_LINE_BYTES, &text, NULL, err);

    if (r < 0)
        return err->code ? r : fl_err_set(err, r, NULL, "passphrase: %s", strerror(-r));
    text[strcspn(text, "\r\n")] = '\0';
    *ret = strdup(text);
    return *ret ? 0 : fl_err_nomem(err);
}

/* Typed at the terminal, without echo. */
static int ask(struct fl_cli *cli, const char *prompt, char **ret, struct fl_err *err)
{
    char typed[MAX_LINE_BYTES];
    int r = fl_ask(cli, false, prompt, typed, sizeof(typed));

    *ret = r == 0 ? strdup(typed) : NULL;
    fl_wipe(typed, sizeof(typed));
    if (r == -ENOTTY)
        return fl_err_set(err, r, NULL,
                          "no terminal to ask for a passphrase on: give --passphrase-file");
    return *ret ? 0 : fl_err_set(err, r < 0 ? r : -ENOMEM, NULL, "no passphrase was given");
}

/* NULL: the key is not to be encrypted. */
static int new_passphrase(struct fl_cli *cli, const struct keygen_options *o, char **ret,
                          struct fl_err *err)
{
    auto_secret char *first = NULL;
    auto_secret char *again = NULL;
    int r;

    if (o->no_passphrase)
        return 0;
    if (o->passphrase_file) {
        r = read_passphrase_file(o->passphrase_file, &first, err);
    } else {
        r = ask(cli, "Passphrase of the new key (empty for none): ", &first, err);
        if (r == 0 && !*first)
            return 0;
        if (r == 0)
            r = ask(cli, "The same once more: ", &again, err);
        if (r == 0 && strcmp(first, again) != 0)
            r = fl_err_set(err, -EINVAL, NULL, "the two passphrases differ");
    }
    if (r == 0 && strlen(first) < MIN_PASS_BYTES)
        r = fl_err_set(err, -EINVAL, NULL, "the passphrase has less than %d bytes", MIN_PASS_BYTES);
    if (r == 0)
        *ret = FL_TAKE(first);
    return r;
}

static int load_key(struct fl_cli *cli, const char *path, const char *passphrase_file,
                    struct fl_arena *arena, char **ret_name, struct fl_ed25519 **ret_key,
                    struct fl_err *err)
{
    auto_secret char *pem = NULL;
    auto_secret char *passphrase = NULL;
    int r = fl_file_read(path, MAX_KEY_BYTES, &pem, NULL, err);

    if (r == 0 && passphrase_file)
        r = read_passphrase_file(passphrase_file, &passphrase, err);
    if (r < 0)
        return r;
    *ret_name = fl_sign_key_name(pem, arena);
    r = fl_ed25519_from_private_pem(pem, passphrase, ret_key, err);
    if (r != -ENOKEY)
        return r;
    *err = (struct fl_err){ 0 };
    r = ask(cli, "Passphrase: ", &passphrase, err);
    return r < 0 ? r : fl_ed25519_from_private_pem(pem, passphrase, ret_key, err);
}

/* ---- keygen ---- */

static int print_public(const struct fl_ed25519 *key, const char *name, struct fl_err *err)
{
    fl_autofree char *text = NULL;

    if (fl_ed25519_public_text(key, &text) < 0)
        return fl_err_nomem(err);
    printf("\"%s\": \"%s\"\n", name, text);
    return 0;
}

/* A key that is there is never written over. */
static int write_key(const char *path, const char *name, const char *pem, struct fl_err *err)
{
    fl_autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int r;

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    r = dprintf(fd, FL_SIGN_KEY_TITLE "%s\n", name) < 0 ? -errno : 0;
    if (r == 0)
        r = fl_fd_write_all(fd, pem, strlen(pem));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r < 0) {
        unlink(path);
        return fl_err_set(err, r, NULL, "%s: %s", path, strerror(-r));
    }
    return 0;
}

static int make_key(struct fl_cli *cli, const struct keygen_options *o, const char *path,
                    struct fl_err *err)
{
    auto_secret char *passphrase = NULL;
    auto_secret char *pem = NULL;
    struct fl_ed25519 *key = NULL;
    const char *name = o->name ? o->name : getenv("USER");
    int r;

    if (!name || !fl_signature_name_valid(name))
        return fl_err_set(err, -EINVAL, NULL, "give the key a --name: 1 to 64 of A-Z a-z 0-9 _ -");
    r = new_passphrase(cli, o, &passphrase, err);
    if (r == 0)
        r = fl_ed25519_generate(&key, err);
    if (r == 0 && fl_ed25519_private_pem(key, passphrase, &pem) < 0)
        r = fl_err_nomem(err);
    if (r == 0)
        r = write_key(path, name, pem, err);
    if (r == 0) {
        fprintf(stderr, "%s holds the private key. For \"keys\" in policy.json of the nodes:\n",
                path);
        r = print_public(key, name, err);
    }
    fl_ed25519_free(key);
    return r;
}

static int show_key(struct fl_cli *cli, const struct keygen_options *o, const char *path,
                    struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_MAX_BYTES);
    struct fl_ed25519 *key = NULL;
    char *name = NULL;
    int r = load_key(cli, path, o->passphrase_file, &arena, &name, &key, err);

    if (r == 0)
        r = print_public(key, o->name ? o->name : name ? name : "NAME", err);
    fl_ed25519_free(key);
    return r;
}

/* ---- sign ---- */

/* As the AWS CLI: file://PATH is what stands there. Fresh memory. */
static int read_parameters(const char *given, char **ret, struct fl_err *err)
{
    static const char scheme[] = "file://";

    if (strncmp(given, scheme, strlen(scheme)) == 0)
        return fl_file_read(given + strlen(scheme), MAX_DOC_BYTES, ret, NULL, err);
    *ret = strdup(given);
    return *ret ? 0 : fl_err_nomem(err);
}

/* What was read is canonical, so that numbers are what the plane will send. */
static int read_document(const char *path, char **ret, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    json_t *json;
    int r = fl_file_read(path, MAX_DOC_BYTES, &text, NULL, err);

    if (r < 0)
        return r;
    json = fl_json_load_text(text, 0, NULL);
    *ret = json ? json_dumps(json, FL_JSON_CANONICAL) : NULL;
    json_decref(json);
    return *ret ? 0 : fl_err_set(err, -EINVAL, NULL, "%s: not JSON; convert YAML first", path);
}

static int print_signature(const struct sign_options *o, const char *parameters,
                           const char *signature, struct fl_err *err)
{
    fl_autofree char *ready = NULL;
    int r = o->send_ready ? fl_sign_ready(parameters, signature, &ready, err) : 0;

    if (r == 0)
        puts(ready ? ready : signature);
    return r;
}

static int sign(struct fl_cli *cli, const struct sign_options *o, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_MAX_BYTES);
    fl_autobuf struct fl_buf line = FL_BUF(FL_SIGNATURE_MAX_BYTES);
    fl_autofree char *document = NULL;
    fl_autofree char *given = NULL;
    fl_autofree char *parameters = NULL;
    struct fl_ed25519 *key = NULL;
    struct fl_signature s = { .targets = (char *)(uintptr_t)o->targets };
    int64_t now_s = fl_now_ms() / 1000;
    int64_t life_s = o->expires.set ? o->expires.v : DEFAULT_LIFE_S;
    char *name = NULL;
    int r;
    r = read_document(o->document_file, &document, err);
    if (r == 0)
        r = read_parameters(o->parameters ? o->parameters : "{}", &given, err);
    if (r == 0)
        r = fl_sign_parameters(document, given, &parameters, err);
    if (r == 0)
        r = load_key(cli, o->key, o->passphrase_file, &arena, &name, &key, err);
    s.key = o->name ? (char *)(uintptr_t)o->name : name;
    if (r == 0 && !s.key)
        r = fl_err_set(err, -EINVAL, NULL, "%s tells no name of the key: give --name", o->key);
    s.not_after_s = now_s + life_s;
    s.not_before_s = FL_MAX(now_s - EARLY_S, s.not_after_s - FL_SIGNATURE_MAX_LIFE_S);
    if (r == 0)
        r = fl_sign_command(key, &s, o->document, document, parameters, &arena, &line, err);
    if (r == 0)
        r = print_signature(o, parameters, line.data, err);
    fl_ed25519_free(key);
    return r;
}

/* ---- command lines ---- */

static const struct fl_opt keygen_options[] = {
#define O(...) FL_OPT(struct keygen_options, __VA_ARGS__)
    O(name, 0, "name", "NAME", "what policies call it (default: your user name)"),
    O(passphrase_file, 0, "passphrase-file", "FILE",
      "its passphrase is the first line of FILE; - for standard input", FL_COMPLETE_FILE),
    O(no_passphrase, 0, "no-passphrase", NULL, "do not encrypt it"),
    O(public_only, 0, "public", NULL, "print the public line again for a key that is there"),
#undef O
};

static int run_keygen(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct keygen_options *o = options;
    struct fl_err err = { 0 };

    if ((o->public_only ? show_key : make_key)(cli, o, args->v[0], &err) < 0)
        return fl_cli_fail(&err);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_keygen = {
    .name = "keygen",
    .args = "KEYFILE",
    .summary = "Make a key to sign commands with",
    .text =
        "Makes an Ed25519 key, and prints the line for \"keys\" in policy.json of the nodes that "
        "shall trust it. Without --passphrase-file and --no-passphrase you are asked for a "
        "passphrase.",
    FL_OPTIONS(struct keygen_options, keygen_options),
    .min_args = 1,
    .max_args = 1,
    .flags = FL_COMMAND_OFFLINE,
    .complete = FL_COMPLETE_FILE,
    .run = run_keygen,
};

static const struct fl_opt sign_options[] = {
#define O(...) FL_OPT(struct sign_options, __VA_ARGS__)
    O(key, 0, "key", "KEYFILE", "made by fairlead keygen", FL_COMPLETE_FILE),
    O(name, 0, "name", "NAME", "what policies call the key (default: as keygen was told)"),
    O(document, 0, "document", "NAME", "as it will be given to send-command", FL_COMPLETE_DOCUMENT),
    O(document_file, 0, "document-file", "FILE", "its content, JSON, as it shall run",
      FL_COMPLETE_FILE),
    O(parameters, 0, "parameters", "JSON",
      "as for send-command: {\"name\": [\"value\", ...]}; file://FILE reads it"),
    O(targets, 0, "targets", "LIST",
      "node ids and @labels of policies, comma-separated; \"*\" is every node"),
    O(expires, 0, "expires", "TIME",
      "how long it holds: 90s, 10m, 2h, 7d (default 10m, at most 31d)"),
    O(passphrase_file, 0, "passphrase-file", "FILE",
      "the key's passphrase is its first line; - for standard input", FL_COMPLETE_FILE),
    O(send_ready, 0, "send-ready", NULL,
      "print all parameters as JSON for aws ssm send-command --parameters"),
#undef O
};

extern const struct fl_command fl_cmd_sign;

static int run_sign(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct sign_options *o = options;
    struct fl_err err = { 0 };

    if (!o->key || !o->document || !o->document_file || !o->targets)
        return fl_usage(&fl_cmd_sign,
                        "--key, --document, --document-file and --targets are needed");
    if (o->expires.set && (o->expires.v < 1 || o->expires.v > FL_SIGNATURE_MAX_LIFE_S))
        return fl_usage(&fl_cmd_sign, "--expires: from a second to 31 days");
    return sign(cli, o, &err) < 0 ? fl_cli_fail(&err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_sign = {
    .name = "sign",
    .args = "",
    .summary = "Sign a command for nodes whose policy asks for it",
    .text = "Signs one command, for one use on each node. Prints the value of the "
            "parameter FairleadSignature, or with --send-ready all parameters, for\n\n"
            "    aws ssm send-command --parameters \"$(fairlead sign ...)\"",
    FL_OPTIONS(struct sign_options, sign_options),
    .flags = FL_COMMAND_OFFLINE,
    .run = run_sign,
};
