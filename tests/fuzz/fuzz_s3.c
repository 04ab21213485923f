/* What s3's clients send: the first byte says what the rest is. A body must give the same in one
 * piece and byte by byte. */
#include <string.h>
#include "common/codec/xml.h"
#include "server/auth/presigned.h"
#include "server/s3/body.h"
#include "server/s3/range.h"
#include "server/s3/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int sink(void *arg, const void *data, size_t len)
{
    return fl_buf_append(arg, data, len);
}

static int feed(const char *data, size_t size, size_t step, bool is_signed, struct fl_buf *out)
{
    static const uint8_t key[32];
    const struct fl_s3_body_conf conf = {
        .payload = is_signed ? FL_PAYLOAD_CHUNKS_TRAILER : FL_PAYLOAD_UNSIGNED_TRAILER,
        .trailer = "x-amz-checksum-crc32",
        .chunk_key = key,
        .date = "20260102T030405Z",
        .scope = "20260102/local/s3/aws4_request",
        .signature = "",
    };
    struct fl_s3_body *b;
    int r = fl_s3_body_new(&conf, sink, out, &b, NULL);

    if (r < 0)
        abort();
    for (size_t at = 0; r >= 0 && at < size; at += step)
        r = fl_s3_body_feed(b, data + at, FL_MIN(step, size - at), NULL);
    if (r >= 0)
        r = fl_s3_body_end(b, NULL);
    fl_s3_body_free(b);
    return r;
}

static void body(const char *data, size_t size, bool is_signed)
{
    fl_autobuf struct fl_buf whole = FL_BUF(1 << 20), bytes = FL_BUF(1 << 20);
    int a = feed(data, size, size + 1, is_signed, &whole);
    int b = feed(data, size, 1, is_signed, &bytes);

    if ((a < 0) != (b < 0) ||
        (a >= 0 &&
         (whole.len != bytes.len || (whole.len && memcmp(whole.data, bytes.data, whole.len)))))
        abort();
}

static void xml(const char *data, size_t size)
{
    const char *p = data, *inner;
    size_t len;

    while (fl_xml_next(&p, data + size, "Part", &inner, &len) > 0) {
        fl_autobuf struct fl_buf text = FL_BUF(4096);

        if (inner < data || inner + len > data + size)
            abort();
        fl_xml_find_text(inner, len, "ETag", &text);
    }
}

/* "host\npath" */
static void target(char *text)
{
    static char *names[] = { (char *)"plane.test" };
    const struct fl_strs hosts = { names, 1 };
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    char *path = strchr(text, '\n');
    struct fl_s3_target t = { 0 };

    if (!path)
        return;
    *path++ = '\0';
    if (fl_s3_target_read(text, &hosts, path, &arena, &t, NULL) == 0 && t.bucket &&
        !fl_s3_bucket_valid(t.bucket))
        abort();
}

static void presigned(const char *text)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_auth_request req = { 0 };
    struct fl_err err = { 0 };

    if (fl_presigned_parse(text, &arena, &req, &err) > 0 &&
        (!req.amz_date || !req.auth.signature || req.expires_s < 1))
        abort();
}

static void range(const char *text)
{
    uint64_t first, len;

    if (fl_s3_range(text, 1000, &first, &len) > 0 &&
        (first >= 1000 || len < 1 || first + len > 1000))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size < 1)
        return 0;
    text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0]) {
    case 'b':
        body(text, size - 1, false);
        break;
    case 's':
        body(text, size - 1, true);
        break;
    case 'x':
        xml(text, size - 1);
        break;
    case 't':
        target(text);
        break;
    case 'p':
        presigned(text);
        break;
    default:
        range(text);
    }
    free(text);
    return 0;
}
