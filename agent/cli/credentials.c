/* credentials.c - `fairlead-agent credentials`: the node's temporary credentials in the form that
 * AWS SDKs expect of a credential_process. Only who may read the state directory gets them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/cli/cli.h"
#include "agent/lib/credcache.h"
#include "common/base/clock.h"
#include "common/codec/codec.h"

struct process_credentials {
    int32_t version; /* 1 */
    char *access_key_id, *secret_access_key, *session_token, *expiration;
};

#define F(member, key) FL_FIELD(struct process_credentials, member, key, FL_SECRET)
static const struct fl_field fields[] = {
    F(version, "Version"),
    F(access_key_id, "AccessKeyId"),
    F(secret_access_key, "SecretAccessKey"),
    F(session_token, "SessionToken"),
    F(expiration, "Expiration"),
};
#undef F
static const struct fl_shape shape = FL_SHAPE(struct process_credentials, "credentials", fields);

int fl_cli_credentials(const struct fl_cli *cli, const struct fl_paths *paths)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    fl_autobuf struct fl_buf out = FL_BUF(65536);
    struct fl_credcache cache;
    struct fl_err err = { 0 };
    char expiration[FL_ISO_BYTES];

    if (fl_credcache_load(paths->state, &arena, &cache, &err) < 0) {
        fprintf(stderr, "fairlead-agent: %s\n", fl_err_text(&err));
        return 1;
    }
    if (!cache.node_id) {
        fprintf(stderr,
                "fairlead-agent: no credentials yet in %s: is the agent registered and running?\n",
                paths->state);
        return 1;
    }
    fl_time_iso_seconds(cache.expires_ms, expiration);
    if (cache.expires_ms <= fl_now_ms()) {
        fprintf(stderr, "fairlead-agent: the credentials expired at %s: is the agent running?\n",
                expiration);
        return 1;
    }
    if (fl_json_encode(&shape,
                       &(struct process_credentials){ 1, cache.access_key_id,
                                                      cache.secret_access_key, cache.session_token,
                                                      expiration },
                       &out) < 0)
        return 1;
    return puts(out.data) < 0 || fflush(stdout) != 0;
}
