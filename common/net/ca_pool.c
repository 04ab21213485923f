/* ca_pool.c - see ca_pool.h. */
#include "common/net/ca_pool.h"
#include <dirent.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include "common/base/file.h"
#include "common/base/util.h"

#define MAX_BUNDLE_BYTES (4u << 20)
#define BEGIN            "-----BEGIN CERTIFICATE-----"
#define HASH_DIGITS      8

static size_t count_bundled(const char *bundle)
{
    fl_autofree char *text = NULL;
    size_t len = 0, n = 0;

    if (fl_file_read(bundle, MAX_BUNDLE_BYTES, &text, &len, NULL) < 0)
        return 0;
    for (const char *p = text; (p = strstr(p, BEGIN)); p += strlen(BEGIN))
        n++;
    return n;
}

/* "002c0b4f.0" */
static bool is_hash(const char *name)
{
    size_t digits = strspn(name, "0123456789abcdef");

    return digits == HASH_DIGITS && name[digits] == '.' && name[digits + 1] &&
           strspn(name + digits + 1, "0123456789") == strlen(name + digits + 1);
}

bool fl_ca_pool_is_complete(const char *dir, const char *bundle)
{
    size_t n = 0;
    DIR *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));)
        n += is_hash(e->d_name);
    if (d)
        closedir(d);
    /* A few of the administrator's own may have been hashed where the system does not do so. */
    return n > 0 && n >= count_bundled(bundle);
}

static bool system_is_complete;

static void look_at_system(void)
{
    system_is_complete =
        fl_ca_pool_is_complete(X509_get_default_cert_dir(), X509_get_default_cert_file());
}

const char *fl_ca_pool_dir(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (getenv(X509_get_default_cert_file_env()) || getenv(X509_get_default_cert_dir_env()))
        return NULL;
    pthread_once(&once, look_at_system);
    return system_is_complete ? X509_get_default_cert_dir() : NULL;
}
