/* call.c - API calls of the node: signed here, carried by a fetch process (net.h).
 *
 * A service that refuses a signature for its time tells its own in the Date header: the difference
 * is kept and the call made once more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/service.h"
#include "agent/lib/sign.h"
#include "agent/lib/text.h"
#include "agent/net/net.h"
#include "common/base/clock.h"

#define MAX_ANSWER_BYTES (1 << 20)
#define TOKEN_TIMEOUT_MS 60000

struct api_call {
    struct fl_net *net;
    fl_api_done_fn done;
    bool repeated;
    struct fl_arena arena; /* owns what `call` points to */
    struct fl_api_call call;
};

int64_t fl_net_now_ms(const struct fl_net *net)
{
    return fl_boot_ms() + net->offset_ms;
}

static void on_answer(void *arg, const struct fl_fetch_answer *answer);

static int send(struct api_call *c)
{
    struct fl_net *net = c->net;
    bool messages = strcmp(c->call.service, "ssmmessages") == 0;
    const char *base = messages ? net->start.mgs_url : net->start.ssm_url;
    const struct fl_aws_creds creds = { net->creds.access_key_id, net->creds.secret_access_key,
                                        net->creds.session_token };
    struct fl_fetch_header headers[] = {
        { fl_text("Content-Type"),
          fl_text(c->call.target ? "application/x-amz-json-1.1" : "application/json") },
        { fl_text("X-Amz-Target"), fl_text(c->call.target) },
    };
    struct fl_sign_in in = {
        .method = "POST",
        .service = c->call.service,
        .region = messages ? net->start.mgs_region : net->start.region,
        .creds = &creds,
        .now_ms = fl_net_now_ms(net),
        .headers = headers,
        .n_headers = c->call.target ? 2 : 1,
    };
    struct fl_fetch_header *out;
    char hash[FL_SHA256_HEX_BYTES];
    char *url;
    size_t n;
    int r;

    fl_sha256_hex(c->call.body, strlen(c->call.body), hash);
    in.body_sha256 = hash;
    in.url = url = fl_arena_printf(&c->arena, "%s%s", base, c->call.path);
    if (!url)
        return -ENOMEM;
    r = fl_sign_call(&in, &c->arena, &out, &n);
    if (r < 0)
        return r;
    return fl_fetcher_call(net->fetcher,
                           &(struct fl_fetch_call){ .method = fl_text("POST"),
                                                    .url = url,
                                                    .headers = out,
                                                    .n_headers = n,
                                                    .body = fl_text(c->call.body),
                                                    .body_len = strlen(c->call.body),
                                                    .timeout_ms = c->call.timeout_ms,
                                                    .max_response_bytes = MAX_ANSWER_BYTES },
                           NULL, on_answer, c, NULL);
}

static void free_call(struct api_call *c)
{
    fl_arena_done(&c->arena);
    free(c);
}

static void on_answer(void *arg, const struct fl_fetch_answer *answer)
{
    struct api_call *c = arg;
    struct fl_api_result result = {
        .status = answer->status, .body = fl_fetch_text(answer), .name = "", .text = ""
    };
    char *name = NULL, *text = NULL;

    if (answer->error == -ECANCELED) { /* the process ends */
        free_call(c);
        return;
    }
    if (answer->error) {
        result.status = 0;
        result.name = "RequestError";
        result.text = answer->error_text ? answer->error_text : strerror(-answer->error);
    } else if (answer->status < 200 || answer->status > 299) {
        fl_service_error(fl_fetch_text(answer), &c->arena, &name, &text);
        result.name = name && *name ? name : "UnknownError";
        result.text = text ? text : "";
        fl_net_note_refusal(c->net, result.name);
        if (!c->repeated &&
            fl_sign_learn_time(answer->status, result.name, answer->date, &c->net->offset_ms)) {
            c->repeated = true;
            if (send(c) == 0)
                return;
        }
    }
    c->done(c->net, &result);
    free_call(c);
}

int fl_api_start(struct fl_net *net, const struct fl_api_call *call, fl_api_done_fn done)
{
    struct api_call *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->net = net;
    c->done = done;
    c->call = *call;
    fl_arena_init(&c->arena, 4 << 20);
    c->call.path = fl_arena_strdup(&c->arena, call->path);
    c->call.body = fl_arena_strdup(&c->arena, call->body);
    r = c->call.path && c->call.body ? send(c) : -ENOMEM;
    if (r < 0)
        free_call(c);
    return r;
}

/* ---- calls signed by the monitor ---- */

struct token_answer {
    char *access_key_id, *secret_access_key, *session_token;
    struct fl_time expires;
    bool update_key_pair;
};

#define F(member, key, flags) FL_FIELD(struct token_answer, member, key, flags)
static const struct fl_field token_answer_fields[] = {
    F(access_key_id, "AccessKeyId", 0),          F(secret_access_key, "SecretAccessKey", FL_SECRET),
    F(session_token, "SessionToken", FL_SECRET), F(expires, "TokenExpirationDate", 0),
    F(update_key_pair, "UpdateKeyPair", 0),
};
#undef F
static const struct fl_shape token_answer_shape =
    FL_SHAPE(struct token_answer, "token", token_answer_fields);

struct token_call {
    struct fl_net *net;
    char operation[64];
};

static void read_token(const struct fl_fetch_answer *answer, struct fl_arena *arena,
                       struct fl_net_token_result *res)
{
    struct token_answer t = { 0 };

    if (fl_json_decode(&token_answer_shape, answer->body, answer->body_len, 0, arena, &t, NULL) <
        0) {
        res->error_name = fl_text("SerializationError");
        return;
    }
    res->access_key_id = t.access_key_id;
    res->secret_access_key = t.secret_access_key;
    res->session_token = t.session_token;
    res->expires_ms = t.expires.ms;
    res->update_key_pair = t.update_key_pair;
}

static void on_token_answer(void *arg, const struct fl_fetch_answer *answer)
{
    fl_autofree struct token_call *c = arg;
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    struct fl_net_token_result res = { .operation = c->operation,
                                       .http_status = answer->error ? 0 : answer->status,
                                       .server_ms = fl_http_date_ms(answer->date) };

    if (answer->error == -ECANCELED)
        return;
    if (answer->error) {
        res.error_name = fl_arena_strdup(&arena, "RequestError");
        res.error_text = answer->error_text;
    } else if (answer->status != 200) {
        fl_service_error(fl_fetch_text(answer), &arena, &res.error_name, &res.error_text);
        if (res.error_name && !*res.error_name)
            res.error_name = fl_arena_printf(&arena, "HTTP %d", answer->status);
    } else if (strcmp(c->operation, "RequestManagedInstanceRoleToken") == 0 && answer->body) {
        read_token(answer, &arena, &res);
    }
    fl_ipc_send(c->net->monitor, FL_NET_TOKEN_RESULT, 0, &res, NULL, 0);
}

void fl_token_call(struct fl_net *net, const struct fl_net_signed_call *call)
{
    struct token_call *c = calloc(1, sizeof(*c));
    char target[96];
    struct fl_fetch_header headers[] = {
        { fl_text("Content-Type"), fl_text("application/x-amz-json-1.1") },
        { fl_text("Host"), call->host },
        { fl_text("X-Amz-Date"), call->amz_date },
        { fl_text("X-Amz-Target"), target },
        { fl_text("X-Amz-Content-Sha256"), call->content_sha256 },
        { fl_text("Authorization"), call->authorization },
    };
    int r;

    if (!c)
        return; /* the monitor tries again when no result comes */
    c->net = net;
    snprintf(c->operation, sizeof(c->operation), "%s", call->operation);
    snprintf(target, sizeof(target), "AmazonSSM.%s", c->operation);
    r = fl_fetcher_call(net->fetcher,
                        &(struct fl_fetch_call){ .method = fl_text("POST"),
                                                 .url = net->start.ssm_url,
                                                 .headers = headers,
                                                 .n_headers = FL_ARRAY_LEN(headers),
                                                 .body = call->body,
                                                 .body_len = strlen(call->body),
                                                 .timeout_ms = TOKEN_TIMEOUT_MS,
                                                 .max_response_bytes = MAX_ANSWER_BYTES },
                        NULL, on_token_answer, c, NULL);
    if (r < 0)
        on_token_answer(
            c, &(struct fl_fetch_answer){ .error = r, .error_text = fl_text("too many calls") });
}
