/* What TLS the server speaks, and what it refuses. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include "tests/common/net/net_fixture.h"
#include "tests/common/net/net_fixture.inc"
#include "tests/vectors/rsa_keys.h"

#define CRLF "\r\n"

/* A TLS handshake that does not go on is no way around the time limit. */
static void slow_handshake_times_out(void **state)
{
    static const char half_a_hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const struct test_certs *certs = test_certs();
    struct test_server s = {
        .conf = { .header_timeout_s = 1, .cert_file = certs->cert, .key_file = certs->key },
    };
    int silent, half;

    test_server_start(&s);
    silent = test_connect(s.port);
    half = test_connect(s.port);
    send(half, half_a_hello, sizeof(half_a_hello) - 1, MSG_NOSIGNAL);
    assert_string_equal(test_read(silent, NULL), "");
    assert_string_equal(test_read(half, NULL), "");
    close(silent);
    close(half);
    test_server_stop(&s);
}

/* 1 if a handshake of at most `version` succeeds; `alpn` is the wire form of what is offered. */
static int shake_hands(uint16_t port, int version, const char *alpn, char chosen[32])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    const unsigned char *name = NULL;
    unsigned len = 0;
    int fd = test_connect(port), r;

    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    r = SSL_connect(ssl);
    SSL_get0_alpn_selected(ssl, &name, &len);
    snprintf(chosen, 32, "%.*s", (int)len, (const char *)name);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return r == 1;
}

static void tls_versions_and_alpn(void **state)
{
    const struct test_certs *certs = test_certs();
    struct test_server s = { .conf = { .cert_file = certs->cert, .key_file = certs->key } };
    char chosen[32];

    test_server_start(&s);
    assert_int_equal(shake_hands(s.port, TLS1_1_VERSION, "\x08http/1.1", chosen), 0);
    assert_int_equal(shake_hands(s.port, TLS1_2_VERSION, "\x08http/1.1", chosen), 1);
    assert_string_equal(chosen, "http/1.1");
    assert_int_equal(shake_hands(s.port, TLS1_3_VERSION, "\x02h2\x08http/1.1", chosen), 1);
    assert_string_equal(chosen, "http/1.1");
    assert_int_equal(shake_hands(s.port, TLS1_3_VERSION, "", chosen), 1);
    test_server_stop(&s);
}

/* A client that trusts everyone and offers these suites of TLS 1.2 (NULL: all). */
static SSL_CTX *client(int version, const char *suites)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_cipher_list(ctx, suites ? suites : "ALL");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    return ctx;
}

static SSL *dial(SSL_CTX *ctx, uint16_t port, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, test_connect(port));
    if (session)
        SSL_set_session(ssl, session);
    return ssl;
}

static void hang_up(SSL *ssl)
{
    SSL_shutdown(ssl); /* without it the session counts as broken */
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
}

/* Asks something and reads some of the answer. False if the connection is of no use. */
static bool works(SSL *ssl)
{
    static const char request[] = "GET /echo HTTP/1.1" CRLF CRLF;
    char answer[1024];

    return SSL_write(ssl, request, sizeof(request) - 1) > 0 &&
           SSL_read(ssl, answer, sizeof(answer)) > 0 && !strncmp(answer, "HTTP/1.1 200 ", 13);
}

static const struct {
    const char *suites;
    bool taken;
} suites[] = {
    { "ECDHE-ECDSA-AES128-GCM-SHA256", true },
    { "ECDHE-ECDSA-AES256-GCM-SHA384", true },
    { "ECDHE-ECDSA-CHACHA20-POLY1305", true },
    { "ECDHE-ECDSA-AES128-SHA", false },    /* CBC */
    { "ECDHE-ECDSA-AES256-SHA384", false }, /* CBC */
    { "ECDHE-ECDSA-AES128-CCM8", false },   /* short tags */
    { "AECDH-AES128-SHA", false },          /* nobody proves who he is */
    { "DHE-PSK-AES128-GCM-SHA256", false },
    { "AES128-GCM-SHA256", false }, /* no forward secrecy */
};

static void only_modern_suites(void **state)
{
    const struct test_certs *certs = test_certs();
    struct test_server s = { .conf = { .cert_file = certs->cert, .key_file = certs->key } };

    test_server_start(&s);
    for (size_t i = 0; i < FL_ARRAY_LEN(suites); i++) {
        SSL_CTX *ctx = client(TLS1_2_VERSION, suites[i].suites);
        SSL *ssl = dial(ctx, s.port, NULL);

        if ((SSL_connect(ssl) == 1) != suites[i].taken)
            fail_msg("%s", suites[i].suites);
        hang_up(ssl);
        SSL_CTX_free(ctx);
    }
    test_server_stop(&s);
}

static void renegotiation_is_refused(void **state)
{
    const struct test_certs *certs = test_certs();
    struct test_server s = { .conf = { .cert_file = certs->cert, .key_file = certs->key } };
    SSL_CTX *ctx = client(TLS1_2_VERSION, NULL);
    SSL *ssl;

    test_server_start(&s);
    ssl = dial(ctx, s.port, NULL);
    assert_int_equal(SSL_connect(ssl), 1);
    assert_true(works(ssl));
    assert_int_equal(SSL_renegotiate(ssl), 1);
    assert_true(SSL_do_handshake(ssl) != 1 || !works(ssl));
    hang_up(ssl);
    SSL_CTX_free(ctx);
    test_server_stop(&s);
}

/* ---- new certificates ---- */

struct reload {
    struct test_server *s;
    const char *cert, *key;
    int r;
    bool done;
};

static void reload_on_loop(void *arg)
{
    struct reload *x = arg;

    x->r = fl_server_reload(x->s->server, x->cert, x->key, NULL);
    __atomic_store_n(&x->done, true, __ATOMIC_SEQ_CST);
}

static int reload(struct test_server *s, const char *cert, const char *key)
{
    struct reload x = { .s = s, .cert = cert, .key = key };

    fl_loop_post(s->loop, reload_on_loop, &x);
    while (!__atomic_load_n(&x.done, __ATOMIC_SEQ_CST))
        sched_yield();
    return x.r;
}

/* A session begun at one loop goes on at every other. */
static void resume_at_every_loop(struct test_server *a, struct test_server *b)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

    for (size_t i = 0; i < FL_ARRAY_LEN(versions); i++) {
        SSL_CTX *ctx = client(versions[i], NULL);
        SSL *ssl = dial(ctx, a->port, NULL);
        SSL_SESSION *session;

        assert_int_equal(SSL_connect(ssl), 1);
        assert_true(works(ssl)); /* TLS 1.3 sends its ticket after the handshake */
        session = SSL_get1_session(ssl);
        hang_up(ssl);
        ssl = dial(ctx, b->port, session);
        assert_int_equal(SSL_connect(ssl), 1);
        assert_true(SSL_session_reused(ssl));
        assert_true(works(ssl));
        hang_up(ssl);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
    }
}

static void sessions_resume_at_every_loop(void **state)
{
    const struct test_certs *certs = test_certs();
    const struct fl_server_conf conf = { .cert_file = certs->cert, .key_file = certs->key };
    struct test_server a = { .conf = conf }, b = { .conf = conf };

    test_server_start(&a);
    test_server_start(&b); /* each on its own port, so that it is known who answers */
    resume_at_every_loop(&a, &b);
    assert_int_equal(reload(&a, certs->cert, certs->key), 0);
    resume_at_every_loop(&a, &b);
    assert_int_equal(reload(&b, certs->cert, certs->key), 0);
    resume_at_every_loop(&a, &b);
    test_server_stop(&a);
    test_server_stop(&b);
}

/* Common name and type of key of the certificate that a new connection sees. */
static void shown(uint16_t port, char name[64], int *ret_type)
{
    SSL_CTX *ctx = client(TLS1_3_VERSION, NULL);
    SSL *ssl = dial(ctx, port, NULL);
    X509 *cert;

    assert_int_equal(SSL_connect(ssl), 1);
    assert_true(works(ssl));
    cert = SSL_get0_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, 64);
    *ret_type = EVP_PKEY_get_base_id(X509_get0_pubkey(cert));
    hang_up(ssl);
    SSL_CTX_free(ctx);
}

/* A key of another type than test_certs() has. */
static EVP_PKEY *rsa_key(void)
{
    struct fl_rsa *key = test_rsa_key(0);
    EVP_PKEY *pkey;
    char *text;
    uint8_t *der;
    const uint8_t *at;
    size_t len;

    assert_int_equal(fl_rsa_private_text(key, &text), 0);
    assert_int_equal(fl_base64_decode(text, &der, &len), 0);
    at = der;
    pkey = d2i_AutoPrivateKey(NULL, &at, (long)len);
    assert_non_null(pkey);
    free(der);
    free(text);
    fl_rsa_free(key);
    return pkey;
}

static void a_new_certificate_drops_nobody(void **state)
{
    const struct test_certs *certs = test_certs();
    struct test_server s = { .conf = { .cert_file = certs->cert, .key_file = certs->key } };
    char cert[160], key[160], name[64];
    SSL_CTX *ctx = client(TLS1_3_VERSION, NULL);
    SSL *old;
    int type;

    snprintf(cert, sizeof(cert), "%s.new", certs->cert);
    snprintf(key, sizeof(key), "%s.new", certs->key);
    test_server_start(&s);
    old = dial(ctx, s.port, NULL);
    assert_int_equal(SSL_connect(old), 1);
    assert_true(works(old));
    shown(s.port, name, &type);
    assert_string_equal(name, "plane.test");
    write_cert_of(rsa_key(), cert, key, "renewed.test");
    assert_int_equal(reload(&s, cert, key), 0);
    shown(s.port, name, &type);
    assert_string_equal(name, "renewed.test");
    assert_int_equal(type, EVP_PKEY_RSA);
    assert_true(works(old));
    /* what is not usable changes nothing */
    assert_int_equal(reload(&s, cert, certs->key), -EINVAL);
    assert_int_equal(reload(&s, "/absent", key), -EINVAL);
    shown(s.port, name, &type);
    assert_string_equal(name, "renewed.test");
    assert_int_equal(reload(&s, certs->cert, certs->key), 0);
    shown(s.port, name, &type);
    assert_string_equal(name, "plane.test");
    assert_true(works(old));
    hang_up(old);
    SSL_CTX_free(ctx);
    test_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_handshake_times_out),
        cmocka_unit_test(tls_versions_and_alpn),
        cmocka_unit_test(only_modern_suites),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(sessions_resume_at_every_loop),
        cmocka_unit_test(a_new_certificate_drops_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
