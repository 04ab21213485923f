/* served.c - see served.h. */
#include "server/http/served.h"

#include <errno.h>
#include "common/base/clock.h"
#include "server/audit.h"
#include "server/auth/guard.h"
#include "server/auth/known.h"
#include "server/call.h"

int fl_served_identify(struct fl_call *call, const struct fl_auth_request *auth,
                       const char *service, bool rsa, struct fl_caller *ret_caller,
                       struct fl_err *err)
{
    int r;

    if (!fl_auth_admit(call->plane, auth->source_ip, fl_auth_target(auth), err))
        return -EAGAIN;
    r = fl_auth_verify(call->plane, call->tx, auth, service, rsa, call->now_ms, call->arena,
                       ret_caller, err);
    if (r == -EKEYREJECTED)
        fl_auth_wrong(call, auth->source_ip, fl_auth_target(auth), err);
    return r;
}

void fl_served_record(struct fl_plane *plane, const struct fl_auth_request *auth,
                      const struct fl_caller *caller, const struct fl_served *s)
{
    const struct fl_audit_entry e = {
        .time_ms = fl_now_ms(),
        .request_id = s->request_id,
        .operation = s->operation,
        .caller = caller ? caller->id.arn : NULL,
        .access_key_id = auth->parsed ? auth->auth.access_key_id : NULL,
        .source_ip = auth->source_ip,
        .resources = s->resources,
        .n_resources = s->n_resources,
        .nobody = s->error && (!caller || caller->id.kind == FL_ID_ANONYMOUS),
        .status = s->status,
        .error = s->error,
    };

    fl_audit_write(plane->audit, &e);
    fl_metrics_api(plane->metrics, s->name, s->status, s->took_us);
}

void fl_served_note_user(struct fl_exchange_ctx *ctx, const struct fl_auth_request *auth,
                         const struct fl_caller *caller, struct fl_server_req *req)
{
    if (caller->id.kind != FL_ID_USER && caller->id.kind != FL_ID_ROLE)
        return;
    fl_known_note(ctx->plane->known, auth->source_ip, fl_mono_ms());
    if (req && !ctx->people)
        fl_server_req_last(req);
}
