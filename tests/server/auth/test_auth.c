/* Who gets in and which error the others get, with a clock that stands still. */
#include "server/auth/auth.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "server/admin/iam.h"
#include "server/auth/revoked.h"
#include "server/auth/token.h"
#include "tests/server/fixture.h"
#include "tests/vectors/rsa_keys.h"

#define HOST   "fairlead.test:8080"
#define TARGET "AmazonSSM.ListCommands"
#define BODY   "{}"
#define MIN_MS 60000

enum who {
    USER,
    DISABLED,
    SESSION,
    NODE,
    REVOKED,
    EXPIRED,
    RSA,
    RSA_OLD,
    RSA_GONE,
    STRANGER,
    NOBODY
};

/* What is done to a good request. */
enum bend {
    AS_IS,
    BAD_SECRET,
    BAD_BODY,
    BAD_HASH_HEADER,
    BAD_TOKEN,
    NO_TOKEN,
    TARGET_UNSIGNED,
    SCOPE_DATE,
    GARBAGE,
    DATE_HEADER,
};

struct world {
    struct fl_fixture f;
    struct fl_arena arena;
    char key_id[2][FL_KEY_ID_BYTES];
    char secret[2][FL_SECRET_KEY_BYTES];
    struct fl_credentials session, node, revoked, expired;
    char node_id[24], gone_id[24];
    struct fl_rsa *rsa[2]; /* current, previous */
};

static int make_users(struct fl_call *call, void *arg)
{
    struct world *w = arg;
    const struct fl_iam iam = { .tx = call->tx, .account = call->account, .now_ms = call->now_ms };
    int r = fl_iam_user_add(&iam, "ann", NULL);

    for (int i = 0; r >= 0 && i < 2; i++)
        r = fl_iam_key_create(&iam, call->plane->seal_key, "ann", w->key_id[i], w->secret[i], NULL);
    return r < 0 ? r : fl_iam_key_enable(&iam, w->key_id[1], false, NULL);
}

static void keep(struct world *w, struct fl_credentials *c)
{
    c->access_key_id = fl_arena_strdup(&w->arena, c->access_key_id);
    c->secret_access_key = fl_arena_strdup(&w->arena, c->secret_access_key);
    c->session_token = fl_arena_strdup(&w->arena, c->session_token);
}

static int make_tokens(struct fl_call *call, void *arg)
{
    struct world *w = arg;
    struct fl_call early = *call, ann = *call;
    const struct fl_identity who = { .access_key_id = w->key_id[0] };
    struct fl_key key;
    int r;

    early.now_ms -= call->plane->conf.node_token_life_ms;
    ann.who = &who;
    r = fl_key_load(call->tx, call->plane->seal_key, w->key_id[0], call->arena, &key, NULL);
    if (r > 0)
        r = fl_token_issue_user(&ann, "ann", key.user_id, 900000, &w->session, NULL);
    if (r >= 0)
        r = fl_token_issue_node(call, "mi-00000000000000001", "fleet", &w->node, NULL);
    if (r >= 0)
        r = fl_token_issue_node(call, "mi-00000000000000002", "fleet", &w->revoked, NULL);
    if (r >= 0)
        r = fl_token_issue_node(&early, "mi-00000000000000001", "fleet", &w->expired, NULL);
    keep(w, &w->session);
    keep(w, &w->node);
    keep(w, &w->revoked);
    keep(w, &w->expired);
    return r;
}

static int make_nodes(struct fl_call *call, void *arg)
{
    struct world *w = arg;
    fl_autofree char *now = NULL, *before = NULL;
    int r = fl_rsa_public_text(w->rsa[0], &now);

    if (r >= 0)
        r = fl_rsa_public_text(w->rsa[1], &before);
    for (int i = 0; r >= 0 && i < 2; i++) {
        char *id = i ? w->gone_id : w->node_id;

        memcpy(id, "mi-", 3);
        fl_random_hex(id + 3, 17);
        r = fl_sql_exec(call->tx, FL_SQL_node_insert, NULL, FL_T(id), FL_T(call->account),
                        FL_T(call->region), FL_NULL, FL_T("fleet"), FL_NULL, FL_T("x"),
                        FL_T(i ? id : before), FL_T(id), FL_N(call->now_ms));
    }
    /* the first node turned its key once, the second one is deregistered */
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_node_key_set, NULL, FL_T(w->node_id), FL_T(now),
                        FL_T(before));
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_node_deregister, NULL, FL_T(w->gone_id),
                        FL_T(call->account), FL_T(call->region), FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

static int setup(void **state)
{
    static struct world w;

    fl_fixture_open(&w.f);
    fl_arena_init(&w.arena, 1 << 20);
    assert_int_equal(fl_revoked_add(w.f.plane.revoked, "mi-00000000000000002"), 0);
    for (unsigned i = 0; i < 2; i++)
        w.rsa[i] = test_rsa_key(i);
    assert_int_equal(fl_fixture_run(&w.f, FL_LANE_WRITE, make_users, &w), 0);
    assert_int_equal(fl_fixture_run(&w.f, FL_LANE_READ, make_tokens, &w), 0);
    assert_int_equal(fl_fixture_run(&w.f, FL_LANE_WRITE, make_nodes, &w), 0);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 2; i++)
        fl_rsa_free(w->rsa[i]);
    fl_arena_done(&w->arena);
    fl_fixture_close(&w->f);
    return 0;
}

static const struct {
    enum who who;
    enum bend bend;
    int shift_min;       /* the request's clock against ours */
    const char *service; /* of the scope; the plane wants ssm, or s3 where this is s3 */
    const char *error;   /* NULL: gets in */
    const char *text;    /* stands in the message */
} cases[] = {
    { USER, AS_IS, 0, "ssm", NULL, NULL },
    { SESSION, AS_IS, 0, "ssm", NULL, NULL },
    { NODE, AS_IS, 0, "ssm", NULL, NULL },
    { RSA, AS_IS, 0, "ssm", NULL, NULL },
    { RSA_OLD, AS_IS, 0, "ssm", NULL, NULL },
    { USER, DATE_HEADER, 0, "ssm", NULL, NULL },
    { NOBODY, AS_IS, 0, "ssm", "MissingAuthenticationTokenException", "Missing" },
    { USER, GARBAGE, 0, "ssm", "IncompleteSignatureException", "Authorization" },
    { STRANGER, AS_IS, 0, "ssm", "UnrecognizedClientException", "security token" },
    { DISABLED, AS_IS, 0, "ssm", "UnrecognizedClientException", "security token" },
    { SESSION, NO_TOKEN, 0, "ssm", "UnrecognizedClientException", "security token" },
    { SESSION, BAD_TOKEN, 0, "ssm", "UnrecognizedClientException", "security token" },
    { REVOKED, AS_IS, 0, "ssm", "UnrecognizedClientException", "security token" },
    { EXPIRED, AS_IS, 0, "ssm", "ExpiredTokenException", "expired" },
    { USER, BAD_SECRET, 0, "ssm", "InvalidSignatureException", "does not match" },
    { SESSION, BAD_SECRET, 0, "ssm", "InvalidSignatureException", "does not match" },
    { USER, BAD_BODY, 0, "ssm", "InvalidSignatureException", "does not match" },
    { USER, BAD_HASH_HEADER, 0, "ssm", "InvalidSignatureException", "x-amz-content-sha256" },
    { USER, TARGET_UNSIGNED, 0, "ssm", "InvalidSignatureException", "Target" },
    { USER, SCOPE_DATE, 0, "ssm", "InvalidSignatureException", "scope" },
    { USER, AS_IS, 0, "sts", "InvalidSignatureException", "correct service: 'ssm'" },
    { RSA, AS_IS, 0, "sts", "InvalidSignatureException", "correct service: 'ssm'" },
    { USER, AS_IS, -15, "ssm", NULL, NULL },
    { USER, AS_IS, 15, "ssm", NULL, NULL },
    { USER, AS_IS, -16, "ssm", "InvalidSignatureException",
      "Signature expired: 20251231T234400Z is now earlier than 20251231T234500Z "
      "(20260101T000000Z - 15 min.)" },
    { USER, AS_IS, 16, "ssm", "InvalidSignatureException",
      "Signature not yet current: 20260101T001600Z is still later than 20260101T001500Z "
      "(20260101T000000Z + 15 min.)" },
    { NODE, AS_IS, -5, "ssm", NULL, NULL },
    { NODE, AS_IS, -6, "ssm", "InvalidSignatureException", "- 5 min." },
    { NODE, AS_IS, 6, "ssm", "InvalidSignatureException", "+ 5 min." },
    { NODE, AS_IS, -15, "s3", NULL, NULL },
    { NODE, AS_IS, 16, "s3", "RequestTimeTooSkewed", "too large" },
    { USER, AS_IS, -16, "s3", "RequestTimeTooSkewed", "too large" },
    { RSA, AS_IS, 6, "ssm", "InvalidSignatureException", "+ 5 min." },
    { RSA, BAD_BODY, 0, "ssm", "AccessDeniedException", "key" },
    { RSA_GONE, AS_IS, 0, "ssm", "AccessDeniedException", "registered" },
};

struct attempt {
    struct world *w;
    size_t i;
    struct fl_auth_request req;
    struct fl_caller caller;
    struct fl_err err;
};

static struct fl_aws_creds creds_of(struct world *w, enum who who)
{
    const struct fl_credentials *t = who == SESSION   ? &w->session
                                     : who == NODE    ? &w->node
                                     : who == REVOKED ? &w->revoked
                                     : who == EXPIRED ? &w->expired
                                                      : NULL;

    if (t)
        return (struct fl_aws_creds){ t->access_key_id, t->secret_access_key, t->session_token };
    if (who == STRANGER)
        return (struct fl_aws_creds){ "AKIAAAAAAAAAAAAAAAAA", "secret", NULL };
    return (struct fl_aws_creds){ w->key_id[who == DISABLED], w->secret[who == DISABLED], NULL };
}

static bool is_rsa(enum who who)
{
    return who == RSA || who == RSA_OLD || who == RSA_GONE;
}

/* Signs a request as case i says, into the attempt. */
static void build(struct attempt *a, struct fl_arena *arena)
{
    enum who who = cases[a->i].who;
    enum bend bend = cases[a->i].bend;
    struct world *w = a->w;
    int64_t date_ms = w->f.now_ms + (int64_t)cases[a->i].shift_min * MIN_MS;
    struct fl_aws_creds creds = creds_of(w, who);
    struct fl_http_header *h = fl_arena_calloc(arena, 8, sizeof(*h));
    char *date = fl_arena_alloc(arena, FL_COMPACT_BYTES), hash[FL_SHA256_HEX_BYTES];
    fl_autofree char *auth = NULL;
    struct fl_sigv4_request sr;
    size_t n = 0;

    fl_time_compact(date_ms, date);
    fl_sha256_hex(BODY, strlen(BODY), hash);
    h[n++] = (struct fl_http_header){ "content-type", "application/x-amz-json-1.1" };
    h[n++] = (struct fl_http_header){ "host", HOST };
    h[n++] = (struct fl_http_header){ "x-amz-date", date };
    if (bend != TARGET_UNSIGNED)
        h[n++] = (struct fl_http_header){ "x-amz-target", TARGET };
    if (creds.session_token && bend != NO_TOKEN)
        h[n++] = (struct fl_http_header){ "x-amz-security-token",
                                          bend == BAD_TOKEN ? "abc" : creds.session_token };
    if (bend == BAD_SECRET)
        creds.secret_access_key = "wrong";
    if (bend == NO_TOKEN)
        creds.session_token = NULL;
    sr = (struct fl_sigv4_request){ .method = "POST",
                                    .path = "/",
                                    .query = "",
                                    .headers = h,
                                    .n_headers = n,
                                    .body_sha256 = hash,
                                    .service = cases[a->i].service };
    if (is_rsa(who))
        assert_int_equal(fl_sigv4_sign_rsa(&sr, w->rsa[who == RSA_OLD],
                                           who == RSA_GONE ? w->gone_id : w->node_id, "us-east-1",
                                           date, &auth, NULL),
                         0);
    else
        assert_int_equal(fl_sigv4_sign(&sr, &creds, "us-east-1", date, &auth, NULL), 0);
    if (bend == TARGET_UNSIGNED)
        h[n++] = (struct fl_http_header){ "x-amz-target", TARGET };
    if (bend == BAD_HASH_HEADER)
        h[n++] = (struct fl_http_header){ "x-amz-content-sha256", "00" };
    if (bend == SCOPE_DATE)
        memcpy(strchr(auth, '/') + 1, "20251224", 8);

    a->req = (struct fl_auth_request){ .method = "POST",
                                       .path = "/",
                                       .query = "",
                                       .source_ip = "192.0.2.1",
                                       .headers = h,
                                       .n_headers = n,
                                       .body = bend == BAD_BODY ? "{ }" : BODY,
                                       .body_len = bend == BAD_BODY ? 3 : 2 };
    a->req.parsed = fl_sigv4_parse(who == NOBODY     ? NULL
                                   : bend == GARBAGE ? "AWS4-HMAC-SHA256 nonsense"
                                                     : auth,
                                   arena, &a->req.auth, &a->req.parse_err) == 0;
}

/* Date instead of X-Amz-Date: the signature covers the same compact text. */
static void build_with_date(struct attempt *a, struct fl_arena *arena)
{
    struct fl_http_header *h;
    struct fl_sigv4_request sr;
    fl_autobuf struct fl_buf string = { 0 };
    char hash[FL_SHA256_HEX_BYTES], *auth;
    uint8_t key[FL_SHA256_BYTES], mac[FL_SHA256_BYTES];
    char hex[FL_SHA256_HEX_BYTES];

    build(a, arena);
    h = (struct fl_http_header *)a->req.headers;
    h[2] = (struct fl_http_header){ "date", "Thu, 01 Jan 2026 00:00:00 GMT" };
    fl_sha256_hex(BODY, strlen(BODY), hash);
    sr = (struct fl_sigv4_request){ "POST", "/", "", h, a->req.n_headers, hash, "ssm" };
    fl_buf_init(&string, 4096);
    assert_int_equal(fl_sigv4_string_to_sign(&sr, "content-type;date;host;x-amz-target",
                                             "20260101T000000Z", "us-east-1", &string, NULL, NULL),
                     0);
    fl_sigv4_signing_key(a->w->secret[0], "20260101", "us-east-1", "ssm", key);
    fl_hmac_sha256(key, sizeof(key), string.data, string.len, mac);
    fl_hex_encode(mac, sizeof(mac), hex);
    auth = fl_arena_printf(arena,
                           "AWS4-HMAC-SHA256 Credential=%s/20260101/us-east-1/ssm/aws4_request, "
                           "SignedHeaders=content-type;date;host;x-amz-target, Signature=%s",
                           a->w->key_id[0], hex);
    assert_int_equal(fl_sigv4_parse(auth, arena, &a->req.auth, NULL), 0);
}

static int verify(struct fl_call *call, void *arg)
{
    struct attempt *a = arg;

    return fl_auth_verify(call->plane, call->tx, &a->req,
                          strcmp(cases[a->i].service, "s3") == 0 ? "s3" : "ssm",
                          is_rsa(cases[a->i].who), call->now_ms, call->arena, &a->caller, &a->err);
}

static void error_table(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct attempt a = { .w = w, .i = i };
        int r;

        if (cases[i].bend == DATE_HEADER)
            build_with_date(&a, &arena);
        else
            build(&a, &arena);
        r = fl_fixture_run(&w->f, FL_LANE_READ, verify, &a);
        if (!cases[i].error) {
            if (r < 0)
                fail_msg("case %zu: %s: %s", i, a.err.name, fl_err_text(&a.err));
            continue;
        }
        if ((r != -EACCES && r != -EKEYREJECTED) || !a.err.name ||
            strcmp(a.err.name, cases[i].error) != 0)
            fail_msg("case %zu: %d %s: %s", i, r, a.err.name, fl_err_text(&a.err));
        /* what may be a guess at a secret, and what cannot be one */
        if (cases[i].bend == BAD_SECRET || cases[i].bend == BAD_TOKEN || cases[i].who == STRANGER)
            assert_int_equal(r, -EKEYREJECTED);
        if (cases[i].who == REVOKED || cases[i].who == EXPIRED || cases[i].bend == GARBAGE)
            assert_int_equal(r, -EACCES);
        if (!strstr(fl_err_text(&a.err), cases[i].text))
            fail_msg("case %zu: text: %s", i, fl_err_text(&a.err));
    }
}

/* The strings of a.caller live in the call's arena, so they are looked at inside the call. */
static int check_identities(struct fl_call *call, void *arg)
{
    struct attempt *a = arg;
    int r = verify(call, a);

    if (r < 0)
        return r;
    switch (cases[a->i].who) {
    case USER:
    case SESSION:
        assert_int_equal(a->caller.id.kind, FL_ID_USER);
        assert_string_equal(a->caller.id.arn, "arn:aws:iam::123456789012:user/ann");
        assert_string_equal(a->caller.user, "ann");
        break;
    case NODE:
        assert_int_equal(a->caller.id.kind, FL_ID_NODE);
        assert_string_equal(a->caller.id.arn,
                            "arn:aws:sts::123456789012:assumed-role/fleet/mi-00000000000000001");
        assert_string_equal(a->caller.id.node_id, "mi-00000000000000001");
        break;
    default:
        assert_int_equal(a->caller.id.kind, FL_ID_NODE);
        assert_string_equal(a->caller.id.node_id, a->w->node_id);
    }
    return 0;
}

static void identities(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < 5; i++) { /* those that get in */
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct attempt a = { .w = w, .i = i };

        build(&a, &arena);
        assert_int_equal(fl_fixture_run(&w->f, FL_LANE_READ, check_identities, &a), 0);
    }
}

static int verify_other_form(struct fl_call *call, void *arg)
{
    struct attempt *a = arg;

    return fl_auth_verify(call->plane, call->tx, &a->req, "ssm", !is_rsa(cases[a->i].who),
                          call->now_ms, call->arena, &a->caller, &a->err);
}

/* A node's own key opens nothing but the two calls that take it, and they take nothing else. */
static void forms_do_not_mix(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < 5; i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct attempt a = { .w = w, .i = i };

        build(&a, &arena);
        assert_true(fl_fixture_run(&w->f, FL_LANE_READ, verify_other_form, &a) < 0);
        assert_string_equal(a.err.name, is_rsa(cases[i].who) ? "UnrecognizedClientException"
                                                             : "AccessDeniedException");
    }
}

/* Without a transaction only nodes' sealed tokens can be told. */
static void without_the_store(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < 3; i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct attempt a = { .w = w, .i = i };
        int r;

        build(&a, &arena);
        r = fl_auth_verify(&w->f.plane, NULL, &a.req, "ssm", false, w->f.now_ms, &arena, &a.caller,
                           &a.err);
        assert_int_equal(r, cases[i].who == USER      ? -EKEYREJECTED
                            : cases[i].who == SESSION ? -EACCES
                                                      : 0);
    }
}

/* A plane with a real region is known by that name only. */
static void region_of_the_scope(void **state)
{
    struct world *w = *state;
    char *local = w->f.plane.conf.region;
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct attempt a = { .w = w, .i = 0 };

    build(&a, &arena);
    w->f.plane.conf.region = (char *)"eu-test-1";
    assert_int_equal(fl_fixture_run(&w->f, FL_LANE_READ, verify, &a), -EACCES);
    assert_string_equal(a.err.name, "InvalidSignatureException");
    w->f.plane.conf.region = (char *)"us-east-1";
    assert_int_equal(fl_fixture_run(&w->f, FL_LANE_READ, verify, &a), 0);
    w->f.plane.conf.region = local;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_table),         cmocka_unit_test(identities),
        cmocka_unit_test(forms_do_not_mix),    cmocka_unit_test(without_the_store),
        cmocka_unit_test(region_of_the_scope),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
