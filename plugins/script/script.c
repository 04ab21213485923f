/* script.c - see script.h.
 *
 * The step is over when the process has ended and both pipes
 * are closed, so `sleep 600 &` keeps it running; once it is being killed, nobody waits for the
 * pipes.
 */
#include "plugins/script/script.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/buf.h"
#include "common/base/child.h"
#include "common/base/file.h"
#include "plugins/exit.h"

#define TIMEOUT_DEFAULT_S 3600
#define TIMEOUT_MIN_S     5
#define TIMEOUT_MAX_S     172800
#define READ_BYTES        65536
#define READS_PER_WAKEUP  16
#define KILL_GRACE_MS \
    5000 /* a process that cannot die (stuck in the kernel) is given up after this */
#define ENV_MAX          4096
#define SCRIPT_MAX_BYTES (8u << 20)

struct script_in {
    char *id;
    struct fl_strs lines;
    struct fl_raw timeout; /* string or number */
    char *working_directory;
    struct fl_strmap environment;
};
#define F(member, key) FL_FIELD(struct script_in, member, key, 0)
static const struct fl_field in_fields[] = {
    F(id, "id"),
    F(lines, "runCommand"),
    F(timeout, "timeoutSeconds"),
    F(working_directory, "workingDirectory"),
    F(environment, "environment"),
};
#undef F
const struct fl_shape fl_script_shape =
    FL_SHAPE(struct script_in, "RunScriptPluginInput", in_fields);

struct script {
    struct fl_child *child;
    struct fl_timer *grace;
    struct stream {
        struct fl_step *step;
        enum fl_step_stream which;
        struct fl_io *io;
        int fd; /* -1: closed */
    } streams[2];
    bool exited;
    int wait_status;
};

int64_t fl_script_timeout(const char *json_text)
{
    const char *s = json_text ? json_text : "";
    bool quoted = s[0] == '"';
    char *end;
    double d;

    s += quoted;
    d = strtod(s, &end);
    /* The text is JSON: what follows a number is its end or the closing quote. */
    if (end == s || strcmp(end, quoted ? "\"" : "") != 0 || !isfinite(d))
        return TIMEOUT_DEFAULT_S;
    d = trunc(d);
    return d >= TIMEOUT_MIN_S && d <= TIMEOUT_MAX_S ? (int64_t)d : TIMEOUT_DEFAULT_S;
}

_Static_assert(sizeof(struct script) <= FL_SCRIPT_STATE_BYTES, "the plugins' state is too small");

/* ---- the script and its surroundings ---- */

static int write_script(const struct fl_script_kind *kind, const char *path,
                        const struct fl_strs *lines, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(SCRIPT_MAX_BYTES);
    fl_autofd int fd = -1;
    int r = fl_buf_puts(&text, kind->head);
    for (size_t i = 0; i < lines->n && r == 0; i++) {
        r = fl_buf_puts(&text, lines->v[i]);
        if (r == 0)
            r = fl_buf_append(&text, "\n", 1);
    }
    if (r == 0 && lines->n == 0)
        r = fl_buf_append(&text, "\n", 1);
    if (r < 0)
        return fl_err_set(err, r, NULL, "the script has more than %u bytes", SCRIPT_MAX_BYTES);
    /* A new file each time: an earlier one may still be read by a process it left behind. */
    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "cannot create the script: %s", strerror(errno));
    r = fl_fd_write_all(fd, text.data, text.len);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot write the script: %s", strerror(-r));
    return 0;
}

/* `sh -c` parses its argument: a path with blanks or other signs is quoted. */
static char *shell_word(const char *path)
{
    fl_autobuf struct fl_buf b = FL_BUF(4 * strlen(path) + 16);
    int r;

    if (path[strspn(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-")] ==
        '\0')
        return strdup(path);
    r = fl_buf_puts(&b, "'");
    for (const char *p = path; *p && r == 0; p++)
        r = *p == '\'' ? fl_buf_puts(&b, "'\\''") : fl_buf_append(&b, p, 1);
    if (r == 0)
        r = fl_buf_puts(&b, "'");
    return r == 0 ? fl_buf_take(&b, NULL) : NULL;
}

/* The first of the kind's programs that PATH has; the last one's usual place if it has none. */
static void find_program(const struct fl_script_kind *kind, char *out, size_t out_size)
{
    const char *path = getenv("PATH");

    for (const char *const *name = kind->programs; *name; name++)
        for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
            size_t n = strcspn(p, ":");
            int len = snprintf(out, out_size, "%.*s/%s", (int)n, p, *name);

            if (n > 0 && len > 0 && (size_t)len < out_size && access(out, X_OK) == 0)
                return;
            p += n + (p[n] == ':');
        }
    snprintf(out, out_size, "%s", kind->otherwise);
}

/* Where the script runs; NULL: where the agent does. Fresh memory in *ret. */
static int choose_cwd(const struct fl_step_context *ctx, const char *wanted, char **ret)
{
    fl_autofree char *path = NULL;
    struct stat st;

    if (wanted && wanted[0] == '/') {
        *ret = strdup(wanted);
        return *ret ? 0 : -ENOMEM;
    }
    path = fl_path_join(ctx->downloads, wanted ? wanted : "");
    if (!path)
        return -ENOMEM;
    *ret = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? FL_TAKE(path) : NULL;
    return 0;
}

struct env {
    char *v[ENV_MAX + 1];
    size_t n;
    char *owned[ENV_MAX];
    size_t n_owned;
};

static void env_done(struct env **e)
{
    for (size_t i = 0; *e && i < (*e)->n_owned; i++)
        free((*e)->owned[i]);
    free(*e);
}

/* Sets a variable; a later one replaces an earlier one of the same name. */
static int env_put(struct env *e, char *entry)
{
    size_t name = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < e->n; i++)
        if (strncmp(e->v[i], entry, name) == 0) {
            e->v[i] = entry;
            return 0;
        }
    if (e->n == ENV_MAX)
        return -E2BIG;
    e->v[e->n++] = entry;
    return 0;
}

static int env_set(struct env *e, const char *name, const char *value)
{
    char *entry = NULL;

    if (!value)
        return 0;
    if (e->n_owned == ENV_MAX)
        return -E2BIG;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        return -ENOMEM;
    e->owned[e->n_owned++] = entry;
    return env_put(e, entry);
}

/* The official agent's runner of PowerShell has no terminal and no home. */
static int leave_terminal(struct env *e)
{
    for (size_t i = 0; i < e->n; i++)
        if (strstr(e->v[i], "TERM")) {
            memmove(&e->v[i], &e->v[i + 1], (e->n - i) * sizeof(e->v[0]));
            e->n--;
            break;
        }
    return env_set(e, "HOME", "/");
}

/* The agent's own environment, parameters, the step's, then ours: the last one of a name wins. */
static int build_env(const struct fl_script_kind *kind, const struct fl_step_context *ctx,
                     const struct fl_strmap *own, struct env *e)
{
    const struct fl_strmap *const documents[] = { ctx->env, own };
    const struct {
        const char *name, *value;
    } ours[] = {
        { "SSM_COMMAND_ID", ctx->command_id },
        { "AWS_PROFILE", ctx->aws_profile },
        { "AWS_SHARED_CREDENTIALS_FILE", ctx->aws_credentials_file },
        { "AWS_SSM_INSTANCE_ID", ctx->node_id },
        { "AWS_SSM_REGION_NAME", ctx->region },
        { "AWS_SSM_PLATFORM_NAME", ctx->platform_name },
        { "AWS_SSM_PLATFORM_VERSION", ctx->platform_version },
    };
    int r = 0;

    for (char **v = environ; *v && r == 0; v++)
        r = env_put(e, *v);
    for (size_t m = 0; m < FL_ARRAY_LEN(documents); m++)
        for (size_t i = 0; documents[m] && i < documents[m]->n && r == 0; i++)
            r = env_set(e, documents[m]->v[i].key, documents[m]->v[i].value);
    for (size_t i = 0; i < FL_ARRAY_LEN(ours) && r == 0; i++)
        r = env_set(e, ours[i].name, ours[i].value);
    if (r == 0 && kind->no_terminal)
        r = leave_terminal(e);
    return r;
}

/* ---- running ---- */

static void close_stream(struct stream *s)
{
    s->io = fl_io_free(s->io);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void maybe_done(struct fl_step *step)
{
    struct script *self = fl_step_state(step);
    struct fl_exit e;

    if (!self->exited || self->streams[0].fd >= 0 || self->streams[1].fd >= 0)
        return;
    fl_exit_map(self->wait_status, fl_step_ending(step), &e);
    fl_step_puts(step, FL_STEP_STDERR, e.text);
    fl_step_done(step, e.status, e.code);
}

/* Reads what is there, up to `reads` chunks. False once the pipe is closed by every writer. */
static bool drain(struct stream *s, int reads)
{
    char chunk[READ_BYTES];

    while (reads-- > 0) {
        ssize_t n = read(s->fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        fl_step_write(s->step, s->which, chunk, (size_t)n);
    }
    return true;
}

static void on_output(void *arg, unsigned events)
{
    struct stream *s = arg;
    struct fl_step *step = s->step;

    if (drain(s, READS_PER_WAKEUP))
        return;
    close_stream(s);
    maybe_done(step);
}

/* A killed step ends with what it had written; a process that left the group may hold the pipes
 * open for ever. */
static void cut_output(struct script *self)
{
    for (size_t i = 0; i < 2; i++)
        if (self->streams[i].fd >= 0) {
            drain(&self->streams[i], READS_PER_WAKEUP);
            close_stream(&self->streams[i]);
        }
}

static void on_exit_status(void *arg, int status)
{
    struct fl_step *step = arg;
    struct script *self = fl_step_state(step);

    self->exited = true;
    self->wait_status = status;
    if (fl_step_ending(step) != FL_STEP_NOT_ENDING)
        cut_output(self);
    maybe_done(step);
}

static void on_grace(void *arg)
{
    struct fl_step *step = arg;
    struct script *self = fl_step_state(step);

    if (!self->exited) {
        self->exited = true;
        self->wait_status = SIGKILL;
    }
    cut_output(self);
    maybe_done(step);
}

static int open_stream(struct fl_step *step, enum fl_step_stream which, int *ret_write_fd)
{
    struct script *self = fl_step_state(step);
    struct stream *s = &self->streams[which];
    int fds[2];

    *s = (struct stream){ .step = step, .which = which, .fd = -1 };
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    s->fd = fds[0];
    *ret_write_fd = fds[1];
    if (fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    s->io = fl_io_new(fl_step_loop(step), s->fd, on_output, s);
    return s->io ? fl_io_set(s->io, FL_IO_READ) : -ENOMEM;
}

static int spawn(struct fl_step *step, const struct fl_script_kind *kind, const char *script,
                 const char *cwd, char *const *envp, struct fl_err *err)
{
    struct script *self = fl_step_state(step);
    fl_autofree char *word = kind->shell_word ? shell_word(script) : strdup(script);
    fl_autofd int out = -1;
    fl_autofd int errors = -1;
    char program[256], text[512];
    int r;

    find_program(kind, program, sizeof(program));
    r = word ? open_stream(step, FL_STEP_STDOUT, &out) : -ENOMEM;
    if (r == 0)
        r = open_stream(step, FL_STEP_STDERR, &errors);
    if (r == 0) {
        const struct fl_child_fd fds[] = { { 1, out }, { 2, errors } };
        char *const argv[] = { kind->argv0 ? (char *)kind->argv0 : program, (char *)kind->option,
                               word, NULL };
        const struct fl_child_spec spec = {
            .path = program,
            .argv = argv,
            .envp = envp,
            .cwd = cwd,
            .fds = fds,
            .n_fds = FL_ARRAY_LEN(fds),
            .new_group = true,
            .die_with_parent = true,
        };

        r = fl_child_spawn(fl_step_loop(step), &spec, on_exit_status, step, &self->child, NULL);
    }
    if (r < 0) {
        fl_exit_spawn_error(program, -r, text, sizeof(text));
        return fl_err_set(err, r, NULL, "%s", text);
    }
    fl_step_note_group(step, fl_child_pid(self->child));
    return 0;
}

int fl_script_start(struct fl_step *step, const struct fl_script_kind *kind, const void *input,
                    struct fl_err *err)
{
    const struct script_in *in = input;
    const struct fl_step_context *ctx = fl_step_context(step);
    struct script *self = fl_step_state(step);
    struct env *env FL_CLEANUP(env_done) = calloc(1, sizeof(*env));
    fl_autofree char *script = fl_path_join(ctx->dir, kind->file_name);
    fl_autofree char *cwd = NULL;
    int r;

    self->streams[0].fd = self->streams[1].fd = -1;
    r = env && script ? build_env(kind, ctx, &in->environment, env) : -ENOMEM;
    if (r == 0)
        r = choose_cwd(ctx, in->working_directory, &cwd);
    if (r < 0)
        return fl_err_set(err, r, NULL, "failed to run commands: %s", strerror(-r));
    r = write_script(kind, script, &in->lines, err);
    if (r == 0)
        r = spawn(step, kind, script, cwd, env->v, err);
    if (r == 0)
        fl_step_set_timeout(step, (uint64_t)fl_script_timeout(in->timeout.text) * 1000);
    return r;
}

void fl_script_cancel(struct fl_step *step)
{
    struct script *self = fl_step_state(step);

    if (self->exited) {
        /* Only the pipes kept it going: the group is what is left of it. */
        fl_step_kill_group(step);
        self->wait_status = SIGKILL;
    } else {
        fl_child_kill(self->child, SIGKILL);
    }
    self->grace = fl_timer_new(fl_step_loop(step), on_grace, step);
    if (self->grace)
        fl_timer_start(self->grace, self->exited ? 0 : KILL_GRACE_MS);
}

void fl_script_release(struct fl_step *step)
{
    struct script *self = fl_step_state(step);

    close_stream(&self->streams[0]);
    close_stream(&self->streams[1]);
    self->grace = fl_timer_free(self->grace);
    self->child = fl_child_free(self->child);
}
