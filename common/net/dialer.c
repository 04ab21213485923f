/* dialer.c - what a loop's outgoing connections share: whom they trust, and the last TLS session.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <string.h>
#include "common/net/ca_pool.h"
#include "common/net/dial_private.h"
#include "common/net/tls_suites.h"

static bool is_address(const char *host)
{
    struct in6_addr a;

    return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* A ticket came. Coming back with it spares both sides half of the handshake. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct fl_dialer *dialer = SSL_get_app_data(ssl);

    if (!dialer)
        return 0;
    SSL_SESSION_free(dialer->session);
    /* A copy: OpenSSL spoils the original when the connection ends without a word. */
    dialer->session = SSL_SESSION_dup(session);
    return 0;
}

/* Sessions are kept for one target, the dialer's first: a session vouches for the certificate that
 * was checked when it began, so it must never be offered to another. */
static void offer_session(struct fl_dialer *d, SSL *ssl, const struct fl_url *target)
{
    if (!d->first.host[0])
        d->first = *target;
    if (strcmp(d->first.host, target->host) != 0 || d->first.port != target->port)
        return;
    SSL_set_app_data(ssl, d);
    if (d->session)
        SSL_set_session(ssl, d->session);
}

SSL *fl_dialer_ssl(struct fl_dialer *d, const struct fl_url *target, int fd)
{
    SSL *ssl = SSL_new(d->tls);
    bool ok = ssl && SSL_set_fd(ssl, fd) == 1;

    if (ok) {
        offer_session(d, ssl, target);
        ok = is_address(target->host)
                 ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), target->host) == 1
                 : SSL_set_tlsext_host_name(ssl, target->host) == 1 &&
                       SSL_set1_host(ssl, target->host) == 1;
    }
    if (!ok) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

int fl_dialer_new(struct fl_loop *loop, const char *ca_file, const struct fl_proxy_conf *proxy,
                  struct fl_dialer **ret_dialer, struct fl_err *err)
{
    struct fl_dialer *d = calloc(1, sizeof(*d));
    int ok;

    if (!d)
        return fl_err_nomem(err);
    d->loop = loop;
    d->proxy = proxy;
    d->ca_file = ca_file ? strdup(ca_file) : NULL;
    d->tls = SSL_CTX_new(TLS_client_method());
    if (!d->tls) {
        fl_dialer_free(d);
        return fl_err_set(err, -ENOMEM, NULL, "TLS: cannot make a context");
    }
    SSL_CTX_set_min_proto_version(d->tls, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(d->tls, FL_TLS12_CIPHERS);
    SSL_CTX_set_options(d->tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(d->tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(d->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(d->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(d->tls, on_session);
    if (ca_file)
        ok = SSL_CTX_load_verify_file(d->tls, ca_file);
    else
        ok = fl_ca_pool_dir() ? SSL_CTX_set_default_verify_dir(d->tls)
                              : SSL_CTX_set_default_verify_paths(d->tls);
    if (ok != 1) {
        fl_dialer_free(d);
        return fl_err_set(err, -EINVAL, NULL, "%s: no CA certificates in PEM form",
                          ca_file ? ca_file : "the system's CAs");
    }
    *ret_dialer = d;
    return 0;
}

struct fl_dialer *fl_dialer_free(struct fl_dialer *d)
{
    if (!d)
        return NULL;
    SSL_SESSION_free(d->session);
    SSL_CTX_free(d->tls);
    free(d->ca_file);
    free(d);
    return NULL;
}
