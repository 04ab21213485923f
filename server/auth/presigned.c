/* presigned.c - see presigned.h. */
#include "server/auth/presigned.h"

#include <errno.h>
#include <string.h>
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
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    out->presigned = true;
    if (fl_sigv4_parse(header, arena, &out->auth, err) < 0)
        return err && err->name ? -EINVAL : -ENOMEM;
    return 1;
}
