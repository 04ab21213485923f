/* served.h - what every signed request has in common, whatever it asks for: who calls, what is
 * noted of it, what its connection is worth. */
#pragma once
#include "server/auth/auth.h"
#include "server/http/exchange.h"

struct fl_call;

/* Verifies the caller, unless the address or the key named has guessed too often; a wrong signature
 * is counted against both in `call`. As fl_auth_verify, or -EAGAIN. */
int fl_served_identify(struct fl_call *call, const struct fl_auth_request *auth,
                       const char *service, bool rsa, struct fl_caller *ret_caller,
                       struct fl_err *err);

struct fl_served {
    const char *request_id;
    const char *operation; /* "s3:GetObject", NULL if none was found; by `name` in metrics */
    const char *name;
    const char *const *resources;
    size_t n_resources;
    int status;
    const char *error; /* NULL: it went well */
    int64_t took_us;
};
/* Into the audit log and the metrics; `caller` is NULL if it is not known. */
void fl_served_record(struct fl_plane *plane, const struct fl_auth_request *auth,
                      const struct fl_caller *caller, const struct fl_served *s);

/* A user or role was served well: from now on the front serves this address apart from nodes; a
 * connection that is among them already ends, and the client's next one is not. `req` may be NULL.
 */
void fl_served_note_user(struct fl_exchange_ctx *ctx, const struct fl_auth_request *auth,
                         const struct fl_caller *caller, struct fl_server_req *req);
