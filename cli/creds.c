/* creds.c - who calls: keys of the environment or of a profile, a role to assume, a program to ask.
 *
 * The order within a profile is the AWS CLI's: role_arn, then keys, then credential_process.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include "cli/cli.h"
#include "common/aws/crypto.h"
#include "common/aws/sigv4.h"
#include "common/base/child.h"
#include "common/base/clock.h"
#include "common/codec/xml.h"

#define ROLES_MAX         5 /* in a chain of source_profile */
#define PROCESS_MS        (60 * 1000)
#define PROCESS_MAX_BYTES 65536
#define FORM_MAX_BYTES    8192

/* What a credential_process prints (the AWS CLI's contract). */
struct process_answer {
    int32_t version;
    char *id, *secret, *token, *expiration;
};
static const struct fl_field process_fields[] = {
    FL_FIELD(struct process_answer, version, "Version", FL_REQUIRED),
    FL_FIELD(struct process_answer, id, "AccessKeyId", FL_REQUIRED),
    FL_FIELD(struct process_answer, secret, "SecretAccessKey", FL_REQUIRED | FL_SECRET),
    FL_FIELD(struct process_answer, token, "SessionToken", FL_SECRET),
    FL_FIELD(struct process_answer, expiration, "Expiration", 0),
};
static const struct fl_shape process_shape =
    FL_SHAPE(struct process_answer, "credential_process", process_fields);

void fl_keys_done(struct fl_keys *keys)
{
    free(keys->access_key_id);
    if (keys->secret_access_key)
        fl_free_secret(keys->secret_access_key, strlen(keys->secret_access_key));
    if (keys->session_token)
        fl_free_secret(keys->session_token, strlen(keys->session_token));
    *keys = (struct fl_keys){ 0 };
}

static int keys_copy(const char *id, const char *secret, const char *token, struct fl_keys *ret)
{
    struct fl_keys k = { .access_key_id = strdup(id),
                         .secret_access_key = strdup(secret),
                         .session_token = token && *token ? strdup(token) : NULL };

    if (!k.access_key_id || !k.secret_access_key || (token && *token && !k.session_token)) {
        fl_keys_done(&k);
        return -ENOMEM;
    }
    *ret = k;
    return 0;
}

/* All three from one place: an id of one and a secret of another would never fit. -ENOENT. */
static int keys_from_env(struct fl_keys *ret_keys)
{
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");

    if (!id || !*id || !secret || !*secret)
        return -ENOENT;
    return keys_copy(id, secret, getenv("AWS_SESSION_TOKEN"), ret_keys);
}

static int keys_from_profile(const struct fl_profiles *p, const char *profile,
                             struct fl_keys *ret_keys)
{
    struct fl_keys k = { .access_key_id = fl_profiles_get(p, profile, "aws_access_key_id"),
                         .secret_access_key = fl_profiles_get(p, profile, "aws_secret_access_key"),
                         .session_token = fl_profiles_get(p, profile, "aws_session_token") };

    if (!k.access_key_id || !k.secret_access_key) {
        fl_keys_done(&k);
        return -ENOENT;
    }
    *ret_keys = k;
    return 0;
}

/* ---- credential_process ---- */

struct process {
    struct fl_loop *loop;
    struct fl_io *io;
    int fd;
    struct fl_buf out;
    bool at_end, exited;
    bool done;
    int r, status;
};

static void process_step(struct process *p, int r)
{
    if (r < 0)
        p->r = r;
    p->done = p->r < 0 || (p->at_end && p->exited);
    if (p->done)
        fl_loop_stop(p->loop);
}

static void process_end(struct process *p)
{
    p->at_end = true;
    fl_io_set(p->io, 0);
    process_step(p, 0);
}

static void on_output(void *arg, unsigned events)
{
    struct process *p = arg;
    char chunk[4096];
    ssize_t n = read(p->fd, chunk, sizeof(chunk));

    (void)events;
    if (n > 0)
        process_step(p, fl_buf_append(&p->out, chunk, (size_t)n));
    else if (n == 0)
        process_end(p);
    else if (errno != EAGAIN && errno != EINTR)
        process_step(p, -errno);
    fl_wipe(chunk, sizeof(chunk));
}

static void on_exit_of(void *arg, int status)
{
    struct process *p = arg;

    p->exited = true;
    p->status = status;
    process_step(p, 0);
}

static int process_wait(struct fl_cli *cli, struct process *p, const struct fl_child_spec *spec,
                        int *write_fd, struct fl_err *err)
{
    struct fl_child *child = NULL;
    int r = fl_child_spawn(p->loop, spec, on_exit_of, p, &child, err);

    close(*write_fd);
    *write_fd = -1;
    if (r < 0)
        return r;
    p->io = fl_io_new(p->loop, p->fd, on_output, p);
    r = p->io ? fl_io_set(p->io, FL_IO_READ) : -ENOMEM;
    if (r == 0)
        r = fl_cli_wait(cli, &p->done, PROCESS_MS);
    if (r == 0 && !p->done)
        r = -ETIMEDOUT;
    if (r == 0)
        r = p->r;
    fl_io_free(p->io);
    if (!p->exited)
        fl_child_kill(child, SIGKILL);
    fl_child_free(child);
    if (r == 0 && (!WIFEXITED(p->status) || WEXITSTATUS(p->status) != 0))
        r = -ECHILD;
    return r;
}

static int process_read(const struct fl_buf *out, struct fl_keys *ret_keys, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(2 * PROCESS_MAX_BYTES);
    struct process_answer a;
    int64_t ends_ms;
    int r =
        fl_json_decode(&process_shape, out->data ? out->data : "", out->len, 0, &arena, &a, err);

    if (r == 0 && a.version != 1)
        r = fl_err_set(err, -EINVAL, NULL, "credential_process: Version %d is not known",
                       a.version);
    if (r == 0 && a.expiration && fl_time_parse_iso(a.expiration, &ends_ms) == 0 &&
        ends_ms <= fl_now_ms())
        r = fl_err_set(err, -EKEYEXPIRED, NULL, "credential_process gave expired credentials");
    return r < 0 ? r : keys_copy(a.id, a.secret, a.token, ret_keys);
}

/* Runs the command by the shell; it may talk to the user on the terminal. */
static int keys_from_process(struct fl_cli *cli, const char *command, struct fl_keys *ret_keys,
                             struct fl_err *err)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
    struct process p = { .out = FL_BUF(PROCESS_MAX_BYTES) };
    int fds[2], r;

    p.loop = fl_cli_loop(cli, err);
    if (!p.loop)
        return -ENOMEM;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    p.fd = fds[0];

    const struct fl_child_fd map[] = { { 0, 0 }, { 1, fds[1] }, { 2, 2 } };
    const struct fl_child_spec spec = {
        .path = "/bin/sh", .argv = argv, .fds = map, .n_fds = FL_ARRAY_LEN(map)
    };
    r = process_wait(cli, &p, &spec, &fds[1], err);
    close(fds[0]);
    if (r == 0)
        r = process_read(&p.out, ret_keys, err);
    else if (r == -ECHILD && WIFEXITED(p.status))
        fl_err_set(err, r, NULL, "credential_process ended with status %d: %s",
                   WEXITSTATUS(p.status), command);
    else
        fl_err_set(err, r, NULL, "credential_process: %s: %s", strerror(-r), command);
    if (p.out.data)
        fl_wipe(p.out.data, p.out.len);
    fl_buf_done(&p.out);
    return r;
}

/* ---- roles ---- */

static int form_add(struct fl_buf *form, const char *key, const char *value)
{
    int r;

    if (!value || !*value)
        return 0;
    r = fl_buf_printf(form, "&%s=", key);
    return r < 0 ? r : fl_uri_encode(value, strlen(value), false, form);
}

static char *xml_value(const char *xml, const char *element)
{
    struct fl_buf out = FL_BUF(65536);
    char *text = NULL;

    if (fl_xml_find_text(xml, strlen(xml), element, &out) == 0)
        text = fl_buf_take(&out, NULL);
    fl_buf_done(&out);
    return text;
}

static int assume_role(struct fl_cli *cli, const struct fl_profiles *p, const char *profile,
                       const char *role, const struct fl_keys *source, struct fl_keys *ret_keys,
                       struct fl_err *err)
{
    static const struct {
        const char *parameter, *key;
    } options[] = { { "ExternalId", "external_id" }, { "DurationSeconds", "duration_seconds" } };
    fl_autobuf struct fl_buf form = FL_BUF(FORM_MAX_BYTES);
    fl_autofree char *session = fl_profiles_get(p, profile, "role_session_name");
    struct fl_keys k;
    char *xml = NULL;
    int r = fl_buf_puts(&form, "Action=AssumeRole&Version=2011-06-15");

    if (r == 0)
        r = form_add(&form, "RoleArn", role);
    if (r == 0)
        r = form_add(&form, "RoleSessionName", session ? session : "fairlead");
    for (size_t i = 0; i < FL_ARRAY_LEN(options) && r == 0; i++) {
        fl_autofree char *value = fl_profiles_get(p, profile, options[i].key);

        r = form_add(&form, options[i].parameter, value);
    }
    if (r == 0)
        r = fl_api_sts(cli, source, form.data, &xml, err);
    if (r < 0)
        return r;
    k = (struct fl_keys){ .access_key_id = xml_value(xml, "AccessKeyId"),
                          .secret_access_key = xml_value(xml, "SecretAccessKey"),
                          .session_token = xml_value(xml, "SessionToken") };
    fl_free_secret(xml, strlen(xml));
    if (!k.access_key_id || !k.secret_access_key || !k.session_token) {
        fl_keys_done(&k);
        return fl_err_set(err, -EBADMSG, NULL, "AssumeRole: the answer holds no credentials");
    }
    *ret_keys = k;
    return 0;
}

/* Ways to log in that this client does not know; better said than passed over. */
static int refuse_unknown(const struct fl_profiles *p, const char *profile, struct fl_err *err)
{
    static const char *const keys[] = { "sso_session", "sso_start_url", "web_identity_token_file",
                                        "mfa_serial", "login_session" };

    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++) {
        fl_autofree char *value = fl_profiles_get(p, profile, keys[i]);

        if (value)
            return fl_err_set(
                err, -EOPNOTSUPP, NULL,
                "profile \"%s\" has %s, which fairlead does not know. Use credential_process = "
                "aws configure export-credentials --profile %s",
                profile, keys[i], profile);
    }
    return 0;
}

static int from_profile(struct fl_cli *cli, const struct fl_profiles *p, const char *profile,
                        unsigned depth, struct fl_keys *ret_keys, struct fl_err *err);

static int keys_by_role(struct fl_cli *cli, const struct fl_profiles *p, const char *profile,
                        const char *role, unsigned depth, struct fl_keys *ret_keys,
                        struct fl_err *err)
{
    fl_autofree char *source = fl_profiles_get(p, profile, "source_profile");
    fl_autofree char *place = fl_profiles_get(p, profile, "credential_source");
    struct fl_keys keys = { 0 };
    int r;

    if (depth == ROLES_MAX)
        return fl_err_set(err, -ELOOP, NULL,
                          "profile \"%s\": source_profile goes round, or deeper than %d", profile,
                          ROLES_MAX);
    if (source && !fl_profiles_has(p, source))
        return fl_err_set(err, -ENOENT, NULL, "profile \"%s\": there is no source_profile \"%s\"",
                          profile, source);
    if (source && strcmp(source, profile) == 0)
        r = keys_from_profile(p, profile, &keys);
    else if (source)
        r = from_profile(cli, p, source, depth + 1, &keys, err);
    else if (place && strcmp(place, "Environment") == 0)
        r = keys_from_env(&keys);
    else
        return fl_err_set(err, -EOPNOTSUPP, NULL,
                          "profile \"%s\" has role_arn: it needs source_profile = NAME, or "
                          "credential_source = Environment",
                          profile);
    if (r == -ENOENT && !(err && err->code))
        fl_err_set(err, r, NULL, "profile \"%s\": no keys to assume the role with", profile);
    if (r == 0)
        r = assume_role(cli, p, profile, role, &keys, ret_keys, err);
    fl_keys_done(&keys);
    return r;
}

static int from_profile(struct fl_cli *cli, const struct fl_profiles *p, const char *profile,
                        unsigned depth, struct fl_keys *ret_keys, struct fl_err *err)
{
    fl_autofree char *role = fl_profiles_get(p, profile, "role_arn");
    fl_autofree char *process = NULL;
    int r;

    r = refuse_unknown(p, profile, err);
    if (r < 0)
        return r;
    if (role)
        return keys_by_role(cli, p, profile, role, depth, ret_keys, err);
    r = keys_from_profile(p, profile, ret_keys);
    if (r != -ENOENT)
        return r;
    process = fl_profiles_get(p, profile, "credential_process");
    if (process)
        return keys_from_process(cli, process, ret_keys, err);
    return -ENOENT;
}

int fl_creds_find(struct fl_cli *cli, const struct fl_profiles *p, bool use_env, struct fl_err *err)
{
    int r = use_env ? keys_from_env(&cli->keys) : -ENOENT;

    if (r == -ENOENT)
        r = from_profile(cli, p, cli->profile, 0, &cli->keys, err);
    if (r == -ENOENT && !(err && err->code))
        fl_err_set(err, -ENOKEY, NULL,
                   "no credentials in the environment or in profile \"%s\"; \"fairlead login\" "
                   "makes a profile",
                   cli->profile);
    return r == -ENOENT ? -ENOKEY : r;
}
