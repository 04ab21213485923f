/* credcache.h - the node's newest temporary credentials in its own state directory.
 *
 * <state>/runtimeconfig/credentials.json, 0600: a restarted agent goes on with them, and
 * `fairlead-agent credentials` hands them out. Independent of the shared credentials file.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

struct fl_credcache {
    char *node_id; /* NULL: nothing cached */
    char *access_key_id, *secret_access_key, *session_token;
    int64_t expires_ms, retrieved_ms;
};

/* 0 with node_id NULL if there is no file; -EBADMSG for a damaged one, or why it cannot be read. */
int fl_credcache_load(const char *state_dir, struct fl_arena *arena, struct fl_credcache *ret_cache,
                      struct fl_err *err);
/* Strings of `arena`. 0; -ENOMEM, also where one of them is missing. */
int fl_credcache_copy(struct fl_arena *arena, const struct fl_credcache *from,
                      struct fl_credcache *ret_to);
int fl_credcache_store(const char *state_dir, const struct fl_credcache *cache, struct fl_err *err);
