/* session_api.c - operations on sessions: start, resume, terminate (protocol 3 §1). */
#include <errno.h>
#include <string.h>
#include "cli/session.h"

#define TERMINATE_MS 5000

static const struct fl_field wish_fields[] = {
    FL_FIELD(struct fl_session_wish, node, "Target", 0),
    FL_FIELD(struct fl_session_wish, document, "DocumentName", 0),
    FL_FIELD(struct fl_session_wish, reason, "Reason", 0),
    FL_FIELD(struct fl_session_wish, parameters, "Parameters", 0),
};
static const struct fl_shape wish_shape =
    FL_SHAPE(struct fl_session_wish, "StartSession", wish_fields);

static const struct fl_field grant_fields[] = {
    FL_FIELD(struct fl_session_grant, id, "SessionId", 0),
    FL_FIELD(struct fl_session_grant, token, "TokenValue", FL_SECRET),
    FL_FIELD(struct fl_session_grant, url, "StreamUrl", 0),
};
const struct fl_shape fl_session_grant_shape =
    FL_SHAPE(struct fl_session_grant, "session", grant_fields);

static const struct fl_field ref_fields[] = {
    FL_FIELD(struct fl_session_ref, id, "SessionId", 0),
};
static const struct fl_shape ref_shape = FL_SHAPE(struct fl_session_ref, "session", ref_fields);

static const struct fl_op op_start = { "StartSession", &wish_shape, &fl_session_grant_shape, true };
const struct fl_op fl_op_session_resume = { "ResumeSession", &ref_shape, &fl_session_grant_shape,
                                            false };
static const struct fl_op op_terminate = { "TerminateSession", &ref_shape, NULL, false };

int fl_session_start(struct fl_cli *cli, const struct fl_session_wish *wish, struct fl_arena *arena,
                     struct fl_session_grant *ret_grant, struct fl_err *err)
{
    struct fl_session_grant g = { 0 };
    int r = fl_api_call(cli, &op_start, wish, arena, &g, err);

    if (r == 0 && (!g.token || !g.url || !g.id || !fl_session_id_valid(g.id)))
        r = fl_err_set(err, -EBADMSG, NULL, "StartSession: the answer is incomplete");
    g.node = wish->node;
    if (r == 0)
        *ret_grant = g;
    return r;
}

int fl_session_terminate(struct fl_cli *cli, const char *id, struct fl_err *err)
{
    const struct fl_session_ref ref = { id };
    unsigned attempts = cli->max_attempts;
    uint32_t ms = cli->timeout_ms;
    int r;

    if (!cli->keys.access_key_id)
        return fl_err_set(err, -ENOKEY, NULL, "no credentials");
    cli->max_attempts = 1;
    cli->timeout_ms = TERMINATE_MS;
    r = fl_api_call(cli, &op_terminate, &ref, NULL, NULL, err);
    cli->max_attempts = attempts;
    cli->timeout_ms = ms;
    return r;
}
