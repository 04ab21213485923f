#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "agent/lib/md5.h"
#include "common/aws/crypto.h"

/* RFC 1321 appendix A.5, and lengths about the padding. */
static void vectors(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "d41d8cd98f00b204e9800998ecf8427e" },
        { "a", "0cc175b9c0f1b6a831c399e269772661" },
        { "abc", "900150983cd24fb0d6963f7d28e17f72" },
        { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
        { "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
        { "1234567890123456789012345678901234567890"
          "1234567890123456789012345678901234567890",
          "57edf4a22be3c955ac49da2e2107b67a" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "ef1772b6dff9a122358552954ad0df65" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "3b0c8ac703f828b04c6c197006d17218" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "014842d480b571495a4a0363793f7367" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        uint8_t digest[FL_MD5_BYTES];
        char hex[2 * FL_MD5_BYTES + 1];

        fl_md5(cases[i].text, strlen(cases[i].text), digest);
        fl_hex_encode(digest, sizeof(digest), hex);
        assert_string_equal(hex, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(vectors) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
