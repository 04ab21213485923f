/* http_error.c - what became of a call, in an errno and in words. */
#include <errno.h>
#include <string.h>
#include "common/net/http_priv.h"

enum subject { PEER, PROXY, TLS };

static const struct {
    CURLcode result;
    int r;
    enum subject subject;
    const char *text; /* NULL: what curl says */
} failures[] = {
    { CURLE_ABORTED_BY_CALLBACK, -ECANCELED, PEER, "canceled" },
    { CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, PEER, "no answer in time" },
    { CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, PEER, "the name is not known" },
    { CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH, PROXY, "the proxy's name is not known" },
    { CURLE_COULDNT_CONNECT, -ECONNREFUSED, PEER, NULL },
    { CURLE_PEER_FAILED_VERIFICATION, -EPROTO, TLS, NULL },
    { CURLE_SSL_CACERT_BADFILE, -EPROTO, TLS, "the CA certificates cannot be loaded" },
    { CURLE_SSL_CONNECT_ERROR, -EPROTO, TLS, NULL },
    { CURLE_SSL_INVALIDCERTSTATUS, -EPROTO, TLS, NULL },
    { CURLE_SSL_ISSUER_ERROR, -EPROTO, TLS, NULL },
    { CURLE_WEIRD_SERVER_REPLY, -EPROTO, PEER, NULL },
    { CURLE_GOT_NOTHING, -EPROTO, PEER, "closed without an answer" },
    { CURLE_BAD_CONTENT_ENCODING, -EPROTO, PEER, NULL },
    { CURLE_PARTIAL_FILE, -EPROTO, PEER, "closed in the middle of an answer" },
    { CURLE_WRITE_ERROR, -EMSGSIZE, PEER, "the answer is over the limit" },
    { CURLE_OUT_OF_MEMORY, -ENOMEM, PEER, "out of memory" },
    { CURLE_RECV_ERROR, -EIO, PEER, NULL },
    { CURLE_SEND_ERROR, -EIO, PEER, NULL },
};

/* Those that callers tell apart. */
static const char *error_name(CURLcode result)
{
    if (result == CURLE_PEER_FAILED_VERIFICATION)
        return FL_HTTP_UNTRUSTED;
    return result == CURLE_GOT_NOTHING || result == CURLE_PARTIAL_FILE ? FL_HTTP_CLOSED : NULL;
}

/* The proxy spoke instead of the peer: to CONNECT, or to a plain request that went through it. */
static long proxy_status(const struct fl_http_call *call, CURLcode result)
{
    long connect_code = 0, code = 0;

    if (!call->proxied)
        return 0;
    curl_easy_getinfo(call->easy, CURLINFO_HTTP_CONNECTCODE, &connect_code);
    if (result != CURLE_OK)
        return connect_code >= 300 ? connect_code : 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &code);
    return code == FL_PROXY_AUTH_REQUIRED ? code : 0;
}

int fl_http_call_error(const struct fl_http_call *call, CURLcode result, struct fl_err *err)
{
    const char *says = call->curl_says[0] ? call->curl_says : curl_easy_strerror(result);
    const char *via = call->proxied ? " through proxy " : "";
    const char *proxy = call->proxied ? call->proxy : "";
    long status = proxy_status(call, result);
    size_t i = 0;

    if (status)
        return fl_proxy_refused(call->proxy, call->where, (int)status, err);
    if (call->stream_error)
        return fl_err_set(err, call->stream_error, NULL, "%s: %s", call->where,
                          call->stream_error == -EMSGSIZE ? "the answer is over the limit"
                                                          : strerror(-call->stream_error));
    if (result == CURLE_OK)
        return 0;
    while (i < FL_ARRAY_LEN(failures) && failures[i].result != result)
        i++;
    if (i == FL_ARRAY_LEN(failures))
        return fl_err_set(err, -EIO, NULL, "%s%s%s: %s", call->where, via, proxy, says);
    if (failures[i].text)
        says = failures[i].text;
    if (failures[i].subject == TLS)
        return fl_err_set(err, failures[i].r, error_name(result),
                          "%s%s%s: %s (CA certificates: %s)", call->where, via, proxy, says,
                          call->http->ca_file ? call->http->ca_file : "the system's");
    return fl_err_set(err, failures[i].r, error_name(result), "%s%s%s: %s", call->where, via, proxy,
                      says);
}
