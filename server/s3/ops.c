/* ops.c - s3's operations, one row each, and who may. */
#include "server/s3/s3.h"

#include <errno.h>
#include <string.h>
#include "server/command/place.h"
#include "server/session/place.h"

#define READ  FL_LANE_READ
#define WRITE FL_LANE_WRITE

/* The first row that fits; a row with a parameter stands before the one without. */
static const struct fl_s3_op ops[] = {
    { "ListBuckets", "GET", FL_S3_SERVICE, NULL, "s3:ListAllMyBuckets", FL_S3_NOTHING, READ,
      .fn = fl_s3_list_buckets },
    { "GetBucketLocation", "GET", FL_S3_BUCKET, "location", "s3:GetBucketLocation", FL_S3_NOTHING,
      READ, .fn = fl_s3_bucket_location, .nodes = true },
    { "GetBucketEncryption", "GET", FL_S3_BUCKET, "encryption", "s3:GetEncryptionConfiguration",
      FL_S3_NOTHING, READ, .fn = fl_s3_bucket_encryption, .nodes = true },
    { "ListMultipartUploads", "GET", FL_S3_BUCKET, "uploads", "s3:ListBucketMultipartUploads",
      FL_S3_NOTHING, READ, .fn = fl_s3_list_uploads },
    { "ListObjectsV2", "GET", FL_S3_BUCKET, "list-type", "s3:ListBucket", FL_S3_NOTHING, READ,
      .fn = fl_s3_list_objects },
    { "ListObjects", "GET", FL_S3_BUCKET, NULL, "s3:ListBucket", FL_S3_NOTHING, READ,
      .fn = fl_s3_list_objects },
    { "HeadBucket", "HEAD", FL_S3_BUCKET, NULL, "s3:ListBucket", FL_S3_NOTHING, READ,
      .fn = fl_s3_head_bucket, .nodes = true },
    { "CreateBucket", "PUT", FL_S3_BUCKET, NULL, "s3:CreateBucket", FL_S3_XML, WRITE,
      .fn = fl_s3_create_bucket },
    { "DeleteBucket", "DELETE", FL_S3_BUCKET, NULL, "s3:DeleteBucket", FL_S3_NOTHING, WRITE,
      .fn = fl_s3_delete_bucket },
    { "DeleteObjects", "POST", FL_S3_BUCKET, "delete", "s3:DeleteObject", FL_S3_XML, WRITE,
      .fn = fl_s3_delete_objects, .asks = true },
    { "ListParts", "GET", FL_S3_OBJECT, "uploadId", "s3:ListMultipartUploadParts", FL_S3_NOTHING,
      READ, .fn = fl_s3_list_parts },
    { "GetObject", "GET", FL_S3_OBJECT, NULL, "s3:GetObject", FL_S3_NOTHING, READ,
      .fn = fl_s3_get_object },
    { "HeadObject", "HEAD", FL_S3_OBJECT, NULL, "s3:GetObject", FL_S3_NOTHING, READ,
      .fn = fl_s3_get_object },
    { "UploadPart", "PUT", FL_S3_OBJECT, "uploadId", "s3:PutObject", FL_S3_DATA, WRITE,
      .fn = fl_s3_upload_part },
    { "PutObject", "PUT", FL_S3_OBJECT, NULL, "s3:PutObject", FL_S3_DATA, WRITE,
      .fn = fl_s3_put_object },
    { "CreateMultipartUpload", "POST", FL_S3_OBJECT, "uploads", "s3:PutObject", FL_S3_NOTHING,
      WRITE, .fn = fl_s3_create_upload },
    { "CompleteMultipartUpload", "POST", FL_S3_OBJECT, "uploadId", "s3:PutObject", FL_S3_XML, WRITE,
      .fn = fl_s3_complete_upload, .sums_whole = true },
    { "AbortMultipartUpload", "DELETE", FL_S3_OBJECT, "uploadId", "s3:AbortMultipartUpload",
      FL_S3_NOTHING, WRITE, .fn = fl_s3_abort_upload },
    { "DeleteObject", "DELETE", FL_S3_OBJECT, NULL, "s3:DeleteObject", FL_S3_NOTHING, WRITE,
      .fn = fl_s3_delete_object },
};

/* They would change what another operation means. */
static const char *const unknown[] = {
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "versionId",
    "versioning",
    "versions",
    "website",
    "intelligent-tiering",
};

/* Each makes an operation of its own; with another method it is none that is known. */
static const char *const known[] = { "delete", "encryption", "location", "uploadId", "uploads" };

static void not_implemented(struct fl_err *err, const char *word)
{
    fl_err_set(err, -ENOSYS, "NotImplemented",
               "A header or query you provided implies functionality that is not implemented: %s",
               word);
}

static bool fits(const struct fl_s3_op *op, const struct fl_form *query, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(known); i++)
        if (fl_form_get(query, known[i]) && (!op->param || strcmp(op->param, known[i]) != 0)) {
            not_implemented(err, known[i]);
            return false;
        }
    return true;
}

const struct fl_s3_op *fl_s3_op_find(const char *method, enum fl_s3_level level,
                                     const struct fl_form *query, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(unknown); i++)
        if (fl_form_get(query, unknown[i])) {
            not_implemented(err, unknown[i]);
            return NULL;
        }
    for (size_t i = 0; i < FL_ARRAY_LEN(ops); i++)
        if (ops[i].level == level && strcmp(ops[i].method, method) == 0 &&
            (!ops[i].param || fl_form_get(query, ops[i].param)))
            return fits(&ops[i], query, err) ? &ops[i] : NULL;
    fl_err_set(err, -ENOSYS, "MethodNotAllowed",
               "The specified method is not allowed against this resource.");
    return NULL;
}

/* ---- who may ---- */

/* Is the key one of the node's own outputs, where the command wants them? 1, 0, <0. */
static int is_output(struct fl_s3_call *c, const char *key, struct fl_err *err)
{
    struct fl_output_place place;
    int r = fl_output_place(&c->call, key, c->caller.id.node_id, &place, err);

    if (r <= 0)
        return r;
    return strcmp(place.bucket, c->bucket) == 0 && strlen(place.prefix) == place.at &&
           memcmp(place.prefix, key, place.at) == 0;
}

/* Operations by which an output gets to its place. */
static bool is_put(const struct fl_s3_op *op)
{
    return op->input == FL_S3_DATA || op->fn == fl_s3_create_upload ||
           op->fn == fl_s3_complete_upload || op->fn == fl_s3_abort_upload;
}

/* A node needs no policy for its own outputs and transcripts. */
static int is_own(struct fl_s3_call *c, const char *key, struct fl_err *err)
{
    int r = is_output(c, key, err);

    return r != 0 || !is_put(c->op)
               ? r
               : fl_session_object(&c->call, c->bucket, key, c->caller.id.node_id, err);
}

int fl_s3_allowed(struct fl_s3_call *c, const char *action, const char *key, struct fl_err *err)
{
    struct fl_resource res = { 0 };
    struct fl_resources list = { .v = &res, .n = 1 };
    struct fl_access access = { .action = action, .resources = &list };
    int r = 0;

    res.arn = fl_arena_printf(c->call.arena, "arn:aws:s3:::%s%s%s", c->bucket ? c->bucket : "*",
                              key ? "/" : "", key ? key : "");
    if (!res.arn)
        return fl_s3_nomem(err);
    if (c->caller.id.kind == FL_ID_NODE) {
        r = c->op->nodes ? 1 : is_own(c, key, err);
        if (r < 0)
            return r;
        access.builtin = r > 0 && (c->op->nodes || is_put(c->op));
    }
    return fl_authorize(&c->call, &c->caller, &access, err);
}
