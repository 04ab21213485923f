/* op.h - an operation of the public API as a row, and what its handler gets.
 *
 * A handler is a plain synchronous function over decoded structs, run on a store thread inside one
 * transaction. It never sees JSON, XML or sockets. It returns 0 with *out filled (zeroed before;
 * memory from call->arena), or a negative errno with err->name set to the API error:
 *     return fl_err_set(err, -EINVAL, "InvalidInstanceId", "…");
 * An error without a name becomes InternalServerError (500) and is logged. A failed write-lane
 * handler leaves nothing behind.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/codec/codec.h"
#include "server/store/store.h"

struct fl_plane;

enum fl_identity_kind {
    FL_ID_ANONYMOUS, /* RegisterManagedInstance only */
    FL_ID_USER,
    FL_ID_ROLE,  /* assumed role session */
    FL_ID_NODE,  /* a node's temporary credentials, or its RSA key */
    FL_ID_GRANT, /* a URL that the plane gave out: what its session policy says, and no more */
};

struct fl_identity {
    enum fl_identity_kind kind;
    const char *account; /* 12 digits */
    const char *arn;     /* of the caller, as GetCallerIdentity gives it */
    const char *user_id; /* AIDA…, AROA…:session */
    const char *name;    /* user name, role session name or node id */
    const char *access_key_id;
    const char *node_id; /* FL_ID_NODE: the only node it may speak for; else NULL */
    const char *source_ip;
    bool node_key_current; /* FL_AUTH_NODE_RSA: signed with the node's current key, not with the
                              previous one (protocol 1 §4.3); set by the verifier */
};

/* Work on files that an operation of the write lane has to do: neither readers nor the writer wait
 * for it. Set by its `resources` or its handler, one set a call; all run on pool threads. */
struct fl_work {
    /* After the policy allowed the call and before its handler, again and again while it gives 1;
     * below 0 the call fails. NULL: nothing to do before. */
    int (*turn)(void *arg, struct fl_err *err);
    /* After the call, once; not where nobody knows whether it was stored. */
    void (*end)(void *arg, bool stored);
    void *arg;
};

struct fl_call {
    struct fl_plane *plane;
    struct fl_tx *tx;
    struct fl_arena *arena;
    const struct fl_identity *who;
    const char *account; /* of the plane */
    const char *region;
    const char *request_id;
    const char *host;       /* "name:port", as the caller names the plane; NULL: not over HTTP */
    const char *user_agent; /* NULL: it named none */
    int64_t now_ms;
    struct fl_work work;
    /* Set by a handler: its answer is kept back this long on the loop, without a store thread (a
     * long poll, a wrong guess). */
    uint32_t hold_ms;
    const char *guessed; /* a wrong secret was shown for this (server/auth/guard.h) */
    void *published;     /* private to call.c */
};

/* Remembers to publish `key` on `subject` (a static string, see bus.h) once this call is committed.
 */
int fl_call_publish(struct fl_call *call, const char *subject, const char *key);

/* What a policy is asked about: ARNs and their tags. */
struct fl_resource {
    const char *arn;
    const char *action; /* NULL: the operation's own */
    struct fl_strmap tags;
};
struct fl_resources {
    struct fl_resource *v;
    size_t n;
    bool builtin; /* a node needs no policy for them (authorize.h) */
};

enum fl_op_auth {
    FL_AUTH_SIGV4,    /* any identity with a policy that allows the action */
    FL_AUTH_NODE,     /* only a node, for itself: SigV4 with its temporary credentials */
    FL_AUTH_NODE_RSA, /* only a node: the RSA form of protocol 1 §3 */
    FL_AUTH_NONE,     /* RegisterManagedInstance */
};

typedef int (*fl_op_fn)(struct fl_call *call, const void *in, void *out, struct fl_err *err);

struct fl_op {
    const char *name;
    const struct fl_shape *in;
    const struct fl_shape *out;
    fl_op_fn fn;
    enum fl_lane lane;
    enum fl_op_auth auth;
    /* The resources the policy is evaluated on; NULL: "*". Runs in a read snapshot before fn. */
    int (*resources)(struct fl_call *call, const void *in, struct fl_resources *ret_resources,
                     struct fl_err *err);
};

/* A family of operations: one per service and file under server/api/. */
struct fl_op_table {
    const char *service;       /* "ssm", "sts", "ec2messages" */
    const char *target_prefix; /* "AmazonSSM." */
    const struct fl_op *ops;
    size_t n_ops;
};

/* All of them, ended by a NULL entry; server/api/registry.c. */
extern const struct fl_op_table *const fl_op_tables[];

/* Helpers for handlers, server/api/common.c. */
char *fl_arn(struct fl_call *call, const char *service, const char *type, const char *id);

/* Page size: `max` if given, else `dflt`. Tokens are opaque, stateless and reusable: they seal the
 * key after which the next page starts. Decoding: 0, or -EINVAL named InvalidNextToken. `what`
 * names the operation so that a token of another one is refused. NULL token -> *ret_after = NULL.
 */
int fl_page_token_decode(struct fl_call *call, const char *what, const char *token,
                         char **ret_after, struct fl_err *err);
char *fl_page_token_encode(struct fl_call *call, const char *what, const char *after);
