/* signcmd.c - `fairlead keygen` and `fairlead sign`: an operator's key, and what is signed with it.
 *
 * Neither talks to a plane: what is signed is read from the operator's own files.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/sign.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/json_load.h"

#define MAX_KEY_BYTES   (16u << 10)
#define MAX_DOC_BYTES   (2u << 20)
#define MAX_LINE_BYTES  1024
#define EARLY_S         300 /* a signature holds from a little ago: clocks of nodes lag */
#define DEFAULT_LIFE    "10m"
#define MIN_PASS_BYTES  8
#define ARENA_MAX_BYTES (1u << 20)

static const char keygen_usage[] =
    "usage: fairlead keygen [--name NAME] [--passphrase-file FILE | --no-passphrase] KEYFILE\n"
    "       fairlead keygen --public KEYFILE\n"
    "\n"
    "Makes an Ed25519 key to sign commands with, and prints the line for \"keys\" in policy.json of\n"
    "the nodes that shall trust it.\n"
    "\n"
    "  --name NAME             what policies call it (default: your user name)\n"
    "  --passphrase-file FILE  encrypt it with the first line of FILE; \"-\" is standard input\n"
    "  --no-passphrase         do not encrypt it; without either, you are asked\n"
    "  --public                print the line again for a key that is there\n";

static const char sign_usage[] =
    "usage: fairlead sign --key KEYFILE --document NAME --document-file FILE --targets LIST\n"
    "                     [--parameters JSON] [--expires 10m] [--send-ready]\n"
    "\n"
    "Signs one command, for one use on each node. Prints the value of the document's parameter\n"
    "FairleadSignature.\n"
    "\n"
    "  --key KEYFILE           made by fairlead keygen\n"
    "  --name NAME             what policies call the key (default: as keygen was told)\n"
    "  --document NAME         as it will be given to send-command\n"
    "  --document-file FILE    its content, JSON, as it shall run\n"
    "  --parameters JSON       as for send-command: {\"name\": [\"value\", ...]}; file://FILE reads it\n"
    "  --targets LIST          node ids and @labels of policies, comma-separated; \"*\" is every node\n"
    "  --expires TIME          how long it holds: 90s, 10m, 2h, 7d (default 10m, at most 31d)\n"
    "  --passphrase-file FILE  the key's passphrase is its first line; \"-\" is standard input\n"
    "  --send-ready            print all parameters as JSON for\n"
    "                          aws ssm send-command --parameters \"$(fairlead sign ...)\"\n";

struct options {
    const char *key, *name, *document, *document_file, *parameters, *targets, *expires;
    const char *passphrase_file;
    bool no_passphrase, public_only, send_ready, help;
};

static int bad_usage(const char *usage, const char *fault)
{
    fprintf(stderr, "fairlead: %s\n%s", fault, usage);
    return 2;
}

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
    return *ret ? 0 : fl_err_set(err, -ENOMEM, NULL, "out of memory");
}

static int ask(const char *prompt, char **ret, struct fl_err *err)
{
    char *typed = getpass(prompt); /* from the terminal, without echo */

    *ret = typed ? strdup(typed) : NULL;
    if (typed)
        fl_wipe(typed, strlen(typed));
    return *ret ? 0 : fl_err_set(err, -ENOTTY, NULL, "no passphrase: no terminal to ask on");
}

/* NULL: the key is not to be encrypted. */
static int new_passphrase(const struct options *o, char **ret, struct fl_err *err)
{
    auto_secret char *first = NULL;
    auto_secret char *again = NULL;
    int r;

    if (o->no_passphrase)
        return 0;
    if (o->passphrase_file) {
        r = read_passphrase_file(o->passphrase_file, &first, err);
    } else {
        r = ask("Passphrase of the new key (empty for none): ", &first, err);
        if (r == 0 && !*first)
            return 0;
        if (r == 0)
            r = ask("The same once more: ", &again, err);
        if (r == 0 && strcmp(first, again) != 0)
            r = fl_err_set(err, -EINVAL, NULL, "the two passphrases differ");
    }
    if (r == 0 && strlen(first) < MIN_PASS_BYTES)
        r = fl_err_set(err, -EINVAL, NULL, "the passphrase has less than %d bytes",
                       MIN_PASS_BYTES);
    if (r == 0)
        *ret = FL_TAKE(first);
    return r;
}

static int load_key(const char *path, const char *passphrase_file, struct fl_arena *arena,
                    char **ret_name, struct fl_ed25519 **ret_key, struct fl_err *err)
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
    r = ask("Passphrase: ", &passphrase, err);
    return r < 0 ? r : fl_ed25519_from_private_pem(pem, passphrase, ret_key, err);
}

/* ---- keygen ---- */

static int print_public(const struct fl_ed25519 *key, const char *name, struct fl_err *err)
{
    fl_autofree char *text = NULL;

    if (fl_ed25519_public_text(key, &text) < 0)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
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

static int make_key(const struct options *o, const char *path, struct fl_err *err)
{
    auto_secret char *passphrase = NULL;
    auto_secret char *pem = NULL;
    struct fl_ed25519 *key = NULL;
    const char *name = o->name ? o->name : getenv("USER");
    int r;

    if (!name || !fl_signature_name_valid(name))
        return fl_err_set(err, -EINVAL, NULL,
                          "give the key a --name: 1 to 64 of A-Z a-z 0-9 _ -");
    r = new_passphrase(o, &passphrase, err);
    if (r == 0)
        r = fl_ed25519_generate(&key, err);
    if (r == 0 && fl_ed25519_private_pem(key, passphrase, &pem) < 0)
        r = fl_err_set(err, -ENOMEM, NULL, "out of memory");
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

static int show_key(const struct options *o, const char *path, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_MAX_BYTES);
    struct fl_ed25519 *key = NULL;
    char *name = NULL;
    int r = load_key(path, o->passphrase_file, &arena, &name, &key, err);

    if (r == 0)
        r = print_public(key, o->name ? o->name : name ? name : "NAME", err);
    fl_ed25519_free(key);
    return r;
}

/* ---- sign ---- */

/* "90", "90s", "10m", "2h", "7d" */
static int parse_life(const char *text, int64_t *ret_s)
{
    static const struct {
        const char *unit;
        int64_t s;
    } units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
    char *end;
    long v = strtol(text, &end, 10);

    for (size_t i = 0; end != text && i < FL_ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].unit) == 0 && v > 0 &&
            v <= FL_SIGNATURE_MAX_LIFE_S / units[i].s) {
            *ret_s = v * units[i].s;
            return 0;
        }
    return -EINVAL;
}

/* As the AWS CLI: file://PATH is what stands there. Fresh memory. */
static int read_parameters(const char *given, char **ret, struct fl_err *err)
{
    static const char scheme[] = "file://";

    if (strncmp(given, scheme, strlen(scheme)) == 0)
        return fl_file_read(given + strlen(scheme), MAX_DOC_BYTES, ret, NULL, err);
    *ret = strdup(given);
    return *ret ? 0 : fl_err_set(err, -ENOMEM, NULL, "out of memory");
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

static int print_signature(const struct options *o, const char *parameters, const char *signature,
                           struct fl_err *err)
{
    fl_autofree char *ready = NULL;
    int r = o->send_ready ? fl_sign_ready(parameters, signature, &ready, err) : 0;

    if (r == 0)
        puts(ready ? ready : signature);
    return r;
}

static int sign(const struct options *o, int64_t life_s, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_MAX_BYTES);
    fl_autobuf struct fl_buf line = FL_BUF(FL_SIGNATURE_MAX_BYTES);
    fl_autofree char *document = NULL;
    fl_autofree char *given = NULL;
    fl_autofree char *parameters = NULL;
    struct fl_ed25519 *key = NULL;
    struct fl_signature s = { .targets = (char *)(uintptr_t)o->targets };
    int64_t now_s = fl_now_ms() / 1000;
    char *name = NULL;
    int r;
    r = read_document(o->document_file, &document, err);
    if (r == 0)
        r = read_parameters(o->parameters ? o->parameters : "{}", &given, err);
    if (r == 0)
        r = fl_sign_parameters(document, given, &parameters, err);
    if (r == 0)
        r = load_key(o->key, o->passphrase_file, &arena, &name, &key, err);
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

enum kind { TEXT, FLAG };
struct row {
    const char *name;
    enum kind kind;
    size_t offset;
};
#define ROW(n, k, member)                           \
    {                                               \
        (n), (k), offsetof(struct options, member) \
    }
static const struct row keygen_rows[] = {
    ROW("name", TEXT, name),
    ROW("passphrase-file", TEXT, passphrase_file),
    ROW("no-passphrase", FLAG, no_passphrase),
    ROW("public", FLAG, public_only),
    ROW("help", FLAG, help),
};
static const struct row sign_rows[] = {
    ROW("key", TEXT, key),
    ROW("name", TEXT, name),
    ROW("document", TEXT, document),
    ROW("document-file", TEXT, document_file),
    ROW("parameters", TEXT, parameters),
    ROW("targets", TEXT, targets),
    ROW("expires", TEXT, expires),
    ROW("passphrase-file", TEXT, passphrase_file),
    ROW("send-ready", FLAG, send_ready),
    ROW("help", FLAG, help),
};
#define MAX_ROWS 16

/* The words that are no options go to argv[1..*ret_words]. */
static int parse(const struct row *rows, size_t n, int argc, char **argv, struct options *o,
                 int *ret_words)
{
    struct option options[MAX_ROWS] = { 0 };
    int index, c;

    for (size_t i = 0; i < n; i++)
        options[i] = (struct option){ rows[i].name,
                                      rows[i].kind == TEXT ? required_argument : no_argument, NULL,
                                      'o' };
    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        char *member = (char *)o + rows[c == 'o' ? index : 0].offset;

        if (c != 'o')
            return -EINVAL;
        if (rows[index].kind == TEXT)
            *(const char **)(void *)member = optarg;
        else
            *(bool *)(void *)member = true;
    }
    *ret_words = argc - optind;
    return 0;
}

/* getopt wants a name before the first word. */
int fl_cmd_keygen(struct fl_cli *cli, int argc, char **argv)
{
    struct options o = { 0 };
    struct fl_err err = { 0 };
    int words;

    if (parse(keygen_rows, FL_ARRAY_LEN(keygen_rows), argc + 1, argv - 1, &o, &words) < 0)
        return bad_usage(keygen_usage, "see above");
    if (o.help) {
        fputs(keygen_usage, stdout);
        return 0;
    }
    if (words != 1)
        return bad_usage(keygen_usage, "one KEYFILE is needed");
    if ((o.public_only ? show_key : make_key)(&o, argv[optind - 1], &err) < 0)
        return fl_cli_fail(&err);
    return 0;
}

int fl_cmd_sign(struct fl_cli *cli, int argc, char **argv)
{
    struct options o = { .expires = DEFAULT_LIFE };
    struct fl_err err = { 0 };
    int64_t life_s;
    int words;

    if (parse(sign_rows, FL_ARRAY_LEN(sign_rows), argc + 1, argv - 1, &o, &words) < 0)
        return bad_usage(sign_usage, "see above");
    if (o.help) {
        fputs(sign_usage, stdout);
        return 0;
    }
    if (words > 0 || !o.key || !o.document || !o.document_file || !o.targets)
        return bad_usage(sign_usage,
                         "--key, --document, --document-file and --targets are needed");
    if (parse_life(o.expires, &life_s) < 0)
        return bad_usage(sign_usage, "--expires: must be like 90s, 10m, 2h or 7d, at most 31d");
    return sign(&o, life_s, &err) < 0 ? fl_cli_fail(&err) : 0;
}
