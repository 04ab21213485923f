/* pki.c - making certificates with OpenSSL. */
#include "server/pki.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/base/file.h"

#define CA_DAYS        3650
#define SERVER_DAYS    825
#define RENEW_DAYS     30
#define CLOCK_SLACK_S  3600 /* certificates begin a little earlier: nodes' clocks lag */
#define SERIAL_BITS    127
#define PEM_MAX_BYTES  (64 * 1024)
#define HOST_MAX_BYTES 253

struct cert {
    X509 *x509;
    EVP_PKEY *key;
};

static void cert_done(struct cert *c)
{
    X509_free(c->x509);
    EVP_PKEY_free(c->key);
}

#define autocert FL_CLEANUP(cert_done)

static int crypto_error(struct fl_err *err, const char *what)
{
    char text[256];

    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    return fl_err_set(err, -EIO, NULL, "certificates: %s: %s", what, text);
}

/* ---- one certificate ---- */

static bool set_serial(X509 *x)
{
    BIGNUM *bn = BN_new();
    bool ok = bn && BN_rand(bn, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));

    BN_free(bn);
    return ok;
}

static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool ok;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = ext && X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    return ok;
}

/* A fresh key pair and an unsigned certificate for it. */
static int start(struct cert *c, const char *name, int days, struct fl_err *err)
{
    X509_NAME *subject;

    c->key = EVP_EC_gen("P-256");
    c->x509 = X509_new();
    if (!c->key || !c->x509)
        return crypto_error(err, "cannot make a key");
    subject = X509_get_subject_name(c->x509);
    if (!X509_set_version(c->x509, X509_VERSION_3) || !set_serial(c->x509) ||
        !X509_gmtime_adj(X509_getm_notBefore(c->x509), -CLOCK_SLACK_S) ||
        !X509_time_adj_ex(X509_getm_notAfter(c->x509), days, 0, NULL) ||
        !X509_set_pubkey(c->x509, c->key) ||
        !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                    -1, 0))
        return crypto_error(err, "cannot fill in a certificate");
    return 0;
}

static int finish(struct cert *c, const struct cert *issuer, struct fl_err *err)
{
    if (!X509_set_issuer_name(c->x509, X509_get_subject_name(issuer->x509)) ||
        !X509_sign(c->x509, issuer->key, EVP_sha256()))
        return crypto_error(err, "cannot sign");
    return 0;
}

/* ---- names ---- */

static bool name_valid(const char *host)
{
    const char *s = strncmp(host, "*.", 2) == 0 ? host + 2 : host;

    if (!*s || strlen(host) > HOST_MAX_BYTES)
        return false;
    for (const char *p = s; *p; p++) {
        bool edge = p == s || p[-1] == '.' || p[1] == '.' || p[1] == '\0';

        if (!isalnum((unsigned char)*p) && (edge || (*p != '-' && *p != '.')))
            return false;
    }
    return true;
}

static int add_name(GENERAL_NAMES *names, const char *host, struct fl_err *err)
{
    unsigned char address[16];
    int len = inet_pton(AF_INET, host, address) == 1    ? 4
              : inet_pton(AF_INET6, host, address) == 1 ? 16
                                                        : 0;
    GENERAL_NAME *gen;
    ASN1_STRING *value;

    if (len == 0 && !name_valid(host))
        return fl_err_set(err, -EINVAL, NULL, "\"%.253s\" is no host name or address", host);
    gen = GENERAL_NAME_new();
    value = len ? (ASN1_STRING *)ASN1_OCTET_STRING_new() : (ASN1_STRING *)ASN1_IA5STRING_new();
    if (!gen || !value ||
        !ASN1_STRING_set(value, len ? (const void *)address : host, len ? len : -1)) {
        GENERAL_NAME_free(gen);
        ASN1_STRING_free(value);
        return crypto_error(err, "cannot add a name");
    }
    GENERAL_NAME_set0_value(gen, len ? GEN_IPADD : GEN_DNS, value);
    if (!sk_GENERAL_NAME_push(names, gen)) {
        GENERAL_NAME_free(gen);
        return crypto_error(err, "cannot add a name");
    }
    return 0;
}

static int add_names(X509 *x, const struct fl_strs *hosts, struct fl_err *err)
{
    static const char *const always[] = { "localhost", "127.0.0.1", "::1" };
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    char machine[256] = "";
    int r = names ? 0 : crypto_error(err, "out of memory");

    for (size_t i = 0; r >= 0 && i < FL_ARRAY_LEN(always); i++)
        r = add_name(names, always[i], err);
    /* A host name that DNS would not take is of no use to a client either. */
    if (r >= 0 && gethostname(machine, sizeof(machine) - 1) == 0 && name_valid(machine))
        r = add_name(names, machine, err);
    for (size_t i = 0; r >= 0 && i < hosts->n; i++)
        r = add_name(names, hosts->v[i], err);
    if (r >= 0 && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) != 1)
        r = crypto_error(err, "cannot add names");
    GENERAL_NAMES_free(names);
    return r;
}

/* ---- files ---- */

/* Writes one PEM object to <dir>/<name>. */
static int save(const char *dir, const char *name, mode_t mode, const struct cert *c, bool key,
                struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(dir, name);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long len;
    int r;

    if (!path || !bio ||
        !(key ? PEM_write_bio_PKCS8PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL)
              : PEM_write_bio_X509(bio, c->x509))) {
        r = crypto_error(err, "cannot write PEM");
    } else {
        len = BIO_get_mem_data(bio, &data);
        r = fl_file_replace(path, mode, data, (size_t)len, err);
    }
    BIO_free(bio);
    return r;
}

/* Loads <dir>/<name>.crt and .key; -ENOENT if one is missing. `key` false: the certificate alone.
 */
static int load(const char *dir, const char *crt, const char *key, struct cert *ret,
                struct fl_err *err)
{
    const char *const names[] = { crt, key };

    for (size_t i = 0; i < FL_ARRAY_LEN(names) && names[i]; i++) {
        fl_autofree char *path = fl_path_join(dir, names[i]);
        char *text = NULL;
        size_t len;
        BIO *bio;
        int r = path ? fl_file_read(path, PEM_MAX_BYTES, &text, &len, err) : fl_err_nomem(err);

        if (r < 0)
            return r;
        bio = BIO_new_mem_buf(text, (int)len);
        if (bio && i == 0)
            ret->x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        else if (bio)
            ret->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
        explicit_bzero(text, len);
        free(text);
        if (i == 0 ? !ret->x509 : !ret->key)
            return fl_err_set(err, -EINVAL, NULL, "%s: not readable as PEM", path);
    }
    return 0;
}

/* ---- the two certificates ---- */

static int make_ca(struct cert *ca, const char *name, struct fl_err *err)
{
    int r = start(ca, name, CA_DAYS, err);

    if (r < 0)
        return r;
    if (!add_ext(ca->x509, ca->x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_ext(ca->x509, ca->x509, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_ext(ca->x509, ca->x509, NID_subject_key_identifier, "hash"))
        return crypto_error(err, "cannot add extensions");
    return finish(ca, ca, err);
}

static int make_server(const char *dir, const struct cert *ca, const struct fl_strs *hosts,
                       struct fl_err *err)
{
    autocert struct cert c = { 0 };
    int r = start(&c, "fairlead-server", SERVER_DAYS, err);

    if (r < 0)
        return r;
    if (!add_ext(c.x509, ca->x509, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_ext(c.x509, ca->x509, NID_key_usage, "critical,digitalSignature") ||
        !add_ext(c.x509, ca->x509, NID_ext_key_usage, "serverAuth") ||
        !add_ext(c.x509, ca->x509, NID_subject_key_identifier, "hash") ||
        !add_ext(c.x509, ca->x509, NID_authority_key_identifier, "keyid:always"))
        return crypto_error(err, "cannot add extensions");
    r = add_names(c.x509, hosts, err);
    if (r >= 0)
        r = finish(&c, ca, err);
    if (r >= 0)
        r = save(dir, "server.key", 0600, &c, true, err);
    return r < 0 ? r : save(dir, "server.crt", 0644, &c, false, err);
}

int fl_pki_create(const char *dir, const char *ca_name, const struct fl_strs *hosts,
                  struct fl_err *err)
{
    autocert struct cert ca = { 0 };
    int r = fl_dir_make(dir, 0700, err);

    if (r >= 0)
        r = make_ca(&ca, ca_name, err);
    if (r >= 0)
        r = make_server(dir, &ca, hosts, err);
    if (r >= 0)
        r = save(dir, "ca.key", 0600, &ca, true, err);
    return r < 0 ? r : save(dir, "ca.crt", 0644, &ca, false, err);
}

/* False after a renewal that was killed between its two files. */
static bool key_fits(const char *dir, X509 *x509)
{
    autocert struct cert pair = { 0 };

    return load(dir, "server.crt", "server.key", &pair, NULL) >= 0 &&
           X509_check_private_key(x509, pair.key) == 1;
}

int fl_pki_renew(const char *dir, const struct fl_strs *hosts, int64_t now_ms, struct fl_err *err)
{
    autocert struct cert server = { 0 }, ca = { 0 };
    struct fl_err missing = { 0 };
    time_t limit = (time_t)(now_ms / 1000) + (time_t)RENEW_DAYS * 86400;
    int r = load(dir, "server.crt", NULL, &server, err);

    if (r < 0)
        return r;
    if (X509_cmp_time(X509_get0_notAfter(server.x509), &limit) > 0 && key_fits(dir, server.x509))
        return 0;
    r = load(dir, "ca.crt", "ca.key", &ca, &missing);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        if (err)
            *err = missing;
        return r;
    }
    r = make_server(dir, &ca, hosts, err);
    return r < 0 ? r : 1;
}
