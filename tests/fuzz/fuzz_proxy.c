/* Proxy settings and URLs: "proxy URL \n no_proxy \n target URL". What is picked is well-formed. */
#include <errno.h>
#include <string.h>
#include "common/net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *no_proxy, *url;
    struct fl_proxy proxy;
    struct fl_err err = { 0 };
    int r;

    memcpy(text, data, size);
    text[size] = '\0';
    no_proxy = strchr(text, '\n');
    url = no_proxy ? strchr(no_proxy + 1, '\n') : NULL;
    if (url) {
        struct fl_proxy_conf conf = { .http = text, .https = text, .no_proxy = no_proxy + 1 };

        *no_proxy = *url++ = '\0';
        r = fl_proxy_pick(&conf, url, &proxy, &err);
        if (r == 1 && (!proxy.host[0] || !proxy.port || strcmp(proxy.url, text) != 0))
            abort();
        if (r < 0 && (r != -EINVAL || !err.text[0]))
            abort();
    }
    free(text);
    return 0;
}
