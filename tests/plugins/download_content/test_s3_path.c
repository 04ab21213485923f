#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "plugins/download_content/s3_path.h"

static const struct {
    const char *url, *region, *bucket, *key; /* region NULL: refused */
} cases[] = {
    { "https://s3.amazonaws.com/b/k/l", "us-east-1", "b", "k/l" },
    { "https://s3.eu-west-1.amazonaws.com/b/k", "eu-west-1", "b", "k" },
    { "https://s3-eu-west-1.amazonaws.com/b/k", "eu-west-1", "b", "k" },
    { "https://s3.dualstack.eu-west-1.amazonaws.com/b/k", "eu-west-1", "b", "k" },
    { "https://b.s3.amazonaws.com/k", "us-east-1", "b", "k" },
    { "https://b.s3.eu-west-1.amazonaws.com/k", "eu-west-1", "b", "k" },
    { "https://b.c.s3-eu-west-1.amazonaws.com/k", "eu-west-1", "b.c", "k" },
    { "https://s3.x.s3.eu-west-1.amazonaws.com/k", "eu-west-1", "s3.x", "k" },
    { "https://b.s3.cn-north-1.amazonaws.com.cn/k", "cn-north-1", "b", "k" },
    { "https://S3.Amazonaws.com/b/a+b%2Bc%20d?versionId=1#x", "us-east-1", "b", "a b+c d" },
    { "https://s3.amazonaws.com/b/", "us-east-1", "b", "" },
    { "https://s3.amazonaws.com/b", "us-east-1", "b", "" },
    { "https://s3.amazonaws.com/", NULL, NULL, NULL },
    { "https://s3.amazonaws.com", NULL, NULL, NULL },
    { "http://s3.amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://s3.amazonaws.com:8443/b/k", NULL, NULL, NULL },
    { "https://amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://ec2.amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://s3amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://s3.amazonaws.com.evil.test/b/k", NULL, NULL, NULL },
    { "https://s3.amazonaws.com@evil.test/b/k", NULL, NULL, NULL },
    { "https://s3.a_b.amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://s3-s3-us.amazonaws.com/b/k", NULL, NULL, NULL },
    { "https://b.s3-s3.amazonaws.com/k", NULL, NULL, NULL },
    { "https://s3.amazonaws.com/../k", NULL, NULL, NULL },
    { "https://s3.amazonaws.com/b/%zz", NULL, NULL, NULL },
    { "https://s3.amazonaws.com/b/%00", NULL, NULL, NULL },
    { "s3://", NULL, NULL, NULL },
    { "s3:///k", NULL, NULL, NULL },
    { "s3://../k", NULL, NULL, NULL },
    { "s3://b?c/k", NULL, NULL, NULL },
    { "S3://b/k", NULL, NULL, NULL },
};

static const struct {
    const char *url, *bucket, *key, *path;
} ours[] = {
    { "s3://b/k/l", "b", "k/l", "/k/l" },
    { "s3://b", "b", "", "/" },
    { "s3://b/", "b", "", "/" },
    { "s3://b/a+b c%20?x=1#y", "b", "a+b c%20?x=1#y", "/a%2Bb%20c%2520%3Fx%3D1%23y" },
    { "s3://b/../c", "b", "../c", "/../c" },
};

static void our_urls_have_the_key_as_it_is(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(ours); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_s3_path p = { 0 };

        assert_int_equal(fl_s3_path_parse(ours[i].url, &arena, &p, NULL), 0);
        assert_null(p.domain);
        assert_null(p.region);
        assert_string_equal(p.bucket, ours[i].bucket);
        assert_string_equal(p.key, ours[i].key);
        assert_string_equal(fl_s3_path_url(&p, NULL, p.key, &arena), ours[i].path);
    }
}

static void urls_are_taken_apart(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_s3_path p = { 0 };
        struct fl_err err = { 0 };
        int r = fl_s3_path_parse(cases[i].url, &arena, &p, &err);
        print_message("%s\n", cases[i].url);
        if (!cases[i].region) {
            assert_true(r < 0);
            assert_string_equal(err.text, "invalid S3 path parameter");
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(p.region, cases[i].region);
        assert_string_equal(p.bucket, cases[i].bucket);
        assert_string_equal(p.key, cases[i].key);
    }
}

static void keys_are_encoded_as_they_are_signed(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    char bucket[] = "b", domain[] = "amazonaws.com";
    const struct fl_s3_path p = { .bucket = bucket, .domain = domain };
    assert_string_equal(fl_s3_path_url(&p, "eu-west-1", "a b/c+\xc3\xbc~", &arena),
                        "https://s3.eu-west-1.amazonaws.com/b/a%20b/c%2B%C3%BC~");
}

static void lists_are_read_key_by_key(void **state)
{
    static const char xml[] =
        "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><Prefix>Key</Prefix>"
        "<Contents><Key>a&amp;b</Key><Size>1</Size></Contents>"
        "<Contents><ETag>&quot;x&quot;</ETag><Key>c/d</Key></Contents></ListBucketResult>";
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    size_t at = 0;
    char *key;
    assert_int_equal(fl_s3_list_next(xml, sizeof(xml) - 1, &at, &arena, &key), 1);
    assert_string_equal(key, "a&b");
    assert_int_equal(fl_s3_list_next(xml, sizeof(xml) - 1, &at, &arena, &key), 1);
    assert_string_equal(key, "c/d");
    assert_int_equal(fl_s3_list_next(xml, sizeof(xml) - 1, &at, &arena, &key), 0);
    at = 0;
    assert_true(fl_s3_list_next("<Contents><Key>a</Key>", 22, &at, &arena, &key) < 0);
    assert_true(fl_s3_list_next("<Contents></Contents>", 21, &at, &arena, &key) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(our_urls_have_the_key_as_it_is),
        cmocka_unit_test(keys_are_encoded_as_they_are_signed),
        cmocka_unit_test(lists_are_read_key_by_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
