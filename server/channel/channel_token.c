/* channel_token.c - see channel_token.h. */
#include "server/channel/channel_token.h"
#include "common/base/rand.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SUBJECT_MAX 120

/* What a token is sealed for. */
static const char *const kinds[FL_TOKEN__N] = {
    [FL_TOKEN_CONTROL] = "control-channel",
    [FL_TOKEN_DATA_AGENT] = "data-channel agent",
    [FL_TOKEN_DATA_CLIENT] = "data-channel client",
};

/* Ids of used tokens, until they are too old anyway. A slot's neighbours take what does not fit; if
 * all of them are in use (far more opens than nodes could make), the oldest is forgotten. */
#define USED_SLOTS (128 * 1024)
#define NEIGHBOURS 8

static struct used {
    uint64_t id;
    int64_t until_ms;
} used[USED_SLOTS];
static pthread_mutex_t used_lock = PTHREAD_MUTEX_INITIALIZER;

static bool first_use(uint64_t id, int64_t now_ms)
{
    struct used *best = NULL;
    bool fresh = true;

    pthread_mutex_lock(&used_lock);
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        struct used *u = &used[(id + i) % USED_SLOTS];

        if (u->id == id && u->until_ms > now_ms)
            fresh = false;
        if (!best || u->until_ms < best->until_ms)
            best = u;
    }
    if (fresh)
        *best = (struct used){ id, now_ms + FL_CHANNEL_TOKEN_LIFE_MS };
    pthread_mutex_unlock(&used_lock);
    return fresh;
}

int fl_channel_token_new(const uint8_t seal_key[FL_SEAL_KEY_BYTES], enum fl_channel_token kind,
                         const char *subject, int64_t now_ms, char **ret_token)
{
    fl_autofree uint8_t *sealed = NULL;
    char plain[SUBJECT_MAX + 64];
    uint64_t id;
    size_t len;
    int n, r;

    if (!*subject || strlen(subject) > SUBJECT_MAX || strpbrk(subject, " \t\r\n\v\f"))
        return -EINVAL;
    fl_random_bytes(&id, sizeof(id));
    n = snprintf(plain, sizeof(plain), "%016" PRIx64 " %" PRId64 " %s", id, now_ms, subject);
    r = fl_seal(seal_key, kinds[kind], plain, (size_t)n + 1, &sealed, &len);
    if (r < 0)
        return r;
    *ret_token = fl_base64_encode(sealed, len);
    return *ret_token ? 0 : -ENOMEM;
}

int fl_channel_token_use(const uint8_t seal_key[FL_SEAL_KEY_BYTES], enum fl_channel_token kind,
                         const char *token, const char *subject, int64_t now_ms)
{
    fl_autofree uint8_t *sealed = NULL;
    fl_autofree uint8_t *plain = NULL;
    char whose[SUBJECT_MAX + 1];
    int64_t issued_ms;
    uint64_t id;
    size_t len;

    if (strlen(token) > FL_CHANNEL_TOKEN_MAX_BYTES || fl_base64_decode(token, &sealed, &len) < 0 ||
        fl_unseal(seal_key, kinds[kind], sealed, len, &plain, &len) < 0)
        return -EBADMSG;
    if (sscanf((const char *)plain, "%" SCNx64 " %" SCNd64 " %120s", &id, &issued_ms, whose) != 3 ||
        strcmp(whose, subject) != 0)
        return -EBADMSG;
    if (now_ms - issued_ms > FL_CHANNEL_TOKEN_LIFE_MS)
        return -ETIME;
    return first_use(id, now_ms) ? 0 : -EALREADY;
}
