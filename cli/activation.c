/* activation.c - `fairlead activation …`: what machines register with. */
#include <errno.h>
#include <string.h>
#include "cli/command.h"
#include "cli/input.h"
#include "cli/list.h"
#include "cli/tags.h"
#include "cli/term.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"

#define ARENA_BYTES  65536
#define DEFAULT_ROLE "fleet"
#define LINE_BYTES   8192

struct activation {
    char *id, *name, *role, *description;
    int32_t limit, count;
    struct fl_time expires, created;
    bool expired;
};
#define F(member, key) FL_FIELD(struct activation, member, key, 0)
static const struct fl_field activation_fields[] = {
    F(id, "ActivationId"),         F(name, "DefaultInstanceName"), F(role, "IamRole"),
    F(description, "Description"), F(limit, "RegistrationLimit"),  F(count, "RegistrationsCount"),
    F(expires, "ExpirationDate"),  F(created, "CreatedDate"),      F(expired, "Expired"),
};
#undef F
static const struct fl_shape activation_shape =
    FL_SHAPE(struct activation, "Activation", activation_fields);

#define C(title, member) FL_COLUMN(title, struct activation, member)
static const struct fl_column columns[] = {
    C("ACTIVATION", id),
    C("USED", count),
    C("OF", limit),
    C("ENDS", expires),
    C("EXPIRED", expired),
    C("ROLE", role),
    FL_COLUMN_CUT("NAME", struct activation, name),
    FL_COLUMN_CUT("DESCRIPTION", struct activation, description),
};
#undef C

static const struct fl_list activation_list = {
    .operation = "DescribeActivations",
    .key = "ActivationList",
    .shape = &activation_shape,
    .columns = columns,
    .n_columns = FL_ARRAY_LEN(columns),
    .page = 50,
};

struct request {
    const char *id, *name, *role, *description;
    int32_t limit;
    struct fl_time expires;
    struct fl_tag *tags;
    size_t n_tags;
};
#define F(member, key) FL_FIELD(struct request, member, key, FL_OMIT_ZERO)
static const struct fl_field request_fields[] = {
    F(id, "ActivationId"),
    F(name, "DefaultInstanceName"),
    F(role, "IamRole"),
    F(description, "Description"),
    F(limit, "RegistrationLimit"),
    F(expires, "ExpirationDate"),
    FL_FIELD_LIST(struct request, tags, n_tags, "Tags", 0, &fl_tag_shape),
};
#undef F
static const struct fl_shape request_shape = FL_SHAPE(struct request, "activation", request_fields);

struct created {
    char *id, *code;
};
static const struct fl_field created_fields[] = {
    FL_FIELD(struct created, id, "ActivationId", 0),
    FL_FIELD(struct created, code, "ActivationCode", FL_SECRET),
};
static const struct fl_shape created_shape =
    FL_SHAPE(struct created, "CreateActivation", created_fields);
static const struct fl_op op_create = { "CreateActivation", &request_shape, &created_shape, true };
static const struct fl_op op_delete = { "DeleteActivation", &request_shape, NULL, true };

struct create_options {
    const char *role, *name, *description;
    struct fl_number limit;
    struct fl_seconds expires;
    struct fl_texts tags;
};
static const struct fl_opt create_options[] = {
#define O(...) FL_OPT(struct create_options, __VA_ARGS__)
    O(limit, 'n', "limit", "N", "for so many machines; 1 without"),
    O(expires, 'e', "expires", "TIME", "good for so long: 2h, 7d; a day without"),
    O(name, 0, "name", "NAME", "the name its nodes get"),
    O(role, 0, "role", "NAME", "the role its nodes get; \"" DEFAULT_ROLE "\" without"),
    O(tags, 't', "tag", "KEY=VALUE", "a tag its nodes get"),
    O(description, 0, "description", "TEXT", "what it is for"),
#undef O
};

/* The line to run on the machine. printf is part of the shell, so the code is in no list of
 * processes. */
static int print_line(const struct fl_cli *cli, const struct created *c)
{
    fl_autobuf struct fl_buf line = FL_BUF(LINE_BYTES);
    int r = fl_buf_puts(&line, "printf %s ");

    if (r == 0)
        r = fl_shell_quote(&line, c->code, false);
    if (r == 0)
        r = fl_buf_puts(&line, " | sudo fairlead-agent -register -id");
    if (r == 0)
        r = fl_shell_quote(&line, c->id, true);
    if (r == 0)
        r = fl_buf_puts(&line, " -code - -region");
    if (r == 0)
        r = fl_shell_quote(&line, cli->region, true);
    if (r == 0)
        r = fl_buf_puts(&line, " --endpoint");
    if (r == 0)
        r = fl_shell_quote(&line, cli->endpoint, true);
    if (r == 0 && cli->ca_file)
        r = fl_buf_puts(&line, " --ca-file ca.crt");
    if (r < 0)
        return r;
    printf("activation id    %s\nactivation code  %s\n\n", c->id, c->code);
    printf("On the machine, with the agent installed%s%s%s:\n\n    ",
           cli->ca_file ? ", and with a copy of " : "", cli->ca_file ? cli->ca_file : "",
           cli->ca_file ? " as ca.crt" : "");
    printf("%s\n", line.data);
    fl_wipe(line.data, line.len);
    return 0;
}

static int print_created(const struct fl_cli *cli, const struct created *c)
{
    fl_autobuf struct fl_buf out = FL_BUF(LINE_BYTES);
    int r;

    if (!cli->json)
        return print_line(cli, c);
    r = fl_json_encode(&created_shape, c, &out);
    if (r == 0)
        fl_put_json(out.data);
    if (out.data)
        fl_wipe(out.data, out.len);
    return r;
}

static int run_create(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct create_options *o = options;
    struct request q = { .role = o->role ? o->role : DEFAULT_ROLE,
                         .name = o->name,
                         .description = o->description,
                         .limit = (int32_t)FL_MIN(o->limit.v, INT32_MAX) };
    struct created c = { 0 };
    struct fl_err err = { 0 };
    int r = fl_tags_parse(&o->tags, &arena, &q.tags, &q.n_tags, &err);

    (void)args;
    if (r == -EINVAL) {
        fl_cli_fail(&err);
        return FL_EXIT_USAGE;
    }
    if (o->expires.set)
        q.expires.ms = fl_now_ms() + 1000 * o->expires.v;
    if (r == 0)
        r = fl_api_call(cli, &op_create, &q, &arena, &c, &err);
    if (r == 0 && (!c.id || !c.code))
        r = fl_err_set(&err, -EBADMSG, NULL, "CreateActivation: the answer has no id or code");
    if (r == 0)
        r = print_created(cli, &c);
    if (c.code)
        fl_wipe(c.code, strlen(c.code));
    return r < 0 ? fl_cli_failed(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_activation_create = {
    .name = "activation create",
    .args = "",
    .summary = "Make an activation, and print the line that registers a machine",
    .text = "The code is shown once. Whoever has it can register machines until the activation is "
            "used up, expires or is deleted.",
    FL_OPTIONS(struct create_options, create_options),
    .run = run_create,
};

static int run_list(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    (void)options;
    (void)args;
    return fl_list_print(cli, &activation_list, "{}", NULL, NULL);
}

const struct fl_command fl_cmd_activation_list = {
    .name = "activation list",
    .args = "",
    .summary = "List activations",
    .run = run_list,
};

static int run_delete(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    struct fl_err err = { 0 };

    (void)options;
    for (size_t i = 0; i < args->n; i++) {
        const struct request q = { .id = args->v[i] };

        if (fl_api_call(cli, &op_delete, &q, NULL, NULL, &err) < 0)
            return fl_cli_fail(&err);
    }
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_activation_delete = {
    .name = "activation delete",
    .args = "ACTIVATION-ID...",
    .summary = "Delete activations; nodes that are registered stay",
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .run = run_delete,
};
