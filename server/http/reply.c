/* reply.c - error names, HTTP statuses and bodies. */
#include "server/http/reply.h"

#include <errno.h>
#include <string.h>
#include "common/codec/codec.h"
#include "common/codec/xml.h"
#include "server/store/store.h"

/* Names inside the plane -> sts's name, and HTTP statuses; protocol 6 §1.2 and §1.6. `rest` only
 * has to differ from 201; it must never say AccessDeniedException in XML (protocol 2 §1.6). */
static const struct {
    const char *name;
    const char *sts_name;
    int json, sts, rest;
} errors[] = {
    { "InternalServerError", "InternalFailure", 500, 500, 500 },
    { "ServiceUnavailable", "ServiceUnavailable", 503, 503, 503 },
    { "ThrottlingException", "Throttling", 400, 400, 429 },
    { "NotFound", "NotFound", 404, 404, 404 },
    { "MissingAuthenticationTokenException", "MissingAuthenticationToken", 400, 403, 403 },
    { "IncompleteSignatureException", "IncompleteSignature", 400, 403, 403 },
    { "UnrecognizedClientException", "InvalidClientTokenId", 400, 403, 403 },
    { "InvalidSignatureException", "SignatureDoesNotMatch", 400, 403, 403 },
    { "ExpiredTokenException", "ExpiredToken", 400, 403, 403 },
    { "AccessDeniedException", "AccessDenied", 400, 403, 403 },
    { "ValidationException", "ValidationError", 400, 400, 400 },
    { "UnknownOperationException", "InvalidAction", 400, 400, 404 },
    { "SerializationException", "MalformedQueryString", 400, 400, 400 },
    { "MalformedPolicyDocument", "MalformedPolicyDocument", 400, 400, 400 },
};

static const struct {
    enum fl_dialect dialect;
    const char *type;
} types[] = {
    { FL_DIALECT_JSON, "application/x-amz-json-1.1" },
    { FL_DIALECT_QUERY, "text/xml" },
    { FL_DIALECT_REST, "text/xml" },
};

struct json_error {
    const char *type;
    const char *message;
    const char *message2;
};
static const struct fl_field json_error_fields[] = {
    FL_FIELD(struct json_error, type, "__type", FL_ALWAYS),
    FL_FIELD(struct json_error, message, "message", FL_ALWAYS),
    FL_FIELD(struct json_error, message2, "Message", FL_ALWAYS),
};
static const struct fl_shape json_error_shape =
    FL_SHAPE(struct json_error, "Error", json_error_fields);

const char *fl_dialect_type(enum fl_dialect dialect)
{
    return types[dialect].type;
}

void fl_error_of(enum fl_dialect dialect, int r, const struct fl_err *err,
                 struct fl_error *ret_error)
{
    const char *name = err->name;
    const char *message = fl_err_text(err);
    bool unavailable = fl_store_trouble(r) || r == -ECANCELED; /* the plane is stopping */
    struct fl_error out;

    if (!name) {
        name = unavailable ? "ServiceUnavailable" : "InternalServerError";
        message = unavailable ? "The control plane cannot store anything right now."
                              : "An internal error occurred.";
    }
    out = (struct fl_error){ .name = name, .message = message, .status = 400 };
    for (size_t i = 0; i < FL_ARRAY_LEN(errors); i++) {
        if (strcmp(errors[i].name, name) != 0)
            continue;
        out.status = dialect == FL_DIALECT_JSON    ? errors[i].json
                     : dialect == FL_DIALECT_QUERY ? errors[i].sts
                                                   : errors[i].rest;
        if (dialect == FL_DIALECT_QUERY)
            out.name = errors[i].sts_name;
    }
    *ret_error = out;
}

static int query_body(const struct fl_error *e, const char *request_id, struct fl_buf *out)
{
    int r = fl_buf_printf(out,
                          "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
                          "<Error><Type>%s</Type><Code>%s</Code><Message>",
                          e->status >= 500 ? "Receiver" : "Sender", e->name);

    if (r >= 0)
        r = fl_xml_text(out, e->message, strlen(e->message));
    return r < 0 ? r
                 : fl_buf_printf(out, "</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
                                 request_id);
}

static int rest_body(const struct fl_error *e, struct fl_buf *out)
{
    int r = fl_buf_puts(out, "<BadRequest xmlns=\"\"><message>");

    if (r >= 0)
        r = fl_xml_text(out, e->message, strlen(e->message));
    return r < 0 ? r : fl_buf_puts(out, "</message></BadRequest>");
}

int fl_error_body(enum fl_dialect dialect, const struct fl_error *error, const char *request_id,
                  struct fl_buf *out)
{
    const struct json_error je = { error->name, error->message, error->message };

    switch (dialect) {
    case FL_DIALECT_QUERY:
        return query_body(error, request_id, out);
    case FL_DIALECT_REST:
        return rest_body(error, out);
    case FL_DIALECT_JSON:
        break;
    }
    return fl_json_encode(&json_error_shape, &je, out);
}
