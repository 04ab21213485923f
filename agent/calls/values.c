/* values.c - see values.h. */
#include "agent/calls/values.h"
#include <errno.h>
#include <string.h>
#include "plugins/parameters.h"

/* "[a b]", as the official agent prints a list. */
static int add_name(struct fl_buf *list, const char *name)
{
    return fl_buf_printf(list, "%s%s", list->len ? " " : "", name);
}

static int learn(struct fl_values *v, const struct fl_get_parameters_out *out, struct fl_err *err)
{
    fl_autobuf struct fl_buf invalid = FL_BUF(FL_ERR_TEXT_BYTES);
    fl_autobuf struct fl_buf secure = FL_BUF(FL_ERR_TEXT_BYTES);
    for (size_t i = 0; i < out->invalid.n; i++)
        (void)add_name(&invalid, out->invalid.v[i]);
    if (invalid.len > 0)
        return fl_err_set(err, -EINVAL, NULL, "Input contains invalid parameters [%s]",
                          invalid.data);
    for (size_t i = 0; i < out->n_parameters; i++) {
        const struct fl_parameter *p = &out->parameters[i];

        if (strcmp(p->type, "SecureString") == 0)
            (void)add_name(&secure, p->name);
        else if (fl_ssm_refs_learn(v->refs, p->name, p->selector, p->version, p->type, p->value) <
                 0)
            return fl_err_nomem(err);
    }
    if (secure.len > 0)
        return fl_err_set(err, -EINVAL, NULL,
                          "Parameters [%s] of type SecureString are not supported", secure.data);
    return 0;
}

static void on_parameters(void *arg, const struct fl_step_reply *reply)
{
    struct fl_values *v = arg;
    struct fl_err err = { 0 };
    int r;

    v->call = 0;
    if (reply->error)
        r = fl_err_set(&err, reply->error, NULL, "Parameter Store could not be asked: %s%s%s",
                       reply->name, *reply->name ? ": " : "", reply->text);
    else
        r = learn(v, reply->out, &err);
    if (r == 0 && fl_ssm_refs_wanting(v->refs)) {
        r = fl_values_ask(v, &err);
        if (r == 0)
            return;
    }
    v->done(v->arg, r < 0 ? &err : NULL);
}

int fl_values_ask(struct fl_values *v, struct fl_err *err)
{
    const char *names[FL_SSM_REFS_BATCH];
    struct fl_get_parameters_in in = { .names.v = (char **)names };

    if (!v->calls)
        return fl_err_set(err, -EOPNOTSUPP, NULL, "Parameter Store cannot be asked here");
    in.names.n = fl_ssm_refs_next(v->refs, names);
    return fl_calls_operation(v->calls, &fl_calls_service_ssm, "GetParameters",
                              &fl_shape_get_parameters_in, &in, &fl_shape_get_parameters_out,
                              on_parameters, v, &v->call, err);
}

void fl_values_cancel(struct fl_values *v)
{
    if (v->call)
        fl_calls_cancel(v->calls, v->call);
    v->call = 0;
}
