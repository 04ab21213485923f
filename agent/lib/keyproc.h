/* keyproc.h - asking fairlead-agent-key, the only program that ever holds the private key.
 *
 * One process serves any number of requests: one line of JSON each way, answered in order. End of
 * file on its input ends it.
 */
#pragma once
#include "agent/lib/paths.h"
#include "common/base/loop.h"
#include "common/codec/codec.h"

#define FL_KEY_MAX_LINE_BYTES (64u << 10)

/* Operations; what each reads and fills below. All errors: error (words), nothing else. */
#define FL_KEY_REGISTER_BEGIN "register-begin" /* disable_similarity -> fingerprint, public_key */
#define FL_KEY_REGISTER_SIGN \
    "register-sign" /* url, region, body, access_*, session_token -> call */
#define FL_KEY_REGISTER_COMMIT "register-commit" /* node_id, region: stores what begin made */
#define FL_KEY_SIGN_TOKEN                                                   \
    "sign-token" /* url, time_ms, fingerprint, pending -> call, fingerprint \
                  */
#define FL_KEY_ROTATE_BEGIN                                                                 \
    "rotate-begin"                   /* url, time_ms -> call; a pending key is on disk then \
                                      */
#define FL_KEY_PROMOTE   "promote"   /* the pending key becomes the key */
#define FL_KEY_DROP      "drop"      /* the pending key is forgotten */
#define FL_KEY_STATE     "state"     /* -> has_pending */
#define FL_KEY_CLEAR     "clear"     /* empties registration and fingerprint */
#define FL_KEY_THRESHOLD "threshold" /* threshold: of the stored fingerprint */

struct fl_key_request {
    char *op;
    char *url;         /* of the ssm service */
    char *fingerprint; /* NULL: find out; else the one an earlier answer gave */
    char *node_id, *region;
    char *body;
    char *access_key_id, *secret_access_key, *session_token;
    int64_t time_ms; /* to sign with */
    int64_t threshold;
    bool pending; /* sign with the pending key */
    bool disable_similarity;
};
struct fl_key_answer {
    char *error;
    char *operation, *amz_date, *authorization, *content_sha256, *host, *body; /* the signed call */
    char *fingerprint;
    char *public_key;
    bool fingerprint_changed; /* the hardware is no longer similar: the server will refuse */
    bool has_pending;
};
extern const struct fl_shape fl_shape_key_request, fl_shape_key_answer;

struct fl_keyproc;

/* `answer` is NULL when the process ended, or broke the protocol, before it answered; then `why`
 * says how, and the object may only be freed. May be freed inside. */
typedef void (*fl_keyproc_fn)(void *arg, const struct fl_key_answer *answer, const char *why);

/* Starts the process for `state_dir`. */
int fl_keyproc_new(struct fl_loop *loop, const struct fl_paths *paths, fl_keyproc_fn fn, void *arg,
                   struct fl_keyproc **ret_proc, struct fl_err *err);

/* Ends the process too, unless it is busy: it then finishes what it does. */
struct fl_keyproc *fl_keyproc_free(struct fl_keyproc *p);

/* Sends one request; one answer follows. At most one may be under way. */
int fl_keyproc_ask(struct fl_keyproc *p, const struct fl_key_request *req, uint32_t timeout_ms,
                   struct fl_err *err);
