/* configure_package.c - see configure_package.h: inputs, the document, and one script after
 * another.
 */
#include "plugins/configure_package/configure_package.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include "common/base/file.h"
#include "plugins/configure_package/manifest.h"
#include "plugins/configure_package/obtain.h"
#include "plugins/configure_package/plan.h"
#include "plugins/configure_package/store.h"
#include "plugins/document_ref.h"
#include "plugins/environment.h"
#include "plugins/exit.h"
#include "plugins/process.h"

#define MEMORY_MAX_BYTES  (8u << 20)
#define SCRIPT_TIMEOUT_MS (3600 * 1000)
#define RETRIES_MAX       3 /* of a stage that was interrupted, before it counts as failed */

/* ---- inputs ---- */
struct in {
    char *name, *action, *version, *type, *source, *repository;
    struct fl_raw arguments; /* object, or its text */
};
#define F(member, key) FL_FIELD(struct in, member, key, 0)
static const struct fl_field in_fields[] = {
    F(name, "name"),
    F(action, "action"),
    F(version, "version"),
    F(type, "installationType"),
    F(source, "source"),
    F(repository, "repository"),
    F(arguments, "additionalArguments"),
};
#undef F
static const struct fl_shape in_shape =
    FL_SHAPE(struct in, "ConfigurePackagePluginInput", in_fields);

struct arguments {
    struct fl_strmap v;
};
static const struct fl_field arguments_fields[] = { FL_FIELD(struct arguments, v, "v", 0) };
static const struct fl_shape arguments_shape =
    FL_SHAPE(struct arguments, "additionalArguments", arguments_fields);

/* ---- the document ---- */
struct get_in {
    char *name, *version, *version_name;
};
#define F(member, key, flags) FL_FIELD(struct get_in, member, key, flags)
static const struct fl_field get_in_fields[] = {
    F(name, "Name", FL_REQUIRED),
    F(version, "DocumentVersion", 0),
    F(version_name, "VersionName", 0),
};
#undef F
static const struct fl_shape get_in_shape = FL_SHAPE(struct get_in, "GetDocument", get_in_fields);

struct attachment {
    char *name, *url;
};
static const struct fl_field attachment_fields[] = {
    FL_FIELD(struct attachment, name, "Name", 0),
    FL_FIELD(struct attachment, url, "Url", 0),
};
static const struct fl_shape attachment_shape =
    FL_SHAPE(struct attachment, "AttachmentContent", attachment_fields);
struct get_out {
    char *status, *content, *type;
    struct attachment *attachments;
    size_t n_attachments;
};
static const struct fl_field get_out_fields[] = {
    FL_FIELD(struct get_out, status, "Status", 0),
    FL_FIELD(struct get_out, content, "Content", FL_REQUIRED),
    FL_FIELD(struct get_out, type, "DocumentType", 0),
    FL_FIELD_LIST(struct get_out, attachments, n_attachments, "AttachmentsContent", 0,
                  &attachment_shape),
};
static const struct fl_shape get_out_shape =
    FL_SHAPE(struct get_out, "GetDocumentResult", get_out_fields);

/* ---- the run ---- */
struct package {
    struct fl_step *step;
    struct fl_arena arena;
    const struct in *in;
    char *bare; /* the package's name without ARN */
    bool uninstall, in_place;
    struct fl_package_store store;
    struct fl_strmap arguments;
    const struct fl_package_platform *platform;
    struct utsname machine;
    char *version, *manifest; /* wanted */
    enum fl_package_stage stage;
    bool staged; /* files wait in staging/ */
    struct fl_obtain *obtain;
    struct fl_process *process;
};

/* Texts one after another, up to a NULL. */
static void say(struct package *p, enum fl_step_stream stream, ...)
{
    const char *text;
    va_list texts;

    va_start(texts, stream);
    while ((text = va_arg(texts, const char *)))
        fl_step_puts(p->step, stream, text);
    va_end(texts);
}

static void fail(struct package *p, const struct fl_err *err)
{
    fl_step_puts(p->step, FL_STEP_STDERR, fl_err_text(err));
    fl_step_done(p->step, FL_STATUS_FAILED, 1);
}

/* ---- scripts ---- */

static const struct interpreter {
    const char *suffix, *name;
    const char *programs[3];
    const char *otherwise;
} interpreters[] = {
    { ".sh", "sh", { "sh", NULL }, "/bin/sh" },
    { ".ps1", "pwsh", { "powershell", "pwsh", NULL }, "/usr/bin/pwsh" },
};

static const char *arch_of(const struct utsname *machine)
{
    static const struct {
        const char *machine, *arch;
    } archs[] = {
        { "x86_64", "x86_64" }, { "aarch64", "arm64" }, { "i386", "386" },
        { "i486", "386" },      { "i586", "386" },      { "i686", "386" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(archs); i++)
        if (strcmp(machine->machine, archs[i].machine) == 0)
            return archs[i].arch;
    return machine->machine;
}

static struct fl_env *make_env(struct package *p, const char *script)
{
    const struct fl_step_context *ctx = fl_step_context(p->step);
    const struct {
        const char *name, *value;
    } ours[] = {
        { "BWS_ACTION_NAME", script },
        { "BWS_PLATFORM_NAME", p->platform->name },
        { "BWS_PLATFORM_VERSION", ctx->platform_version },
        { "BWS_PLATFORM_FAMILY", p->platform->family },
        { "BWS_ARCHITECTURE", arch_of(&p->machine) },
        { "BWS_INIT_SYSTEM", access("/run/systemd/system", F_OK) == 0 ? "systemd" : "" },
        { "BWS_PACKAGE_MANAGER", p->platform->manager },
        { "BWS_INSTANCE_ID", ctx->node_id },
        { "BWS_INSTANCE_TYPE", "" },
        { "BWS_REGION", ctx->region },
        { "BWS_ACCOUNT_ID", "" },
        { "BWS_AVAILABILITY_ZONE", "" },
    };
    struct fl_env *env = fl_env_new(ctx, &p->arguments);
    int r = env ? 0 : -ENOMEM;

    for (size_t i = 0; i < FL_ARRAY_LEN(ours) && r == 0; i++)
        r = fl_env_set(env, ours[i].name, ours[i].value);
    return r == 0 ? env : fl_env_free(env);
}

/* The interpreter of the one script of that name; NULL if there is none. -EINVAL with two. */
static int find_script(const char *dir, const char *script, const struct interpreter **ret,
                       struct fl_err *err)
{
    *ret = NULL;
    for (size_t i = 0; i < FL_ARRAY_LEN(interpreters); i++) {
        fl_autofree char *path = NULL;
        struct stat st;

        if (asprintf(&path, "%s/%s%s", dir, script, interpreters[i].suffix) < 0)
            return fl_err_nomem(err);
        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (*ret)
            return fl_err_set(err, -EINVAL, NULL,
                              "the package has both %s.sh and %s.ps1, and may have one", script,
                              script);
        *ret = &interpreters[i];
    }
    return 0;
}

static void on_script(void *arg, int wait_status);

static void free_env(struct fl_env **env)
{
    fl_env_free(*env);
}

static int run_script(struct package *p, const struct interpreter *by, const char *dir,
                      const char *script, const char *version, struct fl_err *err)
{
    struct fl_env *env FL_CLEANUP(free_env) = make_env(p, script);
    char program[256], file[32];
    char *const argv[] = { (char *)by->name, file, NULL };

    if (!env)
        return fl_err_nomem(err);
    snprintf(file, sizeof(file), "%s%s", script, by->suffix);
    fl_env_find_program(by->programs, by->otherwise, program, sizeof(program));
    say(p, FL_STEP_STDOUT, "Initiating ", p->bare, " ", version, " ", script, "\n", script,
        " output: Running ", by->name, " ", file, "\n", NULL);
    fl_step_set_timeout(p->step, SCRIPT_TIMEOUT_MS);
    return fl_process_start(p->step,
                            &(struct fl_process_spec){ .path = program,
                                                       .argv = argv,
                                                       .envp = fl_env_list(env),
                                                       .cwd = dir,
                                                       .over = on_script,
                                                       .arg = p },
                            &p->process, err);
}

/* ---- stages ---- */

static void enter(struct package *p, enum fl_package_stage stage);

static const struct ending {
    enum fl_package_state state; /* NONE: it stays */
    bool failed, old;            /* `old`: what is installed now is the old version */
    const char *before, *after;  /* the package's name and version */
} endings[] = {
#define E(stage, ...) [FL_STAGE_##stage - FL_STAGE__SCRIPTS] = { __VA_ARGS__ }
    E(DONE, FL_PACKAGE_INSTALLED, false, false, "Successfully installed ", "\n"),
    E(UNCHANGED, FL_PACKAGE_INSTALLED, false, false, "", " is already installed\n"),
    E(ABSENT, FL_PACKAGE_NONE, false, false, "", " is not installed\n"),
    E(GONE, FL_PACKAGE_UNINSTALLED, false, false, "Successfully uninstalled ", "\n"),
    E(FAILED, FL_PACKAGE_FAILED, true, false, "Failed to configure ", "\n"),
    E(RESTORED, FL_PACKAGE_INSTALLED, true, true, "Rolled back to ", "\n"),
#undef E
};

static void end(struct package *p, const struct ending *e)
{
    char *gone = p->store.last_version;
    struct fl_err err = { 0 };
    const char *version;
    int r = 0;

    if (e->old) {
        gone = p->store.version;
        p->store.version = p->store.last_version;
    } else if (e->state == FL_PACKAGE_UNINSTALLED) {
        gone = p->store.version;
    }
    if (e->state != FL_PACKAGE_NONE) {
        p->store.state = e->state;
        p->store.rebooting = false;
        p->store.last_version = (char *)"";
        p->store.retries = 0;
        r = fl_package_store_save(&p->store, p->bare, &err);
    }
    /* The files that nothing needs any more; what cannot be removed is in nobody's way. */
    if (r == 0 && e->state != FL_PACKAGE_NONE && e->state != FL_PACKAGE_FAILED && *gone &&
        (strcmp(gone, p->store.version) != 0 || e->state == FL_PACKAGE_UNINSTALLED))
        fl_package_store_remove(&p->store, gone, NULL);
    if (r < 0) {
        fail(p, &err);
        return;
    }
    version = e->state == FL_PACKAGE_NONE ? p->version : p->store.version;
    say(p, e->failed ? FL_STEP_STDERR : FL_STEP_STDOUT, e->before, p->bare, *version ? " " : "",
        version, e->after, NULL);
    fl_step_done(p->step, e->failed ? FL_STATUS_FAILED : FL_STATUS_SUCCESS, e->failed);
}

static void on_script(void *arg, int wait_status)
{
    struct package *p = arg;
    const struct fl_package_step *s = fl_package_step(p->stage);
    struct fl_exit e;

    fl_exit_map(wait_status, fl_step_ending(p->step), &e);
    fl_step_puts(p->step, FL_STEP_STDERR, e.text);
    p->process = fl_process_free(p->process);
    if (e.status == FL_STATUS_SUCCESS) {
        enter(p, s->good);
    } else if (e.status == FL_STATUS_SUCCESS_AND_REBOOT) {
        /* The state names the stage, which begins again after it. */
        p->store.rebooting = true;
        fl_package_store_save(&p->store, p->bare, NULL);
        fl_step_done(p->step, e.status, e.code);
    } else if (fl_step_ending(p->step) != FL_STEP_NOT_ENDING) {
        p->store.state = FL_PACKAGE_FAILED;
        fl_package_store_save(&p->store, p->bare, NULL);
        fl_step_done(p->step, e.status, e.code);
    } else {
        say(p, FL_STEP_STDERR, "\nFailed to ", s->script, " package; ", s->script, " status ",
            fl_status_name(e.status), "\n", NULL);
        enter(p, s->bad);
    }
}

/* New files take their place as late as they can when the old ones bear the same version. */
static int place_files(struct package *p, bool of_old, struct fl_err *err)
{
    if (!p->staged || (of_old && strcmp(p->store.last_version, p->store.version) == 0))
        return 0;
    p->staged = false;
    return fl_package_store_commit(&p->store, p->version, p->manifest, err);
}

static int begin_stage(struct package *p, const struct fl_package_step *s, struct fl_err *err)
{
    const char *version = s->of_old ? p->store.last_version : p->store.version;
    char *dir = fl_package_store_files(&p->store, version);
    const struct interpreter *by = NULL;
    int r = dir ? place_files(p, s->of_old, err) : fl_err_nomem(err);

    if (r == 0 && s->state != FL_PACKAGE_NONE) {
        p->store.retries = p->store.state == s->state ? p->store.retries + 1 : 0;
        p->store.state = s->state;
        p->store.rebooting = false;
        r = p->store.retries > RETRIES_MAX
                ? fl_err_set(err, -ELOOP, NULL, "%s was begun %d times and never ended", s->script,
                             RETRIES_MAX + 1)
                : fl_package_store_save(&p->store, p->bare, err);
    }
    if (r == 0)
        r = find_script(dir, s->script, &by, err);
    if (r == 0 && !by && s->must_exist)
        return fl_err_set(err, -ENOENT, NULL, "the package has no %s script", s->script);
    if (r < 0 || !by)
        return r;
    r = run_script(p, by, dir, s->script, version, err);
    return r < 0 ? r : 1;
}

static void enter(struct package *p, enum fl_package_stage stage)
{
    /* A stage without a script leads on at once; no way through the stages comes back to one. */
    while (stage < FL_STAGE__SCRIPTS) {
        const struct fl_package_step *s = fl_package_step(stage);
        struct fl_err err = { 0 };
        int r;

        p->stage = stage;
        if (stage == FL_STAGE_CLEAN && !*p->store.last_version)
            p->store.last_version = p->store.version;
        r = begin_stage(p, s, &err);
        if (r == 1)
            return;
        if (r < 0) {
            say(p, FL_STEP_STDERR, fl_err_text(&err), "\n", NULL);
        }
        stage = r < 0 ? s->bad : s->good;
    }
    end(p, &endings[stage - FL_STAGE__SCRIPTS]);
}

/* What the state file shall say from now on: the new version, and which one was there before. */
static void begin(struct package *p)
{
    if (!p->uninstall && strcmp(p->store.version, p->version) != 0) {
        p->store.last_version = p->store.version;
        p->store.version = p->version;
    }
    enter(p, p->stage);
}

static void choose_stage(struct package *p, bool whole)
{
    const struct fl_package_facts facts = {
        .uninstall = p->uninstall,
        .in_place = p->in_place,
        .state = p->store.state,
        .same_version = !*p->version || strcmp(p->store.version, p->version) == 0,
        .whole = whole,
        .rebooted = p->store.rebooting,
        .has_old = *p->store.last_version && strcmp(p->store.last_version, p->store.version) != 0,
    };

    p->stage = fl_package_begin(&facts);
}

/* ---- from the document to the files ---- */

static void on_obtained(void *arg, const struct fl_err *err)
{
    struct package *p = arg;

    if (err) {
        say(p, FL_STEP_STDERR, "failed to download installation package reliably: ", NULL);
        fail(p, err);
        return;
    }
    p->staged = true;
    p->obtain = fl_obtain_free(p->obtain);
    begin(p);
}

static const char *url_of(const struct get_out *doc, const struct fl_package_choice *choice)
{
    for (size_t i = 0; i < doc->n_attachments; i++)
        if (doc->attachments[i].name && strcmp(doc->attachments[i].name, choice->file) == 0)
            return doc->attachments[i].url;
    return choice->location;
}

static int take_document(struct package *p, const struct get_out *doc, struct fl_err *err)
{
    const struct fl_package_node node = {
        .platform = p->platform->name,
        .version = fl_step_context(p->step)->platform_version
                       ? fl_step_context(p->step)->platform_version
                       : "",
        .arch = arch_of(&p->machine),
    };
    struct fl_package_choice choice = { 0 };
    const char *url;
    int r;

    if (doc->status && strcmp(doc->status, "Active") != 0)
        return fl_err_set(err, -EAGAIN, NULL, "the document's status is %.40s, not Active",
                          doc->status);
    if (doc->type && strcmp(doc->type, "Package") != 0)
        return fl_err_set(err, -EINVAL, NULL, "it is a document of type %.40s, not a package",
                          doc->type);
    r = fl_package_choose(doc->content, &node, &p->arena, &choice, err);
    if (r < 0)
        return r;
    p->version = choice.version;
    p->manifest = fl_arena_strdup(&p->arena, doc->content);
    url = url_of(doc, &choice);
    if (!p->manifest)
        return fl_err_nomem(err);
    if (fl_package_store_has(&p->store, p->version, p->manifest)) {
        choose_stage(p, true);
        begin(p);
        return 0;
    }
    choose_stage(p, false);
    if (!url || !*url)
        return fl_err_set(err, -ENOENT, NULL, "the document has no attachment %.200s", choice.file);
    return fl_obtain_new(
        p->step,
        &(struct fl_obtain_source){
            .url = url, .sha256 = choice.sha256, .staging = fl_package_store_staging(&p->store) },
        on_obtained, p, &p->obtain, err);
}

static void on_document(void *arg, const struct fl_step_reply *reply)
{
    struct package *p = arg;
    struct fl_err err = { 0 }, why = { 0 };
    int r = reply->error;

    if (r)
        fl_err_set(&why, r, NULL, "%s%s%s", reply->name, *reply->name ? ": " : "", reply->text);
    else
        r = take_document(p, reply->out, &why);
    if (r < 0) {
        fl_err_set(&err, r, NULL, "package %.128s: %s", p->bare, fl_err_text(&why));
        fail(p, &err);
    }
}

/* ---- the step ---- */

static int take_arguments(struct package *p, const char *json, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(MEMORY_MAX_BYTES);
    struct arguments in = { 0 };
    struct {
        char *text;
    } inner = { NULL };
    static const struct fl_field inner_fields[] = { { .key = "v", .kind = FL_KIND_STR } };
    static const struct fl_shape inner_shape = { "additionalArguments", sizeof(inner), inner_fields,
                                                 1 };
    if (!json)
        return 0;
    /* The official agent takes the text of an object only, and an object, which is what the CLI
     * sends, for nothing (protocol 4 §5.4). Here both count. */
    if (*json == '{')
        inner.text = (char *)json;
    else if (fl_buf_printf(&text, "{\"v\":%s}", json) < 0 ||
             fl_json_decode(&inner_shape, text.data, text.len, 0, &p->arena, &inner, NULL) < 0)
        return fl_err_set(err, -EINVAL, NULL, "additionalArguments cannot be read");
    if (!inner.text || !*inner.text)
        return 0;
    fl_buf_reset(&text);
    if (fl_buf_printf(&text, "{\"v\":%s}", inner.text) < 0 ||
        fl_json_decode(&arguments_shape, text.data, text.len, 0, &p->arena, &in, NULL) < 0)
        return fl_err_set(err, -EINVAL, NULL, "additionalArguments: not a JSON object of strings");
    for (size_t i = 0; i < in.v.n; i++)
        if (strncmp(in.v.v[i].key, "SSM_", 4) != 0)
            return fl_err_set(err, -EINVAL, NULL,
                              "additionalArguments: %.100s does not begin with SSM_",
                              in.v.v[i].key);
    p->arguments = in.v;
    return 0;
}

/* A word out of a pair; absent is the second. */
static int choose(const char *what, const char *value, const char *yes, const char *no, bool needed,
                  bool *ret, struct fl_err *err)
{
    *ret = value && strcmp(value, yes) == 0;
    if (*ret || (value && strcmp(value, no) == 0) || (!needed && (!value || !*value)))
        return 0;
    return fl_err_set(err, -EINVAL, NULL, "unsupported %s: %.100s", what, value ? value : "");
}

static int take_inputs(struct package *p, const struct in *in, struct fl_get_document_in *ret_ref,
                       struct fl_err *err)
{
    int r = choose("action", in->action, "Uninstall", "Install", true, &p->uninstall, err);

    if (r == 0)
        r = choose("installationType", in->type, "In-place update", "Uninstall and reinstall",
                   false, &p->in_place, err);
    if (r == 0 && (!in->name || !*in->name))
        r = fl_err_set(err, -EINVAL, NULL, "empty name field");
    if (r == 0 && in->source && *in->source)
        r = fl_err_set(err, -EINVAL, NULL, "source parameter is not supported in this version");
    if (r == 0)
        r = take_arguments(p, in->arguments.text, err);
    if (r == 0 && fl_document_ref_parse(in->name, &p->arena, ret_ref, &p->bare) < 0)
        r = fl_err_set(err, -EINVAL, NULL, "name %.200s: not a document's", in->name);
    p->version = in->version && strcmp(in->version, "latest") != 0 ? in->version : (char *)"";
    return r;
}

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    const struct fl_step_context *ctx = fl_step_context(step);
    struct package *p = fl_step_state(step);
    struct fl_get_document_in ref = { 0 };
    struct get_in call;
    int r;

    p->step = step;
    p->in = input;
    p->platform = fl_package_platform(ctx->platform_name);
    fl_arena_init(&p->arena, MEMORY_MAX_BYTES);
    uname(&p->machine);
    r = take_inputs(p, input, &ref, err);
    if (r == 0)
        r = fl_package_store_open(ctx->data, ref.name, &p->arena, &p->store, err);
    if (r < 0)
        return r;
    if (p->uninstall) {
        choose_stage(p, true);
        begin(p);
        return 0;
    }
    call = (struct get_in){ .name = ref.name,
                            .version = *p->version ? NULL : (char *)"$LATEST",
                            .version_name = *p->version ? p->version : NULL };
    return fl_step_ssm(step, "GetDocument", &get_in_shape, &call, &get_out_shape, on_document, p,
                       NULL, err);
}

static void cancel(struct fl_step *step)
{
    struct package *p = fl_step_state(step);
    bool timed_out = fl_step_ending(step) == FL_STEP_TIMING_OUT;

    if (p->process)
        fl_process_kill(p->process);
    else
        fl_step_done(step, timed_out ? FL_STATUS_TIMED_OUT : FL_STATUS_CANCELLED, 1);
}

static void release(struct fl_step *step)
{
    struct package *p = fl_step_state(step);
    char *staging = p->staged ? fl_package_store_staging(&p->store) : NULL;

    p->process = fl_process_free(p->process);
    p->obtain = fl_obtain_free(p->obtain);
    if (staging)
        fl_dir_remove(staging, NULL);
    fl_package_store_close(&p->store);
    fl_arena_done(&p->arena);
}

const struct fl_plugin fl_plugin_configure_package = {
    .name = "aws:configurePackage",
    .summary = "Install or uninstall a package on the node",
    .input = &in_shape,
    .state_size = sizeof(struct package),
    .start = start,
    .cancel = cancel,
    .release = release,
};
