/* agentmessage.c - see agentmessage.h. */
#include "common/wire/agentmessage.h"
#include <errno.h>
#include <string.h>
#include "common/aws/crypto.h"

/* protocol 2 §2: integers are big-endian, offsets are fixed */
enum {
    OFF_HEADER_LEN = 0,
    OFF_TYPE = 4,
    OFF_MESSAGE_ID = 64,
    OFF_DIGEST = 80,
    OFF_PAYLOAD_LEN = 116,
    HEADER_LEN = 116, /* what the field says: it does not count the payload length behind it */
    ID_HALF_BYTES = 8,
};

static const struct {
    uint8_t wire_offset, width;
    size_t offset;
} numbers[] = {
    { 36, 4, offsetof(struct fl_frame, schema_version) },
    { 40, 8, offsetof(struct fl_frame, created_ms) },
    { 48, 8, offsetof(struct fl_frame, sequence) },
    { 56, 8, offsetof(struct fl_frame, flags) },
    { 112, 4, offsetof(struct fl_frame, payload_type) },
};

static void put_be(uint8_t *to, uint64_t v, size_t width)
{
    for (size_t i = width; i-- > 0; v >>= 8)
        to[i] = (uint8_t)v;
}

static uint64_t get_be(const uint8_t *from, size_t width)
{
    uint64_t v = 0;

    for (size_t i = 0; i < width; i++)
        v = v << 8 | from[i];
    return v;
}

static void put_number(uint8_t *header, size_t row, const struct fl_frame *f)
{
    const char *member = (const char *)f + numbers[row].offset;
    uint64_t wide = 0;
    uint32_t narrow = 0;

    if (numbers[row].width == sizeof(wide)) {
        memcpy(&wide, member, sizeof(wide));
    } else {
        memcpy(&narrow, member, sizeof(narrow));
        wide = narrow;
    }
    put_be(header + numbers[row].wire_offset, wide, numbers[row].width);
}

static void get_number(const uint8_t *header, size_t row, struct fl_frame *f)
{
    char *member = (char *)f + numbers[row].offset;
    uint64_t wide = get_be(header + numbers[row].wire_offset, numbers[row].width);
    uint32_t narrow = (uint32_t)wide;

    if (numbers[row].width == sizeof(wide))
        memcpy(member, &wide, sizeof(wide));
    else
        memcpy(member, &narrow, sizeof(narrow));
}

/* The two halves of the id change places; the same step in both directions. */
static void swap_id(void *to, const void *from)
{
    memcpy(to, (const char *)from + ID_HALF_BYTES, ID_HALF_BYTES);
    memcpy((char *)to + ID_HALF_BYTES, from, ID_HALF_BYTES);
}

static bool encodable(const struct fl_frame *f)
{
    size_t type_len = strnlen(f->type, sizeof(f->type));

    return type_len > 0 && type_len <= FL_FRAME_TYPE_BYTES && f->created_ms != 0 &&
           f->payload_len <= UINT32_MAX;
}

int fl_frame_put_head(const struct fl_frame *f, uint8_t out[FL_FRAME_HEADER_BYTES])
{
    if (!encodable(f))
        return -EINVAL;
    put_be(out + OFF_HEADER_LEN, HEADER_LEN, 4);
    memset(out + OFF_TYPE, ' ', FL_FRAME_TYPE_BYTES);
    memcpy(out + OFF_TYPE, f->type, strnlen(f->type, FL_FRAME_TYPE_BYTES));
    for (size_t i = 0; i < FL_ARRAY_LEN(numbers); i++)
        put_number(out, i, f);
    swap_id(out + OFF_MESSAGE_ID, f->message_id);
    fl_sha256(f->payload, f->payload_len, out + OFF_DIGEST);
    put_be(out + OFF_PAYLOAD_LEN, f->payload_len, 4);
    return 0;
}

int fl_frame_encode(const struct fl_frame *f, struct fl_buf *out)
{
    int r;

    if (!encodable(f))
        return -EINVAL;
    r = fl_buf_reserve(out, FL_FRAME_HEADER_BYTES + f->payload_len);
    if (r < 0)
        return r;
    fl_frame_put_head(f, (uint8_t *)out->data + out->len);
    out->len += FL_FRAME_HEADER_BYTES;
    return fl_buf_append(out, f->payload, f->payload_len);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\0' || (c >= '\t' && c <= '\r');
}

/* Writers pad with blanks; a NUL-padded type must be readable too. NULs at both ends go first, then
 * white space, as in the official reader. */
static bool decode_type(const char *wire, char *out)
{
    size_t start = 0, end = FL_FRAME_TYPE_BYTES;

    while (start < end && wire[start] == '\0')
        start++;
    while (end > start && wire[end - 1] == '\0')
        end--;
    while (start < end && is_space(wire[start]))
        start++;
    while (end > start && is_space(wire[end - 1]))
        end--;
    if (start == end)
        return false;
    for (size_t i = start; i < end; i++)
        if (wire[i] < 0x20 || wire[i] > 0x7e)
            return false;
    memcpy(out, wire + start, end - start);
    out[end - start] = '\0';
    return true;
}

int fl_frame_parse(const void *data, size_t len, struct fl_frame *ret_frame, struct fl_err *err)
{
    const uint8_t *header = data;
    struct fl_frame f;

    if (len < FL_FRAME_HEADER_BYTES)
        return fl_err_set(err, -EBADMSG, NULL, "frame of %zu bytes, at least %d are needed", len,
                          FL_FRAME_HEADER_BYTES);
    if (get_be(header + OFF_HEADER_LEN, 4) != HEADER_LEN)
        return fl_err_set(err, -EBADMSG, NULL, "frame with a header length other than %d",
                          HEADER_LEN);
    f.payload = (const char *)header + FL_FRAME_HEADER_BYTES;
    f.payload_len = len - FL_FRAME_HEADER_BYTES;
    if (get_be(header + OFF_PAYLOAD_LEN, 4) != f.payload_len)
        return fl_err_set(err, -EBADMSG, NULL,
                          "frame whose payload length is not that of its data");
    if (!decode_type((const char *)header + OFF_TYPE, f.type))
        return fl_err_set(err, -EBADMSG, NULL, "frame with a blank or unprintable type");
    for (size_t i = 0; i < FL_ARRAY_LEN(numbers); i++)
        get_number(header, i, &f);
    if (f.created_ms == 0)
        return fl_err_set(err, -EBADMSG, NULL, "frame without a creation date");
    swap_id(f.message_id, header + OFF_MESSAGE_ID);
    *ret_frame = f;
    return 0;
}

bool fl_frame_intact(const void *data, const struct fl_frame *f)
{
    uint8_t digest[FL_SHA256_BYTES];

    fl_sha256(f->payload, f->payload_len, digest);
    return memcmp(digest, (const uint8_t *)data + OFF_DIGEST, sizeof(digest)) == 0;
}

int fl_frame_decode(const void *data, size_t len, struct fl_frame *ret_frame, struct fl_err *err)
{
    struct fl_frame f;
    int r = fl_frame_parse(data, len, &f, err);

    if (r < 0)
        return r;
    if (!fl_frame_intact(data, &f))
        return fl_err_set(err, -EBADMSG, NULL, "frame whose digest is not that of its payload");
    *ret_frame = f;
    return 0;
}
