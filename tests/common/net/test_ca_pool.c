/* When the folder of the system's CAs may stand for the bundle. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/file.h"
#include "common/net/ca_pool.h"

#define CERTIFICATE "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

static const struct {
    const char *what, *bundle;
    const char *names[4];
    bool complete;
} cases[] = {
    { "both have the same",
      "# a name\n" CERTIFICATE CERTIFICATE,
      { "002c0b4f.0", "002c0b4f.1", "A_Root.pem" },
      true },
    { "the folder has more", CERTIFICATE, { "002c0b4f.0", "fff2c0b4.0" }, true },
    { "the bundle has more", CERTIFICATE CERTIFICATE, { "002c0b4f.0", "A_Root.pem" }, false },
    { "nothing is hashed", CERTIFICATE, { "A_Root.pem", "002c0b4f", "002c0b4f.pem" }, false },
    { "lists of revoked certificates",
      CERTIFICATE,
      { "002c0b4f.r0", "002c0b4f.", "2c0b4f.0" },
      false },
    { "there is no bundle", NULL, { "002c0b4f.0" }, true },
    { "there is nothing", NULL, { NULL }, false },
};

static char *write_file(const char *dir, const char *name, const char *text)
{
    char *path = fl_path_join(dir, name);

    assert_int_equal(fl_file_replace(path, 0644, text, strlen(text), NULL), 0);
    return path;
}

static void complete(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fl_autofree char *dir = NULL;
        fl_autofree char *bundle = NULL;

        assert_true(asprintf(&dir, "%s/%zu", getenv("TMPDIR"), i) > 0);
        assert_int_equal(fl_dir_make(dir, 0700, NULL), 0);
        for (size_t j = 0; j < 4 && cases[i].names[j]; j++)
            free(write_file(dir, cases[i].names[j], ""));
        bundle = cases[i].bundle ? write_file(dir, "bundle.crt", cases[i].bundle)
                                 : fl_path_join(dir, "bundle.crt");
        if (fl_ca_pool_is_complete(dir, bundle) != cases[i].complete)
            fail_msg("%s", cases[i].what);
    }
    assert_false(fl_ca_pool_is_complete("/nonexistent", "/nonexistent"));
}

/* Who names certificates in the environment gets what OpenSSL makes of that. */
static void the_environment_decides(void **state)
{
    static const char *const names[] = { "SSL_CERT_FILE", "SSL_CERT_DIR" };

    for (size_t i = 0; i < 2; i++) {
        setenv(names[i], "/nonexistent", 1);
        assert_null(fl_ca_pool_dir());
        unsetenv(names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete),
        cmocka_unit_test(the_environment_decides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
