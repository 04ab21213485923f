/* Requests and the question who sent them. Lines of the input: how ('0' as they are, '1' signed
 * with a node's credentials first), X-Amz-Date, Authorization, X-Amz-Security-Token,
 * X-Amz-Content-Sha256, Date, service, path, query, body. What we signed is accepted, and no longer
 * once a part that is signed is another; nothing else is. */
#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "server/auth/auth.h"
#include "server/auth/revoked.h"
#include "server/auth/token.h"

#define NOW_MS  1767225600000
#define NODE    "mi-0123456789abcdef0"
#define ACCOUNT "123456789012"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_plane plane = { .conf = { .account = (char *)ACCOUNT,
                                           .region = (char *)"local" } };

static const char *next_line(char **rest)
{
    char *line = *rest ? strsep(rest, "\n") : NULL;

    return line ? line : "";
}

static int ask(const struct fl_auth_request *req, const char *service, struct fl_arena *arena,
               struct fl_caller *caller)
{
    struct fl_err err = { 0 };
    int r = fl_auth_verify(&plane, NULL, req, service, false, NOW_MS, arena, caller, &err);

    if (r < 0 && ((r != -EACCES && r != -EKEYREJECTED) || !err.name || !err.text[0]))
        abort();
    return r;
}

/* A node signs the request; then parts of it change. */
static void check_signed(struct fl_auth_request *req, struct fl_http_header *headers,
                         const char *service, struct fl_arena *arena)
{
    struct fl_token token = { .kind = FL_ID_NODE,
                              .account = (char *)ACCOUNT,
                              .role = (char *)"fleet",
                              .session = (char *)NODE,
                              .node_id = (char *)NODE,
                              .issued_ms = NOW_MS,
                              .expires_ms = NOW_MS + 1 };
    char date[FL_COMPACT_BYTES], sha256[FL_SHA256_HEX_BYTES];
    fl_autofree char *authorization = NULL;
    struct fl_credentials creds;
    struct fl_caller caller;

    fl_time_compact(NOW_MS, date);
    fl_sha256_hex(req->body, req->body_len, sha256);
    if (fl_token_seal(plane.seal_key, &token, arena, &creds, NULL) < 0)
        abort();
    headers[0].value = date;
    headers[1].value = creds.session_token;
    headers[2].value = sha256;
    req->n_headers = 3;
    if (fl_sigv4_sign(&(struct fl_sigv4_request){ req->method, req->path, req->query, headers, 3,
                                                  sha256, service },
                      &(struct fl_aws_creds){ creds.access_key_id, creds.secret_access_key,
                                              creds.session_token },
                      "eu-west-1", date, &authorization, NULL) < 0)
        return; /* too many parameters */
    req->parsed = fl_sigv4_parse(authorization, arena, &req->auth, &req->parse_err) == 0;
    if (!*service || strpbrk(service, "/, \t=") || !req->parsed)
        return; /* no name of a service: it cannot be told from the rest of the scope */
    if (ask(req, service, arena, &caller) < 0 || strcmp(caller.id.node_id, NODE) != 0)
        abort();
    if (ask(req, "other", arena, &caller) >= 0 && strcmp(service, "other") != 0)
        abort();
    req->method = "PUT";
    if (ask(req, service, arena, &caller) >= 0)
        abort();
    req->method = "POST";
    req->body_len++;
    req->body = fl_arena_alloc(arena, req->body_len);
    if (ask(req, service, arena, &caller) >= 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 22);
    fl_autofree char *text = strndup((const char *)data, size);
    struct fl_http_header headers[] = {
        { "x-amz-date", NULL },
        { "x-amz-security-token", NULL },
        { "x-amz-content-sha256", NULL },
        { "date", NULL },
    };
    struct fl_auth_request req = { .method = "POST", .source_ip = "192.0.2.1", .headers = headers };
    char *rest = text;
    const char *how = next_line(&rest), *authorization, *service;
    struct fl_caller caller;

    if (!plane.revoked &&
        (fl_revoked_new(&plane.revoked) < 0 || fl_metrics_new(&plane.metrics) < 0))
        abort();
    headers[0].value = next_line(&rest);
    authorization = next_line(&rest);
    headers[1].value = next_line(&rest);
    headers[2].value = next_line(&rest);
    headers[3].value = next_line(&rest);
    service = next_line(&rest);
    req.path = next_line(&rest);
    req.query = next_line(&rest);
    req.body = rest ? rest : "";
    req.body_len = strlen(req.body);
    if (*how == '1') {
        check_signed(&req, headers, service, &arena);
        return 0;
    }
    req.n_headers = FL_ARRAY_LEN(headers);
    if (!*headers[0].value) { /* without X-Amz-Date, Date counts */
        req.headers++;
        req.n_headers--;
    }
    req.parsed = fl_sigv4_parse(authorization, &arena, &req.auth, &req.parse_err) == 0;
    if (ask(&req, service, &arena, &caller) >= 0)
        abort();
    return 0;
}
