/* authorize.c - collecting the policies of a caller and asking them. */
#include "server/auth/authorize.h"

#include <errno.h>
#include <string.h>
#include "common/base/log.h"
#include "server/api/nodes.h"
#include "server/auth/policy.h"

#define POLICIES_MAX 64 /* attached to one user or role */

/* What AWS's managed policy for nodes allows; protocol 1 §5.3. */
static const char *const node_actions[] = {
    "ssm:UpdateInstanceInformation",
    "ssm:ListAssociations",
    "ssm:ListInstanceAssociations",
    "ssm:DescribeAssociation",
    "ssm:UpdateAssociationStatus",
    "ssm:UpdateInstanceAssociationStatus",
    "ssm:GetDocument",
    "ssm:DescribeDocument",
    "ssm:GetManifest",
    "ssm:GetParameter",
    "ssm:GetParameters",
    "ssm:GetDeployablePatchSnapshotForInstance",
    "ssm:PutInventory",
    "ssm:PutComplianceItems",
    "ssm:PutConfigurePackageResult",
    "ssm:RequestManagedInstanceRoleToken",
    "ssm:UpdateManagedInstancePublicKey",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
};

struct policies {
    const struct fl_policy *v[POLICIES_MAX];
    size_t n;
    const struct fl_policy *session;
};

bool fl_node_action(const char *action)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(node_actions); i++)
        if (strcmp(node_actions[i], action) == 0)
            return true;
    return false;
}

/* A policy was checked when it was stored; one that cannot be read now must not open anything. */
static int unreadable(struct fl_call *call, const struct fl_caller *caller, struct fl_err *err)
{
    fl_log_error("a stored policy cannot be read", FL_S("caller", caller->id.arn),
                 FL_S("error", fl_err_text(err)));
    return fl_err_set(err, -EACCES, "AccessDeniedException",
                      "A policy of %s cannot be evaluated; an administrator must replace it.",
                      caller->id.arn);
}

static int load(struct fl_call *call, const struct fl_caller *caller, struct policies *out,
                struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    const char *name = caller->user ? caller->user : caller->role;
    int r;

    if (name) {
        r = fl_sql_open(call->tx, FL_SQL_policy_of_principal, &c, err, FL_T(caller->id.account),
                        FL_T(caller->user ? "user" : "role"), FL_T(name));
        if (r < 0)
            return r;
        while ((r = fl_sql_next(c, err)) > 0) {
            const char *text = fl_sql_text(c, 0);

            if (out->n == POLICIES_MAX)
                return fl_err_set(err, -EACCES, "AccessDeniedException",
                                  "More than %d policies are attached to %s.", POLICIES_MAX, name);
            r = fl_policy_parse(text, strlen(text), FL_POLICY_IDENTITY, call->arena,
                                &out->v[out->n++], err);
            if (r < 0)
                return unreadable(call, caller, err);
        }
        if (r < 0)
            return r;
    }
    if (caller->session_policy) {
        r = fl_policy_parse(caller->session_policy, strlen(caller->session_policy),
                            FL_POLICY_IDENTITY, call->arena, &out->session, err);
        if (r < 0)
            return unreadable(call, caller, err);
    }
    return 0;
}

static enum fl_verdict judge(const struct policies *p, const struct fl_policy_request *req,
                             bool builtin)
{
    enum fl_verdict v = builtin ? FL_VERDICT_ALLOW : FL_VERDICT_SILENT;

    for (size_t i = 0; i < p->n; i++) {
        enum fl_verdict one = fl_policy_eval(p->v[i], req);

        if (one == FL_VERDICT_DENY)
            return one;
        if (one == FL_VERDICT_ALLOW)
            v = one;
    }
    if (p->session) {
        enum fl_verdict one = fl_policy_eval(p->session, req);

        if (one != FL_VERDICT_ALLOW)
            return one;
    }
    return v;
}

/* A node's ARN, or a channel's, ends in the id of a node; so may that of a parameter for one. */
static bool foreign_node(const char *arn, const char *node_id)
{
    const char *slash = strrchr(arn, '/');

    return slash && fl_node_id_valid(slash + 1) && strcmp(slash + 1, node_id) != 0;
}

static int denied(const struct fl_caller *caller, const char *action, const char *resource,
                  enum fl_verdict v, struct fl_err *err)
{
    if (v == FL_VERDICT_DENY)
        return fl_err_set(err, -EACCES, "AccessDeniedException",
                          "User: %s is not authorized to perform: %s on resource: %s with an "
                          "explicit deny in an identity-based policy",
                          caller->id.arn, action, resource);
    return fl_err_set(err, -EACCES, "AccessDeniedException",
                      "User: %s is not authorized to perform: %s on resource: %s because no "
                      "identity-based policy allows the %s action",
                      caller->id.arn, action, resource, action);
}

int fl_authorize(struct fl_call *call, const struct fl_caller *caller,
                 const struct fl_access *access, struct fl_err *err)
{
    bool node = caller->id.kind == FL_ID_NODE, grant = caller->id.kind == FL_ID_GRANT;
    struct policies p = { 0 };
    int r = load(call, caller, &p, err);

    if (r < 0)
        return r;
    if (access->resources->n == 0)
        return denied(caller, access->action, "*", FL_VERDICT_SILENT, err);
    for (size_t i = 0; i < access->resources->n; i++) {
        const struct fl_resource *res = &access->resources->v[i];
        const char *action = res->action ? res->action : access->action;
        struct fl_policy_request req = {
            .action = action,
            .resource = res->arn,
            .source_ip = caller->id.source_ip,
            .username = caller->user,
            .user_id = caller->id.user_id,
            .principal = caller->id.arn,
            .account = caller->id.account,
            .resource_tags = &res->tags,
            .request_tags = access->request_tags,
        };
        enum fl_verdict v =
            node && foreign_node(res->arn, caller->id.node_id)
                ? FL_VERDICT_SILENT
                : judge(&p, &req, grant || (node && (access->builtin || fl_node_action(action))));

        if (v != FL_VERDICT_ALLOW)
            return denied(caller, action, res->arn, v, err);
    }
    return 0;
}
