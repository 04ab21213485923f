/* user.c - see user.h.
 *
 * The program runs with the worker's rights, so it must be root's (or of the user whom the agent
 * runs as), and nobody else's to write; the same holds for its folder.
 */
#include "plugins/user/user.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "common/base/file.h"
#include "plugins/environment.h"
#include "plugins/process.h"
#include "plugins/script/script.h"
#include "plugins/user/status_lines.h"

#define DEFAULT_DIR    FL_PREFIX "/lib/fairlead/plugins.d"
#define NAME_CHARS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define NAME_MAX_CHARS 128

struct in {
    struct fl_raw timeout; /* as that of scripts */
};
static const struct fl_field in_fields[] = { FL_FIELD(struct in, timeout, "timeoutSeconds", 0) };
static const struct fl_shape in_shape = FL_SHAPE(struct in, "UserPluginInput", in_fields);

struct user {
    struct fl_process *process;
    struct fl_status_lines lines;
    struct fl_err error; /* in what it said */
};

static const char *folder = DEFAULT_DIR;

void fl_user_plugins_dir(const char *dir)
{
    folder = *dir ? dir : DEFAULT_DIR;
}

/* ---- is it to be trusted ---- */

static int judge(int fd, const char *path, mode_t type, struct fl_err *err)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return fl_err_set(err, -errno, NULL, "fairlead: %s: %s", path, strerror(errno));
    if ((st.st_mode & S_IFMT) != type)
        return fl_err_set(err, -EPERM, NULL, "fairlead: %s is refused: it is not a regular %s",
                          path, type == S_IFDIR ? "folder" : "file");
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return fl_err_set(err, -EPERM, NULL, "fairlead: %s is refused: it belongs to user %u", path,
                          st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return fl_err_set(err, -EPERM, NULL,
                          "fairlead: %s is refused: others than its owner can write to it", path);
    return 0;
}

static int check(const char *name, char **ret_path, struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(folder, name);
    fl_autofd int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fl_autofd int fd = -1;
    int r = path ? judge(dir, folder, S_IFDIR, err) : fl_err_nomem(err);

    if (r == 0) {
        fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        r = judge(fd, path, S_IFREG, err);
    }
    if (r == 0)
        *ret_path = FL_TAKE(path);
    return r;
}

/* ---- running ---- */

static void on_text(void *arg, enum fl_step_stream stream, const char *text)
{
    fl_step_puts(arg, stream, text);
}

static void on_output(void *arg, enum fl_step_stream stream, const void *data, size_t len)
{
    struct fl_step *step = arg;
    struct user *self = fl_step_state(step);

    if (stream == FL_STEP_STDERR)
        fl_step_write(step, stream, data, len);
    else if (!self->error.code &&
             fl_status_lines_feed(&self->lines, data, len, on_text, step, &self->error) < 0)
        fl_process_kill(self->process);
}

static void on_over(void *arg, int wait_status)
{
    struct fl_step *step = arg;
    struct user *self = fl_step_state(step);
    bool ended = fl_step_ending(step) != FL_STEP_NOT_ENDING;

    if (!self->error.code && !ended)
        fl_status_lines_end(&self->lines, on_text, step, &self->error);
    if (self->error.code) {
        fl_step_puts(step, FL_STEP_STDERR, "fairlead: the plugin's output: ");
        fl_step_puts(step, FL_STEP_STDERR, fl_err_text(&self->error));
        fl_step_done(step, FL_STATUS_FAILED, 1);
    } else if (self->lines.has_status && !ended && WIFEXITED(wait_status) &&
               WEXITSTATUS(wait_status) == 0) {
        fl_step_done(step, self->lines.status, self->lines.code);
    } else {
        /* A program that fails has failed, whatever it said before. */
        fl_process_done(step, wait_status);
    }
}

static void free_env(struct fl_env **env)
{
    fl_env_free(*env);
}

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    const struct in *in = input;
    const struct fl_step_context *ctx = fl_step_context(step);
    const char *name = fl_step_plugin(step)->name;
    struct user *self = fl_step_state(step);
    struct fl_env *env FL_CLEANUP(free_env) = fl_env_new(ctx, NULL);
    fl_autofree char *inputs = fl_step_inputs(step);
    fl_autofree char *path = NULL;
    int r;

    fl_status_lines_init(&self->lines);
    if (!env || !inputs || fl_env_set(env, "FAIRLEAD_ACTION", name) < 0)
        return fl_err_nomem(err);
    r = check(name, &path, err);
    if (r == 0)
        r = fl_process_start(step,
                             &(struct fl_process_spec){ .path = path,
                                                        .argv = (char *const[]){ path, NULL },
                                                        .envp = fl_env_list(env),
                                                        .cwd = ctx->dir,
                                                        .input = inputs,
                                                        .input_len = strlen(inputs),
                                                        .output = on_output,
                                                        .over = on_over,
                                                        .arg = step },
                             &self->process, err);
    if (r == 0)
        fl_step_set_timeout(step, (uint64_t)fl_script_timeout(in->timeout.text) * 1000);
    return r;
}

static void cancel(struct fl_step *step)
{
    struct user *self = fl_step_state(step);

    fl_process_kill(self->process);
}

static void release(struct fl_step *step)
{
    struct user *self = fl_step_state(step);

    self->process = fl_process_free(self->process);
    fl_status_lines_done(&self->lines);
}

/* ---- finding ---- */

struct found {
    SLIST_ENTRY(found) entry;
    struct fl_plugin plugin;
    char name[];
};
static SLIST_HEAD(, found) all = SLIST_HEAD_INITIALIZER(all);

static bool name_valid(const char *name)
{
    size_t vendor = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    size_t len = strlen(name);

    return vendor > 0 && name[vendor] == ':' && len > vendor + 1 && len <= NAME_MAX_CHARS &&
           strspn(name + vendor + 1, NAME_CHARS) == len - vendor - 1 &&
           strncmp(name, "aws:", 4) != 0;
}

const struct fl_plugin *fl_user_plugin_find(const char *name)
{
    fl_autofree char *path = name_valid(name) ? fl_path_join(folder, name) : NULL;
    struct found *f;
    struct stat st;

    if (!path || lstat(path, &st) < 0)
        return NULL;
    SLIST_FOREACH(f, &all, entry)
    if (strcmp(f->name, name) == 0)
        return &f->plugin;
    f = calloc(1, sizeof(*f) + strlen(name) + 1);
    if (!f)
        return NULL;
    strcpy(f->name, name);
    f->plugin = (struct fl_plugin){
        .name = f->name,
        .summary = "A program of this node",
        .input = &in_shape,
        .state_size = sizeof(struct user),
        .start = start,
        .cancel = cancel,
        .release = release,
    };
    SLIST_INSERT_HEAD(&all, f, entry);
    return &f->plugin;
}
