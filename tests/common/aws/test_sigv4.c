#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/sigv4.h"
#include "tests/vectors/vectors.h"

#define MAX_HEADERS 16
#define NODE        "mi-0123456789abcdef0"

static json_t *vectors, *rsa_vectors;
static struct fl_arena arena;

static int setup(void **state)
{
    vectors = vectors_load("tests/vectors/sigv4.json");
    rsa_vectors = vectors_load("tests/vectors/rsa.json");
    fl_arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    json_decref(vectors);
    json_decref(rsa_vectors);
    fl_arena_done(&arena);
    return 0;
}

static size_t load_headers(const json_t *row, struct fl_http_header *headers)
{
    const json_t *list = json_object_get(row, "headers");
    size_t n = json_array_size(list);

    assert_in_range(n, 1, MAX_HEADERS);
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);

        headers[i].name = json_string_value(json_array_get(pair, 0));
        headers[i].value = json_string_value(json_array_get(pair, 1));
    }
    return n;
}

static struct fl_sigv4_request load_request(const json_t *row, struct fl_http_header *headers)
{
    return (struct fl_sigv4_request){
        .method = vectors_str(row, "method"),
        .path = vectors_str(row, "path"),
        .query = vectors_str(row, "query"),
        .headers = headers,
        .n_headers = load_headers(row, headers),
        .body_sha256 = vectors_str(row, "body_sha256"),
        .service = vectors_str(row, "service"),
    };
}

static void check_vector(const json_t *row)
{
    const char *secret = vectors_str(row, "secret_access_key");
    const char *region = vectors_str(row, "region");
    const char *date = vectors_str(row, "amz_date");
    struct fl_http_header headers[MAX_HEADERS];
    struct fl_sigv4_request req = load_request(row, headers);
    struct fl_aws_creds creds = { vectors_str(row, "access_key_id"), secret,
                                  vectors_str(row, "session_token") };
    fl_autobuf struct fl_buf string = FL_BUF(4096);
    fl_autofree char *header = NULL;
    struct fl_sigv4_auth auth;
    struct fl_err err = { 0 };
    char hash[FL_SHA256_HEX_BYTES], hex[FL_SHA256_HEX_BYTES], day[9];
    uint8_t key[FL_SHA256_BYTES];

    if (strcmp(req.body_sha256, "UNSIGNED-PAYLOAD") != 0) {
        fl_sha256_hex(vectors_str(row, "body"), strlen(vectors_str(row, "body")), hash);
        assert_string_equal(hash, req.body_sha256);
    }
    assert_int_equal(fl_sigv4_string_to_sign(&req, vectors_str(row, "signed_headers"), date, region,
                                             &string, hash, &err),
                     0);
    assert_string_equal(hash, vectors_str(row, "canonical_sha256"));
    snprintf(day, sizeof(day), "%.8s", date);
    fl_sigv4_signing_key(secret, day, region, req.service, key);
    fl_hex_encode(key, sizeof(key), hex);
    assert_string_equal(hex, vectors_str(row, "signing_key"));

    assert_int_equal(fl_sigv4_sign(&req, &creds, region, date, &header, &err), 0);
    assert_int_equal(fl_sigv4_parse(header, &arena, &auth, &err), 0);
    assert_string_equal(auth.access_key_id, creds.access_key_id);
    assert_string_equal(auth.date, day);
    assert_string_equal(auth.region, region);
    assert_string_equal(auth.service, req.service);
    assert_string_equal(auth.signed_headers, vectors_str(row, "signed_headers"));
    assert_string_equal(auth.signature, vectors_str(row, "signature"));
    assert_int_equal(fl_sigv4_verify(&req, &auth, date, secret, &err), 0);
    assert_int_equal(fl_sigv4_verify(&req, &auth, date, "wrong", &err), -EBADMSG);
    assert_string_equal(err.name, "InvalidSignatureException");
}

static void vectors_hold(void **state)
{
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        print_message("  %s\n", vectors_str(json_array_get(vectors, i), "name"));
        check_vector(json_array_get(vectors, i));
    }
}

/* What no client of ours is known to send, and what we make of it. */
static void odd_requests(void **state)
{
    static const struct {
        const char *service, *path, *query, *same_path, *same_query;
    } cases[] = {
        { "ssm", "/", "a=b+c", "/", "a=b%20c" },
        { "ssm", "/", "&a=1&&b", "/", "a=1&b=" },
        { "ssm", "/", "a=%zz", "/", "a=%25zz" },
        { "ssm", "/", "x=@", "/", "x=%40" },
        { "ssm", "/", "x=%7e%2f", "/", "x=~%2F" },
        { "ssm", "/", "a=b=c", "/", "a=b%3Dc" },
        { "ssm", "/", "=&=", "/", "=&=" },
        { "ssm", "", "", "/", "" },
        { "s3", "/b/a@b", "", "/b/a%40b", "" },
        { "s3", "/b/a%2fb", "", "/b/a%2Fb", "" },
        { "s3", "/b/a%zz%", "", "/b/a%25zz%25", "" },
        { "s3", "/b/a+b", "", "/b/a%2Bb", "" },
    };
    const struct fl_http_header host = { "Host", "h" };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_sigv4_request req = { "GET", cases[i].path, cases[i].query,  &host,
                                        1,     "x",           cases[i].service };
        fl_autobuf struct fl_buf one = FL_BUF(4096);
        fl_autobuf struct fl_buf two = FL_BUF(4096);

        assert_int_equal(
            fl_sigv4_string_to_sign(&req, "host", "20260102T030405Z", "r", &one, NULL, NULL), 0);
        req.path = cases[i].same_path;
        req.query = cases[i].same_query;
        assert_int_equal(
            fl_sigv4_string_to_sign(&req, "host", "20260102T030405Z", "r", &two, NULL, NULL), 0);
        assert_string_equal(one.data, two.data);
    }
}

static void too_much_is_refused(void **state)
{
    struct fl_http_header host = { "Host", "h" };
    struct fl_sigv4_request req = { "GET", "/", NULL, &host, 1, "x", "ssm" };
    fl_autobuf struct fl_buf query = FL_BUF(8192);
    fl_autobuf struct fl_buf out = FL_BUF(4096);

    for (int i = 0; i < 257; i++)
        assert_int_equal(fl_buf_puts(&query, "a=b&"), 0);
    req.query = query.data;
    assert_int_equal(
        fl_sigv4_string_to_sign(&req, "host", "20260102T030405Z", "r", &out, NULL, NULL), -EINVAL);
    req.query = query.data + 4;
    assert_int_equal(
        fl_sigv4_string_to_sign(&req, "host", "20260102T030405Z", "r", &out, NULL, NULL), 0);
    assert_int_equal(
        fl_sigv4_string_to_sign(&req, "host;x-a", "20260102T030405Z", "r", &out, NULL, NULL),
        -EINVAL);
    assert_int_equal(fl_sigv4_string_to_sign(&req, "host", "20260102", "r", &out, NULL, NULL),
                     -EINVAL);
}

#define CRED   "Credential=AKID/20260102/eu-west-1/ssm/aws4_request"
#define SIGNED "SignedHeaders=host;x-amz-date"
#define SIG    "Signature=00ff"

static void headers_are_parsed(void **state)
{
    static const char *const good[] = {
        "AWS4-HMAC-SHA256 " CRED ", " SIGNED ", " SIG,
        "AWS4-HMAC-SHA256 " CRED "," SIGNED "," SIG,
        "  AWS4-HMAC-SHA256   " SIG " ,\t" SIGNED ",  " CRED "  ",
        "AWS4-HMAC-SHA256 " CRED ", Extra=1, " SIGNED ", " SIG,
    };
    static const struct {
        const char *header, *name, *text;
    } bad[] = {
        { NULL, "MissingAuthenticationTokenException", "Missing Authentication Token" },
        { " ", "MissingAuthenticationTokenException", "Missing Authentication Token" },
        { "Basic dXNlcg==", "IncompleteSignatureException", "algorithm" },
        { "AWS4-HMAC-SHA256", "IncompleteSignatureException", "algorithm" },
        { "AWS4-HMAC-SHA256Credential=", "IncompleteSignatureException", "algorithm" },
        { "AWS4-HMAC-SHA256 nonsense", "IncompleteSignatureException", "missing equal-sign" },
        { "AWS4-HMAC-SHA256 x=y", "IncompleteSignatureException",
          "Authorization header requires 'Credential' parameter. Authorization header requires "
          "'Signature' parameter. Authorization header requires 'SignedHeaders' parameter." },
        { "AWS4-HMAC-SHA256 " CRED ", " SIGNED, "IncompleteSignatureException", "'Signature'" },
        { "AWS4-HMAC-SHA256 " CRED ", " CRED ", " SIGNED ", " SIG, "IncompleteSignatureException",
          "repeats" },
        { "AWS4-HMAC-SHA256 Credential=A/20260102/r/ssm, " SIGNED ", " SIG,
          "IncompleteSignatureException", "exactly 5" },
        { "AWS4-HMAC-SHA256 Credential=A/20260102/r/ssm/aws4_request/x, " SIGNED ", " SIG,
          "IncompleteSignatureException", "exactly 5" },
        { "AWS4-HMAC-SHA256 Credential=/20260102/r/ssm/aws4_request, " SIGNED ", " SIG,
          "IncompleteSignatureException", "exactly 5" },
        { "AWS4-HMAC-SHA256 Credential=A/2026010/r/ssm/aws4_request, " SIGNED ", " SIG,
          "IncompleteSignatureException", "YYYYMMDD" },
        { "AWS4-HMAC-SHA256 Credential=A/20260102//ssm/aws4_request, " SIGNED ", " SIG,
          "IncompleteSignatureException", "region" },
        { "AWS4-HMAC-SHA256 Credential=A/20260102/r/SSM/aws4_request, " SIGNED ", " SIG,
          "IncompleteSignatureException", "service" },
        { "AWS4-HMAC-SHA256 Credential=A/20260102/r/ssm/aws5_request, " SIGNED ", " SIG,
          "IncompleteSignatureException", "terminator" },
        { "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=x-amz-date, " SIG,
          "IncompleteSignatureException", "'Host'" },
        { "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=Host, " SIG, "IncompleteSignatureException",
          "lower-case" },
        { "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host;, " SIG, "IncompleteSignatureException",
          "lower-case" },
        { "AWS4-HMAC-SHA256 " CRED ", SignedHeaders=host;;a, " SIG, "IncompleteSignatureException",
          "lower-case" },
    };
    struct fl_sigv4_auth auth;
    struct fl_err err;

    for (size_t i = 0; i < FL_ARRAY_LEN(good); i++) {
        assert_int_equal(fl_sigv4_parse(good[i], &arena, &auth, NULL), 0);
        assert_string_equal(auth.access_key_id, "AKID");
        assert_string_equal(auth.date, "20260102");
        assert_string_equal(auth.region, "eu-west-1");
        assert_string_equal(auth.service, "ssm");
        assert_string_equal(auth.signed_headers, "host;x-amz-date");
        assert_string_equal(auth.signature, "00ff");
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        err = (struct fl_err){ 0 };
        assert_int_equal(fl_sigv4_parse(bad[i].header, &arena, &auth, &err), -EINVAL);
        assert_string_equal(err.name, bad[i].name);
        if (!strstr(err.text, bad[i].text))
            fail_msg("'%s' lacks '%s'", err.text, bad[i].text);
    }
}

static void long_headers_are_refused(void **state)
{
    fl_autobuf struct fl_buf header = FL_BUF(16384);
    struct fl_sigv4_auth auth;

    fl_buf_puts(&header, "AWS4-HMAC-SHA256 " CRED ", " SIG ", SignedHeaders=host");
    for (int i = 0; i < 63; i++)
        fl_buf_puts(&header, ";x");
    assert_int_equal(fl_sigv4_parse(header.data, &arena, &auth, NULL), 0);
    fl_buf_puts(&header, ";x");
    assert_int_equal(fl_sigv4_parse(header.data, &arena, &auth, NULL), -EINVAL);
    fl_buf_reset(&header);
    fl_buf_puts(&header, "AWS4-HMAC-SHA256 " CRED ", " SIG ", " SIGNED ", Extra=");
    while (header.len <= 8192)
        fl_buf_puts(&header, "0123456789");
    assert_int_equal(fl_sigv4_parse(header.data, &arena, &auth, NULL), -EINVAL);
}

static void tampering_is_noticed(void **state)
{
    struct fl_http_header headers[MAX_HEADERS];
    const json_t *row = json_array_get(vectors, 0);
    struct fl_sigv4_request req = load_request(row, headers), other;
    const char *secret = vectors_str(row, "secret_access_key");
    const char *date = vectors_str(row, "amz_date");
    struct fl_sigv4_auth auth = {
        (char *)"x",
        (char *)"20260102",
        (char *)"us-east-1",
        (char *)"ssm",
        (char *)vectors_str(row, "signed_headers"),
        (char *)vectors_str(row, "signature"),
    };
    struct fl_err err = { 0 };

    assert_int_equal(fl_sigv4_verify(&req, &auth, date, secret, &err), 0);
    for (int i = 0; i < 6; i++) {
        struct fl_http_header changed[MAX_HEADERS];

        memcpy(changed, headers, sizeof(changed));
        other = req;
        other.headers = changed;
        if (i == 0)
            other.method = "GET";
        else if (i == 1)
            other.path = "/x";
        else if (i == 2)
            other.query = "a";
        else if (i == 3)
            other.body_sha256 = "0";
        else if (i == 4)
            changed[2].value = "AmazonSSM.SendCommand";
        else
            other.n_headers--;
        assert_int_equal(fl_sigv4_verify(&other, &auth, date, secret, &err), -EBADMSG);
        assert_string_equal(err.name, "InvalidSignatureException");
    }
    assert_int_equal(fl_sigv4_verify(&req, &auth, "20260103T030405Z", secret, &err), -EBADMSG);
    assert_int_equal(fl_sigv4_verify(&req, &auth, "20260102T030406Z", secret, &err), -EBADMSG);
    assert_int_equal(fl_sigv4_verify(&req, &auth, "", secret, NULL), -EBADMSG);
    auth.region = (char *)"us-east-2";
    assert_int_equal(fl_sigv4_verify(&req, &auth, date, secret, &err), -EBADMSG);
    auth.region = (char *)"us-east-1";
    auth.service = (char *)"sts";
    assert_int_equal(fl_sigv4_verify(&req, &auth, date, secret, &err), -EBADMSG);
}

/* Signed without its target, a call could be turned into another. */
static void the_target_must_be_signed(void **state)
{
    const struct fl_http_header headers[] = { { "Host", "h" },
                                              { "X-Amz-Date", "20260102T030405Z" },
                                              { "X-Amz-Target", "AmazonSSM.ListCommands" } };
    struct fl_sigv4_request req = { "POST", "/", "", headers, 2, "x", "ssm" };
    const struct fl_aws_creds creds = { "AKID", "secret", NULL };
    fl_autofree char *header = NULL;
    struct fl_sigv4_auth auth;

    assert_int_equal(fl_sigv4_sign(&req, &creds, "r", "20260102T030405Z", &header, NULL), 0);
    assert_int_equal(fl_sigv4_parse(header, &arena, &auth, NULL), 0);
    assert_int_equal(fl_sigv4_verify(&req, &auth, "20260102T030405Z", "secret", NULL), 0);
    req.n_headers = 3;
    assert_int_equal(fl_sigv4_verify(&req, &auth, "20260102T030405Z", "secret", NULL), -EBADMSG);
}

static void signing_needs_its_headers(void **state)
{
    const struct fl_http_header headers[] = { { "Host", "h" }, { "X-Amz-Date", "d" } };
    struct fl_sigv4_request req = { "GET", "/", "", headers, 1, "x", "ssm" };
    struct fl_aws_creds creds = { "AKID", "secret", "" };
    fl_autofree char *header = NULL;

    assert_int_equal(fl_sigv4_sign(&req, &creds, "r", "20260102T030405Z", &header, NULL), -EINVAL);
    req.n_headers = 0;
    assert_int_equal(fl_sigv4_sign(&req, &creds, "r", "20260102T030405Z", &header, NULL), -EINVAL);
    req.n_headers = 2;
    creds.session_token = "token";
    assert_int_equal(fl_sigv4_sign(&req, &creds, "r", "20260102T030405Z", &header, NULL), -EINVAL);
    creds.session_token = NULL;
    assert_int_equal(fl_sigv4_sign(&req, &creds, "r", "20260102T030405Z", &header, NULL), 0);
}

static void rsa_vectors_hold(void **state)
{
    const json_t *rows = json_object_get(rsa_vectors, "requests");
    const char *date = vectors_str(rsa_vectors, "amz_date");
    const char *region = vectors_str(rsa_vectors, "region");
    struct fl_rsa *key = NULL, *pub = NULL;

    assert_int_equal(fl_rsa_from_private_text(vectors_str(rsa_vectors, "private_key"), &key, NULL),
                     0);
    assert_int_equal(fl_rsa_from_public_text(vectors_str(rsa_vectors, "public_key"), &pub, NULL),
                     0);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *body = vectors_str(row, "body");
        const struct fl_http_header headers[] = {
            { "Host", vectors_str(rsa_vectors, "host") },
            { "Content-Type", vectors_str(rsa_vectors, "content_type") },
            { "X-Amz-Content-Sha256", "sent, not signed" },
            { "X-Amz-Target", vectors_str(row, "target") },
            { "X-Amz-Date", date },
        };
        char body_hash[FL_SHA256_HEX_BYTES], hash[FL_SHA256_HEX_BYTES];
        struct fl_sigv4_request req = { "POST", "/", "", headers, 5, body_hash, "ssm" };
        fl_autobuf struct fl_buf string = FL_BUF(4096);
        fl_autofree char *header = NULL;
        struct fl_sigv4_auth auth;

        fl_sha256_hex(body, strlen(body), body_hash);
        if (json_object_get(row, "body_sha256"))
            assert_string_equal(body_hash, vectors_str(row, "body_sha256"));
        assert_int_equal(fl_sigv4_string_to_sign(&req, "content-type;host;x-amz-date;x-amz-target",
                                                 date, region, &string, hash, NULL),
                         0);
        if (json_object_get(row, "canonical_sha256"))
            assert_string_equal(hash, vectors_str(row, "canonical_sha256"));
        fl_sha256_hex(string.data, string.len, hash);
        assert_string_equal(hash, vectors_str(row, "string_to_sign_sha256"));
        if (json_object_get(row, "signature"))
            assert_int_equal(
                fl_rsa_verify(pub, string.data, string.len, vectors_str(row, "signature")), 0);

        assert_int_equal(fl_sigv4_sign_rsa(&req, key, NODE, region, date, &header, NULL), 0);
        assert_int_equal(fl_sigv4_parse(header, &arena, &auth, NULL), 0);
        assert_string_equal(auth.access_key_id, NODE);
        assert_string_equal(auth.signed_headers, "content-type;host;x-amz-date;x-amz-target");
        assert_int_equal(fl_sigv4_verify_rsa(&req, &auth, date, pub, NULL), 0);
        req.path = "/x";
        assert_int_equal(fl_sigv4_verify_rsa(&req, &auth, date, pub, NULL), -EBADMSG);
        req.path = "/";
        auth.signed_headers = (char *)"content-type;host;x-amz-date";
        assert_int_equal(fl_sigv4_verify_rsa(&req, &auth, date, pub, NULL), -EBADMSG);
    }
    fl_rsa_free(key);
    fl_rsa_free(pub);
}

static void escapes(void **state)
{
    static const struct {
        const char *text;
        bool form;
        const char *want; /* NULL: refused */
    } cases[] = {
        { "a%20b+c", false, "a b+c" },
        { "a%20b+c", true, "a b c" },
        { "%e2%82%AC", false, "€" },
        { "%", false, NULL },
        { "%4", false, NULL },
        { "%4g", false, NULL },
        { "", true, "" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(64);
        int r = fl_uri_decode(cases[i].text, strlen(cases[i].text), cases[i].form, &out);

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        if (cases[i].want)
            assert_string_equal(out.data ? out.data : "", cases[i].want);
    }
    for (int keep = 0; keep < 2; keep++) {
        fl_autobuf struct fl_buf out = FL_BUF(64);

        assert_int_equal(fl_uri_encode("a/b c~-._%\0", 11, keep, &out), 0);
        assert_string_equal(out.data, keep ? "a/b%20c~-._%25%00" : "a%2Fb%20c~-._%25%00");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_hold),
        cmocka_unit_test(odd_requests),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(headers_are_parsed),
        cmocka_unit_test(long_headers_are_refused),
        cmocka_unit_test(tampering_is_noticed),
        cmocka_unit_test(the_target_must_be_signed),
        cmocka_unit_test(signing_needs_its_headers),
        cmocka_unit_test(rsa_vectors_hold),
        cmocka_unit_test(escapes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
