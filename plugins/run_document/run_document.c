/* run_document.c - see run_document.h. */
#include "plugins/run_document/run_document.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "common/codec/json_load.h"
#include "common/doc/yaml.h"
#include "plugins/document_ref.h"
#include "plugins/nested.h"

#define MEMORY_MAX_BYTES   (8u << 20)
#define DOCUMENT_MAX_BYTES (1u << 20)
#define PREPARING          "There was an error while preparing documents - "
#define NOOP               "AWS-Noop"
#define LOAD_FLAGS         (JSON_DECODE_ANY | JSON_ALLOW_NUL)

struct in {
    char *type, *path;
    struct fl_raw parameters; /* object, or JSON or YAML text */
};
static const struct fl_field in_fields[] = {
    FL_FIELD(struct in, type, "documentType", 0),
    FL_FIELD(struct in, path, "documentPath", 0),
    FL_FIELD(struct in, parameters, "documentParameters", 0),
};
static const struct fl_shape in_shape = FL_SHAPE(struct in, "RunDocumentPluginInput", in_fields);

struct run_document {
    struct fl_step *step;
    struct fl_arena arena;
    char *parameters; /* JSON text or NULL */
    char *name;       /* of the document, as the service was asked for it; NULL: a file */
};

/* Text as a JSON value: JSON, else YAML 1.1 (the caller's); NULL if it is neither. */
static json_t *read_text(const char *text, struct fl_err *err)
{
    json_t *value = fl_json_load_text(text, LOAD_FLAGS, NULL);

    if (!value && fl_yaml_load(text, strlen(text), &value, err) < 0)
        return NULL;
    return value;
}

/* As JSON text; in the arena. */
static char *dump(struct run_document *self, const json_t *value)
{
    fl_autofree char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    return fl_arena_strdup(&self->arena, text);
}

static int read_parameters(struct run_document *self, const char *raw, struct fl_err *err)
{
    fl_autojson json_t *given = fl_json_load_text(raw, LOAD_FLAGS, NULL);
    fl_autojson json_t *read = NULL;
    const json_t *value = given;

    if (json_is_string(given)) {
        if (json_string_length(given) == 0)
            return 0;
        read = read_text(json_string_value(given), err);
        value = read;
    }
    if (!value || json_is_null(value))
        return raw && json_is_string(given) && !read ? -EINVAL : 0;
    if (!json_is_object(value))
        return fl_err_set(err, -EINVAL, NULL, "documentParameters are not an object");
    self->parameters = dump(self, value);
    return self->parameters ? 0 : fl_err_nomem(err);
}

static void fail(struct run_document *self, const char *head, const char *text)
{
    fl_step_puts(self->step, FL_STEP_STDERR, head);
    fl_step_puts(self->step, FL_STEP_STDERR, text);
    fl_step_done(self->step, FL_STATUS_FAILED, 1);
}

static void on_nested(void *arg, const struct fl_nested_result *result)
{
    struct run_document *self = arg;

    if (result->error)
        fail(self, PREPARING, result->error);
    else if (result->status == FL_STATUS_CANCELLED &&
             fl_step_ending(self->step) == FL_STEP_TIMING_OUT)
        fl_step_done(self->step, FL_STATUS_TIMED_OUT, 1);
    else
        fl_step_done(self->step, result->status, result->status == FL_STATUS_FAILED);
}

/* Runs the content; a failure has words in `err`. */
static int run(struct run_document *self, const char *content, struct fl_err *err)
{
    fl_autojson json_t *document = NULL;
    struct fl_err why = { 0 };
    char *text;

    if (!*content)
        return fl_err_set(err, -EINVAL, NULL, PREPARING "File is empty!");
    document = read_text(content, &why);
    if (!document)
        return fl_err_set(err, -EINVAL, NULL, PREPARING "%s", fl_err_text(&why));
    text = dump(self, document);
    if (!text)
        return fl_err_nomem(err);
    return fl_step_nest(self->step, self->name ? self->name : "", text, self->parameters, on_nested,
                        self, err);
}

static void on_document(void *arg, const struct fl_step_reply *reply)
{
    const struct fl_get_document_out *out = reply->out;
    struct run_document *self = arg;
    struct fl_err err = { 0 };
    int r = 0;

    if (reply->error)
        r = fl_err_set(&err, reply->error, NULL, PREPARING "%s%s%s", reply->name,
                       *reply->name ? ": " : "", reply->text);
    else
        r = run(self, out->content, &err);
    if (r < 0)
        fail(self, "", fl_err_text(&err));
}

static int start_service(struct run_document *self, const char *path, struct fl_err *err)
{
    struct fl_get_document_in in = { 0 };
    char *bare = NULL;

    if (fl_document_ref_parse(path, &self->arena, &in, &bare) < 0)
        return fl_err_set(err, -EINVAL, NULL, PREPARING "%.200s: not a document's name", path);
    if (strcmp(bare, NOOP) == 0) {
        fl_step_done(self->step, FL_STATUS_SUCCESS, 0);
        return 0;
    }
    self->name = in.name;
    return fl_step_ssm(self->step, "GetDocument", &fl_shape_get_document_in, &in,
                       &fl_shape_get_document_out, on_document, self, NULL, err);
}

/* Nothing that waits, such as a pipe that nobody writes to. */
static int read_regular(const char *path, char **ret_text)
{
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? fl_fd_read_all(fd, DOCUMENT_MAX_BYTES, ret_text, NULL) : -ENOTSUP;
}

static int start_local(struct run_document *self, const char *path, struct fl_err *err)
{
    fl_autofree char *whole =
        path[0] == '/' ? strdup(path) : fl_path_join(fl_step_context(self->step)->downloads, path);
    fl_autofree char *text = NULL;
    int r = whole ? read_regular(whole, &text) : -ENOMEM;

    if (r == -ENOENT)
        return fl_err_set(err, r, NULL, PREPARING "File is empty!");
    if (r < 0)
        return fl_err_set(err, r, NULL, PREPARING "%.200s: %s", path, strerror(-r));
    return run(self, text, err);
}

static const struct {
    const char *type;
    int (*start)(struct run_document *self, const char *path, struct fl_err *err);
} types[] = {
    { "SSMDocument", start_service },
    { "LocalPath", start_local },
};

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    const struct fl_step_context *ctx = fl_step_context(step);
    struct run_document *self = fl_step_state(step);
    const struct in *in = input;
    size_t i = 0;
    int r;

    self->step = step;
    fl_arena_init(&self->arena, MEMORY_MAX_BYTES);
    if (ctx->has_settings)
        return fl_err_set(err, -EINVAL, NULL,
                          "There was an error obtaining the depth of execution");
    if (ctx->depth + 1 > FL_NESTED_MAX_DEPTH)
        return fl_err_set(
            err, -EINVAL, NULL,
            "Maximum depth for document execution exceeded. Maximum depth permitted - "
            "%d and current depth - %u",
            FL_NESTED_MAX_DEPTH, ctx->depth + 1);
    while (i < FL_ARRAY_LEN(types) && (!in->type || strcmp(in->type, types[i].type) != 0))
        i++;
    if (i == FL_ARRAY_LEN(types))
        return fl_err_set(err, -EINVAL, NULL,
                          "documentType %.100s: neither SSMDocument nor LocalPath",
                          in->type ? in->type : "");
    if (!in->path || !*in->path)
        return fl_err_set(err, -EINVAL, NULL, "documentPath must be given");
    r = read_parameters(self, in->parameters.text, err);
    return r < 0 ? r : types[i].start(self, in->path, err);
}

static void cancel(struct fl_step *step)
{
    bool timed_out = fl_step_ending(step) == FL_STEP_TIMING_OUT;

    if (fl_step_nests(step))
        fl_step_nest_cancel(step);
    else
        fl_step_done(step, timed_out ? FL_STATUS_TIMED_OUT : FL_STATUS_CANCELLED, 1);
}

static void release(struct fl_step *step)
{
    struct run_document *self = fl_step_state(step);

    fl_arena_done(&self->arena);
}

const struct fl_plugin fl_plugin_run_document = {
    .name = "aws:runDocument",
    .summary = "Run another document",
    .input = &in_shape,
    .state_size = sizeof(struct run_document),
    .start = start,
    .cancel = cancel,
    .release = release,
};
