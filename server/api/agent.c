/* agent.c - the operations only agents call: registration, role token, key change, health ping, the
 * associations of a node and its packages (protocol 1 §1.2, §3.2, §4.3, §6, protocol 6 §2.3). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/aws/crypto.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "server/api/activations.h"
#include "server/api/nodes.h"
#include "server/api/registry.h"
#include "server/api/tags.h"
#include "server/auth/auth.h"
#include "server/auth/token.h"
#include "server/channel/clones.h"

#define KEY_TYPE      "Rsa"
#define KEY_MAX_CHARS 4096 /* RSA-8192 takes 1432 */
#define ID_TRIES      3

/* ---- RegisterManagedInstance ---- */
struct register_in {
    char *activation_id;
    char *code;
    char *fingerprint;
    char *public_key;
    char *key_type;
};
#define F(member, key, flags, max_chars) \
    FL_FIELD(struct register_in, member, key, flags, .limits = { .max = (max_chars) })
static const struct fl_field register_in_fields[] = {
    F(activation_id, "ActivationId", FL_REQUIRED, 64),
    F(code, "ActivationCode", FL_REQUIRED | FL_SECRET, 250),
    F(fingerprint, "Fingerprint", FL_REQUIRED, 128),
    F(public_key, "PublicKey", FL_REQUIRED, KEY_MAX_CHARS),
    F(key_type, "PublicKeyType", FL_REQUIRED, 32),
};
#undef F
static const struct fl_shape register_in_shape =
    FL_SHAPE(struct register_in, "RegisterManagedInstance", register_in_fields);

struct register_out {
    char *instance_id;
};
static const struct fl_field register_out_fields[] = {
    FL_FIELD(struct register_out, instance_id, "InstanceId", 0),
};
static const struct fl_shape register_out_shape =
    FL_SHAPE(struct register_out, "RegisterManagedInstanceResult", register_out_fields);

/* This is the one call that needs no identity. */
static int check_code(struct fl_call *call, const struct register_in *req,
                      struct fl_activation *activation, struct fl_err *err)
{
    char mac[FL_SHA256_HEX_BYTES];
    const char *ip = call->who->source_ip;
    int found;

    if (!fl_auth_admit(call->plane, ip, req->activation_id, err))
        return -EAGAIN;
    fl_activation_code_mac(call->plane, req->activation_id, req->code, mac);
    found = fl_activation_find(call, req->activation_id, activation, err);
    if (found < 0)
        return found;
    if (found &&
        fl_equal_secret(mac, strlen(mac), activation->code_mac, strlen(activation->code_mac)))
        return 0;
    fl_err_set(err, -EKEYREJECTED, "InvalidActivation",
               "The activation ID and the activation code do not match an activation");
    fl_auth_wrong(call, ip, req->activation_id, err);
    return -EKEYREJECTED;
}

/* The one way this key is written, however it came; in call->arena. */
static int canonical_key(struct fl_call *call, const char *type, const char *text, char **ret_key,
                         struct fl_err *err)
{
    fl_autofree char *again = NULL;
    struct fl_rsa *key = NULL;
    int r;

    if (strcmp(type, KEY_TYPE) != 0)
        return fl_err_set(err, -EINVAL, "InvalidPublicKey", "The type of the public key is not %s",
                          KEY_TYPE);
    r = fl_rsa_from_public_text(text, &key, NULL);
    if (r < 0)
        return fl_err_set(err, -EINVAL, "InvalidPublicKey",
                          "The public key is not an RSA key of at least 2048 bits, base64 of DER "
                          "SubjectPublicKeyInfo");
    r = fl_rsa_public_text(key, &again);
    fl_rsa_free(key);
    *ret_key = r < 0 ? NULL : fl_arena_strdup(call->arena, again);
    return *ret_key ? 0 : fl_err_nomem(err);
}

/* 1 and *ret_id if this key was registered with this activation before. */
static int find_registration(struct fl_call *call, const char *activation_id, const char *key_hash,
                             char **ret_id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_node_by_registration, &c, err, FL_T(activation_id),
                    FL_T(key_hash));
    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    *ret_id = fl_arena_strdup(call->arena, fl_sql_text(c, 0));
    return *ret_id ? 1 : fl_err_nomem(err);
}

static int insert_node(struct fl_call *call, const struct register_in *req,
                       const struct fl_activation *activation, const char *key,
                       const char *key_hash, char *id, struct fl_err *err)
{
    for (int i = 0; i < ID_TRIES; i++) {
        int r;

        memcpy(id, "mi-", 3);
        fl_random_hex(id + 3, FL_NODE_ID_BYTES - 4);
        r = fl_sql_exec(call->tx, FL_SQL_node_insert, err, FL_T(id), FL_T(call->account),
                        FL_T(call->region), FL_T(req->activation_id), FL_T(activation->iam_role),
                        FL_T(activation->default_name), FL_T(req->fingerprint), FL_T(key),
                        FL_T(key_hash), FL_N(call->now_ms));
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return fl_err_set(err, -EEXIST, NULL, "no free node id after %d tries", ID_TRIES);
}

/* The order of checks is part of the protocol (1 §1.2). */
static int op_register(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct register_in *req = in;
    struct register_out *res = out;
    struct fl_activation activation;
    char key_hash[FL_SHA256_HEX_BYTES], id[FL_NODE_ID_BYTES];
    char *key;
    int r = check_code(call, req, &activation, err);

    if (r < 0)
        return r;
    if (activation.expires.ms <= call->now_ms)
        return fl_err_set(err, -EINVAL, "ActivationExpired", "The activation has expired");
    r = canonical_key(call, req->key_type, req->public_key, &key, err);
    if (r < 0)
        return r;
    /* the reply to an earlier try may have been lost: the same key is the same node */
    fl_sha256_hex(key, strlen(key), key_hash);
    r = find_registration(call, req->activation_id, key_hash, &res->instance_id, err);
    if (r != 0)
        return r < 0 ? r : 0;

    r = fl_sql_exec(call->tx, FL_SQL_activation_take, err, FL_T(call->account), FL_T(call->region),
                    FL_T(req->activation_id));
    if (r == 0)
        return fl_err_set(err, -EINVAL, "RegistrationLimitExceeded",
                          "The activation has been used as often as it allows");
    if (r > 0)
        r = insert_node(call, req, &activation, key, key_hash, id, err);
    if (r == 0)
        r = fl_tags_copy(call, "Activation", req->activation_id, "ManagedInstance", id, err);
    if (r < 0)
        return r;
    res->instance_id = fl_arena_strdup(call->arena, id);
    return res->instance_id ? 0 : fl_err_nomem(err);
}

/* ---- what the store knows of the caller ---- */
struct identity {
    char *fingerprint;
    char *iam_role;
    char *public_key;
    char *previous_public_key;
    bool update_key;
};
#define F(member, key) FL_FIELD(struct identity, member, key, 0)
static const struct fl_field identity_fields[] = {
    F(fingerprint, "Fingerprint"),       F(iam_role, "IamRole"),
    F(public_key, "PublicKey"),          F(previous_public_key, "PreviousPublicKey"),
    F(update_key, "UpdateKeyRequested"),
};
#undef F
static const struct fl_shape identity_shape =
    FL_SHAPE(struct identity, "node_identity", identity_fields);

static int load_identity(struct fl_call *call, struct identity *ret, struct fl_err *err)
{
    int r = fl_sql_one(call->tx, FL_SQL_node_identity, &identity_shape, call->arena, ret, err,
                       FL_T(call->who->node_id), FL_T(call->account), FL_T(call->region));

    if (r == 0) /* deregistered since the signature was checked; the slowest retry of all errors */
        return fl_err_set(err, -EACCES, "AccessDeniedException", "The node is not registered");
    return r < 0 ? r : 0;
}

/* A key that has signed is proven: the one before it is accepted no more (protocol 1 §4.3). */
static bool signed_with_current(const struct fl_call *call, const struct identity *node)
{
    return call->who->node_key_current || !node->previous_public_key;
}

/* ---- RequestManagedInstanceRoleToken ---- */
struct token_in {
    char *fingerprint;
};
static const struct fl_field token_in_fields[] = {
    FL_FIELD(struct token_in, fingerprint, "Fingerprint", FL_REQUIRED, .limits = { .max = 128 }),
};
static const struct fl_shape token_in_shape =
    FL_SHAPE(struct token_in, "RequestManagedInstanceRoleToken", token_in_fields);

struct token_out {
    char *access_key_id;
    char *secret_access_key;
    char *session_token;
    struct fl_time expires;
    bool update_key;
};
#define F(member, key, flags) FL_FIELD(struct token_out, member, key, flags)
static const struct fl_field token_out_fields[] = {
    /* agents take all five for granted */
    F(access_key_id, "AccessKeyId", FL_ALWAYS),
    F(secret_access_key, "SecretAccessKey", FL_ALWAYS | FL_SECRET),
    F(session_token, "SessionToken", FL_ALWAYS | FL_SECRET),
    F(expires, "TokenExpirationDate", FL_ALWAYS),
    F(update_key, "UpdateKeyPair", FL_ALWAYS),
};
#undef F
static const struct fl_shape token_out_shape =
    FL_SHAPE(struct token_out, "RequestManagedInstanceRoleTokenResult", token_out_fields);

struct promotion {
    char node_id[FL_NODE_ID_BYTES];
    char key[KEY_MAX_CHARS + 1];
};

static int promote(struct fl_tx *tx, void *arg)
{
    const struct promotion *p = arg;
    int r = fl_sql_exec(tx, FL_SQL_node_key_promote, NULL, FL_T(p->node_id), FL_T(p->key));

    return r < 0 ? r : 0;
}

static void promoted(void *arg, int r)
{
    free(arg); /* after a failure the next token request does it */
}

/* Apart, so that a token needs no disk: nodes keep their credentials while nothing can be written.
 */
static void promote_later(struct fl_call *call, const char *key)
{
    struct promotion *p = calloc(1, sizeof(*p));

    if (!p)
        return;
    snprintf(p->node_id, sizeof(p->node_id), "%s", call->who->node_id);
    snprintf(p->key, sizeof(p->key), "%s", key);
    if (fl_store_submit(call->plane->store, FL_LANE_WRITE, promote, promoted, p, NULL) < 0)
        free(p);
}

static int op_token(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct token_in *req = in;
    struct token_out *res = out;
    struct fl_credentials creds = { 0 };
    struct identity node = { 0 };
    int r = load_identity(call, &node, err);

    if (r < 0)
        return r;
    if (!fl_equal_secret(req->fingerprint, strlen(req->fingerprint), node.fingerprint,
                         strlen(node.fingerprint))) {
        fl_clones_seen(call->plane, call->who->node_id, FL_CLONE_FINGERPRINT, NULL,
                       call->who->source_ip);
        return fl_err_set(err, -EINVAL, "MachineFingerprintDoesNotMatch",
                          "The fingerprint is not the one this node was registered with");
    }
    if (node.previous_public_key && signed_with_current(call, &node))
        promote_later(call, node.public_key);
    r = fl_token_issue_node(call, call->who->node_id, node.iam_role, &creds, err);
    if (r < 0)
        return r;
    *res = (struct token_out){
        .access_key_id = creds.access_key_id,
        .secret_access_key = creds.secret_access_key,
        .session_token = creds.session_token,
        .expires = { creds.expires_ms },
        /* A node that still signs with the key before has not got the answer to its change, or lost
         * the new key: asked again, it ends with one key that both sides hold. */
        .update_key = node.update_key || !signed_with_current(call, &node),
    };
    return 0;
}

/* ---- UpdateManagedInstancePublicKey ---- */
struct key_in {
    char *public_key;
    char *key_type;
};
static const struct fl_field key_in_fields[] = {
    FL_FIELD(struct key_in, public_key, "NewPublicKey", FL_REQUIRED,
             .limits = { .max = KEY_MAX_CHARS }),
    FL_FIELD(struct key_in, key_type, "NewPublicKeyType", FL_REQUIRED, .limits = { .max = 32 }),
};
static const struct fl_shape key_in_shape =
    FL_SHAPE(struct key_in, "UpdateManagedInstancePublicKey", key_in_fields);

/* 1 if another active node holds this key, 0 if none does. */
static int is_taken(struct fl_call *call, const char *key, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r =
        fl_sql_open(call->tx, FL_SQL_node_key_owner, &c, err, FL_T(key), FL_T(call->who->node_id));

    return r < 0 ? r : fl_sql_next(c, err);
}

static int op_update_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct key_in *req = in;
    struct identity node = { 0 };
    char *key;
    int r = load_identity(call, &node, err);

    if (r == 0)
        r = canonical_key(call, req->key_type, req->public_key, &key, err);
    if (r < 0)
        return r;
    /* a retry of a change whose reply was lost, signed with either key */
    if (strcmp(key, node.public_key) == 0)
        return 0;
    r = is_taken(call, key, err);
    if (r < 0)
        return r;
    if (r > 0)
        return fl_err_set(err, -EINVAL, "PublicKeyAlreadyRegistered",
                          "The public key belongs to another node");
    /* the key that has just signed is the one to keep until the new one has */
    r = fl_sql_exec(
        call->tx, FL_SQL_node_key_set, err, FL_T(call->who->node_id), FL_T(key),
        FL_T(signed_with_current(call, &node) ? node.public_key : node.previous_public_key));
    return r < 0 ? r : 0;
}

/* ---- UpdateInstanceInformation ---- */
struct ping_in {
    char *instance_id;
    char *agent_name, *agent_status, *agent_version;
    char *platform_type, *platform_name, *platform_version;
    char *computer_name, *ip_address;
};
#define F(member, key, flags) FL_FIELD(struct ping_in, member, key, flags)
static const struct fl_field ping_in_fields[] = {
    F(instance_id, "InstanceId", FL_REQUIRED),
    F(agent_name, "AgentName", 0),
    F(agent_status, "AgentStatus", 0),
    F(agent_version, "AgentVersion", 0),
    F(platform_type, "PlatformType", 0),
    F(platform_name, "PlatformName", 0),
    F(platform_version, "PlatformVersion", 0),
    F(computer_name, "ComputerName", 0),
    F(ip_address, "IPAddress", 0),
};
#undef F
static const struct fl_shape ping_in_shape =
    FL_SHAPE(struct ping_in, "UpdateInstanceInformation", ping_in_fields);

/* Two to three dots between groups of one to six digits. */
static bool is_version(const char *s)
{
    int groups = 0;

    for (;; s++) {
        size_t digits = strspn(s, "0123456789");

        if (digits < 1 || digits > 6)
            return false;
        groups++;
        s += digits;
        if (*s != '.')
            return !*s && (groups == 3 || groups == 4);
    }
}

static bool is_platform(const char *s)
{
    return strcmp(s, "Linux") == 0 || strcmp(s, "Windows") == 0 || strcmp(s, "MacOS") == 0;
}

static const struct {
    const char *name;
    size_t offset;
    size_t max_chars;
    bool (*valid)(const char *s);
} ping_values[] = {
    { "AgentName", offsetof(struct ping_in, agent_name), 64, NULL },
    { "AgentStatus", offsetof(struct ping_in, agent_status), 64, NULL },
    { "AgentVersion", offsetof(struct ping_in, agent_version), 27, is_version },
    { "PlatformType", offsetof(struct ping_in, platform_type), 16, is_platform },
    { "PlatformName", offsetof(struct ping_in, platform_name), 120, NULL },
    { "PlatformVersion", offsetof(struct ping_in, platform_version), 120, NULL },
    { "ComputerName", offsetof(struct ping_in, computer_name), 255, NULL },
    { "IPAddress", offsetof(struct ping_in, ip_address), 46, NULL },
};

/* An empty member says nothing and becomes NULL. */
static int check_ping(struct ping_in *ping, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(ping_values); i++) {
        char **value = (char **)((char *)ping + ping_values[i].offset);

        if (*value && !**value)
            *value = NULL;
        if (!*value)
            continue;
        if (strlen(*value) > ping_values[i].max_chars ||
            (ping_values[i].valid && !ping_values[i].valid(*value)))
            return fl_err_set(err, -EINVAL, "InvalidInstanceInformationValue",
                              "The value of %s is not valid", ping_values[i].name);
    }
    return 0;
}

static int check_self(const struct fl_call *call, const char *instance_id, struct fl_err *err)
{
    if (strcmp(call->who->node_id, instance_id) == 0)
        return 0;
    if (!fl_node_id_valid(instance_id))
        return fl_err_set(err, -EINVAL, "InvalidInstanceId", "\"%s\" is not a node ID",
                          instance_id);
    return fl_err_set(err, -EACCES, "AccessDeniedException", "Node %s may not speak for %s",
                      call->who->node_id, instance_id);
}

static int op_ping(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    struct ping_in ping = *(const struct ping_in *)in;
    int r = check_self(call, ping.instance_id, err);

    if (r == 0)
        r = check_ping(&ping, err);
    if (r < 0)
        return r;
    r = fl_sql_exec(call->tx, FL_SQL_node_ping, err, FL_T(ping.instance_id), FL_T(call->account),
                    FL_T(call->region), FL_T(ping.agent_name), FL_T(ping.agent_version),
                    FL_T(ping.platform_type), FL_T(ping.platform_name), FL_T(ping.platform_version),
                    FL_T(ping.computer_name), FL_T(ping.ip_address), FL_N(call->now_ms));
    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvalidInstanceId", "No node %s is registered",
                          ping.instance_id);
    return r < 0 ? r : 0;
}

/* ---- associations: this plane has none to give ---- */
struct associations_in {
    char *instance_id;
};
static const struct fl_field associations_in_fields[] = {
    FL_FIELD(struct associations_in, instance_id, "InstanceId", FL_REQUIRED),
};
static const struct fl_shape associations_in_shape =
    FL_SHAPE(struct associations_in, "ListInstanceAssociations", associations_in_fields);

struct associations_out {
    struct fl_strs associations; /* always empty */
};
static const struct fl_field associations_out_fields[] = {
    FL_FIELD(struct associations_out, associations, "Associations", FL_ALWAYS),
};
static const struct fl_shape associations_out_shape =
    FL_SHAPE(struct associations_out, "ListInstanceAssociationsResult", associations_out_fields);

static int op_associations(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct associations_in *req = in;

    return check_self(call, req->instance_id, err);
}

struct association_status_in {
    char *instance_id;
    char *association_id;
};
static const struct fl_field association_status_in_fields[] = {
    FL_FIELD(struct association_status_in, instance_id, "InstanceId", FL_REQUIRED),
    FL_FIELD(struct association_status_in, association_id, "AssociationId", FL_REQUIRED),
};
static const struct fl_shape association_status_in_shape = FL_SHAPE(
    struct association_status_in, "UpdateInstanceAssociationStatus", association_status_in_fields);

static int op_association_status(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err)
{
    const struct association_status_in *req = in;
    int r = check_self(call, req->instance_id, err);

    if (r < 0)
        return r;
    return fl_err_set(err, -EINVAL, "AssociationDoesNotExist", "No association %s exists",
                      req->association_id);
}

/* ---- GetManifest ---- */

/* Packages are documents here. The official agent asks this older service first, and looks for a
 * document only after this very answer (protocol 4 §5.4). */
static int op_manifest(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return fl_err_set(err, -ENOENT, "ResourceNotFoundException",
                      "There is no package of this name that is not a document");
}

static const struct fl_op ops[] = {
    { "RegisterManagedInstance", &register_in_shape, &register_out_shape, op_register,
      FL_LANE_WRITE, FL_AUTH_NONE, NULL },
    { "RequestManagedInstanceRoleToken", &token_in_shape, &token_out_shape, op_token, FL_LANE_READ,
      FL_AUTH_NODE_RSA, NULL },
    { "UpdateManagedInstancePublicKey", &key_in_shape, &fl_shape_empty, op_update_key,
      FL_LANE_WRITE, FL_AUTH_NODE_RSA, NULL },
    { "UpdateInstanceInformation", &ping_in_shape, &fl_shape_empty, op_ping, FL_LANE_WRITE,
      FL_AUTH_NODE, NULL },
    { "ListInstanceAssociations", &associations_in_shape, &associations_out_shape, op_associations,
      FL_LANE_READ, FL_AUTH_NODE, NULL },
    { "UpdateInstanceAssociationStatus", &association_status_in_shape, &fl_shape_empty,
      op_association_status, FL_LANE_READ, FL_AUTH_NODE, NULL },
    { "GetManifest", &fl_shape_empty, &fl_shape_empty, op_manifest, FL_LANE_READ, FL_AUTH_NODE,
      NULL },
};

const struct fl_op_table fl_ops_agent = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
