/* canon.c - see canon.h. */
#include "common/aws/canon.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

#define REQUEST_MAX_BYTES  (128 << 10) /* of a canonical request */
#define QUERY_MAX_PARAMS   256
#define SIGNED_MAX_HEADERS 64

static const char incomplete[] = "IncompleteSignatureException";
static const char name_chars[] = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

int fl_canon_check_signed(const char *signed_headers, struct fl_err *err)
{
    size_t n = 0;

    for (const char *p = signed_headers;; p++) {
        size_t len = strspn(p, name_chars);

        if (len == 0 || (p[len] != '\0' && p[len] != ';'))
            return fl_err_set(err, -EINVAL, incomplete,
                              "SignedHeaders must be lower-case header names with ';' between "
                              "them.");
        if (++n > SIGNED_MAX_HEADERS)
            return fl_err_set(err, -EINVAL, incomplete, "More than %d SignedHeaders.",
                              SIGNED_MAX_HEADERS);
        p += len;
        if (*p == '\0')
            return 0;
    }
}

bool fl_canon_is_signed(const char *signed_headers, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = signed_headers; p; p = strchr(p, ';')) {
        p += *p == ';';
        if (strncmp(p, name, len) == 0 && (p[len] == '\0' || p[len] == ';'))
            return true;
    }
    return false;
}

bool fl_canon_has_header(const struct fl_sigv4_request *req, const char *name)
{
    for (size_t i = 0; i < req->n_headers; i++)
        if (strcasecmp(req->headers[i].name, name) == 0)
            return true;
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

int fl_canon_signed_headers(const struct fl_sigv4_request *req, struct fl_buf *out,
                            struct fl_err *err)
{
    const char *names[SIGNED_MAX_HEADERS];
    int r = 0;

    if (req->n_headers == 0 || req->n_headers > SIGNED_MAX_HEADERS)
        return fl_err_set(err, -EINVAL, NULL, "a request to sign needs 1 to %d headers",
                          SIGNED_MAX_HEADERS);
    for (size_t i = 0; i < req->n_headers; i++)
        names[i] = req->headers[i].name;
    qsort(names, req->n_headers, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < req->n_headers && r == 0; i++) {
        if (i > 0 && strcasecmp(names[i - 1], names[i]) == 0)
            continue;
        if (i > 0)
            r = fl_buf_puts(out, ";");
        for (const char *p = names[i]; *p && r == 0; p++)
            r = fl_buf_append(out, (char[]){ *p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p }, 1);
    }
    if (r < 0)
        return fl_err_set(err, r, NULL, "signed headers: %s", strerror(-r));
    return fl_canon_check_signed(out->data ? out->data : "", err);
}

/* Brings a part of a URL into canonical escapes: what is escaped stays so, unless it need not be. A
 * '%' that starts no escape stands for itself. */
static int append_escaped(const char *s, size_t len, bool keep_slash, bool plus_is_blank,
                          struct fl_buf *out)
{
    int r = 0;

    for (size_t i = 0; i < len && r == 0; i++) {
        char c = s[i];

        if (c == '%' && len - i >= 3 &&
            fl_hex_decode((char[]){ s[i + 1], s[i + 2], '\0' }, &c, 1) == 0) {
            i += 2;
            r = fl_uri_encode(&c, 1, false, out);
        } else if (c == '+' && plus_is_blank) {
            r = fl_buf_puts(out, "%20");
        } else {
            r = fl_uri_encode(&c, 1, keep_slash, out);
        }
    }
    return r;
}

static int append_path(const struct fl_sigv4_request *req, struct fl_buf *out)
{
    size_t len = strlen(req->path);

    if (len == 0)
        return fl_buf_puts(out, "/");
    if (strcmp(req->service, "s3") == 0)
        return append_escaped(req->path, len, true, false, out);
    return fl_uri_encode(req->path, len, true, out);
}

/* A query parameter: positions in the buffer of encoded text. */
struct param {
    size_t name, name_len, value, value_len;
};

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int r = memcmp(a, b, FL_MIN(a_len, b_len));

    return r ? r : (a_len > b_len) - (a_len < b_len);
}

static int compare_params(const void *va, const void *vb, void *text)
{
    const struct param *a = va, *b = vb;
    const char *t = text;
    int r = compare_text(t + a->name, a->name_len, t + b->name, b->name_len);

    return r ? r : compare_text(t + a->value, a->value_len, t + b->value, b->value_len);
}

static int encode_param(const char *s, size_t len, struct fl_buf *text, struct param *ret_param)
{
    const char *eq = memchr(s, '=', len);
    size_t name_len = eq ? (size_t)(eq - s) : len;
    struct param p = { .name = text->len };
    int r;

    r = append_escaped(s, name_len, false, true, text);
    if (r < 0)
        return r;
    p.name_len = text->len - p.name;
    p.value = text->len;
    if (eq)
        r = append_escaped(eq + 1, len - name_len - 1, false, true, text);
    p.value_len = text->len - p.value;
    *ret_param = p;
    return r;
}

/* '+' counts as a blank, which signers write as %20; empty parameters ("a&&b") do not count. */
static int append_query(const char *query, struct fl_buf *out)
{
    fl_autobuf struct fl_buf text = FL_BUF(REQUEST_MAX_BYTES);
    struct param params[QUERY_MAX_PARAMS];
    size_t n = 0, len;
    int r = fl_buf_reserve(&text, 1); /* so that positions always have a base */

    if (r < 0)
        return r;
    for (const char *p = query; *p; p += len + (p[len] == '&')) {
        len = strcspn(p, "&");
        if (len == 0)
            continue;
        if (n == QUERY_MAX_PARAMS)
            return -EINVAL;
        r = encode_param(p, len, &text, &params[n++]);
        if (r < 0)
            return r;
    }
    if (n == 0)
        return 0;
    qsort_r(params, n, sizeof(params[0]), compare_params, text.data);
    for (size_t i = 0; i < n; i++) {
        r = fl_buf_printf(out, "%s%.*s=%.*s", i ? "&" : "", (int)params[i].name_len,
                          text.data + params[i].name, (int)params[i].value_len,
                          text.data + params[i].value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Trimmed, with runs of blanks folded. */
static int append_value(const char *value, struct fl_buf *out)
{
    size_t len;
    int r = 0;

    value += strspn(value, " \t");
    for (const char *p = value; *p && r == 0; p += len) {
        len = strcspn(p, " \t");
        r = fl_buf_append(out, p, len);
        p += len;
        len = strspn(p, " \t");
        if (r == 0 && len > 0 && p[len] != '\0')
            r = fl_buf_puts(out, " ");
    }
    return r;
}

/* "name:value\n"; the values of equal names are joined in the order of the request. */
static int append_header(const struct fl_sigv4_request *req, const char *name, size_t len,
                         struct fl_buf *out, struct fl_err *err)
{
    size_t found = 0;
    int r = fl_buf_append(out, name, len);

    for (size_t i = 0; i < req->n_headers && r == 0; i++) {
        if (strncasecmp(req->headers[i].name, name, len) != 0 || req->headers[i].name[len] != '\0')
            continue;
        r = fl_buf_puts(out, found++ ? "," : ":");
        if (r == 0)
            r = append_value(req->headers[i].value, out);
    }
    if (r == 0 && found == 0)
        return fl_err_set(err, -EINVAL, incomplete,
                          "The signed header '%.*s' is missing from the request.", (int)len, name);
    return r < 0 ? r : fl_buf_puts(out, "\n");
}

static int append_headers(const struct fl_sigv4_request *req, const char *signed_headers,
                          struct fl_buf *out, struct fl_err *err)
{
    size_t len;
    int r = 0;

    for (const char *p = signed_headers; *p && r == 0; p += len + (p[len] == ';')) {
        len = strcspn(p, ";");
        r = append_header(req, p, len, out, err);
    }
    return r;
}

int fl_canon_request_sha256(const struct fl_sigv4_request *req, const char *signed_headers,
                            char out[FL_SHA256_HEX_BYTES], struct fl_err *err)
{
    struct fl_err found = { 0 };
    fl_autobuf struct fl_buf text = FL_BUF(REQUEST_MAX_BYTES);
    int r;

    r = fl_canon_check_signed(signed_headers, &found);
    if (r == 0)
        r = fl_buf_printf(&text, "%s\n", req->method);
    if (r == 0)
        r = append_path(req, &text);
    if (r == 0)
        r = fl_buf_puts(&text, "\n");
    if (r == 0)
        r = append_query(req->query, &text);
    if (r == 0)
        r = fl_buf_puts(&text, "\n");
    if (r == 0)
        r = append_headers(req, signed_headers, &text, &found);
    if (r == 0)
        r = fl_buf_printf(&text, "\n%s\n%s", signed_headers, req->body_sha256);
    if (r < 0)
        return fl_err_set(err, r, found.name ? found.name : incomplete, "%s",
                          found.code ? found.text : "The request is too large to be signed.");
    fl_sha256_hex(text.data, text.len, out);
    return 0;
}
