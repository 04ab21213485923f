/* regcall.c - see regcall.h. Source of the wire facts: protocol 1 §1.2, §1.3, §4.4. */
#include "agent/cli/regcall.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/service.h"
#include "agent/lib/text.h"
#include "common/base/clock.h"

#define TAG(member, key) FL_FIELD(struct fl_reg_tag, member, key, 0)
static const struct fl_field tag_fields[] = { TAG(key, "Key"), TAG(value, "Value") };
static const struct fl_shape tag_shape = FL_SHAPE(struct fl_reg_tag, "Tags", tag_fields);

#define F(member, key, flags) FL_FIELD(struct fl_reg_body, member, key, flags)
static const struct fl_field body_fields[] = {
    F(code, "ActivationCode", FL_SECRET),
    F(id, "ActivationId", 0),
    F(fingerprint, "Fingerprint", 0),
    F(iam_role, "IamRole", 0),
    F(public_key, "PublicKey", 0),
    F(public_key_type, "PublicKeyType", 0),
    FL_FIELD_LIST(struct fl_reg_body, tags, n_tags, "Tags", 0, &tag_shape),
};
#undef F
const struct fl_shape fl_shape_reg_body =
    FL_SHAPE(struct fl_reg_body, "RegisterManagedInstance", body_fields);

struct reg_out {
    char *node_id;
};
static const struct fl_field out_fields[] = {
    FL_FIELD(struct reg_out, node_id, "InstanceId", FL_REQUIRED),
};
static const struct fl_shape out_shape = FL_SHAPE(struct reg_out, "answer", out_fields);

int fl_reg_tags(const char *text, struct fl_arena *arena, struct fl_reg_tag **ret_tags,
                size_t *ret_n, struct fl_err *err)
{
    char *wrapped = fl_arena_printf(arena, "{\"Tags\":%s}", text);
    struct fl_reg_body body;
    size_t n = 0;

    if (!wrapped ||
        fl_json_decode(&fl_shape_reg_body, wrapped, strlen(wrapped), 0, arena, &body, NULL) < 0)
        return fl_err_set(err, -EINVAL, NULL,
                          "-tags: must be JSON like [{\"Key\":\"k\",\"Value\":\"v\"}]");
    for (size_t i = 0; i < body.n_tags; i++) {
        const struct fl_reg_tag *t = &body.tags[i];

        if (t->key && *t->key && t->value && *t->value)
            body.tags[n++] = *t;
    }
    *ret_tags = body.tags;
    *ret_n = n;
    return 0;
}

/* Errors of the service, in words. "%s" is the activation id. */
static const struct {
    const char *name;
    const char *text;
} refusals[] = {
    { "InvalidActivation",
      "activation %s: the id or the code is wrong, or the activation was deleted" },
    { "ActivationExpired", "activation %s has expired: create a new one" },
    { "RegistrationLimitExceeded",
      "activation %s has been used as often as it allows: create another, or raise its limit" },
    { "InstanceAlreadyRegistered", "activation %s: this machine is registered already" },
    { "InvalidPublicKey", "activation %s: the service did not accept this machine's new key" },
    { "TooManyUpdates", "activation %s: too many registrations at once, try again later" },
};

static const char *const throttled[] = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestTimeout",
    "RequestTimeoutException",
};

static const char *hint(int error)
{
    switch (error) {
    case -EACCES:
        return "; give the proxy's user and password in its URL, http://user:password@host:port";
    case -EPROTO:
        return "; a control plane with a CA of its own needs --ca-file, and certificates need this "
               "machine's clock to be right";
    default:
        return "";
    }
}

static void judge_transport(const struct fl_fetch_answer *answer, const char *url,
                            struct fl_reg_verdict *v)
{
    /* What does not pass by itself: certificates, the proxy's password, an answer out of bounds. */
    v->retry = answer->error != -EPROTO && answer->error != -EACCES && answer->error != -EMSGSIZE &&
               answer->error != -EINVAL;
    fl_err_set(&v->why, answer->error, "RequestError", "cannot reach %s: %s%s", url,
               answer->error_text ? answer->error_text : strerror(-answer->error),
               hint(answer->error));
}

static bool in_list(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

static void judge_refusal(const struct fl_fetch_answer *answer, const char *id, const char *url,
                          struct fl_arena *arena, struct fl_reg_verdict *v)
{
    char *name = NULL, *text = NULL;

    fl_service_error(fl_fetch_text(answer), arena, &name, &text);
    if (!name)
        name = fl_text("");
    v->retry_quick = strcmp(name, "TooManyUpdates") == 0;
    v->retry = answer->status == 429 || answer->status == 500 ||
               (answer->status >= 502 && answer->status <= 504) ||
               in_list(name, throttled, FL_ARRAY_LEN(throttled));
    for (size_t i = 0; i < FL_ARRAY_LEN(refusals); i++) {
        if (strcmp(name, refusals[i].name) == 0) {
            /* The text is ours; only its one %s is open. */
            const char *words = fl_arena_printf(
                arena, "%.*s%s%s", (int)strcspn(refusals[i].text, "%"), refusals[i].text,
                id ? id : "(role)", strchr(refusals[i].text, '%') + 2);

            fl_err_set(&v->why, -EACCES, refusals[i].name, "%s (%s)", words ? words : name, name);
            return;
        }
    }
    fl_err_set(&v->why, -EACCES, NULL, "%s refused the registration: HTTP %d %s%s%s", url,
               answer->status, name, text && *text ? ": " : "", text ? text : "");
}

void fl_reg_judge(const struct fl_fetch_answer *answer, const char *id, const char *url,
                  struct fl_arena *arena, struct fl_reg_verdict *ret_verdict)
{
    struct fl_reg_verdict v = { 0 };
    struct reg_out out = { 0 };
    int64_t server = fl_http_date_ms(answer->date);

    if (server)
        v.skew_ms = server - fl_now_ms();
    if (answer->error != 0) {
        judge_transport(answer, url, &v);
    } else if (answer->status != 200) {
        judge_refusal(answer, id, url, arena, &v);
    } else if (!answer->body ||
               fl_json_decode(&out_shape, answer->body, answer->body_len, 0, arena, &out, NULL) <
                   0 ||
               strncmp(out.node_id, "mi-", 3) != 0 || strlen(out.node_id) > 64 ||
               strspn(out.node_id + 3, "0123456789abcdefghijklmnopqrstuvwxyz") !=
                   strlen(out.node_id + 3)) {
        fl_err_set(&v.why, -EBADMSG, NULL, "%s answered, but not as a control plane does", url);
    } else {
        v.node_id = out.node_id;
    }
    *ret_verdict = v;
}
