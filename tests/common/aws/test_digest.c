#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/digest.h"

/* RFC 1321 A.5, RFC 3174 7.3, FIPS 180-2 B.1. */
static const struct {
    enum fl_digest_kind kind;
    const char *data, *want;
} cases[] = {
    { FL_DIGEST_MD5, "", "d41d8cd98f00b204e9800998ecf8427e" },
    { FL_DIGEST_MD5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
    { FL_DIGEST_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
    { FL_DIGEST_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { FL_DIGEST_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
};

static void pieces_and_again(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_digest *d = fl_digest_new(cases[i].kind);
        char hex[FL_DIGEST_MAX_HEX_BYTES];

        assert_non_null(d);
        for (int again = 0; again < 2; again++) {
            for (const char *p = cases[i].data; *p; p++)
                fl_digest_add(d, p, 1);
            fl_digest_end_hex(d, hex);
            assert_string_equal(hex, cases[i].want);
        }
        fl_digest_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(pieces_and_again) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
