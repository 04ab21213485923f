/* proxy.h - which proxy, if any, a URL goes through. Pure: no I/O.
 *
 * The variables are the usual ones (http_proxy, https_proxy, all_proxy, no_proxy, either case;
 * upper-case HTTP_PROXY too, since this is never a CGI program). no_proxy entries: "*", host names
 * and domain suffixes (with or without a leading dot), addresses, CIDR blocks, each with an
 * optional :port. Loopback targets and "localhost" are never proxied (Go's rule, protocol 1 §5.2).
 */
#pragma once
#include "common/base/err.h"
#include "common/net/url.h"

#define FL_PROXY_AUTH_REQUIRED 407

struct fl_proxy_conf {
    char *http;     /* proxy URL for http:// and ws:// targets, NULL for none */
    char *https;    /* for https:// and wss:// targets */
    char *no_proxy; /* comma- or blank-separated list, NULL for none */
};

struct fl_proxy {
    char host[FL_HOST_BYTES];
    uint16_t port;
    char user[256]; /* "" without credentials; percent-decoded */
    char password[256];
    char url[1100]; /* the proxy URL as given; holds the password: never log it */
};

/* Fills from the environment. Members already set (from configuration) win. 0 or -ENOMEM. */
int fl_proxy_from_env(struct fl_proxy_conf *conf);
void fl_proxy_conf_done(struct fl_proxy_conf *conf);

/* 1 and *ret_proxy filled if `url` goes through a proxy, 0 if it goes straight, -EINVAL with the
 * text of what is wrong with the proxy URL (never its password). Only http:// proxies (CONNECT) are
 * known. */
int fl_proxy_pick(const struct fl_proxy_conf *conf, const char *url, struct fl_proxy *ret_proxy,
                  struct fl_err *err);

/* What it means that the proxy `proxy` ("host:port") answered a CONNECT to `target` with a status
 * that is no success: -EACCES if it wants other credentials or forbids it (407, 403), else
 * -EHOSTUNREACH. */
int fl_proxy_refused(const char *proxy, const char *target, int status, struct fl_err *err);
