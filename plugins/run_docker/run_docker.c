/* run_docker.c - see run_docker.h.
 *
 * An action is a row of words for the docker client. No shell is in between, and no value can be
 * taken for an option: those that stand alone begin with a letter or digit.
 */
#include "plugins/run_docker/run_docker.h"
#include <errno.h>
#include <string.h>
#include "plugins/environment.h"
#include "plugins/process.h"
#include "plugins/script/script.h"

#define MAX_ARGS 256

struct in {
    char *action, *container, *image, *cmd, *memory, *env, *user, *publish, *directory;
    struct fl_raw cpu_shares, timeout; /* string or number */
    struct fl_strs volumes;
    char *cpu_text; /* of cpu_shares */
};
#define F(member, key) FL_FIELD(struct in, member, key, 0)
static const struct fl_field in_fields[] = {
    F(action, "action"),
    F(container, "container"),
    F(image, "image"),
    F(cmd, "cmd"),
    F(memory, "memory"),
    F(cpu_shares, "cpuShares"),
    F(volumes, "volume"),
    F(env, "env"),
    F(user, "user"),
    F(publish, "publish"),
    F(directory, "workingDirectory"),
    F(timeout, "timeoutSeconds"),
};
#undef F
static const struct fl_shape in_shape =
    FL_SHAPE(struct in, "DockerContainerPluginInput", in_fields);

struct docker {
    struct fl_process *process;
    char *cpu_text;
};

/* ---- parameters ---- */
#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WORD    LETTERS DIGITS
#define SHELL   ";,&|" /* refused by the official agent, though no shell would see them */

static const struct parameter {
    const char *name;
    size_t offset;
    const char *first; /* characters it may begin with; NULL: any */
    const char *rest;  /* and go on with; NULL: any but `not` */
    const char * not ;
} parameters[] = {
#define P(member) offsetof(struct in, member)
    { "container", P(container), WORD, WORD "_.-", NULL },
    { "image", P(image), WORD, WORD "_./:@-", NULL },
    { "cmd", P(cmd), NULL, NULL, SHELL },
    { "memory", P(memory), DIGITS, DIGITS "bkmgBKMG", NULL },
    { "cpuShares", P(cpu_text), DIGITS, DIGITS, NULL },
    { "env", P(env), NULL, NULL, SHELL },
    { "user", P(user), WORD "_", WORD "_.:-", NULL },
    { "publish", P(publish), WORD "[:", WORD ".:/[]-", NULL },
#undef P
};

static const char *value_of(const struct in *in, const struct parameter *p)
{
    const char *v = *(char *const *)(const void *)((const char *)in + p->offset);

    return v ? v : "";
}

static bool value_valid(const struct parameter *p, const char *v)
{
    if (!*v)
        return true;
    if (p->first && !strchr(p->first, *v))
        return false;
    return p->rest ? v[strspn(v, p->rest)] == '\0' : v[strcspn(v, p->not )] == '\0';
}

static int check(const struct in *in, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(parameters); i++)
        if (!value_valid(&parameters[i], value_of(in, &parameters[i])))
            return fl_err_set(err, -EINVAL, NULL, "Validation error, invalid value for %s",
                              parameters[i].name);
    for (size_t i = 0; i < in->volumes.n; i++)
        if (!*in->volumes.v[i] || in->volumes.v[i][strcspn(in->volumes.v[i], SHELL)])
            return fl_err_set(err, -EINVAL, NULL, "Validation error, invalid value for volume");
    return 0;
}

/* ---- actions ---- */

/* What becomes of a word: itself, or by its first sign
 *   !name  that parameter, which must be given
 *   ?name  that parameter, if it is given
 *   --opt=name  the option and the parameter as two words, if it is given
 *   *      --volume and each of them */
#define CREATED                                                                                \
    "*", "--name=container", "--memory=memory", "--cpu-shares=cpuShares", "--publish=publish", \
        "--env=env", "--user=user", "!image", "?cmd"
static const struct {
    const char *name;
    const char *words[14];
} actions[] = {
    { "Create", { "create", CREATED } },
    { "Exec", { "exec", "--user=user", "!container", "!cmd" } },
    { "Images", { "images" } },
    { "Inspect", { "inspect", "?container", "?image" } },
    { "Logs", { "logs", "!container" } },
    { "Ps", { "ps", "--all" } },
    { "Pull", { "pull", "!image" } },
    { "Rm", { "rm", "!container" } },
    { "Rmi", { "rmi", "!image" } },
    { "Run", { "run", "-d", CREATED } },
    { "Start", { "start", "!container" } },
    { "Stats", { "stats", "--no-stream", "?container" } },
    { "Stop", { "stop", "!container" } },
};

struct words {
    const char *v[MAX_ARGS + 1];
    char options[16][32];
    size_t n, n_options;
};

static int put(struct words *w, const char *word, struct fl_err *err)
{
    if (w->n == MAX_ARGS)
        return fl_err_set(err, -E2BIG, NULL, "Validation error, more than %d arguments", MAX_ARGS);
    w->v[w->n++] = word;
    return 0;
}

static int put_volumes(struct words *w, const struct in *in, struct fl_err *err)
{
    int r = 0;

    for (size_t i = 0; i < in->volumes.n && r == 0; i++) {
        r = put(w, "--volume", err);
        if (r == 0)
            r = put(w, in->volumes.v[i], err);
    }
    return r;
}

static int put_word(struct words *w, const struct in *in, const char *word, struct fl_err *err)
{
    const char *equals = strchr(word, '=');
    const char *name = equals ? equals + 1 : word + 1;
    const char *value = NULL;
    char *option;

    if (*word == '*')
        return put_volumes(w, in, err);
    for (size_t i = 0; i < FL_ARRAY_LEN(parameters); i++)
        if (strcmp(parameters[i].name, name) == 0)
            value = value_of(in, &parameters[i]);
    if (!value || (*word != '!' && *word != '?' && !equals))
        return put(w, word, err);
    if (!*value)
        return *word == '!' ? fl_err_set(err, -EINVAL, NULL, "Action %s requires parameter %s",
                                         in->action, name)
                            : 0;
    if (equals) {
        option = w->options[w->n_options++];
        memcpy(option, word, (size_t)(equals - word));
        if (put(w, option, err) < 0)
            return err->code;
    }
    return put(w, value, err);
}

static int make_words(struct words *w, const struct in *in, struct fl_err *err)
{
    const char *wanted = in->action ? in->action : "";
    int r = put(w, "docker", err);

    for (size_t i = 0; i < FL_ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, wanted) != 0)
            continue;
        for (const char *const *word = actions[i].words; *word && r == 0; word++)
            r = put_word(w, in, *word, err);
        return r;
    }
    return fl_err_set(err, -EINVAL, NULL, "Docker Action is set to unsupported value: %.40s",
                      wanted);
}

/* ---- the step ---- */

static void on_over(void *arg, int wait_status)
{
    fl_process_done(arg, wait_status);
}

/* A number, or a string of one. */
static char *scalar_text(const char *json)
{
    size_t len = json ? strlen(json) : 0;

    if (len >= 2 && json[0] == '"')
        return strndup(json + 1, len - 2);
    return strdup(json ? json : "");
}

static void free_env(struct fl_env **env)
{
    fl_env_free(*env);
}

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    static const char *const programs[] = { "docker", NULL };
    struct docker *self = fl_step_state(step);
    struct fl_env *env FL_CLEANUP(free_env) = fl_env_new(fl_step_context(step), NULL);
    struct in in = *(const struct in *)input;
    struct words words = { 0 };
    char program[256];
    int r;

    self->cpu_text = scalar_text(in.cpu_shares.text);
    if (!env || !self->cpu_text)
        return fl_err_nomem(err);
    in.cpu_text = self->cpu_text;
    r = check(&in, err);
    if (r == 0)
        r = make_words(&words, &in, err);
    if (r < 0)
        return r;
    fl_env_find_program(programs, "/usr/bin/docker", program, sizeof(program));
    r = fl_process_start(
        step,
        &(struct fl_process_spec){ .path = program,
                                   .argv = (char *const *)(uintptr_t)words.v,
                                   .envp = fl_env_list(env),
                                   .cwd = in.directory && *in.directory ? in.directory : NULL,
                                   .over = on_over,
                                   .arg = step },
        &self->process, err);
    if (r == 0)
        fl_step_set_timeout(step, (uint64_t)fl_script_timeout(in.timeout.text) * 1000);
    return r;
}

static void cancel(struct fl_step *step)
{
    struct docker *self = fl_step_state(step);

    fl_process_kill(self->process);
}

static void release(struct fl_step *step)
{
    struct docker *self = fl_step_state(step);

    self->process = fl_process_free(self->process);
    free(self->cpu_text);
}

const struct fl_plugin fl_plugin_run_docker = {
    .name = "aws:runDockerAction",
    .summary = "Run the docker client on the node",
    .input = &in_shape,
    .state_size = sizeof(struct docker),
    .start = start,
    .cancel = cancel,
    .release = release,
};
