/* ops.c - s3's operations, one row each, and who may. */
#include "server/s3/s3.h"

#include <errno.h>
#include <string.h>
#include "server/api/nodes.h"
#include "common/base/rand.h"

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
      .fn = fl_s3_complete_upload },
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

const struct fl_s3_op *fl_s3_op_find(const char *method, enum fl_s3_level level,
                                     const struct fl_form *query, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(unknown); i++)
        if (fl_form_get(query, unknown[i])) {
            fl_err_set(err, -ENOSYS, "NotImplemented",
                       "A header or query you provided implies functionality that is not "
                       "implemented: %s",
                       unknown[i]);
            return NULL;
        }
    for (size_t i = 0; i < FL_ARRAY_LEN(ops); i++)
        if (ops[i].level == level && strcmp(ops[i].method, method) == 0 &&
            (!ops[i].param || fl_form_get(query, ops[i].param)))
            return &ops[i];
    fl_err_set(err, -ENOSYS, "MethodNotAllowed",
               "The specified method is not allowed against this resource.");
    return NULL;
}

/* ---- who may ---- */

/* Finds "<command>/<node>/" in a key or stream name: 1 with both copied, 0. */
static int output_of(const char *key, char command[FL_UUID_BYTES], char node[FL_NODE_ID_BYTES],
                     const char **ret_at)
{
    for (const char *p = key; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        const char *slash = strchr(p, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;

        if (!end || slash - p != FL_UUID_BYTES - 1 || end - slash - 1 >= FL_NODE_ID_BYTES)
            continue;
        memcpy(command, p, FL_UUID_BYTES - 1);
        command[FL_UUID_BYTES - 1] = '\0';
        memcpy(node, slash + 1, (size_t)(end - slash - 1));
        node[end - slash - 1] = '\0';
        if (!fl_uuid_valid(command) || !fl_node_id_valid(node))
            continue;
        *ret_at = p;
        return 1;
    }
    return 0;
}

/* Is the key one of the node's own outputs, where the command wants them? 1, 0, <0. */
static int is_output(struct fl_s3_call *c, const char *key, bool *ret_foreign, struct fl_err *err)
{
    char command[FL_UUID_BYTES], node[FL_NODE_ID_BYTES];
    fl_autocursor struct fl_cursor *row = NULL;
    const char *at, *prefix;
    size_t len;
    int r;

    *ret_foreign = false;
    if (!key || !output_of(key, command, node, &at))
        return 0;
    if (strcmp(node, c->caller.id.node_id) != 0) {
        *ret_foreign = true;
        return 0;
    }
    r = fl_sql_open(c->call.tx, FL_SQL_output_place, &row, err, FL_T(command), FL_T(node));
    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r <= 0)
        return r;
    prefix = fl_sql_text(row, 1);
    len = (size_t)(at - key);
    while (len && key[len - 1] == '/')
        len--;
    return strcmp(fl_sql_text(row, 0), c->bucket) == 0 && strlen(prefix) >= len &&
           strncmp(prefix, key, len) == 0 && prefix[len + strspn(prefix + len, "/")] == '\0';
}

int fl_s3_allowed(struct fl_s3_call *c, const char *action, const char *key, struct fl_err *err)
{
    struct fl_resource res = { 0 };
    struct fl_resources list = { .v = &res, .n = 1 };
    struct fl_access access = { .action = action, .resources = &list };
    bool foreign = false;
    int r = 0;

    res.arn = fl_arena_printf(c->call.arena, "arn:aws:s3:::%s%s%s", c->bucket ? c->bucket : "*",
                              key ? "/" : "", key ? key : "");
    if (!res.arn)
        return fl_s3_nomem(err);
    if (c->caller.id.kind == FL_ID_NODE) {
        r = c->op->nodes ? 1 : is_output(c, key, &foreign, err);
        if (r < 0)
            return r;
        if (foreign)
            return fl_err_set(err, -EACCES, "AccessDeniedException",
                              "Node %s may not act for another.", c->caller.id.node_id);
        access.builtin =
            r > 0 &&
            (c->op->nodes || c->op->input == FL_S3_DATA || c->op->fn == fl_s3_create_upload ||
             c->op->fn == fl_s3_complete_upload || c->op->fn == fl_s3_abort_upload);
    }
    return fl_authorize(&c->call, &c->caller, &access, err);
}
