/* session_plan.h - what a session's document and parameters come to: its type and how it is run.
 *
 * Pure. Rules: protocol 3 §3, §8, §9. Used by the holder, which does it, and by the policy process,
 * which decides about it, so that both read the same thing.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/doc/ssm_refs.h"
#include "common/wire/datachannel.h"

#define FL_SESSION_TYPE_STANDARD        "Standard_Stream"
#define FL_SESSION_TYPE_INTERACTIVE     "InteractiveCommands"
#define FL_SESSION_TYPE_NON_INTERACTIVE "NonInteractiveCommands"
#define FL_SESSION_TYPE_PORT            "Port"

enum fl_session_kind {
    FL_SESSION_STANDARD,
    FL_SESSION_INTERACTIVE,
    FL_SESSION_NON_INTERACTIVE,
    FL_SESSION_PORT,
};

/* Where else what the session prints is to go, and what is demanded of that place (protocol 3 §10).
 */
struct fl_session_logging {
    char *bucket, *prefix; /* bucket NULL: not to S3; prefix "" for none */
    char *group;           /* NULL: not to CloudWatch Logs */
    bool bucket_encrypted, group_encrypted;
    bool stream; /* to the group while it runs; else as a whole after it */
};

/* Strings are of the arena. */
struct fl_session_plan {
    enum fl_session_kind kind;
    const char *type;
    char *session_id, *document_name, *owner;
    char *document;    /* JSON text, as it came */
    char *parameters;  /* JSON object: all effective ones, canonical */
    bool run_as_named; /* somebody is named below, or should have been */
    char *run_as;      /* user asked for; "" : nobody, although one must be */
    char *kms_key_id;  /* NULL: not encrypted */
    char *profile;     /* Standard_Stream: written to the shell first; NULL: nothing */

    /* the two kinds of commands */
    char *commands;
    bool elevated; /* as the agent's own user */
    /* NonInteractiveCommands */
    bool separate_output;
    char *stdout_prefix, *stderr_prefix; /* NULL: none */
    bool shell;                          /* ours: run by a shell of the user's, not split */
    bool has_stdin;                      /* ours: input is the commands' standard input */

    char *properties;                  /* Port: JSON object, resolved */
    struct fl_session_logging logging; /* empty where the plane sees to it */
    struct fl_msg_extras extras;
};

/* `content` is interactive_shell's Content, JSON text. 0; -EINVAL or -EBADMSG with words for the
 * operator; -EMSGSIZE, -ENOMEM. `refs`: {{ssm:NAME}} in inputs and properties become the values
 * that are known, and the others are noted; NULL: they stay. Whether and as whom a session runs is
 * decided about before the values are known: it may not be one. */
int fl_session_plan_load(const char *content, struct fl_ssm_refs *refs, struct fl_arena *arena,
                         struct fl_session_plan *ret_plan, struct fl_err *err);

/* The name of the user it runs as, if `root` (the agent is), and `configured` (NULL: none) is
 * SessionUser of its settings. NULL: it runs as nobody (Port), or it will be refused. */
#define FL_SESSION_DEFAULT_USER "ssm-user"
const char *fl_session_plan_user(const struct fl_session_plan *plan, bool root,
                                 const char *configured);
