/* policy.h - who may do what: a documented subset of IAM's JSON policy grammar.
 *
 *   Version     any string, ignored
 *   Statement   one statement or a list
 *   Effect      "Allow" | "Deny"
 *   Action | NotAction       string or list; '*' and '?' match; "ssm:SendCommand", letter case
 * ignored Resource | NotResource   string or list; '*' and '?' match Principal                in
 * trust policies only: "*" or {"AWS": arn, account id or list} Condition   operators StringEquals,
 * StringNotEquals, StringLike, IpAddress, NotIpAddress on the keys aws:SourceIp, aws:username,
 * ssm:resourceTag/<k>, aws:ResourceTag/<k>, aws:RequestTag/<k> Sid, Id     ignored
 *
 *   Further: Bool, BoolIfExists on ssm:SessionDocumentAccessCheck (true for ssm:StartSession,
 * absent elsewhere), aws:userid as a key, and the variables ${aws:username} and ${aws:userid} in
 * Resource, NotResource and the values of conditions.
 *
 * Anything else is refused when the policy is read, never silently ignored. An explicit Deny wins;
 * what no statement allows is denied. A condition on a key the request does not have is false for
 * the positive operators and true for the Not ones, as in IAM.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/codec/codec.h"

#define FL_POLICY_MAX_BYTES 20480 /* of JSON text */

struct fl_policy; /* in the arena it was parsed into */

enum fl_policy_kind { FL_POLICY_IDENTITY, FL_POLICY_TRUST };

/* 0; -EINVAL named MalformedPolicyDocument with what is wrong, -EMSGSIZE for a text that is too
 * long. */
int fl_policy_parse(const char *text, size_t len, enum fl_policy_kind kind, struct fl_arena *arena,
                    const struct fl_policy **ret_policy, struct fl_err *err);

struct fl_policy_request {
    const char *action;                    /* "ssm:SendCommand" */
    const char *resource;                  /* ARN */
    const char *source_ip;                 /* NULL: unknown */
    const char *username;                  /* NULL unless a user calls */
    const char *user_id;                   /* aws:userid; NULL: unknown */
    const char *principal;                 /* ARN of the caller; for trust policies */
    const char *account;                   /* account of the caller; for trust policies */
    const struct fl_strmap *resource_tags; /* NULL: none */
    const struct fl_strmap *request_tags;
};

enum fl_verdict { FL_VERDICT_SILENT, FL_VERDICT_ALLOW, FL_VERDICT_DENY };

enum fl_verdict fl_policy_eval(const struct fl_policy *policy, const struct fl_policy_request *req);
