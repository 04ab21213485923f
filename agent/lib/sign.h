/* sign.h - calls signed with the node's temporary credentials (SigV4), and the service's time that
 * a signature needs.
 */
#pragma once
#include "agent/lib/ipc_net.h"
#include "common/aws/sigv4.h"

struct fl_sign_in {
    const char *method;
    const char *url; /* whole; path and query as they are sent */
    const char *service, *region;
    const char *body_sha256; /* hex, or FL_SIGN_UNSIGNED */
    const struct fl_aws_creds *creds;
    int64_t now_ms;                        /* the service's time */
    const struct fl_fetch_header *headers; /* signed along */
    size_t n_headers;
};
#define FL_SIGN_UNSIGNED    "UNSIGNED-PAYLOAD"
#define FL_SIGN_MAX_HEADERS 64

/* All headers to send, those given first (their strings stay the caller's), the rest in `arena`:
 * Host, X-Amz-Date, X-Amz-Security-Token, for s3 X-Amz-Content-Sha256, and Authorization. 0,
 * -EINVAL for a URL or number of headers that makes no sense, -ENOMEM. */
int fl_sign_call(const struct fl_sign_in *in, struct fl_arena *arena,
                 struct fl_fetch_header **ret_headers, size_t *ret_n);

/* A call was refused with this status and error name: for its time, so that the same call with the
 * time of its answer (`date`, the Date header) may pass? True then, and *offset_ms (the service's
 * time less fl_boot_ms) was set right. */
bool fl_sign_learn_time(int status, const char *name, const char *date, int64_t *offset_ms);
