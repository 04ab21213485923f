/* s3.h - the plane's s3 subset: a request as its handler sees it, and the table of operations.
 *
 * Source of calls, members and error names: protocol 6 §1.6, s3. A handler runs on a store thread
 * in one transaction; it sees no socket. What is put has been written to a file before (blobs.h);
 * what is got is sent from files afterwards.
 */
#pragma once
#include "common/codec/form.h"
#include "common/net/http.h"
#include "server/auth/authorize.h"
#include "server/plane.h"
#include "server/s3/blobs.h"

#define FL_S3_REPLY_MAX_BYTES (4 * 1024 * 1024) /* 1000 keys of 1 KiB, escaped */
#define FL_S3_HEADERS_MAX     48
#define FL_S3_XML_NS          "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define FL_S3_PART_MAX        10000

/* What the plane keeps for all requests. */
struct fl_s3 {
    struct fl_blobs *blobs;
    struct fl_strs hosts;      /* its own names */
    uint64_t max_object_bytes; /* of one put or part */
};

enum fl_s3_level { FL_S3_SERVICE, FL_S3_BUCKET, FL_S3_OBJECT };
enum fl_s3_input { FL_S3_NOTHING, FL_S3_XML, FL_S3_DATA };

/* A file of an object. */
struct fl_s3_piece {
    char *blob_id;
    uint64_t bytes;
    int64_t number;
};
struct fl_s3_pieces {
    struct fl_s3_piece *v;
    size_t n, cap;
};

struct fl_s3_op;

struct fl_s3_call {
    struct fl_call call;
    struct fl_caller caller;
    struct fl_s3 *s3;
    const struct fl_s3_op *op;
    const char *bucket, *key; /* NULL where the operation has none */
    struct fl_form query;
    struct fl_strmap headers; /* those that the subset knows, and x-amz-meta-…; lower-case names */
    const char *body;         /* XML */
    size_t body_len;
    struct fl_blob blob;        /* data that was put, … */
    char md5[33];               /* … its MD5 in hex */
    const char *sum_name, *sum; /* and the checksum it came with: "x-amz-checksum-…"; or NULL */

    /* the answer */
    int status; /* 0: 200 */
    struct fl_http_header out[FL_S3_HEADERS_MAX];
    size_t n_out;
    struct fl_buf reply; /* XML, or empty */
    bool has_data;       /* data is sent: `len` bytes from `first` of these */
    struct fl_s3_pieces pieces;
    uint64_t first, len;
    struct fl_s3_pieces gone; /* to be removed once this is committed */
};

typedef int (*fl_s3_fn)(struct fl_s3_call *c, struct fl_err *err);

struct fl_s3_op {
    const char *name; /* for metrics and the audit log */
    const char *method;
    enum fl_s3_level level;
    const char *param;  /* the query must have it; NULL: nothing */
    const char *action; /* what the policy is asked for: "s3:PutObject" */
    enum fl_s3_input input;
    enum fl_lane lane;
    fl_s3_fn fn;
    bool asks;       /* the handler itself asks the policy */
    bool nodes;      /* any node may: it tells nothing but that a bucket exists */
    bool sums_whole; /* checksums in the head are of the whole object, not of what comes */
};

/* The operation, or NULL with `err` named MethodNotAllowed or NotImplemented. */
const struct fl_s3_op *fl_s3_op_find(const char *method, enum fl_s3_level level,
                                     const struct fl_form *query, struct fl_err *err);

/* May this caller? Everything but `asks` operations comes through here; handlers call it for
 * another key. A node may put below <command>/<itself>/ where that command says, and nothing
 * elsewhere that names another node; and transcripts of its sessions as session/place.h says. */
int fl_s3_allowed(struct fl_s3_call *c, const char *action, const char *key, struct fl_err *err);

/* ---- for handlers ---- */

const char *fl_s3_header(const struct fl_s3_call *c, const char *name); /* of the request */
int fl_s3_put_header(struct fl_s3_call *c, const char *name, const char *value);
int fl_s3_need_bucket(struct fl_s3_call *c, struct fl_err *err); /* or NoSuchBucket */
int fl_s3_nomem(struct fl_err *err);

/* "2026-01-02T03:04:05.678Z" as an element. */
int fl_s3_put_time(struct fl_buf *out, const char *name, int64_t ms);

/* A key or the like as an element, as `encoding-type` asks for it. */
int fl_s3_put_name(struct fl_buf *out, const char *element, const char *name, bool encoded);
/* Does it ask for "url"? */
bool fl_s3_is_encoded(const struct fl_s3_call *c);
/* A number of the query, at most `max`, which it is without: 0, or InvalidArgument. */
int fl_s3_take_max(const struct fl_s3_call *c, const char *name, unsigned max, unsigned *ret,
                   struct fl_err *err);

/* The headers that are kept with an object, as JSON, in the arena; NULL without memory. */
char *fl_s3_kept_headers(struct fl_s3_call *c);

/* Adds the files of an object (or upload) to a list; forgets them, noting them in `gone`. */
int fl_s3_pieces_of(struct fl_s3_call *c, const char *object_id, struct fl_s3_pieces *list,
                    struct fl_err *err);
int fl_s3_forget(struct fl_s3_call *c, const char *object_id, struct fl_err *err);

/* Names object_id's files as `key`; what was there before is forgotten. */
int fl_s3_name_object(struct fl_s3_call *c, const char *object_id, uint64_t bytes, const char *etag,
                      const char *headers, struct fl_err *err);

/* Names a file of the plane's own, kept and whole, as an object of an existing bucket; what was
 * there before is in `gone`, to be removed once this is committed (memory of the call's arena).
 * `md5` in hex. */
int fl_s3_put_own(struct fl_call *call, const char *bucket, const char *key, const char *type,
                  const struct fl_blob *blob, const char md5[33], struct fl_s3_pieces *ret_gone,
                  struct fl_err *err);

/* ---- handlers ---- */
int fl_s3_list_buckets(struct fl_s3_call *c, struct fl_err *err); /* buckets.c */
int fl_s3_create_bucket(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_delete_bucket(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_head_bucket(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_bucket_location(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_bucket_encryption(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_get_object(struct fl_s3_call *c, struct fl_err *err); /* objects.c */
int fl_s3_put_object(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_delete_object(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_delete_objects(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_list_objects(struct fl_s3_call *c, struct fl_err *err);  /* list.c */
int fl_s3_create_upload(struct fl_s3_call *c, struct fl_err *err); /* multipart.c */
int fl_s3_upload_part(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_complete_upload(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_abort_upload(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_list_parts(struct fl_s3_call *c, struct fl_err *err);
int fl_s3_list_uploads(struct fl_s3_call *c, struct fl_err *err);
