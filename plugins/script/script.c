/* script.c - see script.h. */
#include "plugins/script/script.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/buf.h"
#include "common/base/file.h"
#include "plugins/environment.h"
#include "plugins/process.h"

#define TIMEOUT_DEFAULT_S 3600
#define TIMEOUT_MIN_S     5
#define TIMEOUT_MAX_S     172800
#define SCRIPT_MAX_BYTES  (8u << 20)

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
    struct fl_process *process;
};

int64_t fl_script_timeout(const char *json_text)
{
    const char *s = json_text ? json_text : "";
    bool quoted = s[0] == '"';
    char *end;
    double d;

    s += quoted;
    d = strtod(s, &end);
    /* The text is JSON: what follows a number is its end or the closing quote. Blanks before it and
     * hexadecimal digits are strtod's own. */
    if (end == s || strspn(s, "+-.0123456789eE") < (size_t)(end - s) ||
        strcmp(end, quoted ? "\"" : "") != 0 || !isfinite(d))
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

/* The official agent's runner of PowerShell has no terminal and no home. */
static struct fl_env *make_env(const struct fl_script_kind *kind, const struct fl_step_context *ctx,
                               const struct fl_strmap *own)
{
    struct fl_env *env = fl_env_new(ctx, own);

    if (!env || !kind->no_terminal)
        return env;
    fl_env_drop(env, "TERM");
    return fl_env_set(env, "HOME", "/") < 0 ? fl_env_free(env) : env;
}

static void on_over(void *arg, int wait_status)
{
    fl_process_done(arg, wait_status);
}

static int spawn(struct fl_step *step, const struct fl_script_kind *kind, const char *script,
                 const char *cwd, const struct fl_env *env, struct fl_err *err)
{
    struct script *self = fl_step_state(step);
    fl_autofree char *word = kind->shell_word ? shell_word(script) : strdup(script);
    char program[256];
    char *const argv[] = { kind->argv0 ? (char *)kind->argv0 : program, (char *)kind->option, word,
                           NULL };

    if (!word)
        return fl_err_set(err, -ENOMEM, NULL, "failed to run commands: out of memory");
    fl_env_find_program(kind->programs, kind->otherwise, program, sizeof(program));
    return fl_process_start(step,
                            &(struct fl_process_spec){ .path = program,
                                                       .argv = argv,
                                                       .envp = fl_env_list(env),
                                                       .cwd = cwd,
                                                       .over = on_over,
                                                       .arg = step },
                            &self->process, err);
}

static void free_env(struct fl_env **env)
{
    fl_env_free(*env);
}

int fl_script_start(struct fl_step *step, const struct fl_script_kind *kind, const void *input,
                    struct fl_err *err)
{
    const struct script_in *in = input;
    const struct fl_step_context *ctx = fl_step_context(step);
    struct fl_env *env FL_CLEANUP(free_env) = make_env(kind, ctx, &in->environment);
    fl_autofree char *script = fl_path_join(ctx->dir, kind->file_name);
    fl_autofree char *cwd = NULL;
    int r = env && script ? choose_cwd(ctx, in->working_directory, &cwd) : -ENOMEM;

    if (r < 0)
        return fl_err_set(err, r, NULL, "failed to run commands: %s", strerror(-r));
    r = write_script(kind, script, &in->lines, err);
    if (r == 0)
        r = spawn(step, kind, script, cwd, env, err);
    if (r == 0)
        fl_step_set_timeout(step, (uint64_t)fl_script_timeout(in->timeout.text) * 1000);
    return r;
}

void fl_script_cancel(struct fl_step *step)
{
    struct script *self = fl_step_state(step);

    fl_process_kill(self->process);
}

void fl_script_release(struct fl_step *step)
{
    struct script *self = fl_step_state(step);

    self->process = fl_process_free(self->process);
}
