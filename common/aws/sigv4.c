/* sigv4.c - see sigv4.h. The canonical request is in canon.c. */
#include "common/aws/sigv4.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/aws/canon.h"
#include "common/aws/endpoint.h"

#define ALGORITHM          "AWS4-HMAC-SHA256"
#define SCOPE_END          "aws4_request"
#define DATE_BYTES         8    /* YYYYMMDD */
#define HEADER_MAX_BYTES   8192 /* of an Authorization value */
#define STRING_MAX_BYTES   1024 /* of a string to sign */
#define SIGNED_MAX_BYTES   4096 /* of a list of signed headers */
#define SERVICE_MAX_BYTES  64
#define RSA_SIGNED_HEADERS "content-type;host;x-amz-date;x-amz-target"

#define BAD_SIGNATURE                                                                            \
    "The request signature we calculated does not match the signature you provided. Check your " \
    "AWS Secret Access Key and signing method. Consult the service documentation for details."

static const char incomplete[] = "IncompleteSignatureException";
static const char invalid[] = "InvalidSignatureException";

/* What the Authorization value must hold; offsets into struct parts. */
struct parts {
    char *credential;
    char *signed_headers;
    char *signature;
};
static const struct {
    const char *key;
    size_t offset;
} part_rows[] = {
    { "Credential", offsetof(struct parts, credential) },
    { "Signature", offsetof(struct parts, signature) },
    { "SignedHeaders", offsetof(struct parts, signed_headers) },
};

static char *trim(char *s)
{
    size_t len;

    s += strspn(s, " \t");
    len = strlen(s);
    while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    s[len] = '\0';
    return s;
}

/* Puts "key=value" where it belongs; unknown keys are ignored. Cuts `text` in place. */
static int take_part(char *text, struct parts *parts, struct fl_err *err)
{
    char *value = strchr(text, '=');

    if (!value)
        return fl_err_set(err, -EINVAL, incomplete,
                          "Authorization header holds a part that is not a key=value pair "
                          "(missing equal-sign).");
    *value++ = '\0';
    text = trim(text);
    for (size_t i = 0; i < FL_ARRAY_LEN(part_rows); i++) {
        char **slot = (char **)((char *)parts + part_rows[i].offset);

        if (strcmp(text, part_rows[i].key) != 0)
            continue;
        if (*slot)
            return fl_err_set(err, -EINVAL, incomplete, "Authorization header repeats '%s'.", text);
        *slot = trim(value);
    }
    return 0;
}

static int need_all_parts(const struct parts *parts, struct fl_err *err)
{
    char text[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < FL_ARRAY_LEN(part_rows); i++) {
        const char *value = *(char *const *)((const char *)parts + part_rows[i].offset);

        if (!value || !*value)
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     "%sAuthorization header requires '%s' parameter.",
                                     used ? " " : "", part_rows[i].key);
    }
    return used ? fl_err_set(err, -EINVAL, incomplete, "%s", text) : 0;
}

static bool is_date(const char *s)
{
    return strspn(s, "0123456789") == DATE_BYTES && s[DATE_BYTES] == '\0';
}

static bool is_amz_date(const char *s)
{
    return strspn(s, "0123456789") == DATE_BYTES && s[DATE_BYTES] == 'T' &&
           strspn(s + DATE_BYTES + 1, "0123456789") == 6 && strcmp(s + DATE_BYTES + 7, "Z") == 0;
}

/* "<id>/<date>/<region>/<service>/aws4_request", cut in place. */
static int take_credential(char *text, struct fl_sigv4_auth *auth, struct fl_err *err)
{
    char *elem[5] = { text };
    size_t n = 1;

    for (char *p = text; (p = strchr(p, '/')) != NULL; n++) {
        *p++ = '\0';
        if (n < FL_ARRAY_LEN(elem))
            elem[n] = p;
    }
    if (n != FL_ARRAY_LEN(elem) || !*elem[0])
        return fl_err_set(err, -EINVAL, incomplete,
                          "Credential must have exactly 5 slash-delimited elements, e.g. "
                          "keyid/date/region/service/term.");
    if (!is_date(elem[1]))
        return fl_err_set(err, -EINVAL, incomplete, "Date in Credential scope must be YYYYMMDD.");
    if (!fl_region_valid(elem[2]))
        return fl_err_set(err, -EINVAL, incomplete,
                          "Credential should be scoped to a valid region.");
    if (!*elem[3] || strlen(elem[3]) > SERVICE_MAX_BYTES ||
        elem[3][strspn(elem[3], "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return fl_err_set(err, -EINVAL, incomplete,
                          "Credential should be scoped to a correct service.");
    if (strcmp(elem[4], SCOPE_END) != 0)
        return fl_err_set(err, -EINVAL, incomplete,
                          "Credential should be scoped with a valid terminator: '%s'.", SCOPE_END);
    auth->access_key_id = elem[0];
    auth->date = elem[1];
    auth->region = elem[2];
    auth->service = elem[3];
    return 0;
}

int fl_sigv4_parse(const char *header, struct fl_arena *arena, struct fl_sigv4_auth *ret_auth,
                   struct fl_err *err)
{
    struct parts parts = { 0 };
    struct fl_sigv4_auth auth = { 0 };
    char *text, *next;
    int r;

    if (header)
        header += strspn(header, " \t");
    if (!header || !*header)
        return fl_err_set(err, -EINVAL, "MissingAuthenticationTokenException",
                          "Missing Authentication Token");
    if (strnlen(header, HEADER_MAX_BYTES + 1) > HEADER_MAX_BYTES)
        return fl_err_set(err, -EINVAL, incomplete, "Authorization header over %d bytes.",
                          HEADER_MAX_BYTES);
    if (strncmp(header, ALGORITHM, strlen(ALGORITHM)) != 0 ||
        strspn(header + strlen(ALGORITHM), " \t") == 0)
        return fl_err_set(err, -EINVAL, incomplete,
                          "Authorization header must use the algorithm '%s'.", ALGORITHM);
    text = fl_arena_strdup(arena, header + strlen(ALGORITHM));
    if (!text)
        return fl_err_nomem(err);

    for (; text; text = next) {
        next = strchr(text, ',');
        if (next)
            *next++ = '\0';
        r = take_part(text, &parts, err);
        if (r < 0)
            return r;
    }
    r = need_all_parts(&parts, err);
    if (r == 0)
        r = take_credential(parts.credential, &auth, err);
    if (r == 0)
        r = fl_canon_check_signed(parts.signed_headers, err);
    if (r < 0)
        return r;
    if (!fl_canon_is_signed(parts.signed_headers, "host"))
        return fl_err_set(err, -EINVAL, incomplete,
                          "'Host' or ':authority' must be a 'SignedHeader' in the AWS "
                          "Authorization.");
    auth.signed_headers = parts.signed_headers;
    auth.signature = parts.signature;
    *ret_auth = auth;
    return 0;
}

int fl_sigv4_string_to_sign(const struct fl_sigv4_request *req, const char *signed_headers,
                            const char *amz_date, const char *region, struct fl_buf *out,
                            char *ret_canonical_sha256, struct fl_err *err)
{
    char hash[FL_SHA256_HEX_BYTES];
    int r;

    if (!is_amz_date(amz_date))
        return fl_err_set(err, -EINVAL, incomplete, "X-Amz-Date must be YYYYMMDDTHHMMSSZ.");
    r = fl_canon_request_sha256(req, signed_headers, hash, err);
    if (r < 0)
        return r;
    r = fl_buf_printf(out, ALGORITHM "\n%s\n%.*s/%s/%s/" SCOPE_END "\n%s", amz_date, DATE_BYTES,
                      amz_date, region, req->service, hash);
    if (r < 0)
        return fl_err_set(err, r, NULL, "string to sign: %s", strerror(-r));
    if (ret_canonical_sha256)
        memcpy(ret_canonical_sha256, hash, sizeof(hash));
    return 0;
}

static void hmac_text(const uint8_t key[FL_SHA256_BYTES], const char *text,
                      uint8_t out[FL_SHA256_BYTES])
{
    fl_hmac_sha256(key, FL_SHA256_BYTES, text, strlen(text), out);
}

void fl_sigv4_signing_key(const char *secret, const char *date, const char *region,
                          const char *service, uint8_t out[FL_SHA256_BYTES])
{
    uint8_t a[FL_SHA256_BYTES], b[FL_SHA256_BYTES];
    size_t len = strlen("AWS4") + strlen(secret);
    char *start = malloc(len + 1);

    if (!start)
        abort(); /* there is no key to return in its place */
    strcpy(stpcpy(start, "AWS4"), secret);
    fl_hmac_sha256(start, len, date, strlen(date), a);
    hmac_text(a, region, b);
    hmac_text(b, service, a);
    hmac_text(a, SCOPE_END, out);
    fl_free_secret(start, len);
    fl_wipe(a, sizeof(a));
    fl_wipe(b, sizeof(b));
}

static void signature_hex(const char *secret, const char *amz_date, const char *region,
                          const char *service, const struct fl_buf *string,
                          char out[FL_SHA256_HEX_BYTES])
{
    uint8_t key[FL_SHA256_BYTES], mac[FL_SHA256_BYTES];
    char date[DATE_BYTES + 1];

    snprintf(date, sizeof(date), "%.*s", DATE_BYTES, amz_date);
    fl_sigv4_signing_key(secret, date, region, service, key);
    fl_hmac_sha256(key, sizeof(key), string->data, string->len, mac);
    fl_hex_encode(mac, sizeof(mac), out);
    fl_wipe(key, sizeof(key));
}

static int authorization(const char *access_key_id, const char *amz_date, const char *region,
                         const char *service, const char *signed_headers, const char *signature,
                         char **ret_authorization, struct fl_err *err)
{
    fl_autobuf struct fl_buf out = FL_BUF(HEADER_MAX_BYTES);
    char *text;
    int r;

    r = fl_buf_printf(
        &out, ALGORITHM " Credential=%s/%.*s/%s/%s/" SCOPE_END ", SignedHeaders=%s, Signature=%s",
        access_key_id, DATE_BYTES, amz_date, region, service, signed_headers, signature);
    text = r == 0 ? fl_buf_take(&out, NULL) : NULL;
    if (!text)
        return fl_err_set(err, r < 0 ? r : -ENOMEM, NULL, "cannot build the Authorization header");
    *ret_authorization = text;
    return 0;
}

int fl_sigv4_sign(const struct fl_sigv4_request *req, const struct fl_aws_creds *creds,
                  const char *region, const char *amz_date, char **ret_authorization,
                  struct fl_err *err)
{
    fl_autobuf struct fl_buf names = FL_BUF(SIGNED_MAX_BYTES);
    fl_autobuf struct fl_buf string = FL_BUF(STRING_MAX_BYTES);
    bool temporary = creds->session_token && *creds->session_token;
    char signature[FL_SHA256_HEX_BYTES];
    int r;

    r = fl_canon_signed_headers(req, &names, err);
    if (r < 0)
        return r;
    if (!fl_canon_is_signed(names.data, "host") || !fl_canon_is_signed(names.data, "x-amz-date") ||
        (temporary && !fl_canon_is_signed(names.data, "x-amz-security-token")))
        return fl_err_set(err, -EINVAL, NULL,
                          "a request to sign needs the headers Host and X-Amz-Date, and "
                          "X-Amz-Security-Token with temporary credentials");
    r = fl_sigv4_string_to_sign(req, names.data, amz_date, region, &string, NULL, err);
    if (r < 0)
        return r;
    signature_hex(creds->secret_access_key, amz_date, region, req->service, &string, signature);
    return authorization(creds->access_key_id, amz_date, region, req->service, names.data,
                         signature, ret_authorization, err);
}

/* The string to sign of a received request, after the checks that do not need the key. */
static int received_string(const struct fl_sigv4_request *req, const struct fl_sigv4_auth *auth,
                           const char *amz_date, struct fl_buf *string, struct fl_err *err)
{
    struct fl_err found = { 0 };
    int r;

    if (!is_amz_date(amz_date) || strncmp(auth->date, amz_date, DATE_BYTES) != 0)
        return fl_err_set(err, -EBADMSG, invalid,
                          "Date in Credential scope does not match YYYYMMDD from ISO-8601 version "
                          "of date from HTTP: '%s' != '%.*s', from '%.32s'.",
                          auth->date, DATE_BYTES, amz_date, amz_date);
    if (strcmp(auth->service, req->service) != 0)
        return fl_err_set(err, -EBADMSG, invalid,
                          "Credential should be scoped to correct service: '%s'.", req->service);
    /* an unsigned operation name could be exchanged for another under the same signature */
    if (!fl_canon_is_signed(auth->signed_headers, "x-amz-target") &&
        fl_canon_has_header(req, "x-amz-target"))
        return fl_err_set(err, -EBADMSG, invalid, "'X-Amz-Target' must be a 'SignedHeader'.");
    r = fl_sigv4_string_to_sign(req, auth->signed_headers, amz_date, auth->region, string, NULL,
                                &found);
    if (r < 0)
        return fl_err_set(err, -EBADMSG, invalid, "%s", fl_err_text(&found));
    return 0;
}

int fl_sigv4_verify(const struct fl_sigv4_request *req, const struct fl_sigv4_auth *auth,
                    const char *amz_date, const char *secret, struct fl_err *err)
{
    fl_autobuf struct fl_buf string = FL_BUF(STRING_MAX_BYTES);
    char want[FL_SHA256_HEX_BYTES];
    int r;

    r = received_string(req, auth, amz_date, &string, err);
    if (r < 0)
        return r;
    signature_hex(secret, amz_date, auth->region, auth->service, &string, want);
    if (!fl_equal_secret(want, strlen(want), auth->signature, strlen(auth->signature)))
        return fl_err_set(err, -EBADMSG, invalid, "%s", BAD_SIGNATURE);
    return 0;
}

int fl_sigv4_sign_rsa(const struct fl_sigv4_request *req, const struct fl_rsa *key,
                      const char *node_id, const char *region, const char *amz_date,
                      char **ret_authorization, struct fl_err *err)
{
    fl_autobuf struct fl_buf string = FL_BUF(STRING_MAX_BYTES);
    fl_autofree char *signature = NULL;
    int r;

    r = fl_sigv4_string_to_sign(req, RSA_SIGNED_HEADERS, amz_date, region, &string, NULL, err);
    if (r == 0)
        r = fl_rsa_sign(key, string.data, string.len, &signature, err);
    if (r < 0)
        return r;
    return authorization(node_id, amz_date, region, req->service, RSA_SIGNED_HEADERS, signature,
                         ret_authorization, err);
}

int fl_sigv4_verify_rsa(const struct fl_sigv4_request *req, const struct fl_sigv4_auth *auth,
                        const char *amz_date, const struct fl_rsa *key, struct fl_err *err)
{
    fl_autobuf struct fl_buf string = FL_BUF(STRING_MAX_BYTES);
    int r;

    if (!fl_canon_is_signed(auth->signed_headers, "x-amz-date") ||
        !fl_canon_is_signed(auth->signed_headers, "x-amz-target"))
        return fl_err_set(err, -EBADMSG, invalid,
                          "'X-Amz-Date' and 'X-Amz-Target' must be 'SignedHeaders'.");
    r = received_string(req, auth, amz_date, &string, err);
    if (r < 0)
        return r;
    if (fl_rsa_verify(key, string.data, string.len, auth->signature) < 0)
        return fl_err_set(err, -EBADMSG, invalid, "%s", BAD_SIGNATURE);
    return 0;
}
