/* crc.c - see crc.h. */
#include "server/s3/crc.h"

#include <pthread.h>
#include <zlib.h>

/* Polynomials with their bits reversed: the lowest bit of a byte goes first. */
#define CRC32C    0x82f63b78u
#define CRC64NVME 0x9a6c9329ac4bc9b5u

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t table32c[256];
static uint64_t table64[256];

static void make_tables(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint32_t a = i;
        uint64_t b = i;

        for (int bit = 0; bit < 8; bit++) {
            a = (a >> 1) ^ (a & 1 ? CRC32C : 0);
            b = (b >> 1) ^ (b & 1 ? CRC64NVME : 0);
        }
        table32c[i] = a;
        table64[i] = b;
    }
}

uint32_t fl_crc32(uint32_t crc, const void *data, size_t len)
{
    return (uint32_t)crc32_z(crc, data, len);
}

uint32_t fl_crc32c(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    pthread_once(&once, make_tables);
    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = table32c[(crc ^ p[i]) & 0xff] ^ (crc >> 8);
    return ~crc;
}

uint64_t fl_crc64nvme(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    pthread_once(&once, make_tables);
    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = table64[(crc ^ p[i]) & 0xff] ^ (crc >> 8);
    return ~crc;
}
