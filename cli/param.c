/* param.c - `fairlead param …`: Parameter Store. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/filter.h"
#include "cli/input.h"
#include "cli/list.h"
#include "cli/tags.h"
#include "cli/term.h"
#include "common/aws/crypto.h"

#define ARENA_BYTES (4 << 20)
#define VALUE_MAX   65536 /* the service takes 4 or 8 KiB; this only bounds memory */
#define DELETE_MAX  10    /* names in one call */
#define SECURE      "SecureString"

/* Parameter, ParameterMetadata, ParameterHistory: members of the same names. */
struct parameter {
    char *name, *type, *value, *tier, *user, *description, *data_type, *pattern;
    int64_t version;
    struct fl_time modified;
    struct fl_strs labels;
};
#define F(member, key) FL_FIELD(struct parameter, member, key, 0)
static const struct fl_field parameter_fields[] = {
    F(name, "Name"),
    F(type, "Type"),
    FL_FIELD(struct parameter, value, "Value", FL_SECRET),
    F(tier, "Tier"),
    F(user, "LastModifiedUser"),
    F(description, "Description"),
    F(data_type, "DataType"),
    F(pattern, "AllowedPattern"),
    F(version, "Version"),
    F(modified, "LastModifiedDate"),
    F(labels, "Labels"),
};
#undef F
static const struct fl_shape parameter_shape =
    FL_SHAPE(struct parameter, "Parameter", parameter_fields);

#define C(title, member) FL_COLUMN(title, struct parameter, member)
static const struct fl_column list_columns[] = {
    C("NAME", name),
    C("TYPE", type),
    C("VERSION", version),
    C("CHANGED", modified),
    FL_COLUMN_CUT("DESCRIPTION", struct parameter, description),
};
static const struct fl_column history_columns[] = {
    C("VERSION", version), C("CHANGED", modified), FL_COLUMN_CUT("BY", struct parameter, user),
    C("TYPE", type),       C("LABELS", labels),    FL_COLUMN_CUT("VALUE", struct parameter, value),
};
#undef C

static const struct fl_list parameter_list = {
    .operation = "DescribeParameters",
    .key = "Parameters",
    .shape = &parameter_shape,
    .columns = list_columns,
    .n_columns = FL_ARRAY_LEN(list_columns),
    .page = 50,
};
static const struct fl_list history_list = {
    .operation = "GetParameterHistory",
    .key = "Parameters",
    .shape = &parameter_shape,
    .columns = history_columns,
    .n_columns = FL_ARRAY_LEN(history_columns),
    .page = 50,
};

/* What the operations are asked; each uses some of it. */
struct request {
    const char *name, *value, *type, *description, *tier, *key_id, *pattern;
    struct fl_strs names, labels;
    int64_t version;
    bool decrypt, overwrite;
    struct fl_tag *tags;
    size_t n_tags;
    struct fl_filter *filters;
    size_t n_filters;
};
#define F(member, key)      FL_FIELD(struct request, member, key, 0)
#define F_FLAG(member, key) FL_FIELD(struct request, member, key, FL_OMIT_ZERO)
static const struct fl_field request_fields[] = {
    F(name, "Name"),
    FL_FIELD(struct request, value, "Value", FL_SECRET),
    F(type, "Type"),
    F(description, "Description"),
    F(tier, "Tier"),
    F(key_id, "KeyId"),
    F(pattern, "AllowedPattern"),
    F(names, "Names"),
    F(labels, "Labels"),
    F_FLAG(version, "ParameterVersion"),
    F_FLAG(decrypt, "WithDecryption"),
    F_FLAG(overwrite, "Overwrite"),
    FL_FIELD_LIST(struct request, tags, n_tags, "Tags", 0, &fl_tag_shape),
    FL_FIELD_LIST(struct request, filters, n_filters, "ParameterFilters", 0, &fl_filter_shape),
};
#undef F
#undef F_FLAG
static const struct fl_shape request_shape = FL_SHAPE(struct request, "parameter", request_fields);

struct answer {
    struct parameter *parameter;
    int64_t version, labelled;
    struct fl_strs invalid, invalid_labels;
};
static const struct fl_field answer_fields[] = {
    FL_FIELD_STRUCT(struct answer, parameter, "Parameter", 0, &parameter_shape),
    FL_FIELD(struct answer, version, "Version", 0),
    FL_FIELD(struct answer, invalid, "InvalidParameters", 0),
    FL_FIELD(struct answer, labelled, "ParameterVersion", 0),
    FL_FIELD(struct answer, invalid_labels, "InvalidLabels", 0),
};
static const struct fl_shape answer_shape = FL_SHAPE(struct answer, "answer", answer_fields);

static const struct fl_op op_get = { "GetParameter", &request_shape, &answer_shape, false };
/* Twice makes two versions, or finds the parameter there. */
static const struct fl_op op_put = { "PutParameter", &request_shape, &answer_shape, true };
static const struct fl_op op_delete = { "DeleteParameters", &request_shape, &answer_shape, true };

static const struct fl_op op_label = { "LabelParameterVersion", &request_shape, &answer_shape,
                                       false };
static const struct fl_op op_unlabel = { "UnlabelParameterVersion", &request_shape, &answer_shape,
                                         false };

/* ---- list ---- */

struct list_options {
    const char *path, *type;
};
static const struct fl_opt list_options[] = {
    FL_OPT(struct list_options, path, 'p', "path", "PATH", "those below a path such as /web"),
    FL_OPT(struct list_options, type, 0, "type", "String|StringList|SecureString",
           "those of a type"),
};

static int run_list(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct list_options *o = options;
    const struct {
        const char *key, *option, *value;
    } wanted[] = { { "Path", "Recursive", o->path },
                   { "Type", "Equals", o->type },
                   { "Name", "BeginsWith", args->n ? args->v[0] : NULL } };
    struct fl_filter filters[FL_ARRAY_LEN(wanted)];
    char *values[FL_ARRAY_LEN(wanted)];
    fl_autobuf struct fl_buf body = FL_BUF(65536);
    struct request q = { .filters = filters };

    for (size_t i = 0; i < FL_ARRAY_LEN(wanted); i++) {
        if (!wanted[i].value)
            continue;
        values[q.n_filters] = (char *)wanted[i].value;
        filters[q.n_filters] =
            (struct fl_filter){ wanted[i].key, wanted[i].option, { &values[q.n_filters], 1 } };
        q.n_filters++;
    }
    if (fl_json_encode(&request_shape, &q, &body) < 0)
        return FL_EXIT_USAGE;
    return fl_list_print(cli, &parameter_list, body.data, NULL, NULL);
}

const struct fl_command fl_cmd_param_list = {
    .name = "param list",
    .args = "[PREFIX]",
    .summary = "List parameters without their values",
    FL_OPTIONS(struct list_options, list_options),
    .max_args = 1,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_list,
};

/* ---- get, history ---- */

struct get_options {
    bool decrypt;
};
static const struct fl_opt get_options[] = {
    FL_OPT(struct get_options, decrypt, 'd', "decrypt", NULL, "show the value of a SecureString"),
};

static bool is_secure(const struct parameter *p)
{
    return p->type && strcmp(p->type, SECURE) == 0;
}

static int get_one(struct fl_cli *cli, const char *name, bool decrypt, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf line = FL_BUF(ARENA_BYTES);
    const struct request q = { .name = name, .decrypt = decrypt };
    struct answer a = { 0 };
    int r = fl_api_call(cli, &op_get, &q, &arena, &a, err);

    if (r == 0 && !(a.parameter && a.parameter->value))
        r = fl_err_set(err, -EBADMSG, NULL, "GetParameter: the answer has no value");
    if (r < 0)
        return r;
    if (is_secure(a.parameter) && !decrypt) {
        a.parameter->value = NULL; /* ciphertext is of no use to anyone */
        if (!cli->json)
            return fl_err_set(err, -EACCES, NULL, "%s is a %s: --decrypt shows its value", name,
                              SECURE);
    }
    if (!cli->json) {
        fl_put_text(stdout, a.parameter->value);
        putchar('\n');
    } else if ((r = fl_json_encode(&parameter_shape, a.parameter, &line)) == 0) {
        fl_put_json(line.data);
        fl_wipe(line.data, line.len);
    }
    if (a.parameter->value)
        fl_wipe(a.parameter->value, strlen(a.parameter->value));
    return r;
}

static int run_get(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct get_options *o = options;
    struct fl_err err = { 0 };

    for (size_t i = 0; i < args->n; i++) {
        int r = get_one(cli, args->v[i], o->decrypt, &err);

        if (r < 0)
            return fl_cli_failed_input(r, &err);
    }
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_param_get = {
    .name = "param get",
    .args = "NAME...",
    .summary = "Print the values of parameters, one a line",
    .text = "NAME may end in :VERSION or :LABEL. The value of a SecureString is printed only with "
            "--decrypt.",
    FL_OPTIONS(struct get_options, get_options),
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_get,
};

struct history {
    struct fl_cli *cli;
    struct fl_table *table;
    bool decrypt;
};

static int on_version(void *arg, const void *item, const void *json)
{
    fl_autobuf struct fl_buf line = FL_BUF(ARENA_BYTES);
    struct history *h = arg;
    struct parameter p = *(const struct parameter *)item;
    int r;

    (void)json;
    if (is_secure(&p) && !h->decrypt)
        p.value = NULL;
    if (!h->cli->json)
        return fl_table_add(h->table, &p);
    r = fl_json_encode(&parameter_shape, &p, &line);
    if (r == 0)
        fl_put_json(line.data);
    return r;
}

static int run_history(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct get_options *o = options;
    const struct request q = { .name = args->v[0], .decrypt = o->decrypt };
    fl_autobuf struct fl_buf body = FL_BUF(65536);
    struct history h = { .cli = cli, .decrypt = o->decrypt };
    struct fl_err err = { 0 };
    int r = fl_json_encode(&request_shape, &q, &body);

    if (r == 0)
        r = fl_table_new(cli, history_columns, FL_ARRAY_LEN(history_columns), &h.table);
    if (r == 0)
        r = fl_list_each(cli, &history_list, body.data, on_version, &h, &err);
    if (r == 0 && !cli->json)
        r = fl_table_print(h.table);
    fl_table_free(h.table);
    return r < 0 ? fl_cli_failed_input(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_param_history = {
    .name = "param history",
    .args = "NAME",
    .summary = "List the versions of a parameter",
    FL_OPTIONS(struct get_options, get_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_history,
};

/* ---- put, delete ---- */

struct put_options {
    bool secure, overwrite;
    const char *type, *file, *description, *tier, *key_id, *pattern;
    struct fl_texts tags;
};
static const struct fl_opt put_options[] = {
#define O(...) FL_OPT(struct put_options, __VA_ARGS__)
    O(secure, 's', "secure", NULL, "keep it encrypted: the type SecureString"),
    O(type, 0, "type", "String|StringList|SecureString",
      "String without, or what it was where it is overwritten"),
    O(overwrite, 'o', "overwrite", NULL, "make a new version of one that is there"),
    O(file, 'f', "file", "FILE", "take the value from a file; - for standard input",
      FL_COMPLETE_FILE),
    O(description, 0, "description", "TEXT", "what it is for"),
    O(pattern, 0, "allowed-pattern", "REGEX", "what values must look like"),
    O(tier, 0, "tier", "Standard|Advanced|Intelligent-Tiering", "its tier"),
    O(key_id, 0, "key-id", "KEY", "the key that encrypts it"),
    O(tags, 't', "tag", "KEY=VALUE", "give it a tag"),
#undef O
};

extern const struct fl_command fl_cmd_param_put;

/* From where it is not seen by others: a file, standard input, the terminal without echo. */
static int read_value(struct fl_cli *cli, const struct put_options *o, const struct fl_args *args,
                      char **ret_value, struct fl_err *err)
{
    if (o->file)
        return fl_input_file(o->file, VALUE_MAX, ret_value, err);
    if (args->n == 2) {
        *ret_value = strdup(args->v[1]);
        return *ret_value ? 0 : -ENOMEM;
    }
    return fl_read_secret(cli, "Value: ", true, VALUE_MAX, ret_value, err);
}

static int run_put(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct put_options *o = options;
    const char *type = o->secure ? SECURE : o->type;
    struct request q = { .name = args->v[0],
                         .type = type || o->overwrite ? type : "String",
                         .description = o->description,
                         .tier = o->tier,
                         .key_id = o->key_id,
                         .pattern = o->pattern,
                         .overwrite = o->overwrite };
    struct fl_err err = { 0 };
    struct answer a = { 0 };
    char *value = NULL;
    int r;

    if (args->n == 2 && o->file)
        return fl_usage(&fl_cmd_param_put, "VALUE and --file exclude each other");
    if (args->n == 2 && type && strcmp(type, SECURE) == 0)
        return fl_usage(&fl_cmd_param_put,
                        "a secret on the command line is seen by every user of this machine: "
                        "leave VALUE out to be asked, or use --file");
    r = fl_tags_parse(&o->tags, &arena, &q.tags, &q.n_tags, &err);
    if (r == 0)
        r = read_value(cli, o, args, &value, &err);
    q.value = value;
    if (r == 0)
        r = fl_api_call(cli, &op_put, &q, &arena, &a, &err);
    fl_free_secret(value, value ? strlen(value) : 0);
    if (r < 0) {
        int status = fl_cli_failed_input(r, &err);

        return r == -EINTR ? FL_EXIT_INTERRUPTED : status;
    }
    if (cli->json)
        printf("{\"Version\":%lld}\n", (long long)a.version);
    else
        printf("%s version %lld\n", q.name, (long long)a.version);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_param_put = {
    .name = "param put",
    .args = "NAME [VALUE]",
    .summary = "Set a parameter",
    .text = "Without VALUE it is asked for on a terminal and not shown, else read from standard "
            "input, all of it. The value of a SecureString is never taken from the command line.",
    FL_OPTIONS(struct put_options, put_options),
    .min_args = 1,
    .max_args = 2,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_put,
};

static int run_delete(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    struct fl_err err = { 0 };
    size_t missing = 0;

    (void)options;
    for (size_t i = 0; i < args->n; i += DELETE_MAX) {
        fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
        const struct request q = {
            .names = { args->v + i, FL_MIN(args->n - i, (size_t)DELETE_MAX) },
        };
        struct answer a = { 0 };
        int r = fl_api_call(cli, &op_delete, &q, &arena, &a, &err);

        if (r < 0)
            return fl_cli_failed_input(r, &err);
        for (size_t k = 0; k < a.invalid.n; k++, missing++)
            fl_put_textf(stderr, "fairlead: there is no parameter \"%s\"\n", a.invalid.v[k]);
    }
    return missing ? FL_EXIT_SERVICE : FL_EXIT_OK;
}

const struct fl_command fl_cmd_param_delete = {
    .name = "param delete",
    .args = "NAME...",
    .summary = "Delete parameters with all their versions",
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_delete,
};

/* ---- label ---- */

struct label_options {
    struct fl_number version;
    bool remove;
};
static const struct fl_opt label_options[] = {
    FL_OPT(struct label_options, version, 'v', "parameter-version", "N",
           "a version; the latest without"),
    FL_OPT(struct label_options, remove, 'r', "remove", NULL,
           "take the labels away; needs --parameter-version"),
};

extern const struct fl_command fl_cmd_param_label;

static int run_label(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct label_options *o = options;
    const struct request q = { .name = args->v[0],
                               .version = o->version.v,
                               .labels = { args->v + 1, args->n - 1 } };
    struct fl_err err = { 0 };
    struct answer a = { 0 };
    int r;

    if (o->remove && !o->version.set)
        return fl_usage(&fl_cmd_param_label, "--remove needs --parameter-version");
    if (o->version.set && o->version.v == 0)
        return fl_usage(&fl_cmd_param_label, "versions count from 1");
    r = fl_api_call(cli, o->remove ? &op_unlabel : &op_label, &q, &arena, &a, &err);
    if (r < 0)
        return fl_cli_failed_input(r, &err);
    for (size_t i = 0; i < a.invalid_labels.n; i++)
        fl_put_textf(stderr, "fairlead: \"%s\" %s\n", a.invalid_labels.v[i],
                     o->remove ? "is no label of that version" : "cannot be a label");
    if (a.invalid_labels.n)
        return FL_EXIT_SERVICE;
    if (!o->remove && cli->json)
        printf("{\"ParameterVersion\":%lld}\n", (long long)a.labelled);
    else if (!o->remove)
        printf("%s version %lld\n", q.name, (long long)a.labelled);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_param_label = {
    .name = "param label",
    .args = "NAME LABEL...",
    .summary = "Give a version of a parameter labels, or take them away",
    .text = "A label that another version has moves from there. NAME:LABEL then means the version.",
    FL_OPTIONS(struct label_options, label_options),
    .min_args = 2,
    .max_args = 11,
    .complete = FL_COMPLETE_PARAMETER,
    .run = run_label,
};
