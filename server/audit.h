/* audit.h - who did what, when, from where: one JSON line a call in <data>/audit/audit.log.
 *
 * Written by a thread of its own; a line is lost only when the disk cannot take it or the queue of
 * 8 MiB is full, and then a later line says how many were. Refusals of callers that are nobody are
 * counted once there are many (audit_flood.h): a line with "count" says how many more there were.
 * At 64 MiB the file becomes audit.log.1, and so on up to audit.log.8. Never holds secrets,
 * parameters or outputs.
 */
#pragma once
#include "common/base/err.h"
#include "server/op.h"

#define FL_AUDIT_FILE_BYTES  (64 * 1024 * 1024)
#define FL_AUDIT_KEEP        8
#define FL_AUDIT_QUEUE_BYTES (8 * 1024 * 1024)

struct fl_audit;

/* Strings are copied; NULL ones are left out. */
struct fl_audit_entry {
    int64_t time_ms;
    const char *request_id;
    const char *operation;     /* "ssm:SendCommand" */
    const char *caller;        /* ARN, NULL when the caller was not identified */
    const char *access_key_id; /* as claimed */
    const char *source_ip;
    const char *const *resources; /* ARNs; at most 16 are written */
    size_t n_resources;
    bool nobody;       /* refused before it was known who called: may only be counted */
    int status;        /* HTTP status */
    const char *error; /* API error name, NULL on success */
};

/* `dir` is made 0700. */
int fl_audit_new(const char *dir, struct fl_audit **ret_audit, struct fl_err *err);

/* Writes what is queued, then closes. */
struct fl_audit *fl_audit_free(struct fl_audit *audit);

/* From any thread; never blocks on the disk. NULL is fine. */
void fl_audit_write(struct fl_audit *audit, const struct fl_audit_entry *entry);
