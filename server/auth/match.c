/* match.c - see match.h. */
#include "server/auth/match.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool fl_glob(const char *pattern, const char *text, bool nocase)
{
    const char *star = NULL, *back = NULL;

    while (*text) {
        bool same = nocase ? tolower((unsigned char)*pattern) == tolower((unsigned char)*text)
                           : *pattern == *text;

        if (*pattern == '*') {
            star = ++pattern;
            back = text;
        } else if (*pattern && (*pattern == '?' || same)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* An address as 16 bytes; IPv4 as ::ffff:a.b.c.d. */
static bool address_parse(const char *s, uint8_t out[16], bool *ret_v4)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    struct in6_addr a6;
    struct in_addr a4;

    if (inet_pton(AF_INET, s, &a4) == 1) {
        memcpy(out, mapped, sizeof(mapped));
        memcpy(out + 12, &a4, 4);
        *ret_v4 = true;
        return true;
    }
    if (inet_pton(AF_INET6, s, &a6) != 1)
        return false;
    memcpy(out, &a6, 16);
    *ret_v4 = memcmp(out, mapped, sizeof(mapped)) == 0;
    return true;
}

static bool cidr_parse(const char *cidr, uint8_t out[16], unsigned *ret_bits)
{
    const char *slash = strchr(cidr, '/');
    char host[INET6_ADDRSTRLEN + 1];
    size_t len = slash ? (size_t)(slash - cidr) : strlen(cidr);
    bool v4;
    char *end;
    unsigned long bits;

    if (len >= sizeof(host))
        return false;
    memcpy(host, cidr, len);
    host[len] = '\0';
    if (!address_parse(host, out, &v4))
        return false;
    if (!slash) {
        *ret_bits = 128;
        return true;
    }
    v4 = v4 && !strchr(host, ':');
    if (!isdigit((unsigned char)slash[1]))
        return false;
    bits = strtoul(slash + 1, &end, 10);
    if (*end || bits > (v4 ? 32 : 128))
        return false;
    *ret_bits = (unsigned)bits + (v4 ? 96 : 0);
    return true;
}

bool fl_cidr_valid(const char *cidr)
{
    uint8_t net[16];
    unsigned bits;

    return cidr_parse(cidr, net, &bits);
}

bool fl_cidr_match(const char *cidr, const char *address)
{
    uint8_t net[16], addr[16];
    unsigned bits, whole;
    bool v4;

    if (!cidr_parse(cidr, net, &bits) || !address_parse(address, addr, &v4))
        return false;
    whole = bits / 8;
    if (memcmp(net, addr, whole) != 0)
        return false;
    return bits % 8 == 0 || (net[whole] ^ addr[whole]) >> (8 - bits % 8) == 0;
}
