/* authorize.h - may this caller do this: attached policies, session policies, the built-in node
 * policy. */
#pragma once
#include "server/auth/auth.h"

struct fl_access {
    const char *action;                   /* "ssm:SendCommand" */
    const struct fl_resources *resources; /* every one must be allowed; n 0 is refused */
    const struct fl_strmap *request_tags; /* NULL: none */
    bool builtin; /* a node needs no policy for it; what is denied stays so */
};

/* 0, or -EACCES named AccessDeniedException in AWS's words. Reads the policies of the caller
 * through call->tx. A node needs no policy for the actions of protocol 1 §5.3 on itself; it may use
 * no other node's id whatever its role says. */
int fl_authorize(struct fl_call *call, const struct fl_caller *caller,
                 const struct fl_access *access, struct fl_err *err);

/* True if the built-in node policy names the action. */
bool fl_node_action(const char *action);
