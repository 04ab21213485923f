/* identity.h - the monitor's part that keeps the node's temporary credentials fresh.
 *
 * Loads cached credentials if they still live, asks fairlead-agent-key for signed token requests,
 * has net carry them, writes the shared-credentials and identity_config files, and rotates the key
 * (protocol 1 §4). Refresh at half of the life, jittered backoff on failure that never gives up.
 */
#pragma once
#include "agent/lib/config.h"
#include "agent/lib/ipc_net.h"
#include "agent/lib/paths.h"
#include "agent/lib/vault.h"

struct fl_identity_keeper;

struct fl_identity_events {
    /* Send this to net (FL_NET_TOKEN_CALL). Non-zero: net is not there; the keeper tries again
     * later. */
    int (*send_call)(void *arg, const struct fl_net_signed_call *call);
    /* Fresh credentials; hand them to net (FL_NET_CREDS). */
    void (*on_creds)(void *arg, const struct fl_net_creds *creds);
};

int fl_identity_keeper_new(struct fl_loop *loop, const struct fl_paths *paths,
                           const struct fl_agent_config *config, const struct fl_registration *reg,
                           const struct fl_identity_events *events, void *arg,
                           struct fl_identity_keeper **ret_keeper, struct fl_err *err);
struct fl_identity_keeper *fl_identity_keeper_free(struct fl_identity_keeper *k);

/* Net is up: go on (cached credentials are given by on_creds, or a token is asked for at once). */
void fl_identity_keeper_net_up(struct fl_identity_keeper *k);
void fl_identity_keeper_net_down(struct fl_identity_keeper *k);
void fl_identity_keeper_result(struct fl_identity_keeper *k, const struct fl_net_token_result *res);

/* The control channel is open: the way out works, so a wait after a transport fault is cut short.
 */
void fl_identity_keeper_online(struct fl_identity_keeper *k);

/* The service refuses the credentials handed out: fresh ones are asked for, if these are not new.
 * May be said as often as one likes: a try that failed is repeated when it is due, and between
 * tokens that do not help the wait doubles, from half a minute up to half an hour, until
 * fl_identity_keeper_online. */
void fl_identity_keeper_refused(struct fl_identity_keeper *k);

/* What calls may be signed with now; access_key_id NULL: nothing. Dies with the next event. The
 * service's time less fl_boot_ms() as far as it is known. */
struct fl_net_creds fl_identity_keeper_creds(const struct fl_identity_keeper *k,
                                             int64_t *ret_offset_ms);

/* For status: expiry of the current credentials (0: none), newest failure or NULL. */
int64_t fl_identity_keeper_expires_ms(const struct fl_identity_keeper *k);
const char *fl_identity_keeper_error(const struct fl_identity_keeper *k);
