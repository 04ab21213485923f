/* upgrade.c - the loop thread's side of opening a channel: nothing here waits. */
#include "server/http/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "server/audit.h"
#include "server/auth/auth.h"
#include "server/auth/authorize.h"
#include "server/auth/token.h"
#include "server/http/reply.h"

#define ARENA_BYTES (128 * 1024)

struct upgrade {
    struct fl_plane *plane;
    struct fl_server_req *req;
    const struct fl_upgrade_result *result;
    struct fl_arena arena;
    struct fl_caller caller;
    bool known;
    struct fl_err err;
};

static int find_route(const char *path)
{
    for (int i = 0; fl_routes[i]; i++)
        if (fl_routes[i]->upgrade &&
            strncmp(path, fl_routes[i]->prefix, strlen(fl_routes[i]->prefix)) == 0)
            return i;
    return -1;
}

static void record(struct upgrade *u, const struct fl_route *route, int status, const char *error)
{
    char request_id[FL_UUID_BYTES];
    struct fl_audit_entry e = {
        .time_ms = fl_now_ms(),
        .request_id = request_id,
        .operation = route ? route->upgrade_action : NULL,
        .caller = u->known ? u->caller.id.arn : NULL,
        .access_key_id = u->known ? u->caller.id.access_key_id : NULL,
        .source_ip = fl_server_req_peer(u->req),
        .nobody = !u->known,
        .status = status,
        .error = error,
    };

    fl_uuid4(request_id);
    fl_audit_write(u->plane->audit, &e);
    fl_metrics_api(u->plane->metrics, "ControlChannel", status, 0);
}

static int refuse(struct upgrade *u, const struct fl_route *route, int r)
{
    fl_autobuf struct fl_buf body = { 0 };
    struct fl_error e;

    fl_error_of(FL_DIALECT_REST, r, &u->err, &e);
    fl_buf_init(&body, FL_UPGRADE_BODY_BYTES - 1);
    if (fl_error_body(FL_DIALECT_REST, &e, "", &body) < 0)
        fl_buf_reset(&body);
    snprintf(u->result->body, FL_UPGRADE_BODY_BYTES, "%s", body.len ? body.data : "");
    *u->result->type = fl_dialect_type(FL_DIALECT_REST);
    record(u, route, e.status, e.name);
    return e.status;
}

/* The path's last part, percent-decoded, must be the node that signed. */
static int check_node(struct upgrade *u, const struct fl_route *route, struct fl_buf *rest)
{
    const char *raw = fl_server_req_path(u->req) + strlen(route->prefix);
    int r =
        fl_auth_verify_node_sync(u->plane, u->req, route->service, &u->arena, &u->caller, &u->err);

    if (r < 0)
        return r;
    u->known = true;
    if (!fl_node_action(route->upgrade_action) ||
        fl_uri_decode(raw, strlen(raw), false, rest) < 0 || rest->len == 0 ||
        strcmp(rest->data, u->caller.id.node_id) != 0)
        return fl_err_set(&u->err, -EACCES, "AccessDeniedException",
                          "User: %s is not authorized to perform: %s on this node",
                          u->caller.id.arn, route->upgrade_action);
    return 0;
}

/* Whether the request says that it comes from a node: it shows a session token of one. */
static bool claims_node(struct upgrade *u)
{
    const char *text = fl_server_req_header(u->req, "x-amz-security-token");
    struct fl_token token;
    char *secret;

    return text && fl_token_open(u->plane->seal_key, text, &u->arena, &token, &secret) == 0 &&
           token.kind == FL_ID_NODE;
}

/* Anyone may come; a person's signature is not looked at (protocol 3 §2). */
static int check_guest(struct upgrade *u, const struct fl_route *route, struct fl_buf *rest)
{
    const char *raw = fl_server_req_path(u->req) + strlen(route->prefix);

    if (fl_uri_decode(raw, strlen(raw), false, rest) < 0 || rest->len == 0 ||
        strlen(rest->data) != rest->len)
        return fl_err_set(&u->err, -ENOENT, "NotFound", "There is nothing at this path.");
    if (claims_node(u)) {
        int r = fl_auth_verify_node_sync(u->plane, u->req, route->service, &u->arena, &u->caller,
                                         &u->err);

        u->known = r >= 0;
        return r;
    }
    u->caller.id = (struct fl_identity){ .kind = FL_ID_ANONYMOUS,
                                         .account = u->plane->conf.account,
                                         .arn = "anonymous",
                                         .source_ip = fl_server_req_peer(u->req) };
    return 0;
}

static int open_route(struct upgrade *u, const struct fl_route *route, void *state)
{
    fl_autobuf struct fl_buf rest = { 0 };
    struct fl_upgrade_in in = { .query = fl_server_req_query(u->req), .who = &u->caller.id };
    int r;

    fl_buf_init(&rest, 256);
    r = route->upgrade_by_token ? check_guest(u, route, &rest) : check_node(u, route, &rest);
    if (r < 0)
        return refuse(u, route, r);
    in.rest = rest.data;
    r = route->upgrade(state, &in, u->result->events, u->result->arg, u->result->limits);
    if (r == 0 && route->upgrade_by_token)
        return 0;
    if (r == 0)
        fl_server_req_trust(u->req);
    record(u, route, r ? r : 101, r ? "UpgradeRefused" : NULL);
    return r;
}

int fl_upgrade(struct fl_plane *plane, void *const *states, struct fl_server_req *req,
               const struct fl_upgrade_result *result)
{
    struct upgrade u = { .plane = plane, .req = req, .result = result };
    int i = find_route(fl_server_req_path(req)), status;

    fl_arena_init(&u.arena, ARENA_BYTES);
    if (i < 0) {
        fl_err_set(&u.err, -ENOENT, "NotFound", "There is nothing at this path.");
        status = refuse(&u, NULL, -ENOENT);
    } else {
        status = open_route(&u, fl_routes[i], states[i]);
    }
    fl_arena_done(&u.arena);
    return status;
}
