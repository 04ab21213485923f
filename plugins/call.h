/* call.h - calls over the network, for plugins: a plugin never speaks to the network itself.
 *
 * The host passes each call to an unprivileged process, which makes it; calls that name a service
 * are signed there with the node's credentials. A call may be made twice if that process ends
 * meanwhile, so calls must bear repeating. All on the worker's loop.
 */
#pragma once
#include "common/codec/codec.h"

struct fl_step;

struct fl_step_header {
    const char *name, *value;
};

/* A body that is a file: so many bytes from there on, read by position. */
struct fl_step_upload {
    int fd;
    uint64_t offset, len;
    const char *sha256; /* lower-case hex; NULL: not signed, which only s3 takes */
};

/* A file that an answer is put into: a regular one, open for writing only, which nobody else uses
 * before the callback. It is written from where it stands, and after a failed or cancelled call
 * perhaps for a moment more: throw it away then. Whoever checks what it holds checks a copy: the
 * process that wrote it is not trusted to have let it go. */
struct fl_step_download {
    int fd;
    uint64_t max_bytes;
};

enum fl_step_auth { FL_STEP_AUTH_NONE, FL_STEP_AUTH_BASIC, FL_STEP_AUTH_DIGEST };

/* All is copied, descriptors are duplicated. */
struct fl_step_request {
    const char *service; /* to sign for: "ssm", "s3", "logs"; NULL: not signed */
    const char *region;  /* of the signature; NULL: the node's */
    const char *method;
    const char *url;  /* NULL: `path` at the service's endpoint */
    const char *path; /* with query, encoded as it is to be sent; NULL: "/" */
    /* s3 without a URL: `path` is of this bucket, wherever and however this node is to find it. */
    const char *bucket;
    const struct fl_step_header *headers;
    size_t n_headers;
    const void *body;
    size_t body_len;
    const struct fl_step_upload *upload; /* in place of `body` */
    /* NULL: the answer stays in memory. Else the body of a 2xx answer goes there; other answers
     * stay in memory. */
    const struct fl_step_download *download;
    size_t max_body_bytes; /* of an answer in memory: 0 is 1 MiB, 3 MiB is the most */
    enum fl_step_auth auth;
    const char *user, *password;
    int max_redirects;       /* unsigned GET and HEAD only; user and password go to no other host */
    bool insecure_redirects; /* from https to http, too */
    uint32_t timeout_ms;     /* whole call, with the wait for an agent that restarts; 0: 60 s */
};

struct fl_step_answer {
    /* 0 when an answer of any status arrived, else -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH,
     * -EPROTO (TLS, HTTP, cut off, a redirect that may not be), -EMSGSIZE (over a limit), -ENOSPC
     * and the like of the file, … */
    int error;
    const char *error_text; /* with error: one sentence that names host and reason */
    int status;
    const char *body; /* "" if none; NUL behind its end */
    size_t body_len;
    const struct fl_step_header *headers;
    size_t n_headers;
    uint64_t written; /* into the file */
    char sha256[65];  /* of that; "" without a file */
};

/* Content-Type, Content-Length, ETag, Last-Modified, x-amzn-RequestId, x-amz-bucket-region, Link.
 * NULL if the answer has no such header. */
const char *fl_step_answer_header(const struct fl_step_answer *answer, const char *name);

/* The answer dies with the callback. */
typedef void (*fl_step_answer_fn)(void *arg, const struct fl_step_answer *answer);

/* Starts a call. `done` runs once, later than the return, and never after the step is over or the
 * call was cancelled. 0; -EBUSY with too many calls under way, -EINVAL, -EMSGSIZE, -ENOMEM. */
int fl_step_call(struct fl_step *step, const struct fl_step_request *request,
                 fl_step_answer_fn done, void *arg, uint32_t *ret_id, struct fl_err *err);
/* Of any kind of call; an id that is not known (any more) is fine. */
void fl_step_call_cancel(struct fl_step *step, uint32_t id);

/* An answer of a JSON service. */
struct fl_step_reply {
    int error;        /* as above; -EREMOTEIO: the service refused, `name` and `text` say why */
    const char *name; /* "ParameterNotFound"; "" if error is another */
    const char *text; /* in words, with any error */
    const void *out;  /* of the shape that was asked for; error 0 */
    bool busy;        /* with -EREMOTEIO: it was too busy, or failed; later it may do as asked */
    const char *body; /* with -EREMOTEIO: what it answered, "" for nothing */
};
typedef void (*fl_step_reply_fn)(void *arg, const struct fl_step_reply *reply);

/* Calls an operation of SSM ("GetDocument") as the node; a service that is busy, or was not
 * reached, is asked again: it must be one that may come twice. The rest as fl_step_call. */
int fl_step_ssm(struct fl_step *step, const char *operation, const struct fl_shape *in_shape,
                const void *in, const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                uint32_t *ret_id, struct fl_err *err);
