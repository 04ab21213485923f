/* endpoint.h - where a service of a region lives (protocol 1 §5.2). */
#pragma once
#include "common/base/err.h"

/* True for [A-Za-z0-9-]{1,100}. */
bool fl_region_valid(const char *region);

/* "https://<service>.<region>.<domain>" into fresh memory, without a trailing slash. `override`
 * (config key <Service>.Endpoint; NULL or "" for none): host, host:port or URL; no scheme means
 * https; of a URL the path is dropped. For service "ssmmessages" the scheme is always https.
 * `domain` overrides the domain of the region (config key Agent.ServiceDomain). -EINVAL names the
 * bad value. */
int fl_endpoint_url(const char *service, const char *region, const char *domain,
                    const char *override, char **ret_url, struct fl_err *err);

/* The authority (host[:port], port only if not the scheme's default unless keep_default) of a URL.
 */
int fl_url_authority(const char *url, bool keep_default, char *out, size_t out_size);
