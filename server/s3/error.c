/* error.c - see error.h. */
#include "server/s3/error.h"

#include <errno.h>
#include <string.h>
#include "common/codec/xml.h"
#include "server/store/store.h"

/* Names inside the plane -> s3's; protocol 6 §1.6. */
static const struct {
    const char *name;
    const char *code; /* NULL: the same */
    int status;
} errors[] = {
    { "AccessDeniedException", "AccessDenied", 403 },
    { "MissingAuthenticationTokenException", "AccessDenied", 403 },
    { "IncompleteSignatureException", "AuthorizationHeaderMalformed", 400 },
    { "UnrecognizedClientException", "InvalidAccessKeyId", 403 },
    { "InvalidSignatureException", "SignatureDoesNotMatch", 403 },
    { "SignatureDoesNotMatch", NULL, 403 },
    { "RequestTimeTooSkewed", NULL, 403 },
    { "ExpiredTokenException", "ExpiredToken", 400 },
    { "ThrottlingException", "SlowDown", 503 },
    { "SlowDown", NULL, 503 },
    { "ServiceUnavailable", NULL, 503 },
    { "InternalError", NULL, 500 },
    { "InsufficientStorage", NULL, 507 },
    { "ValidationException", "InvalidRequest", 400 },
    { "NoSuchBucket", NULL, 404 },
    { "NoSuchKey", NULL, 404 },
    { "NoSuchUpload", NULL, 404 },
    { "ServerSideEncryptionConfigurationNotFoundError", NULL, 404 },
    { "BucketAlreadyExists", NULL, 409 },
    { "BucketAlreadyOwnedByYou", NULL, 409 },
    { "BucketNotEmpty", NULL, 409 },
    { "MethodNotAllowed", NULL, 405 },
    { "NotImplemented", NULL, 501 },
    { "PreconditionFailed", NULL, 412 },
    { "InvalidRange", NULL, 416 },
    { "InvalidPartNumber", NULL, 416 },
    { "MissingContentLength", NULL, 411 },
};

void fl_s3_error_of(int r, const struct fl_err *err, struct fl_s3_error *ret_error)
{
    struct fl_s3_error out = { .code = err->name, .message = fl_err_text(err), .status = 400 };

    if (!err->name) {
        bool unavailable = fl_store_trouble(r) || r == -ECANCELED; /* the plane is stopping */

        out.code = unavailable ? "ServiceUnavailable" : "InternalError";
        out.message = unavailable ? "The control plane cannot store anything right now."
                                  : "An internal error occurred.";
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(errors); i++) {
        if (strcmp(errors[i].name, out.code) != 0)
            continue;
        out.code = errors[i].code ? errors[i].code : errors[i].name;
        out.status = errors[i].status;
        break;
    }
    *ret_error = out;
}

int fl_s3_error_body(const struct fl_s3_error *e, const char *resource, const char *request_id,
                     struct fl_buf *out)
{
    fl_buf_puts(out, "<Error>");
    fl_xml_element(out, "Code", e->code);
    fl_xml_element(out, "Message", e->message);
    fl_xml_element(out, "Resource", resource);
    fl_xml_element(out, "RequestId", request_id);
    return fl_buf_puts(out, "</Error>");
}
