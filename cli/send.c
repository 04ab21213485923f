/* send.c - see send.h. */
#include "cli/send.h"
#include <errno.h>

#define F(member, key) FL_FIELD(struct fl_send, member, key, 0)
static const struct fl_field send_in_fields[] = {
    F(document, "DocumentName"),
    F(version, "DocumentVersion"),
    F(comment, "Comment"),
    F(concurrency, "MaxConcurrency"),
    F(max_errors, "MaxErrors"),
    F(nodes, "InstanceIds"),
    F(parameters, "Parameters"),
    FL_FIELD(struct fl_send, timeout_s, "TimeoutSeconds", FL_OMIT_ZERO),
    FL_FIELD_LIST(struct fl_send, targets, n_targets, "Targets", 0, &fl_target_shape),
};
#undef F
static const struct fl_shape send_in_shape =
    FL_SHAPE(struct fl_send, "SendCommand", send_in_fields);

struct send_out {
    struct fl_sent *command;
};
static const struct fl_field send_out_fields[] = {
    FL_FIELD_STRUCT(struct send_out, command, "Command", 0, &fl_sent_shape),
};
static const struct fl_shape send_out_shape =
    FL_SHAPE(struct send_out, "SendCommand", send_out_fields);
static const struct fl_op op_send = { "SendCommand", &send_in_shape, &send_out_shape, true };

int fl_send_and_follow(struct fl_cli *cli, const struct fl_send *in, struct fl_follow *f,
                       bool detach, struct fl_arena *arena, struct fl_err *err)
{
    struct fl_signal *on_int = fl_follow_signals(cli, f, err);
    struct send_out out = { 0 };
    int r;

    if (!on_int)
        return -ENOMEM;
    r = fl_api_call(cli, &op_send, in, arena, &out, err);
    if (r == 0 && !(out.command && out.command->id))
        r = fl_err_set(err, -EBADMSG, NULL, "SendCommand: the answer has no CommandId");
    if (r == 0) {
        f->id = out.command->id;
        if (!detach)
            r = fl_follow(cli, f, err);
    }
    fl_signal_free(on_int);
    return r;
}
