/* presigned.c - see presigned.h. */
#include "server/auth/presigned.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/codec/form.h"

#define SIGNATURE "X-Amz-Signature"

/* The query as it came, without the parameter that holds the signature. */
static char *without_signature(const char *query, struct fl_arena *arena)
{
    char *out = fl_arena_alloc(arena, strlen(query) + 1), *end = out;
    size_t len;

    for (const char *p = query; out && *p; p += len + (p[len] == '&')) {
        len = strcspn(p, "&");
        if (strncmp(p, SIGNATURE "=", strlen(SIGNATURE "=")) == 0)
            continue;
        if (end != out)
            *end++ = '&';
        memcpy(end, p, len);
        end += len;
    }
    return out;
}

static int incomplete(struct fl_err *err, const char *text)
{
    return fl_err_set(err, -EINVAL, "IncompleteSignatureException", "%s", text);
}

static int parse_expires(const char *text, int64_t *ret_s)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (end == text || *end || n < 1 || n > FL_PRESIGNED_MAX_S)
        return -EINVAL;
    *ret_s = n;
    return 0;
}

int fl_presigned_parse(const char *query, struct fl_arena *arena, struct fl_auth_request *out,
                       struct fl_err *err)
{
    static const char *const names[] = { "X-Amz-Algorithm", "X-Amz-Credential",    "X-Amz-Date",
                                         "X-Amz-Expires",   "X-Amz-SignedHeaders", SIGNATURE };
    const char *v[FL_ARRAY_LEN(names)];
    struct fl_form form;
    const char *header;

    if (fl_form_parse(query, strlen(query), arena, &form, err) < 0)
        return incomplete(err, "The query cannot be read.");
    if (fl_form_get(&form, "AWSAccessKeyId") && fl_form_get(&form, "Signature"))
        return incomplete(err, "This URL is presigned with Signature Version 2, which is not "
                               "spoken here: use signature version s3v4.");
    if (!fl_form_get(&form, SIGNATURE))
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++) {
        v[i] = fl_form_get(&form, names[i]);
        if (!v[i] || v[i][strcspn(v[i], ", \t")])
            return fl_err_set(err, -EINVAL, "IncompleteSignatureException",
                              "A presigned URL needs the parameter %s.", names[i]);
    }
    if (parse_expires(v[3], &out->expires_s) < 0)
        return incomplete(err, "X-Amz-Expires must be between 1 and 604800 seconds.");
    /* One reader for both forms. */
    header = fl_arena_printf(arena, "%s Credential=%s, SignedHeaders=%s, Signature=%s", v[0], v[1],
                             v[4], v[5]);
    out->signed_query = without_signature(query, arena);
    out->amz_date = fl_arena_strdup(arena, v[2]);
    out->token = fl_arena_strdup(arena, fl_form_get(&form, "X-Amz-Security-Token"));
    if (!header || !out->signed_query || !out->amz_date)
        return fl_err_nomem(err);
    out->presigned = true;
    if (fl_sigv4_parse(header, arena, &out->auth, err) < 0)
        return err && err->name ? -EINVAL : -ENOMEM;
    return 1;
}

/* ---- giving one out ---- */
#define QUERY_MAX_BYTES 8192

static int add(struct fl_buf *query, const char *name, const char *value)
{
    int r = fl_buf_printf(query, "%s%s=", query->len ? "&" : "", name);

    return r < 0 ? r : fl_uri_encode(value, strlen(value), false, query);
}

static int make_query(struct fl_call *call, const struct fl_credentials *creds,
                      const char *amz_date, int64_t expires_s, struct fl_buf *out)
{
    char *who = fl_arena_printf(call->arena, "%s/%.8s/%s/s3/aws4_request", creds->access_key_id,
                                amz_date, call->region);
    char *expires = fl_arena_printf(call->arena, "%lld", (long long)expires_s);
    const struct {
        const char *name, *value;
    } parts[] = {
        { "X-Amz-Algorithm", "AWS4-HMAC-SHA256" },
        { "X-Amz-Credential", who },
        { "X-Amz-Date", amz_date },
        { "X-Amz-Expires", expires },
        { "X-Amz-Security-Token", creds->session_token },
        { "X-Amz-SignedHeaders", "host" },
    };
    int r = who && expires ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < FL_ARRAY_LEN(parts); i++)
        r = add(out, parts[i].name, parts[i].value);
    return r;
}

int fl_presigned_make(struct fl_call *call, const struct fl_credentials *creds, const char *host,
                      const char *path, int64_t expires_s, char **ret_url, struct fl_err *err)
{
    fl_autobuf struct fl_buf query = FL_BUF(QUERY_MAX_BYTES), text = FL_BUF(QUERY_MAX_BYTES);
    char amz_date[FL_COMPACT_BYTES], hex[2 * FL_SHA256_BYTES + 1], date[9];
    uint8_t key[FL_SHA256_BYTES], mac[FL_SHA256_BYTES];
    const struct fl_http_header header = { "host", host };
    struct fl_sigv4_request req = { .method = "GET",
                                    .path = path,
                                    .headers = &header,
                                    .n_headers = 1,
                                    .body_sha256 = FL_PAYLOAD_UNSIGNED,
                                    .service = "s3" };
    int r;

    query.secret = text.secret = true;
    fl_time_compact(call->now_ms, amz_date);
    snprintf(date, sizeof(date), "%.8s", amz_date);
    r = make_query(call, creds, amz_date, expires_s, &query);
    if (r < 0)
        return fl_err_set(err, r, NULL, "a URL cannot be made");
    req.query = query.data;
    r = fl_sigv4_string_to_sign(&req, "host", amz_date, call->region, &text, NULL, err);
    if (r < 0)
        return r;
    fl_sigv4_signing_key(creds->secret_access_key, date, call->region, "s3", key);
    fl_hmac_sha256(key, sizeof(key), text.data, text.len, mac);
    fl_wipe(key, sizeof(key));
    fl_hex_encode(mac, sizeof(mac), hex);
    *ret_url = fl_arena_printf(call->arena, "https://%s%s?%s&" SIGNATURE "=%s", host, path,
                               query.data, hex);
    return *ret_url ? 0 : fl_err_nomem(err);
}
