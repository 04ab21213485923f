/* document.h - which document a session runs, checked and with the account's preferences in it
 * (protocol 3 §9).
 */
#pragma once
#include "server/op.h"

#define FL_SESSION_PREFERENCES "SSM-SessionManagerRunShell"
#define FL_PASSWORD_RESET      "AWS-PasswordReset" /* encrypted or not at all (§9) */

struct fl_session_document {
    const char *name;                  /* without account */
    const char *type;                  /* sessionType: "Standard_Stream", "Port", … */
    char *content;                     /* JSON: the document as the agent gets it */
    char *parameters;                  /* JSON object: those given, as the agent gets them */
    int64_t idle_minutes, max_minutes; /* 0: no limit */
};

/* The document `name` (NULL: the account's preferences, or the plane's own where it has none) with
 * parameters as the API gives them. Inputs that the preferences have and the document has not are
 * added to it: the agent sees no other. Memory of call->arena. -EINVAL named InvalidDocument or
 * ValidationException. */
int fl_session_document(struct fl_call *call, const char *name, const struct fl_listmap *given,
                        struct fl_session_document *ret_doc, struct fl_err *err);
