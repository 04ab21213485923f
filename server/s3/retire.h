/* retire.h - what is too old to be kept: objects of buckets that have a number of days, uploads
 * that nobody completed, log events past their group's retention. */
#pragma once
#include "server/s3/s3.h"

#define FL_S3_RETIRE_MAX  200 /* of a bucket's objects, and uploads, at a time */
#define FL_LOG_RETIRE_MAX 10000
#define FL_S3_UPLOAD_DAYS 7

/* In a writing transaction, by the call's clock; the files that go are in c->gone. *ret_more: some
 * are left for another time. 0 or negative. */
int fl_s3_retire(struct fl_s3_call *c, const struct fl_intmap *bucket_days, bool *ret_more);
