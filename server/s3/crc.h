/* crc.h - the CRCs that newer s3 clients send. Each takes the value so far, 0 at first. */
#pragma once
#include "common/base/util.h"

uint32_t fl_crc32(uint32_t crc, const void *data, size_t len);     /* zlib's */
uint32_t fl_crc32c(uint32_t crc, const void *data, size_t len);    /* Castagnoli */
uint64_t fl_crc64nvme(uint64_t crc, const void *data, size_t len); /* NVM Express */
