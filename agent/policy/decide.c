/* decide.c - see decide.h. */
#include "agent/policy/decide.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "agent/lib/session_plan.h"
#include "common/base/clock.h"
#include "common/codec/json_load.h"
#include "common/doc/doc.h"
#include "common/doc/signed.h"
#include "common/doc/ssm_refs.h"
#include "common/wire/control.h"

#define PAYLOAD_MAX_BYTES (2 * FL_SIGNATURE_MAX_BYTES)
#define OPEN_MAX_BYTES    (4 << 20) /* of text that is looked through for references */

struct decision {
    const struct fl_node_policy *policy;
    const struct fl_job *job;
    int64_t now_ms;
    struct fl_arena *arena;
    struct fl_judgement *out;
    struct fl_msg_send_content content;
    const char *document_name;
    char *parameters; /* effective */
    char hash[FL_SHA256_HEX_BYTES];
    struct fl_err unsigned_why; /* why its signature does not count */
};

/* ---- the signature ---- */

static char *signature_text(const struct decision *d)
{
    json_t *json = fl_json_load_text(d->parameters, JSON_ALLOW_NUL, NULL);
    const char *text = json_string_value(json_object_get(json, FL_SIGNATURE_PARAMETER));
    char *copy = text && *text ? fl_arena_strdup(d->arena, text) : NULL;

    json_decref(json);
    return copy;
}

static int check_time(const struct decision *d, const struct fl_signature *s, struct fl_err *err)
{
    char when[FL_ISO_BYTES];

    if (d->now_ms / 1000 < s->not_before_s) {
        fl_time_iso_seconds(s->not_before_s * 1000, when);
        return fl_err_set(err, -EKEYREJECTED, NULL, "it holds from %s on", when);
    }
    if (d->now_ms / 1000 >= s->not_after_s) {
        fl_time_iso_seconds(s->not_after_s * 1000, when);
        return fl_err_set(err, -EKEYEXPIRED, NULL, "it expired at %s", when);
    }
    return 0;
}

static int verify(const struct decision *d, const char *text, struct fl_signature *s,
                  struct fl_err *err)
{
    fl_autobuf struct fl_buf payload = FL_BUF(PAYLOAD_MAX_BYTES);
    char *const *labels;
    size_t n_labels;
    const char *key;
    int r = fl_signature_parse(text, d->arena, s, err);

    if (r < 0)
        return r;
    key = fl_node_policy_key(d->policy, s->key);
    if (!key)
        return fl_err_set(err, -ENOKEY, NULL, "this node knows no key \"%s\"", s->key);
    r = fl_signature_payload(s, d->document_name, d->content.document_content.text,
                             d->content.parameters.text, &payload, err);
    if (r < 0)
        return r;
    if (fl_ed25519_verify(key, payload.data, payload.len, s->sig) < 0)
        return fl_err_set(err, -EKEYREJECTED, NULL,
                          "key \"%s\" did not sign this document with these parameters", s->key);
    labels = fl_node_policy_labels(d->policy, &n_labels);
    if (!fl_signature_targets(s, d->job->node_id ? d->job->node_id : "", labels, n_labels))
        return fl_err_set(err, -EKEYREJECTED, NULL, "it is for other nodes");
    return check_time(d, s, err);
}

static void take_signature(struct decision *d)
{
    char *text = signature_text(d);
    struct fl_signature s;

    if (!text || verify(d, text, &s, &d->unsigned_why) < 0)
        return;
    d->out->signed_by = s.key;
    d->out->nonce = s.nonce;
    d->out->not_after_s = s.not_after_s;
}

/* ---- the document ---- */

static int load(struct decision *d, struct fl_doc *doc, struct fl_err *err)
{
    const struct fl_job *job = d->job;
    int r = fl_json_decode(&fl_shape_send_content, job->content, strlen(job->content),
                           FL_DECODE_NOCASE, d->arena, &d->content, err);

    if (r == 0)
        r = fl_doc_load(d->content.document_content.text, d->content.parameters.text, "linux",
                        d->arena, doc, err);
    if (r == 0)
        r = fl_doc_parameters(d->content.document_content.text, d->content.parameters.text,
                              d->arena, &d->parameters, err);
    if (r == 0)
        r = fl_document_sha256(d->content.document_content.text, d->hash);
    return r;
}

static void refuse(struct decision *d, size_t index, const struct fl_doc_step *step,
                   const char *why)
{
    const bool unsigned_ = d->unsigned_why.code < 0;

    d->out->allowed = false;
    d->out->step = (int64_t)index;
    d->out->key = step->key;
    d->out->action = step->action;
    d->out->why = fl_arena_printf(d->arena,
                                  "fairlead: refused by the policy of this node: %s (step %zu, "
                                  "%s, %s)%s%s",
                                  why, index + 1, step->key, step->action,
                                  unsigned_ ? ". The signature does not count: " : "",
                                  unsigned_ ? fl_err_text(&d->unsigned_why) : "");
}

void fl_decide_job(const struct fl_node_policy *policy, const struct fl_job *job,
                   const char *run_as, int64_t now_ms, struct fl_arena *arena,
                   struct fl_judgement *ret)
{
    struct decision d = { .policy = policy,
                          .job = job,
                          .now_ms = now_ms,
                          .arena = arena,
                          .out = ret,
                          .document_name = job->document_name ? job->document_name : "" };
    struct fl_node_policy_verdict verdict = { 0 };
    struct fl_err err = { 0 };
    struct fl_doc doc;

    *ret = (struct fl_judgement){ .time_ms = now_ms };
    if (load(&d, &doc, &err) < 0) {
        ret->broken = fl_arena_strdup(arena, fl_err_text(&err));
        return;
    }
    ret->document_sha256 = fl_arena_strdup(arena, d.hash);
    take_signature(&d);
    ret->allowed = true;
    for (size_t i = 0; i < doc.n_steps; i++) {
        fl_node_policy_decide(policy,
                              &(struct fl_node_policy_subject){ .document = d.document_name,
                                                                .document_sha256 = d.hash,
                                                                .parameters = d.parameters,
                                                                .action = doc.steps[i].action,
                                                                .inputs = doc.steps[i].inputs,
                                                                .signed_by = ret->signed_by,
                                                                .run_as = run_as,
                                                                .time_ms = now_ms },
                              &verdict);
        if (!verdict.allowed) {
            refuse(&d, i, &doc.steps[i], verdict.why);
            return;
        }
        if (verdict.by_signature && !ret->by_signature) { /* it may be a used one */
            ret->by_signature = true;
            ret->step = (int64_t)i;
            ret->key = doc.steps[i].key;
            ret->action = doc.steps[i].action;
        }
    }
    ret->why = fl_arena_strdup(arena, verdict.why);
}

/* Notes what a JSON text refers to. */
static int note_references(struct fl_ssm_refs *refs, const char *text)
{
    fl_autojson json_t *json = fl_json_load_text(text, JSON_ALLOW_NUL, NULL);
    size_t left_bytes = OPEN_MAX_BYTES;
    void *same = NULL;
    int r = json ? fl_ssm_refs_apply(refs, json, &left_bytes, &same, NULL) : -EINVAL;

    json_decref(same);
    return r;
}

/* Do its parameters refer to Parameter Store, by themselves or put into the document? A session is
 * judged once, before any value is known, and the values are the control plane's. */
static bool is_open(const char *content, const struct fl_session_plan *plan, struct fl_arena *arena)
{
    const char *names[FL_SSM_REFS_BATCH];
    struct fl_ssm_refs *refs = fl_ssm_refs_new();
    struct fl_session_plan again;
    size_t n;
    bool open = !refs || note_references(refs, plan->parameters) < 0 || fl_ssm_refs_wanting(refs);

    open = open || note_references(refs, plan->document) < 0;
    /* What the document refers to by itself is its author's: any value does. */
    while (!open && (n = fl_ssm_refs_next(refs, names)) > 0)
        for (size_t i = 0; i < n && !open; i++)
            open = fl_ssm_refs_learn(refs, names[i], NULL, 1, "String", "x") < 0;
    open = open || fl_session_plan_load(content, refs, arena, &again, NULL) < 0 ||
           fl_ssm_refs_wanting(refs);
    fl_ssm_refs_free(refs);
    return open;
}

void fl_decide_session(const struct fl_node_policy *policy, const struct fl_session *session,
                       const char *run_as, int64_t now_ms, struct fl_arena *arena,
                       struct fl_judgement *ret)
{
    struct fl_node_policy_verdict verdict = { 0 };
    char hash[FL_SHA256_HEX_BYTES];
    struct fl_session_plan plan;
    struct fl_err err = { 0 };
    const char *user;
    bool open, root = strcmp(run_as, "root") == 0;

    *ret = (struct fl_judgement){ .time_ms = now_ms };
    if (fl_session_plan_load(session->content, NULL, arena, &plan, &err) < 0 ||
        fl_document_sha256(plan.document, hash) < 0) {
        ret->broken = fl_arena_strdup(arena, fl_err_text(&err));
        return;
    }
    user = fl_session_plan_user(&plan, root, session->user);
    if (!user && !root && plan.kind != FL_SESSION_PORT)
        user = run_as;
    open = is_open(session->content, &plan, arena);
    fl_node_policy_decide(policy,
                          &(struct fl_node_policy_subject){ .session_type = plan.type,
                                                            .document = plan.document_name,
                                                            .document_sha256 = hash,
                                                            .parameters = plan.parameters,
                                                            .parameters_open = open,
                                                            .run_as = user,
                                                            .time_ms = now_ms },
                          &verdict);
    ret->document_sha256 = fl_arena_strdup(arena, hash);
    ret->allowed = verdict.allowed;
    ret->why = fl_arena_printf(arena, "%s (session, %s%s%s)", verdict.why, plan.type,
                               user ? ", as " : "", user ? user : "");
}
