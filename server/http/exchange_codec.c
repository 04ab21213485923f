/* exchange_codec.c - see exchange_priv.h: which operation a request asks for, in which dialect, and
 * the way from its body to a struct and back (protocol 6 §1). */
#include <errno.h>
#include <string.h>
#include "common/codec/xml.h"
#include "server/api/registry.h"
#include "server/http/exchange_priv.h"

#define STS_VERSION "2011-06-15"

/* ---- routing ---- */

/* A path of its own. */
static bool route_path(struct fl_exchange *x)
{
    fl_autobuf struct fl_buf rest = { 0 };
    const char *raw = x->auth.path + strlen(x->route->prefix);

    fl_buf_init(&rest, 1024);
    x->dialect = FL_DIALECT_REST;
    x->service = x->route->service;
    if (strcmp(x->auth.method, "POST") != 0 || !x->route->post ||
        fl_uri_decode(raw, strlen(raw), false, &rest) < 0)
        return false;
    x->route_in =
        (struct fl_route_in){ .rest = fl_arena_strdup(&x->arena, rest.len ? rest.data : ""),
                              .query = x->auth.query,
                              .body = x->body,
                              .body_len = x->body_len };
    fl_buf_init(&x->route_out.body, FL_EXCHANGE_REPLY_BYTES);
    return x->route_in.rest != NULL;
}

/* POST / with Action=…&Version=…: only sts is served, but whoever speaks so can read no JSON. */
static bool route_query(struct fl_exchange *x)
{
    const char *action, *version;

    if (fl_form_parse(x->body, x->body_len, &x->arena, &x->form, NULL) < 0)
        return false;
    action = fl_form_get(&x->form, "Action");
    version = fl_form_get(&x->form, "Version");
    if (!action)
        return false;
    x->dialect = FL_DIALECT_QUERY;
    x->service = "sts";
    x->op = version && strcmp(version, STS_VERSION) == 0 ? fl_op_find("sts", action) : NULL;
    return true;
}

/* Protocol 6 §1.6, "Dispatch". */
int fl_exchange_route(struct fl_exchange *x)
{
    const char *target = fl_auth_header(&x->auth, "x-amz-target");
    bool root = strcmp(x->auth.path, "/") == 0 && strcmp(x->auth.method, "POST") == 0;

    x->route = fl_route_find(x->auth.path);
    if (x->route ? !route_path(x) : !root)
        return fl_err_set(&x->err, -ENOENT, "NotFound", "There is nothing at this path.");
    if (x->route)
        return 0;
    if (target)
        x->op = fl_op_find_target(target, &x->service);
    else if (!route_query(x))
        return fl_err_set(&x->err, -ENOSYS, "UnknownOperationException",
                          "The request names no operation: X-Amz-Target or Action is missing.");
    if (!x->op)
        return fl_err_set(&x->err, -ENOSYS, "UnknownOperationException",
                          "The operation is not known here.");
    x->arena.secret = x->reply.secret = fl_shape_secret(x->op->in) || fl_shape_secret(x->op->out);
    return 0;
}

/* ---- decode and encode ---- */

int fl_exchange_decode(struct fl_exchange *x)
{
    struct fl_err found = { 0 };
    const char *body = x->body_len ? x->body : "{}"; /* some clients send nothing for no input */
    int r;

    x->in = fl_arena_alloc(&x->arena, x->op->in->size);
    x->out = fl_arena_alloc(&x->arena, x->op->out->size);
    if (!x->in || !x->out)
        return fl_err_nomem(&x->err);
    if (x->dialect == FL_DIALECT_QUERY)
        r = fl_form_decode(x->op->in, &x->form, FL_DECODE_LAX, &x->arena, x->in, &found);
    else
        r = fl_json_decode(x->op->in, body, x->body_len ? x->body_len : 2, FL_DECODE_LAX, &x->arena,
                           x->in, &found);
    return r < 0 ? fl_err_set(&x->err, r, "SerializationException", "%s", fl_err_text(&found)) : 0;
}

static int encode_query(struct fl_exchange *x)
{
    const char *name = x->op->name;
    int r = fl_buf_printf(&x->reply,
                          "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/" STS_VERSION
                          "/\"><%sResult>",
                          name, name);

    if (r >= 0)
        r = fl_xml_encode(x->op->out, x->out, &x->reply);
    return r < 0 ? r
                 : fl_buf_printf(&x->reply,
                                 "</%sResult><ResponseMetadata><RequestId>%s</RequestId>"
                                 "</ResponseMetadata></%sResponse>",
                                 name, x->request_id, name);
}

int fl_exchange_encode(struct fl_exchange *x)
{
    int r;

    if (x->route)
        return 0;
    r = x->dialect == FL_DIALECT_QUERY ? encode_query(x)
                                       : fl_json_encode(x->op->out, x->out, &x->reply);
    return r < 0 ? fl_err_set(&x->err, r, NULL, "the answer cannot be encoded: %s", strerror(-r))
                 : 0;
}
