/* platform.c - see platform.h. Nothing here waits for a name server. */
#include "agent/lib/platform.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "common/base/file.h"

#define MAX_FILE_BYTES 65536

static void copy(char *out, size_t size, const char *s, size_t len)
{
    len = FL_MIN(len, size - 1);
    memcpy(out, s, len);
    out[len] = '\0';
}

/* The value of KEY= in a file of shell assignments; "" if absent. */
static void shell_value(const char *text, const char *key, char *out, size_t size)
{
    size_t key_len = strlen(key);

    out[0] = '\0';
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        const char *v;
        size_t len;

        line += *line == '\n';
        if (strncmp(line, key, key_len) != 0 || line[key_len] != '=')
            continue;
        v = line + key_len + 1;
        len = strcspn(v, "\r\n");
        if (len >= 2 && (*v == '"' || *v == '\'') && v[len - 1] == *v) {
            v++;
            len -= 2;
        }
        copy(out, size, v, len);
    }
}

/* "CentOS Linux release 7.9.2009 (Core)" */
static bool from_release_line(const char *text, struct fl_platform *p)
{
    const char *mark = strstr(text, " release ");

    if (!mark)
        return false;
    copy(p->name, sizeof(p->name), text, (size_t)(mark - text));
    mark += strlen(" release ");
    copy(p->version, sizeof(p->version), mark, strcspn(mark, " \r\n"));
    return true;
}

static bool from_os_release(const char *text, struct fl_platform *p)
{
    shell_value(text, "NAME", p->name, sizeof(p->name));
    shell_value(text, "VERSION_ID", p->version, sizeof(p->version));
    return p->name[0] != '\0';
}

static bool from_lsb_release(const char *text, struct fl_platform *p)
{
    shell_value(text, "DISTRIB_ID", p->name, sizeof(p->name));
    shell_value(text, "DISTRIB_RELEASE", p->version, sizeof(p->version));
    return p->name[0] != '\0';
}

/* The official agent's order (protocol 1 §6.1). */
static const struct {
    const char *path;
    bool (*parse)(const char *text, struct fl_platform *p);
} release_files[] = {
    { "/etc/centos-release", from_release_line }, { "/etc/bottlerocket-release", from_os_release },
    { "/etc/os-release", from_os_release },       { "/usr/lib/os-release", from_os_release },
    { "/etc/system-release", from_release_line }, { "/etc/redhat-release", from_release_line },
    { "/etc/lsb-release", from_lsb_release },
};

static void find_release(struct fl_platform *p)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(release_files); i++) {
        fl_autofree char *text = NULL;

        if (fl_file_read(release_files[i].path, MAX_FILE_BYTES, &text, NULL, NULL) == 0 &&
            release_files[i].parse(text, p))
            return;
    }
    copy(p->name, sizeof(p->name), "Linux", 5);
}

/* What `hostname --fqdn` finds in /etc/hosts: the first name of the line that lists `host`. */
static void qualify_from_hosts(const char *host, char *out, size_t size)
{
    fl_autofree char *text = NULL;
    char *save = NULL;

    if (fl_file_read("/etc/hosts", MAX_FILE_BYTES, &text, NULL, NULL) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *words = NULL, *first = NULL;

        line[strcspn(line, "#")] = '\0';
        if (!strtok_r(line, " \t\r", &words))
            continue;
        for (char *w = strtok_r(NULL, " \t\r", &words); w; w = strtok_r(NULL, " \t\r", &words)) {
            if (!first)
                first = w;
            if (strcasecmp(w, host) == 0 && strchr(first, '.')) {
                copy(out, size, first, strlen(first));
                return;
            }
        }
    }
}

static void find_computer_name(struct fl_platform *p)
{
    char host[256] = "";

    if (gethostname(host, sizeof(host) - 1) < 0 || !host[0])
        strcpy(host, "localhost");
    copy(p->computer_name, sizeof(p->computer_name), host, strlen(host));
    if (!strchr(host, '.'))
        qualify_from_hosts(host, p->computer_name, sizeof(p->computer_name));
}

/* Higher is better; not loopback or link-local first, then IPv4 (protocol 1 §6.1). */
static int rank_address(const struct ifaddrs *ifa, char *out, size_t size)
{
    const struct sockaddr *sa = ifa->ifa_addr;
    const void *addr;
    bool local;

    if (!sa || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
        return 0;
    if (sa->sa_family == AF_INET) {
        const struct in_addr *in = &((const struct sockaddr_in *)(const void *)sa)->sin_addr;

        addr = in;
        local = (ntohl(in->s_addr) >> 16) == 0xa9fe; /* 169.254/16 */
    } else {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

        addr = in6;
        local = IN6_IS_ADDR_LINKLOCAL(in6);
    }
    local |= (ifa->ifa_flags & IFF_LOOPBACK) != 0;
    if (!inet_ntop(sa->sa_family, addr, out, (socklen_t)size))
        return 0;
    return 1 + (local ? 0 : 2) + (sa->sa_family == AF_INET ? 1 : 0);
}

static void find_address(struct fl_platform *p)
{
    struct ifaddrs *all = NULL;
    int best = 0;

    copy(p->ip_address, sizeof(p->ip_address), "127.0.0.1", 9);
    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *ifa = all; ifa; ifa = ifa->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        int rank = rank_address(ifa, text, sizeof(text));

        if (rank > best) {
            best = rank;
            copy(p->ip_address, sizeof(p->ip_address), text, strlen(text));
        }
    }
    freeifaddrs(all);
}

void fl_platform_get(struct fl_platform *ret_platform)
{
    struct fl_platform p = { .type = "Linux" };

    find_release(&p);
    find_computer_name(&p);
    find_address(&p);
    *ret_platform = p;
}
