/* greet.c - the handshake of a session, and the data key it may call for (protocol 3 §6, §7). */
#include "common/session/handshake.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/service.h"
#include "agent/lib/sign.h"
#include "agent/lib/text.h"
#include "agent/session/session.h"
#include "common/base/clock.h"
#include "common/net/post.h"
#include "common/session/reliable.h"

#define DECRYPT_TIMEOUT_MS 15000
#define MAX_BODY_BYTES     65536
#define MAX_HEADERS        8

struct fl_greet {
    struct fl_sess *s;
    struct fl_handshake *handshake;
    struct fl_timer *deadline;
    struct fl_post *post; /* Decrypt */
    struct fl_arena arena;
};

static void fail(struct fl_greet *g, const char *why)
{
    char text[FL_ERR_TEXT_BYTES + 64];

    snprintf(text, sizeof(text), "fairlead: handshake: %s", why);
    fl_sess_finish(g->s, FL_SESSION_FAILED, text);
}

/* ---- the data key ---- */

struct decrypt_in {
    char *blob, *key_id;
    struct fl_strmap context;
};
static const struct fl_field decrypt_in_fields[] = {
    FL_FIELD(struct decrypt_in, blob, "CiphertextBlob", 0),
    FL_FIELD(struct decrypt_in, key_id, "KeyId", 0),
    FL_FIELD(struct decrypt_in, context, "EncryptionContext", 0),
};
static const struct fl_shape decrypt_in_shape =
    FL_SHAPE(struct decrypt_in, "Decrypt", decrypt_in_fields);

struct decrypt_out {
    char *plaintext;
};
static const struct fl_field decrypt_out_fields[] = {
    FL_FIELD(struct decrypt_out, plaintext, "Plaintext", FL_REQUIRED | FL_SECRET),
};
static const struct fl_shape decrypt_out_shape =
    FL_SHAPE(struct decrypt_out, "DecryptResponse", decrypt_out_fields);

static void advance(struct fl_greet *g);

static int take_key(struct fl_greet *g, const struct fl_post_answer *answer)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(MAX_BODY_BYTES);
    struct decrypt_out out;
    uint8_t *key = NULL;
    size_t len = 0;
    int r;

    arena.secret = true;
    r = fl_json_decode(&decrypt_out_shape, answer->body, answer->len, 0, &arena, &out, NULL);
    if (r == 0)
        r = fl_base64_decode(out.plaintext, &key, &len);
    if (r == 0)
        r = len == FL_SESSION_KEY_BYTES ? fl_handshake_key(g->handshake, key, NULL, fl_mono_ms())
                                        : -EBADMSG;
    if (key)
        explicit_bzero(key, len);
    free(key);
    return r;
}

static void on_decrypted(void *arg, const struct fl_post_answer *answer)
{
    struct fl_greet *g = arg;
    char *name = NULL, *words = NULL, text[FL_ERR_TEXT_BYTES];

    g->post = NULL;
    if (answer->r < 0) {
        snprintf(text, sizeof(text), "Decrypt: %s", fl_err_text(answer->err));
    } else if (answer->status != 200) {
        fl_service_error(answer->body, &g->arena, &name, &words);
        snprintf(text, sizeof(text), "Decrypt: %s %s", name ? name : "", words ? words : "");
    } else if (take_key(g, answer) < 0) {
        snprintf(text, sizeof(text), "Decrypt: the answer has no key");
    } else {
        advance(g);
        return;
    }
    fail(g, text);
}

static int make_body(struct fl_greet *g, struct fl_buf *out)
{
    const struct fl_handshake_result *known = fl_handshake_result(g->handshake);
    const struct fl_sess_start *start = &g->s->start;
    struct fl_strmap_entry context[] = {
        { fl_text("aws:ssm:SessionId"), start->session_id },
        { fl_text("aws:ssm:TargetId"), start->node_id },
        { fl_text("aws:ssm:RandomChallenge"), fl_text(known->challenge) },
    };
    const struct decrypt_in in = { .blob = fl_text(known->cipher_key),
                                   .key_id = start->kms_key_id,
                                   .context = { context, known->challenge_in_context ? 3 : 2 } };

    return fl_json_encode(&decrypt_in_shape, &in, out);
}

/* With the node's own credentials: its role must be allowed to. */
static int start_decrypt(struct fl_greet *g, struct fl_err *err)
{
    fl_autobuf struct fl_buf body = FL_BUF(MAX_BODY_BYTES);
    struct fl_sess *s = g->s;
    const struct fl_aws_creds creds = { s->creds.access_key_id, s->creds.secret_access_key,
                                        s->creds.session_token };
    struct fl_fetch_header fixed[] = {
        { fl_text("Content-Type"), fl_text("application/x-amz-json-1.1") },
        { fl_text("X-Amz-Target"), fl_text("TrentService.Decrypt") },
    };
    struct fl_http_header headers[MAX_HEADERS];
    struct fl_fetch_header *signed_ = NULL;
    char hash[FL_SHA256_HEX_BYTES];
    size_t n = 0, kept = 0;
    char *url = fl_arena_printf(&g->arena, "%s/", s->start.kms_url);
    int r = url ? make_body(g, &body) : -ENOMEM;

    if (r < 0)
        return r;
    fl_sha256_hex(body.data, body.len, hash);
    r = fl_sign_call(&(struct fl_sign_in){ .method = "POST",
                                           .url = url,
                                           .service = "kms",
                                           .region = s->start.region,
                                           .body_sha256 = hash,
                                           .creds = &creds,
                                           .now_ms = fl_sess_now_ms(s),
                                           .headers = fixed,
                                           .n_headers = FL_ARRAY_LEN(fixed) },
                     &g->arena, &signed_, &n);
    for (size_t i = 0; r == 0 && i < n && kept < MAX_HEADERS; i++)
        if (strcmp(signed_[i].name, "Host") != 0)
            headers[kept++] = (struct fl_http_header){ signed_[i].name, signed_[i].value };
    if (r == 0)
        r = fl_post_start(fl_ws_client_dialer(s->ws_client), s->loop, url, headers, kept, body.data,
                          body.len, DECRYPT_TIMEOUT_MS, MAX_BODY_BYTES, on_decrypted, g, &g->post,
                          err);
    return r;
}

/* ---- the handshake ---- */

static void complete(struct fl_greet *g)
{
    const struct fl_handshake_result *known = fl_handshake_result(g->handshake);
    struct fl_sess *s = g->s;

    snprintf(s->client_version, sizeof(s->client_version), "%s",
             known->peer_version ? known->peer_version : "");
    s->end_of_input = known->end_of_input;
    fl_reliable_set_max_payload(s->reliable, known->max_payload);
    fl_reliable_set_seal(s->reliable, known->seal);
    fl_timer_stop(g->deadline);
    fl_sess_greeted(s);
}

/* Sends what is to be sent, and does what its state asks for. */
static void advance(struct fl_greet *g)
{
    struct fl_err err = { 0 };
    const char *text;
    uint32_t type;
    size_t len;

    while ((text = fl_handshake_next(g->handshake, &type, &len)))
        fl_sess_send(g->s, type, text, len);
    switch (fl_handshake_state(g->handshake)) {
    case FL_HANDSHAKE_NEEDS_KEY:
        fl_timer_stop(g->deadline);
        if (g->s->start.require_challenge &&
            !fl_handshake_result(g->handshake)->challenge_in_context)
            fail(g, "the client's data key is not bound to the challenge, which "
                    "Kms.RequireKMSChallengeResponse asks for");
        else if (!g->post && start_decrypt(g, &err) < 0)
            fail(g, err.text[0] ? fl_err_text(&err) : "Decrypt: cannot be asked for");
        return;
    case FL_HANDSHAKE_DONE:
        complete(g);
        return;
    case FL_HANDSHAKE_FAILED:
        fail(g, "it failed");
        return;
    case FL_HANDSHAKE_WAITING:
        fl_timer_start(
            g->deadline,
            (uint64_t)FL_MAX(fl_handshake_deadline(g->handshake) - fl_mono_ms(), (int64_t)0));
        return;
    }
}

static void on_deadline(void *arg)
{
    fail(arg, "the client did not answer in time");
}

int fl_greet_input(struct fl_sess *s, uint32_t type, const char *data, size_t len)
{
    struct fl_greet *g = s->greet;
    struct fl_err err = { 0 };

    /* What comes before its time is acknowledged and thrown away, as by the official agent. */
    if (!fl_handshake_is_type(type))
        return 0;
    if (fl_handshake_input(g->handshake, type, data, len, fl_mono_ms(), &err) < 0)
        fail(g, fl_err_text(&err));
    else
        advance(g);
    return 0;
}

int fl_greet_start(struct fl_sess *s, struct fl_err *err)
{
    const struct fl_sess_start *start = &s->start;
    const struct fl_msg_extras extras = { .max_payload = start->max_payload,
                                          .end_of_input = start->end_of_input };
    const struct fl_handshake_agent_conf conf = {
        .agent_version = start->agent_version,
        .session_type = start->type,
        .properties = start->properties,
        .kms_key_id = start->kms_key_id,
        .customer_message = start->kms_key_id ? "This session is encrypted using AWS KMS." : NULL,
        .separate_output = start->separate_output,
        .extras = fl_sess_is_ours(s) ? &extras : NULL,
    };
    struct fl_greet *g = calloc(1, sizeof(*g));

    if (!g)
        return fl_err_nomem(err);
    s->greet = g;
    g->s = s;
    fl_arena_init(&g->arena, MAX_BODY_BYTES);
    g->arena.secret = true;
    g->deadline = fl_timer_new(s->loop, on_deadline, g);
    if (!g->deadline || fl_handshake_new_agent(&conf, fl_mono_ms(), &g->handshake) < 0)
        return fl_err_nomem(err);
    advance(g);
    return 0;
}

void fl_greet_free(struct fl_sess *s)
{
    struct fl_greet *g = s->greet;

    if (!g)
        return;
    s->greet = NULL;
    fl_post_cancel(g->post);
    fl_timer_free(g->deadline);
    fl_handshake_free(g->handshake);
    fl_arena_done(&g->arena);
    free(g);
}
