/* doc_validate.c - `fairlead doc validate`: a document checked before it is sent anywhere. */
#include "cli/doc.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "cli/command.h"
#include "cli/input.h"
#include "cli/term.h"
#include "common/doc/check.h"

#define ARENA_BYTES (16 << 20)
#define CONTENT_MAX (1 << 20)

const char *fl_doc_format_of(const char *path, const char *text)
{
    static const struct {
        const char *suffix, *format;
    } suffixes[] = {
        { ".json", "JSON" }, { ".yaml", "YAML" }, { ".yml", "YAML" }, { ".txt", "TEXT" }
    };
    const char *suffix = strrchr(path, '.');

    for (size_t i = 0; suffix && i < FL_ARRAY_LEN(suffixes); i++)
        if (strcasecmp(suffix, suffixes[i].suffix) == 0)
            return suffixes[i].format;
    return text[strspn(text, " \t\r\n")] == '{' ? "JSON" : "YAML";
}

static const struct {
    const char *name;
    enum fl_doc_type rules;
} types[] = {
    { "Command", FL_DOC_COMMAND },       { "Session", FL_DOC_SESSION }, { "Policy", FL_DOC_POLICY },
    { "Automation", FL_DOC_AUTOMATION }, { "Package", FL_DOC_PACKAGE },
};
static const struct {
    const char *name;
    enum fl_doc_format format;
} formats[] = { { "JSON", FL_DOC_JSON }, { "YAML", FL_DOC_YAML } };
static const struct {
    unsigned is;
    const char *name;
} platforms[] = { { FL_DOC_LINUX, "Linux" },
                  { FL_DOC_MACOS, "MacOS" },
                  { FL_DOC_WINDOWS, "Windows" } };

struct validate_options {
    const char *type, *format;
};
static const struct fl_opt validate_options[] = {
    FL_OPT(struct validate_options, type, 0, "type", "Command|Session|Policy|Automation|Package",
           "Command without", FL_COMPLETE_WORDS),
    FL_OPT(struct validate_options, format, 0, "format", "JSON|YAML",
           "by the file's name or its text without", FL_COMPLETE_WORDS),
};

extern const struct fl_command fl_cmd_doc_validate;

struct verdict {
    const char *file, *type, *schema, *error;
    bool valid;
    struct fl_strs platforms;
};
static const struct fl_field verdict_fields[] = {
    FL_FIELD(struct verdict, file, "File", 0),
    FL_FIELD(struct verdict, valid, "Valid", FL_ALWAYS),
    FL_FIELD(struct verdict, type, "DocumentType", 0),
    FL_FIELD(struct verdict, schema, "SchemaVersion", 0),
    FL_FIELD(struct verdict, platforms, "PlatformTypes", 0),
    FL_FIELD(struct verdict, error, "Error", 0),
};
static const struct fl_shape verdict_shape = FL_SHAPE(struct verdict, "verdict", verdict_fields);

static int tell(const struct fl_cli *cli, const struct verdict *v)
{
    fl_autobuf struct fl_buf line = FL_BUF(65536);

    if (cli->json) {
        if (fl_json_encode(&verdict_shape, v, &line) == 0)
            fl_put_json(line.data);
    } else if (v->valid) {
        printf("%s: %s, schema %s", v->file, v->type, v->schema ? v->schema : "-");
        for (size_t i = 0; i < v->platforms.n; i++)
            printf("%s%s", i ? ", " : ", for ", v->platforms.v[i]);
        putchar('\n');
    } else {
        fprintf(stderr, "%s: %s\n", v->file, v->error);
    }
    return v->valid ? FL_EXIT_OK : FL_EXIT_FAILED;
}

static int check_file(struct fl_cli *cli, const char *path, size_t type, const char *format)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autofree char *text = NULL;
    char *names[FL_ARRAY_LEN(platforms)];
    struct verdict v = { .file = path, .type = types[type].name, .platforms = { names, 0 } };
    struct fl_doc_source src = { 0 };
    struct fl_doc_facts facts = { 0 };
    struct fl_err err = { 0 };
    size_t f = 0;
    int r = fl_input_file(path, CONTENT_MAX, &text, &err);

    if (r < 0)
        return fl_cli_fail(&err);
    if (!format)
        format = fl_doc_format_of(path, text);
    while (f < FL_ARRAY_LEN(formats) && strcmp(formats[f].name, format) != 0)
        f++;
    if (f == FL_ARRAY_LEN(formats))
        return fl_usage(&fl_cmd_doc_validate, "the format is JSON or YAML, not \"%s\"", format);
    src = (struct fl_doc_source){ formats[f].format, text, strlen(text) };
    r = fl_doc_check(types[type].rules, &src, &arena, &facts, &err);
    if (r < 0 && r != -EINVAL)
        return fl_cli_fail(&err);
    v.valid = r == 0;
    v.error = r < 0 ? fl_err_text(&err) : NULL;
    v.schema = facts.schema_version;
    for (size_t i = 0; i < FL_ARRAY_LEN(platforms); i++)
        if (r == 0 && (facts.platforms & platforms[i].is))
            names[v.platforms.n++] = (char *)platforms[i].name; /* only read */
    return tell(cli, &v);
}

static int run_validate(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct validate_options *o = options;
    int status = FL_EXIT_OK;
    size_t type = 0;

    while (o->type && type < FL_ARRAY_LEN(types) && strcmp(types[type].name, o->type) != 0)
        type++;
    if (type == FL_ARRAY_LEN(types))
        return fl_usage(&fl_cmd_doc_validate, "there are no rules for the type \"%s\"", o->type);
    for (size_t i = 0; i < args->n; i++) {
        int one = check_file(cli, args->v[i], type, o->format);

        status = FL_MAX(status, one);
    }
    return status;
}

const struct fl_command fl_cmd_doc_validate = {
    .name = "doc validate",
    .args = "FILE...",
    .summary = "Check documents in files as \"doc create\" would, without a control plane",
    .text =
        "What is wrong is told with line, column and member. The exit status is 1 if a document "
        "is not sound. \"-\" reads standard input.",
    FL_OPTIONS(struct validate_options, validate_options),
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .flags = FL_COMMAND_OFFLINE,
    .complete = FL_COMPLETE_FILE,
    .run = run_validate,
};
