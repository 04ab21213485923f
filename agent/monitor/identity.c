/* identity.c - see identity.h.
 *
 * One exchange at a time: the key process signs, net carries, the result decides the next step. The
 * key is rotated in the order persist pending -> tell the service -> promote, and whenever the
 * outcome is in doubt the keys are tried, the old one first; neither is dropped before the other
 * has worked (protocol 1 §4.3). That the old key works does not say that the service has not taken
 * the pending one: it may accept both until the new one has signed. So the pending key is told
 * again, and dropped only if the service refuses that key itself.
 */
#include "agent/monitor/identity.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/keyproc.h"
#include "agent/lib/text.h"
#include "agent/lib/trouble.h"
#include "agent/monitor/identity_save.h"
#include "common/aws/endpoint.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"

#define KEY_TIMEOUT_MS    60000 /* a fingerprint takes up to three looks, 5 s apart */
#define RESULT_TIMEOUT_MS 90000
#define MIN_LIFE_MS       60000  /* cached credentials with less are not worth starting with */
#define CHECK_MS          300000 /* timers stand still while a machine sleeps: look again */
#define BUSY_MS           5000   /* due while a key is being rotated: a little later, then */
#define NEW_CREDS_MS      60000  /* refused when so new: asking again would not help */
#define SKEW_KNOWN_MS     60000  /* smaller differences are the Date header's own */
#define ROTATE_RETRY_MS   60000  /* at least, before a pending key is told again */
#define DAY_MS            86400000LL
#define NO_DATE_DAYS      3650  /* what the official agent takes for a key without a date */
#define MAX_TEXT_BYTES    16384 /* of each string from net */

enum step {
    IDLE,
    TOKEN_SIGN,  /* the key process signs a token request */
    TOKEN_CALL,  /* net carries it */
    ROTATE_SIGN, /* the key process stores a pending key and signs the update */
    ROTATE_CALL,
    PROMOTE,
    DROP,
};

enum fault { TRANSPORT, SERVICE, DENIED, LOCAL, FAULT__N };

static const struct {
    uint32_t base_ms, cap_ms;
} fault_delays[FAULT__N] = {
    [TRANSPORT] = { 1000, 300000 },
    [SERVICE] = { 10000, 300000 },
    [DENIED] = { 300000, 1800000 }, /* a person has to act */
    [LOCAL] = { 2000, 300000 },
};

/* Between the tokens asked for since the service refuses the ones it gave: a channel that cannot
 * open says so with each try. */
static const struct fl_backoff refusal_delays = { .base_ms = 60000, .cap_ms = 1800000 };

/* Service errors that a later try cannot change by itself. */
static const char *const denials[] = { "AccessDeniedException", "MachineFingerprintDoesNotMatch",
                                       "InvalidInstanceId" };

/* What the service says of a key that it will never take. */
static const char *const key_refusals[] = { "InvalidPublicKey",    "PublicKeyAlreadyRegistered",
                                            "InvalidInstanceId",   "AccessDeniedException",
                                            "ValidationException", "UnknownOperationException" };

struct fl_identity_keeper {
    struct fl_loop *loop;
    const struct fl_paths *paths;
    const struct fl_agent_config *config;
    struct fl_identity_events events;
    void *arg;
    char *node_id, *url;
    int64_t key_created_ms;

    enum step step;
    bool net_up;
    bool with_pending; /* the request under way is signed with the pending key */
    bool has_pending;
    bool pending_told;    /* since the last planned token request: not again right away */
    bool pending_refused; /* the service will not have this key */
    bool rotate;          /* asked for by the service, or the key is too old */
    int64_t offset_ms;    /* the service's time minus fl_boot_ms(), which no clock change moves */
    char fingerprint[FL_UUID_BYTES];

    struct fl_keyproc *key;
    struct fl_timer *timer;    /* for due_ms */
    struct fl_timer *patience; /* for the result of a call */
    int64_t due_ms;            /* fl_boot_ms: the next token request */
    int64_t fresh_ms;          /* fl_boot_ms: when the service gave credentials; 0: not yet */
    bool due_after_transport_fault;
    struct fl_backoff backoffs[FAULT__N];
    struct fl_backoff refusals;
    int64_t refusal_due_ms; /* fl_boot_ms: refused credentials are not exchanged before */

    struct fl_arena creds_arena;
    struct fl_credcache creds; /* node_id NULL: none */
    struct fl_identity_saver *saver;
    char *error;
    struct fl_trouble trouble; /* how often it is logged */
};

static void next_token(struct fl_identity_keeper *k);
static void begin(struct fl_identity_keeper *k);
static void run_step(struct fl_identity_keeper *k, enum step step);

static int64_t service_now(const struct fl_identity_keeper *k)
{
    return fl_boot_ms() + k->offset_ms;
}

/* ---- planning ---- */

static void arm(struct fl_identity_keeper *k)
{
    int64_t left = k->due_ms - fl_boot_ms();

    fl_timer_start(k->timer, (uint64_t)FL_MIN(FL_MAX(left, 0), CHECK_MS));
}

static void plan(struct fl_identity_keeper *k, int64_t delay_ms)
{
    k->due_ms = fl_boot_ms() + delay_ms;
    k->due_after_transport_fault = false;
    arm(k);
}

/* Half of the life, give or take a tenth, so that nodes started together drift apart. */
static void plan_refresh(struct fl_identity_keeper *k)
{
    int64_t half = (k->creds.expires_ms - k->creds.retrieved_ms) / 2;
    int64_t delay;

    half = FL_MIN(FL_MAX(half, 0), 24 * 3600 * 1000LL);
    /* A clock that is wrong makes the age of cached credentials anything: never later than this. */
    delay = FL_MIN(k->creds.retrieved_ms - service_now(k), 0) + half;
    delay += (int64_t)fl_random_between(0, (uint32_t)(half / 5)) - half / 10;
    plan(k, FL_MAX(delay, 1000));
}

static void note_error(struct fl_identity_keeper *k, const char *text)
{
    free(k->error);
    k->error = strdup(text);
    if (fl_trouble_is_due(&k->trouble, fl_mono_ms()))
        fl_log_warn("no fresh credentials", FL_S("error", text));
}

static void fail(struct fl_identity_keeper *k, enum fault fault, const char *text)
{
    note_error(k, text);
    k->step = IDLE;
    k->with_pending = false;
    plan(k, fl_backoff_next_ms(&k->backoffs[fault], fl_random_u32()));
    k->due_after_transport_fault = fault == TRANSPORT;
}

static void on_timer(void *arg)
{
    struct fl_identity_keeper *k = arg;

    if (fl_boot_ms() < k->due_ms)
        arm(k);
    else if (k->step != IDLE)
        fl_timer_start(k->timer, BUSY_MS);
    else if (k->net_up)
        begin(k);
}

/* ---- credentials ---- */

static struct fl_net_creds current_creds(const struct fl_identity_keeper *k)
{
    return (struct fl_net_creds){ .access_key_id = k->creds.access_key_id,
                                  .secret_access_key = k->creds.secret_access_key,
                                  .session_token = k->creds.session_token,
                                  .expires_ms = k->creds.expires_ms };
}

static void hand_out(struct fl_identity_keeper *k)
{
    const struct fl_net_creds creds = current_creds(k);

    k->events.on_creds(k->arg, &creds);
}

static bool text_ok(const char *s)
{
    return s && *s && strlen(s) <= MAX_TEXT_BYTES && !strpbrk(s, "\r\n");
}

static int accept_token(struct fl_identity_keeper *k, const struct fl_net_token_result *res)
{
    const struct fl_credcache fresh = { .node_id = k->node_id,
                                        .access_key_id = res->access_key_id,
                                        .secret_access_key = res->secret_access_key,
                                        .session_token = res->session_token,
                                        .expires_ms = res->expires_ms,
                                        .retrieved_ms = service_now(k) };

    if (!text_ok(fresh.access_key_id) || !text_ok(fresh.secret_access_key) ||
        !text_ok(fresh.session_token) || fresh.expires_ms <= fresh.retrieved_ms)
        return -EBADMSG;
    fl_arena_done(&k->creds_arena);
    fl_arena_init(&k->creds_arena, 8 * MAX_TEXT_BYTES);
    k->creds_arena.secret = true;
    if (fl_credcache_copy(&k->creds_arena, &fresh, &k->creds) < 0) {
        k->creds = (struct fl_credcache){ 0 };
        return -ENOMEM;
    }
    return 0;
}

static bool key_is_old(const struct fl_identity_keeper *k)
{
    int64_t days = k->key_created_ms ? (fl_now_ms() - k->key_created_ms) / DAY_MS : NO_DATE_DAYS;

    return k->config->key_rotate_days > 0 && days >= k->config->key_rotate_days;
}

static void on_token(struct fl_identity_keeper *k, const struct fl_net_token_result *res)
{
    int r = accept_token(k, res);

    if (r < 0) {
        fail(k, SERVICE,
             r == -EBADMSG ? "the service's token answer is unusable" : "out of memory");
        return;
    }
    for (size_t i = 0; i < FAULT__N; i++)
        fl_backoff_reset(&k->backoffs[i]);
    if (k->error) {
        fl_log_info("credentials are fresh again");
        free(k->error);
        k->error = NULL;
        fl_trouble_over(&k->trouble);
    }
    k->fresh_ms = fl_boot_ms();
    k->rotate = res->update_key_pair || key_is_old(k);
    hand_out(k);
    fl_identity_save(k->saver, &k->creds);
    plan_refresh(k);
    if (k->with_pending) {
        run_step(k, PROMOTE);
    } else if (k->has_pending && k->pending_refused) {
        run_step(k, DROP);
    } else if ((k->has_pending || k->rotate) && !k->pending_told) {
        run_step(k, ROTATE_SIGN);
    } else {
        k->step = IDLE;
        if (k->has_pending) /* the refresh may be far away; it is never put off */
            plan(k, FL_MIN(k->due_ms - fl_boot_ms(),
                           (int64_t)fl_random_between(ROTATE_RETRY_MS, 2 * ROTATE_RETRY_MS)));
    }
}

/* ---- results of calls ---- */

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; name && i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static enum fault classify(const struct fl_net_token_result *res)
{
    if (res->http_status == 0 || (res->error_name && strcmp(res->error_name, "RequestError") == 0))
        return TRANSPORT;
    return is_one_of(res->error_name, denials, FL_ARRAY_LEN(denials)) ? DENIED : SERVICE;
}

/* True if the answer taught us the service's time, and a request signed with it is worth a try. */
static bool learn_time(struct fl_identity_keeper *k, const struct fl_net_token_result *res)
{
    int64_t change = res->server_ms ? res->server_ms - service_now(k) : 0;

    if (change < SKEW_KNOWN_MS && change > -SKEW_KNOWN_MS)
        return false;
    k->offset_ms += change;
    fl_log_warn("this machine's clock differs from the service's: requests are signed with the "
                "service's time",
                FL_I("behind_s", (res->server_ms - fl_now_ms()) / 1000));
    return true;
}

static void on_token_refused(struct fl_identity_keeper *k, const struct fl_net_token_result *res,
                             bool time_learnt)
{
    enum fault fault = classify(res);
    char text[FL_ERR_TEXT_BYTES];
    struct fl_err words;

    if (time_learnt && res->error_name &&
        strcmp(res->error_name, "InvalidSignatureException") == 0) {
        next_token(k);
        return;
    }
    /* The service may know the other key only. Throttling and faults of its own say nothing. */
    if (k->has_pending && !k->with_pending && fault != TRANSPORT && res->http_status < 500 &&
        res->http_status != 429) {
        k->with_pending = true;
        run_step(k, TOKEN_SIGN);
        return;
    }
    if (fault == DENIED)
        k->fingerprint[0] = '\0'; /* looked up again: the hardware may be back as it was */
    fl_err_set(&words, 0, NULL, "%.100s: %.300s", res->error_name ? res->error_name : "error",
               res->error_text ? res->error_text : "");
    memcpy(text, words.text, sizeof(text));
    fail(k, fault, text);
}

static void on_rotate_result(struct fl_identity_keeper *k, const struct fl_net_token_result *res)
{
    if (res->http_status == 200) {
        run_step(k, PROMOTE);
        return;
    }
    k->pending_refused = is_one_of(res->error_name, key_refusals, FL_ARRAY_LEN(key_refusals));
    fl_log_warn("key rotation was not confirmed: finding out which key the service knows",
                FL_S("error", res->error_name), FL_S("detail", res->error_text));
    next_token(k);
}

void fl_identity_keeper_result(struct fl_identity_keeper *k, const struct fl_net_token_result *res)
{
    bool time_learnt;

    if (k->step != TOKEN_CALL && k->step != ROTATE_CALL)
        return; /* of a call given up meanwhile */
    fl_timer_stop(k->patience);
    time_learnt = learn_time(k, res);
    if (k->step == ROTATE_CALL)
        on_rotate_result(k, res);
    else if (res->http_status == 200 && !res->error_name)
        on_token(k, res);
    else
        on_token_refused(k, res, time_learnt);
}

static void on_no_result(void *arg)
{
    struct fl_identity_keeper *k = arg;

    fail(k, TRANSPORT, "no answer to the token request");
}

/* ---- the key process ---- */

static const struct {
    const char *op;
    enum step then; /* the step that the signed call begins; IDLE: no call follows */
} key_steps[] = {
    [TOKEN_SIGN] = { FL_KEY_SIGN_TOKEN, TOKEN_CALL },
    [ROTATE_SIGN] = { FL_KEY_ROTATE_BEGIN, ROTATE_CALL },
    [PROMOTE] = { FL_KEY_PROMOTE, IDLE },
    [DROP] = { FL_KEY_DROP, IDLE },
};

static void send_call(struct fl_identity_keeper *k, const struct fl_key_answer *a)
{
    const struct fl_net_signed_call call = { .operation = a->operation,
                                             .amz_date = a->amz_date,
                                             .authorization = a->authorization,
                                             .content_sha256 = a->content_sha256,
                                             .host = a->host,
                                             .body = a->body };

    k->step = key_steps[k->step].then;
    if (k->events.send_call(k->arg, &call) != 0) {
        fail(k, TRANSPORT, "the network process is not there");
        return;
    }
    fl_timer_start(k->patience, RESULT_TIMEOUT_MS);
}

static void on_key_answer(void *arg, const struct fl_key_answer *a, const char *why)
{
    struct fl_identity_keeper *k = arg;

    k->key = fl_keyproc_free(k->key);
    if (!a || a->error) {
        /* It may have died after it had stored a key. */
        k->has_pending = fl_vault_pending_exists(k->paths->state);
        fail(k, LOCAL, a ? a->error : why);
        return;
    }
    if (a->fingerprint && fl_uuid_valid(a->fingerprint))
        memcpy(k->fingerprint, a->fingerprint, FL_UUID_BYTES);
    if (a->fingerprint_changed)
        fl_log_warn(
            "this machine's hardware is no longer the one that was registered: register again");
    if (k->step == ROTATE_SIGN) {
        k->has_pending = true;
        k->pending_told = true;
        k->pending_refused = false;
    }
    if (key_steps[k->step].then != IDLE) {
        send_call(k, a);
        return;
    }
    if (k->step == PROMOTE) {
        k->key_created_ms = fl_now_ms();
        fl_log_info("identity key rotated");
    }
    k->has_pending = false;
    k->with_pending = false;
    k->rotate = false;
    k->step = IDLE;
}

static void run_step(struct fl_identity_keeper *k, enum step step)
{
    struct fl_err err = { 0 };
    const struct fl_key_request req = {
        .op = fl_text(key_steps[step].op),
        .url = k->url,
        .fingerprint = k->fingerprint[0] ? k->fingerprint : NULL,
        .time_ms = service_now(k),
        .pending = k->with_pending,
    };
    int r;

    k->step = step;
    r = fl_keyproc_new(k->loop, k->paths, on_key_answer, k, &k->key, &err);
    if (r == 0)
        r = fl_keyproc_ask(k->key, &req, KEY_TIMEOUT_MS, &err);
    if (r < 0) {
        k->key = fl_keyproc_free(k->key);
        fail(k, LOCAL, fl_err_text(&err));
    }
}

static void next_token(struct fl_identity_keeper *k)
{
    k->with_pending = false;
    run_step(k, TOKEN_SIGN);
}

/* A token request that the clock or the service asked for, not one that settles a doubt. */
static void begin(struct fl_identity_keeper *k)
{
    k->pending_told = false;
    next_token(k);
}

/* ---- life ---- */

static void load_cached(struct fl_identity_keeper *k)
{
    struct fl_err err = { 0 };

    if (fl_credcache_load(k->paths->state, &k->creds_arena, &k->creds, &err) < 0)
        fl_log_warn("cached credentials are unreadable", FL_S("error", fl_err_text(&err)));
    if (k->creds.node_id && (strcmp(k->creds.node_id, k->node_id) != 0 ||
                             k->creds.expires_ms < service_now(k) + MIN_LIFE_MS ||
                             k->creds.retrieved_ms > k->creds.expires_ms))
        k->creds = (struct fl_credcache){ 0 };
}

int fl_identity_keeper_new(struct fl_loop *loop, const struct fl_paths *paths,
                           const struct fl_agent_config *config, const struct fl_registration *reg,
                           const struct fl_identity_events *events, void *arg,
                           struct fl_identity_keeper **ret_keeper, struct fl_err *err)
{
    struct fl_identity_keeper *k = calloc(1, sizeof(*k));
    int r;

    if (!k)
        return fl_err_nomem(err);
    k->loop = loop;
    k->paths = paths;
    k->config = config;
    k->events = *events;
    k->arg = arg;
    k->offset_ms = fl_now_ms() - fl_boot_ms();
    for (size_t i = 0; i < FAULT__N; i++)
        k->backoffs[i] = (struct fl_backoff){ .base_ms = fault_delays[i].base_ms,
                                              .cap_ms = fault_delays[i].cap_ms };
    k->refusals = refusal_delays;
    fl_arena_init(&k->creds_arena, 8 * MAX_TEXT_BYTES);
    k->creds_arena.secret = true;
    k->node_id = strdup(reg->node_id);
    k->timer = fl_timer_new(loop, on_timer, k);
    k->patience = fl_timer_new(loop, on_no_result, k);
    r = fl_endpoint_url("ssm", reg->region, config->service_domain, config->ssm_endpoint, &k->url,
                        err);
    if (r == 0)
        r = fl_identity_saver_new(loop, paths->state, config, &k->saver, err);
    if (r == 0 && (!k->node_id || !k->timer || !k->patience))
        r = fl_err_nomem(err);
    if (r < 0) {
        fl_identity_keeper_free(k);
        return r;
    }
    if (reg->key_created && fl_vault_date_parse(reg->key_created, &k->key_created_ms) < 0)
        k->key_created_ms = 0;
    k->has_pending = fl_vault_pending_exists(paths->state);
    load_cached(k);
    *ret_keeper = k;
    return 0;
}

struct fl_identity_keeper *fl_identity_keeper_free(struct fl_identity_keeper *k)
{
    if (!k)
        return NULL;
    fl_identity_saver_free(k->saver);
    fl_keyproc_free(k->key);
    fl_timer_free(k->timer);
    fl_timer_free(k->patience);
    fl_arena_done(&k->creds_arena);
    free(k->node_id);
    free(k->url);
    free(k->error);
    free(k);
    return NULL;
}

void fl_identity_keeper_net_up(struct fl_identity_keeper *k)
{
    k->net_up = true;
    if (k->creds.node_id && k->creds.expires_ms > service_now(k)) {
        hand_out(k);
        plan_refresh(k);
        if (k->has_pending) /* a rotation was interrupted: settle it now */
            plan(k, 0);
    } else if (k->step == IDLE) {
        begin(k);
    }
}

void fl_identity_keeper_net_down(struct fl_identity_keeper *k)
{
    k->net_up = false;
    /* What the key process does it finishes; a call that net had is lost. */
    if (k->step == TOKEN_CALL || k->step == ROTATE_CALL) {
        fl_timer_stop(k->patience);
        k->step = IDLE;
        k->with_pending = false;
        plan(k, 0);
    }
}

void fl_identity_keeper_online(struct fl_identity_keeper *k)
{
    fl_backoff_reset(&k->refusals);
    k->refusal_due_ms = 0;
    if (k->step == IDLE && k->due_after_transport_fault)
        plan(k, fl_random_between(0, 2000));
}

void fl_identity_keeper_refused(struct fl_identity_keeper *k)
{
    int64_t now = fl_boot_ms();

    if (k->step != IDLE || !k->net_up || (k->fresh_ms && now - k->fresh_ms < NEW_CREDS_MS))
        return;
    /* None were to be had, and the next try is planned. Only where the way out was missing, which
     * this answer came by, it may be sooner. */
    if (now < k->refusal_due_ms || (k->error && !k->due_after_transport_fault))
        return;
    k->refusal_due_ms = now + fl_backoff_next_ms(&k->refusals, fl_random_u32());
    if (!k->error)
        fl_log_info("the service refuses the credentials: asking for fresh ones");
    begin(k);
}

struct fl_net_creds fl_identity_keeper_creds(const struct fl_identity_keeper *k,
                                             int64_t *ret_offset_ms)
{
    *ret_offset_ms = k->offset_ms;
    return k->creds.node_id ? current_creds(k) : (struct fl_net_creds){ 0 };
}

int64_t fl_identity_keeper_expires_ms(const struct fl_identity_keeper *k)
{
    return k->creds.node_id ? k->creds.expires_ms : 0;
}

const char *fl_identity_keeper_error(const struct fl_identity_keeper *k)
{
    return k->error;
}
