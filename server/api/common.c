/* common.c - what handlers of every family share: ARNs and page tokens. */
#include "server/op.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/plane.h"

#define TOKEN_MAX_BYTES 4096

char *fl_arn(struct fl_call *call, const char *service, const char *type, const char *id)
{
    return fl_arena_printf(call->arena, "arn:aws:%s:%s:%s:%s/%s", service, call->region,
                           call->account, type, id);
}

/* Binds a token to its operation and account. */
static char *token_aad(struct fl_call *call, const char *what)
{
    return fl_arena_printf(call->arena, "page %s %s %s", call->account, call->region, what);
}

static int bad_token(struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "InvalidNextToken", "The specified token is not valid.");
}

int fl_page_token_decode(struct fl_call *call, const char *what, const char *token,
                         char **ret_after, struct fl_err *err)
{
    fl_autofree uint8_t *sealed = NULL, *plain = NULL;
    const char *aad = token_aad(call, what);
    size_t sealed_len, plain_len;
    int r;

    if (!token || !*token) {
        *ret_after = NULL;
        return 0;
    }
    if (!aad)
        return fl_err_nomem(err);
    if (strnlen(token, TOKEN_MAX_BYTES + 1) > TOKEN_MAX_BYTES ||
        fl_base64_decode(token, &sealed, &sealed_len) < 0)
        return bad_token(err);
    r = fl_unseal(call->plane->seal_key, aad, sealed, sealed_len, &plain, &plain_len);
    if (r < 0)
        return bad_token(err);
    *ret_after = fl_arena_memdup(call->arena, plain, plain_len);
    return *ret_after ? 0 : fl_err_nomem(err);
}

/* Sealing draws a nonce: two tokens for the same place differ, so a page never returns the token it
 * was asked with (protocol 6 §1.3). */
char *fl_page_token_encode(struct fl_call *call, const char *what, const char *after)
{
    fl_autofree uint8_t *sealed = NULL;
    fl_autofree char *text = NULL;
    const char *aad = token_aad(call, what);
    size_t len;

    if (!aad || fl_seal(call->plane->seal_key, aad, after, strlen(after), &sealed, &len) < 0)
        return NULL;
    text = fl_base64_encode(sealed, len);
    return text ? fl_arena_strdup(call->arena, text) : NULL;
}
