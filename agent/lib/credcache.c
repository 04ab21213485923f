/* credcache.c - see credcache.h. */
#include "agent/lib/credcache.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"
#include "common/codec/codec.h"

#define FILE_NAME      "runtimeconfig/credentials.json"
#define MAX_FILE_BYTES 65536

#define F(member, key, flags) FL_FIELD(struct fl_credcache, member, key, flags)
static const struct fl_field fields[] = {
    F(node_id, "InstanceId", 0),
    F(access_key_id, "AccessKeyId", 0),
    F(secret_access_key, "SecretAccessKey", FL_SECRET),
    F(session_token, "SessionToken", FL_SECRET),
    F(expires_ms, "ExpiresMs", 0),
    F(retrieved_ms, "RetrievedMs", 0),
};
#undef F
static const struct fl_shape shape = FL_SHAPE(struct fl_credcache, "credentials", fields);

int fl_credcache_load(const char *state_dir, struct fl_arena *arena, struct fl_credcache *ret_cache,
                      struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(state_dir, FILE_NAME);
    fl_autofree char *text = NULL;
    struct fl_credcache c = { 0 };
    size_t len = 0;
    int r;

    *ret_cache = c;
    if (!path)
        return fl_err_nomem(err);
    r = fl_file_read(path, MAX_FILE_BYTES, &text, &len, err);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    r = fl_json_decode(&shape, text, len, 0, arena, &c, NULL);
    explicit_bzero(text, len);
    if (r < 0 || !c.node_id || !c.access_key_id || !c.secret_access_key || !c.session_token)
        return fl_err_set(err, -EBADMSG, NULL, "%s: damaged", path);
    *ret_cache = c;
    return 0;
}

int fl_credcache_copy(struct fl_arena *arena, const struct fl_credcache *from,
                      struct fl_credcache *ret_to)
{
    const struct fl_credcache to = { .node_id = fl_arena_strdup(arena, from->node_id),
                                     .access_key_id = fl_arena_strdup(arena, from->access_key_id),
                                     .secret_access_key =
                                         fl_arena_strdup(arena, from->secret_access_key),
                                     .session_token = fl_arena_strdup(arena, from->session_token),
                                     .expires_ms = from->expires_ms,
                                     .retrieved_ms = from->retrieved_ms };

    if (!to.node_id || !to.access_key_id || !to.secret_access_key || !to.session_token)
        return -ENOMEM;
    *ret_to = to;
    return 0;
}

int fl_credcache_store(const char *state_dir, const struct fl_credcache *cache, struct fl_err *err)
{
    fl_autofree char *dir = fl_path_join(state_dir, "runtimeconfig");
    fl_autofree char *path = fl_path_join(state_dir, FILE_NAME);
    fl_autobuf struct fl_buf text = FL_BUF(MAX_FILE_BYTES);
    int r;

    if (!dir || !path || fl_json_encode(&shape, cache, &text) < 0)
        return fl_err_nomem(err);
    r = fl_dir_make(dir, 0700, err);
    return r < 0 ? r : fl_file_replace(path, 0600, text.data, text.len, err);
}
