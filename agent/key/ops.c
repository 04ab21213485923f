/* ops.c - see ops.h. */
#include "agent/key/ops.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include "agent/lib/fingerprint.h"
#include "agent/lib/vault.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/base/clock.h"
#include "common/base/rand.h"

#define CONTENT_TYPE  "application/x-amz-json-1.1"
#define TARGET_PREFIX "AmazonSSM."

static void free_key_text(char **text)
{
    if (*text)
        fl_free_secret(*text, strlen(*text));
    *text = NULL;
}
#define auto_key_text FL_CLEANUP(free_key_text)

static void free_rsa(struct fl_rsa **rsa)
{
    *rsa = fl_rsa_free(*rsa);
}
#define auto_rsa FL_CLEANUP(free_rsa)

/* ---- signed calls ---- */

struct call {
    const char *operation;
    const char *url;
    const char *body;
    const char *region;
    int64_t time_ms;
    const char *session_token; /* NULL for RSA-signed calls */
};

/* Everything but the authorization; headers for the signer in `headers` (5 places). */
static int describe(const struct call *c, struct fl_arena *arena, struct fl_key_answer *a,
                    struct fl_http_header *headers, struct fl_sigv4_request *ret_req,
                    struct fl_err *err)
{
    char host[512], hash[FL_SHA256_HEX_BYTES], date[FL_COMPACT_BYTES];
    size_t n = 0;
    int r;

    if (!c->url || !c->body || !c->region)
        return fl_err_set(err, -EINVAL, NULL, "%s: incomplete request", c->operation);
    r = fl_url_authority(c->url, false, host, sizeof(host));
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: not a usable URL", c->url);
    fl_sha256_hex(c->body, strlen(c->body), hash);
    fl_time_compact(c->time_ms, date);
    a->operation = fl_arena_strdup(arena, c->operation);
    a->amz_date = fl_arena_strdup(arena, date);
    a->content_sha256 = fl_arena_strdup(arena, hash);
    a->host = fl_arena_strdup(arena, host);
    a->body = fl_arena_strdup(arena, c->body);
    if (!a->operation || !a->amz_date || !a->content_sha256 || !a->host || !a->body)
        return fl_err_nomem(err);
    headers[n++] = (struct fl_http_header){ "content-type", CONTENT_TYPE };
    headers[n++] = (struct fl_http_header){ "host", a->host };
    headers[n++] = (struct fl_http_header){ "x-amz-date", a->amz_date };
    headers[n++] =
        (struct fl_http_header){ "x-amz-target",
                                 fl_arena_printf(arena, TARGET_PREFIX "%s", c->operation) };
    if (c->session_token && *c->session_token)
        headers[n++] = (struct fl_http_header){ "x-amz-security-token", c->session_token };
    *ret_req = (struct fl_sigv4_request){ .method = "POST",
                                          .path = "/",
                                          .query = "",
                                          .headers = headers,
                                          .n_headers = n,
                                          .body_sha256 = a->content_sha256,
                                          .service = "ssm" };
    return headers[3].value ? 0 : fl_err_nomem(err);
}

static int keep(struct fl_arena *arena, char *text, char **ret, struct fl_err *err)
{
    *ret = fl_arena_strdup(arena, text);
    free(text);
    return *ret ? 0 : fl_err_nomem(err);
}

static int sign_rsa(const struct call *c, const struct fl_rsa *rsa, const char *node_id,
                    struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    struct fl_http_header headers[5];
    struct fl_sigv4_request req;
    char *authorization = NULL;
    int r = describe(c, arena, a, headers, &req, err);

    if (r == 0)
        r = fl_sigv4_sign_rsa(&req, rsa, node_id, c->region, a->amz_date, &authorization, err);
    return r < 0 ? r : keep(arena, authorization, &a->authorization, err);
}

/* ---- the registered key ---- */

static void wipe(char *text)
{
    if (text)
        fl_wipe(text, strlen(text));
}

/* The registration with its current or pending key, ready to sign. The key's text is wiped. */
static int load_signer(struct fl_key *key, bool pending, struct fl_arena *arena,
                       struct fl_registration *ret_reg, struct fl_rsa **ret_rsa, struct fl_err *err)
{
    struct fl_registration reg;
    char *pending_text = NULL;
    int r;

    r = fl_vault_load(key->state_dir, !pending, arena, &reg, err);
    if (r == 0 && !reg.node_id)
        return fl_err_set(err, -ENOENT, NULL, "%s: this machine is not registered", key->state_dir);
    if (r == 0 && pending) {
        r = fl_vault_pending_load(key->state_dir, arena, &pending_text, err);
        if (r == 0 && !pending_text)
            return fl_err_set(err, -ENOENT, NULL, "%s: no pending key", key->state_dir);
    }
    if (r == 0)
        r = fl_rsa_from_private_text(pending ? pending_text : reg.private_key, ret_rsa, err);
    wipe(pending_text);
    if (r < 0)
        return r;
    wipe(reg.private_key);
    reg.private_key = NULL;
    *ret_reg = reg;
    return 0;
}

static int op_sign_token(struct fl_key *key, const struct fl_key_request *req,
                         struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    auto_rsa struct fl_rsa *rsa = NULL;
    struct fl_registration reg;
    char print[FL_UUID_BYTES];
    struct call c = { .operation = "RequestManagedInstanceRoleToken",
                      .url = req->url,
                      .time_ms = req->time_ms };
    int r = load_signer(key, req->pending, arena, &reg, &rsa, err);

    if (r < 0)
        return r;
    if (req->fingerprint && fl_uuid_valid(req->fingerprint))
        strcpy(print, req->fingerprint);
    else
        r = fl_fingerprint_get(key->state_dir, print, &a->fingerprint_changed, err);
    if (r < 0)
        return r;
    a->fingerprint = fl_arena_strdup(arena, print);
    c.body = fl_arena_printf(arena, "{\"Fingerprint\":\"%s\"}", print);
    c.region = reg.region;
    if (!a->fingerprint || !c.body)
        return fl_err_nomem(err);
    return sign_rsa(&c, rsa, reg.node_id, arena, a, err);
}

/* ---- rotation ---- */

/* The pending key, made and stored first if there is none. */
static int ensure_pending(struct fl_key *key, struct fl_arena *arena, struct fl_rsa **ret_rsa,
                          struct fl_err *err)
{
    auto_rsa struct fl_rsa *rsa = NULL;
    auto_key_text char *text = NULL;
    char *stored = NULL;
    int r;

    r = fl_vault_pending_load(key->state_dir, arena, &stored, err);
    if (r < 0)
        return r;
    if (stored) {
        r = fl_rsa_from_private_text(stored, ret_rsa, err);
        wipe(stored);
        return r;
    }
    r = fl_rsa_generate(&rsa, err);
    if (r == 0)
        r = fl_rsa_private_text(rsa, &text);
    if (r == 0)
        r = fl_vault_pending_store(key->state_dir, text, err);
    if (r == 0)
        *ret_rsa = FL_TAKE(rsa);
    return r;
}

static int op_rotate_begin(struct fl_key *key, const struct fl_key_request *req,
                           struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    auto_rsa struct fl_rsa *current = NULL;
    auto_rsa struct fl_rsa *next = NULL;
    fl_autofree char *public_text = NULL;
    struct fl_registration reg;
    struct call c = { .operation = "UpdateManagedInstancePublicKey",
                      .url = req->url,
                      .time_ms = req->time_ms };
    int r = load_signer(key, false, arena, &reg, &current, err);

    if (r == 0)
        r = ensure_pending(key, arena, &next, err);
    if (r == 0)
        r = fl_rsa_public_text(next, &public_text);
    if (r < 0)
        return r;
    c.region = reg.region;
    c.body = fl_arena_printf(arena, "{\"NewPublicKey\":\"%s\",\"NewPublicKeyType\":\"Rsa\"}",
                             public_text);
    return c.body ? sign_rsa(&c, current, reg.node_id, arena, a, err) : fl_err_nomem(err);
}

static int op_promote(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
                      struct fl_key_answer *a, struct fl_err *err)
{
    return fl_vault_pending_promote(key->state_dir, err);
}

static int op_drop(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
                   struct fl_key_answer *a, struct fl_err *err)
{
    return fl_vault_pending_drop(key->state_dir, err);
}

static int op_state(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
                    struct fl_key_answer *a, struct fl_err *err)
{
    char *text = NULL;
    int r = fl_vault_pending_load(key->state_dir, arena, &text, err);

    wipe(text);
    a->has_pending = text != NULL;
    return r;
}

/* ---- registration ---- */

static int op_register_begin(struct fl_key *key, const struct fl_key_request *req,
                             struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    char print[FL_UUID_BYTES];
    char *public_text = NULL;
    int r;

    r = fl_vault_probe(key->state_dir, err);
    if (r == 0)
        r = fl_fingerprint_get(key->state_dir, print, &a->fingerprint_changed, err);
    if (r == 0 && req->disable_similarity)
        r = fl_fingerprint_set_threshold(key->state_dir, -1, err);
    if (r < 0)
        return r;
    key->fresh = fl_rsa_free(key->fresh);
    r = fl_rsa_generate(&key->fresh, err);
    if (r == 0)
        r = fl_rsa_public_text(key->fresh, &public_text);
    if (r == 0)
        r = keep(arena, public_text, &a->public_key, err);
    a->fingerprint = fl_arena_strdup(arena, print);
    return r == 0 && !a->fingerprint ? fl_err_nomem(err) : r;
}

static int op_register_sign(struct fl_key *key, const struct fl_key_request *req,
                            struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    struct fl_http_header headers[5];
    struct fl_sigv4_request signed_req;
    const struct fl_aws_creds creds = { req->access_key_id, req->secret_access_key,
                                        req->session_token };
    const struct call c = { .operation = "RegisterManagedInstance",
                            .url = req->url,
                            .body = req->body,
                            .region = req->region,
                            .time_ms = req->time_ms,
                            .session_token = req->session_token };
    char *authorization;
    int r;

    if (!creds.access_key_id || !creds.secret_access_key)
        return fl_err_set(err, -EINVAL, NULL, "no AWS credentials to sign the registration with");
    r = describe(&c, arena, a, headers, &signed_req, err);
    if (r == 0)
        r = fl_sigv4_sign(&signed_req, &creds, c.region, a->amz_date, &authorization, err);
    return r < 0 ? r : keep(arena, authorization, &a->authorization, err);
}

static int op_register_commit(struct fl_key *key, const struct fl_key_request *req,
                              struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    auto_key_text char *text = NULL;
    struct fl_registration reg = { .node_id = req->node_id, .region = req->region };
    int r;

    if (!key->fresh || !reg.node_id || !reg.region)
        return fl_err_set(err, -EINVAL, NULL, "nothing to commit");
    r = fl_rsa_private_text(key->fresh, &text);
    if (r < 0)
        return r;
    reg.private_key = text;
    r = fl_vault_store(key->state_dir, &reg, err);
    /* A rotation of the identity that has just been replaced. */
    return r < 0 ? r : fl_vault_pending_drop(key->state_dir, err);
}

static int op_clear(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
                    struct fl_key_answer *a, struct fl_err *err)
{
    return fl_vault_clear(key->state_dir, err);
}

static int op_threshold(struct fl_key *key, const struct fl_key_request *req,
                        struct fl_arena *arena, struct fl_key_answer *a, struct fl_err *err)
{
    if (req->threshold != -1 && (req->threshold < 1 || req->threshold > 100))
        return fl_err_set(err, -EINVAL, NULL, "similarity threshold must be -1 or 1 to 100");
    return fl_fingerprint_set_threshold(key->state_dir, (int)req->threshold, err);
}

static const struct {
    const char *name;
    int (*run)(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
               struct fl_key_answer *a, struct fl_err *err);
} ops[] = {
    { FL_KEY_SIGN_TOKEN, op_sign_token },
    { FL_KEY_ROTATE_BEGIN, op_rotate_begin },
    { FL_KEY_PROMOTE, op_promote },
    { FL_KEY_DROP, op_drop },
    { FL_KEY_STATE, op_state },
    { FL_KEY_REGISTER_BEGIN, op_register_begin },
    { FL_KEY_REGISTER_SIGN, op_register_sign },
    { FL_KEY_REGISTER_COMMIT, op_register_commit },
    { FL_KEY_CLEAR, op_clear },
    { FL_KEY_THRESHOLD, op_threshold },
};

int fl_key_run(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
               struct fl_key_answer *ret_answer, struct fl_err *err)
{
    /* A key process finishes its step although its monitor was killed: the one that the next
     * monitor starts must not look for a pending key while the other still makes it, or each would
     * hold a different one for the node's next key. No folder yet: nobody to wait for. */
    fl_autofd int lock = open(key->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (lock >= 0 && TEMP_FAILURE_RETRY(flock(lock, LOCK_EX)) < 0)
        return fl_err_set(err, -errno, NULL, "%s: cannot lock: %s", key->state_dir,
                          strerror(errno));
    for (size_t i = 0; i < FL_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, req->op) == 0)
            return ops[i].run(key, req, arena, ret_answer, err);
    return fl_err_set(err, -EINVAL, NULL, "%s: no such operation", req->op);
}

void fl_key_done(struct fl_key *key)
{
    key->fresh = fl_rsa_free(key->fresh);
}
