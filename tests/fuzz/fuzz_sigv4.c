/* A signed request. Lines of the input: Authorization value, path, query, service, then header
 * values. What parses can be verified without harm; what we sign ourselves must verify, in
 * whatever order the parameters of the query stand, and not with one more. */
#include <string.h>
#include "common/aws/sigv4.h"

#define DATE "20260102T030405Z"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *next_line(char **rest)
{
    char *line = *rest ? strsep(rest, "\n") : NULL;

    return line ? line : "";
}

/* The parameters of a query in the order of the last one first; NULL for none. */
static char *turned(const char *query, struct fl_arena *arena)
{
    size_t len = strlen(query), at = 0;
    char *out = fl_arena_alloc(arena, len + 1);
    const char *end = query + len;

    if (!out)
        abort();
    for (const char *p = end; at <= len;) {
        while (p > query && p[-1] != '&')
            p--;
        memcpy(out + at, p, (size_t)(end - p));
        at += (size_t)(end - p);
        out[at++] = p > query ? '&' : '\0';
        if (p == query)
            break;
        end = --p;
    }
    return out;
}

static void sign_and_verify(const struct fl_sigv4_request *req, struct fl_arena *arena)
{
    const struct fl_aws_creds creds = { "AKID", "secret", NULL };
    struct fl_sigv4_request other = *req;
    fl_autofree char *header = NULL;
    struct fl_sigv4_auth auth;

    if (fl_sigv4_sign(req, &creds, "eu-west-1", DATE, &header, NULL) < 0)
        return; /* too many query parameters, or too much of everything */
    if (fl_sigv4_parse(header, arena, &auth, NULL) < 0 ||
        fl_sigv4_verify(req, &auth, DATE, "secret", NULL) < 0 ||
        fl_sigv4_verify(req, &auth, DATE, "other", NULL) == 0)
        abort();
    other.query = turned(req->query, arena);
    if (fl_sigv4_verify(&other, &auth, DATE, "secret", NULL) < 0)
        abort();
    other.query = fl_arena_printf(arena, "%s&x", req->query);
    if (!other.query || fl_sigv4_verify(&other, &auth, DATE, "secret", NULL) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    fl_autofree char *text = strndup((const char *)data, size);
    char *rest = text;
    struct fl_sigv4_auth auth;
    struct fl_err err;
    const char *authorization = next_line(&rest);
    const char *path = next_line(&rest), *query = next_line(&rest), *service = next_line(&rest);
    const struct fl_http_header headers[] = {
        { "Host", next_line(&rest) },
        { "X-Amz-Date", DATE },
        { "X-Amz-Target", next_line(&rest) },
        { "x-amz-target", next_line(&rest) },
    };
    struct fl_sigv4_request req = { "POST", path, query, headers, 4, "x", service };

    if (fl_sigv4_parse(authorization, &arena, &auth, &err) == 0 &&
        fl_sigv4_verify(&req, &auth, DATE, "secret", &err) == 0)
        abort(); /* nobody signs that by chance */
    req.service = strcmp(service, "s3") == 0 ? "s3" : "ssm";
    sign_and_verify(&req, &arena);
    return 0;
}
