/* The pure parts of the s3 subset: whose bucket and key, ranges, bodies, checksums. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "server/auth/presigned.h"
#include "server/s3/body.h"
#include "server/s3/crc.h"
#include "server/s3/range.h"
#include "server/s3/target.h"

static char *names[] = { "plane.test", "localhost" };
static const struct fl_strs hosts = { names, 2 };

static const struct {
    const char *host, *path, *bucket, *key, *error;
} targets[] = {
    { "plane.test:8443", "/", NULL, NULL, NULL },
    { "plane.test:8443", "/abc", "abc", NULL, NULL },
    { "plane.test:8443", "/abc/", "abc", NULL, NULL },
    { "PLANE.test", "/abc/k/%41%2F//x", "abc", "k/A///x", NULL },
    { "abc.plane.test:8443", "/", "abc", NULL, NULL },
    { "abc.plane.test:8443", "/abc/k", "abc", "abc/k", NULL },
    { "a.b.c.localhost", "/k", "a.b.c", "k", NULL },
    { "abc.127.0.0.1:80", "/k", "abc", "k", NULL },
    { "127.0.0.1:80", "/abc/k", "abc", "k", NULL },
    { "elsewhere.test", "/abc/k", "abc", "k", NULL },
    { NULL, "/abc/k", "abc", "k", NULL },
    { "plane.test", "/Abc/k", NULL, NULL, "InvalidBucketName" },
    { "plane.test", "/a/k", NULL, NULL, "InvalidBucketName" },
    { "plane.test", "/192.0.2.1/k", NULL, NULL, "InvalidBucketName" },
    { "plane.test", "/abc/%zz", NULL, NULL, "InvalidURI" },
    { "plane.test", "/abc/%ff", NULL, NULL, "InvalidURI" },
    { "plane.test", "/abc/a%00b", NULL, NULL, "InvalidURI" },
};

static void same(const char *a, const char *b)
{
    if (!a || !b)
        assert_ptr_equal(a, b);
    else
        assert_string_equal(a, b);
}

static void bucket_and_key(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(targets); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_s3_target t = { 0 };
        struct fl_err err = { 0 };
        int r = fl_s3_target_read(targets[i].host, &hosts, targets[i].path, &arena, &t, &err);

        assert_int_equal(r, targets[i].error ? -EINVAL : 0);
        same(err.name, targets[i].error);
        same(t.bucket, targets[i].bucket);
        same(t.key, targets[i].key);
    }
}

static const struct {
    const char *header;
    uint64_t size;
    int want;
    uint64_t first, len;
} ranges[] = {
    { NULL, 10, 0, 0, 0 },
    { "bytes=0-0", 10, 1, 0, 1 },
    { "bytes=3-", 10, 1, 3, 7 },
    { "bytes=-3", 10, 1, 7, 3 },
    { "bytes=-30", 10, 1, 0, 10 },
    { "bytes=5-100", 10, 1, 5, 5 },
    { "bytes=10-", 10, -ERANGE, 0, 0 },
    { "bytes=-0", 10, -ERANGE, 0, 0 },
    { "bytes=0-", 0, -ERANGE, 0, 0 },
    { "bytes=5-4", 10, 0, 0, 0 },
    { "bytes=0-1,3-4", 10, 0, 0, 0 },
    { "bytes=-", 10, 0, 0, 0 },
    { "bytes=99999999999999999999-", 10, 0, 0, 0 },
    { "lines=0-1", 10, 0, 0, 0 },
};

static void range_of_bytes(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(ranges); i++) {
        uint64_t first = 0, len = 0;

        assert_int_equal(fl_s3_range(ranges[i].header, ranges[i].size, &first, &len),
                         ranges[i].want);
        assert_int_equal(first, ranges[i].first);
        assert_int_equal(len, ranges[i].len);
    }
}

/* The check values of the CRC catalogue, for "123456789". */
static void check_values(void **state)
{
    assert_int_equal(fl_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(fl_crc32c(0, "123456789", 9), 0xe3069283);
    assert_true(fl_crc64nvme(0, "123456789", 9) == 0xae8b14860a799888);
    assert_int_equal(fl_crc32c(fl_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static int sink(void *arg, const void *data, size_t len)
{
    return fl_buf_append(arg, data, len);
}

static const struct {
    const char *sent, *length, *trailer, *object, *error;
} bodies[] = {
    { "3\r\nabc\r\n0\r\n\r\n", "3", NULL, "abc", NULL },
    { "1\r\na\r\n2\r\nbc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "3",
      "x-amz-checksum-crc32", "abc", NULL },
    { "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwh==\r\n\r\n", "3", "x-amz-checksum-crc32", "",
      "BadDigest" },
    { "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "3", NULL, "", "InvalidRequest" },
    { "3\r\nabc\r\n0\r\n\r\n", "4", NULL, "", "IncompleteBody" },
    { "3\r\nabc\r\n0\r\n\r\n", "2", NULL, "", "IncompleteBody" },
    { "3\r\nabc\r\n0\r\n", "3", NULL, "", "IncompleteBody" },
    { "3\r\nabc\r\n0\r\n\r\nx", "3", NULL, "", "IncompleteBody" },
    { "3\r\nabcd\r\n0\r\n\r\n", NULL, NULL, "", "IncompleteBody" },
    { "3;x=y\r\nabc\r\n0\r\n\r\n", NULL, NULL, "", "IncompleteBody" },
    { "x\r\n", NULL, NULL, "", "IncompleteBody" },
};

static int read_body(size_t i, size_t step, struct fl_buf *out, struct fl_err *err)
{
    const struct fl_s3_body_conf conf = { .payload = FL_PAYLOAD_UNSIGNED_TRAILER,
                                          .length = bodies[i].length,
                                          .trailer = bodies[i].trailer };
    size_t len = strlen(bodies[i].sent);
    struct fl_s3_body *b;
    int r = fl_s3_body_new(&conf, sink, out, &b, err);

    assert_int_equal(r, 0);
    for (size_t at = 0; r >= 0 && at < len; at += step)
        r = fl_s3_body_feed(b, bodies[i].sent + at, FL_MIN(step, len - at), err);
    if (r >= 0)
        r = fl_s3_body_end(b, err);
    fl_s3_body_free(b);
    return r;
}

static void chunked_bodies(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bodies); i++) {
        for (size_t step = 1; step < 64; step += 31) {
            fl_autobuf struct fl_buf out = FL_BUF(1000);
            struct fl_err err = { 0 };
            int r = read_body(i, step, &out, &err);

            assert_int_equal(r, bodies[i].error ? -EINVAL : 0);
            same(err.name, bodies[i].error);
            if (!r)
                assert_string_equal(out.data, bodies[i].object);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_and_key),
        cmocka_unit_test(range_of_bytes),
        cmocka_unit_test(check_values),
        cmocka_unit_test(chunked_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
