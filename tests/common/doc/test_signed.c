/* Signatures over commands: their one text, what is signed, keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/doc/signed.h"

#define NONCE "0123456789abcdef0123456789abcdef"
#define GOOD  "fairlead1:alice:1700000000:1700000600:" NONCE ":mi-1,@web,*:AAAA"

static void only_the_one_text_is_a_signature(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "fairlead2:alice:1:2:" NONCE ":*:AAAA",
        "fairlead1:alice:1:2:" NONCE ":*",
        GOOD ":more",
        " " GOOD,
        GOOD "\n:",
        "fairlead1::1:2:" NONCE ":*:AAAA",
        "fairlead1:a b:1:2:" NONCE ":*:AAAA",
        "fairlead1:alice:01:2:" NONCE ":*:AAAA",
        "fairlead1:alice:+1:2:" NONCE ":*:AAAA",
        "fairlead1:alice: 1:2:" NONCE ":*:AAAA",
        "fairlead1:alice:1:99999999999999999999:" NONCE ":*:AAAA",
        "fairlead1:alice:2:2:" NONCE ":*:AAAA",
        "fairlead1:alice:1:2678402:" NONCE ":*:AAAA", /* 31 days and a second */
        "fairlead1:alice:-5:2:" NONCE ":*:AAAA",
        "fairlead1:alice:1:2:0123456789ABCDEF0123456789abcdef:*:AAAA",
        "fairlead1:alice:1:2:0123:*:AAAA",
        "fairlead1:alice:1:2:" NONCE "::AAAA",
        "fairlead1:alice:1:2:" NONCE ":a,:AAAA",
        "fairlead1:alice:1:2:" NONCE ":**:AAAA",
        "fairlead1:alice:1:2:" NONCE ":@:AAAA",
        "fairlead1:alice:1:2:" NONCE ":a b:AAAA",
    };
    struct fl_arena arena = { .max_bytes = 65536 };
    struct fl_signature s;
    struct fl_err err = { 0 };

    assert_int_equal(fl_signature_parse(GOOD, &arena, &s, &err), 0);
    assert_string_equal(s.key, "alice");
    assert_int_equal(s.not_after_s, 1700000600);
    assert_string_equal(s.targets, "mi-1,@web,*");
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        if (fl_signature_parse(bad[i], &arena, &s, &err) == 0)
            fail_msg("%s", bad[i]);
    fl_arena_done(&arena);
}

static void targets(void **state)
{
    char web[] = "web", db[] = "db";
    char *const labels[] = { web, db };
    static const struct {
        const char *list;
        bool want;
    } cases[] = {
        { "*", true },    { "mi-1", true },   { "mi-2,mi-1", true }, { "mi-12", false },
        { "mi-", false }, { "@web", true },   { "x,@db", true },     { "web", false },
        { "@we", false }, { "@webs", false }, { "mi-2", false },     { "@mi-1", false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const struct fl_signature s = { .targets = (char *)cases[i].list };

        if (fl_signature_targets(&s, "mi-1", labels, 2) != cases[i].want)
            fail_msg("%s", cases[i].list);
    }
}

#define DOC                                                                                     \
    "{\"schemaVersion\":\"2.2\",\"parameters\":{\"a\":{\"type\":\"String\",\"default\":\"d\"}," \
    "\"FairleadSignature\":{\"type\":\"String\"}},\"mainSteps\":[]}"

static struct fl_signature sample(void)
{
    return (struct fl_signature){
        .key = "alice", .not_before_s = 1, .not_after_s = 2, .nonce = NONCE, .targets = "*"
    };
}

/* 0 if the texts that are signed for the two commands are the same. */
static int compare(const char *name1, const char *doc1, const char *par1, const char *name2,
                   const char *doc2, const char *par2)
{
    fl_autobuf struct fl_buf one = FL_BUF(65536);
    fl_autobuf struct fl_buf two = FL_BUF(65536);
    const struct fl_signature s = sample();
    struct fl_err err = { 0 };
    assert_int_equal(fl_signature_payload(&s, name1, doc1, par1, &one, &err), 0);
    assert_int_equal(fl_signature_payload(&s, name2, doc2, par2, &two, &err), 0);
    return strcmp(one.data, two.data);
}

static void what_is_signed(void **state)
{
    fl_autobuf struct fl_buf out = FL_BUF(65536);
    struct fl_signature s = sample();
    struct fl_err err = { 0 };
    /* the hash of {"a":"d"} is sha256sum's */
    assert_int_equal(fl_signature_payload(&s, "Doc", DOC, "{}", &out, &err), 0);
    assert_non_null(strstr(out.data, "fairlead command signature 1\nkey alice\nnot-before 1\n"
                                     "not-after 2\nnonce " NONCE
                                     "\ntargets *\ndocument Doc\ncontent-sha256 "));
    assert_non_null(strstr(out.data,
                           "\nparameters-sha256 "
                           "3ceb0034aa714b38eb64609ed778827ca62432e56e7ec0d876cb32a56a828a0a\n"));

    /* defaults, order and blanks make no difference; the signature itself is left out */
    assert_int_equal(compare("n", DOC, "{}", "n", DOC, "{\"a\": \"d\"}"), 0);
    assert_int_equal(compare("n", DOC, "null", "n", DOC, "{\"FairleadSignature\":\"x\"}"), 0);
    assert_int_equal(compare("n", "{\"schemaVersion\":\"2.2\",\"b\":1,\"a\":2}", NULL, "n",
                             "{ \"a\": 2, \"b\": 1, \"schemaVersion\": \"2.2\" }", NULL),
                     0);
    assert_int_not_equal(compare("n", DOC, "{}", "m", DOC, "{}"), 0);
    assert_int_not_equal(compare("n", DOC, "{}", "n", DOC, "{\"a\":\"e\"}"), 0);
    assert_int_not_equal(compare("n", DOC, "{}", "n", DOC, "{\"a\":[\"d\"]}"), 0);
    assert_int_not_equal(compare("n", DOC, "{}", "n", DOC, "{\"b\":\"d\"}"), 0);
    assert_int_not_equal(compare("n", "{\"schemaVersion\":\"2.2\",\"b\":1}", NULL, "n",
                                 "{\"schemaVersion\":\"2.2\",\"b\":true}", NULL),
                         0);
    assert_true(fl_signature_payload(&s, "two\nlines", DOC, "{}", &out, &err) < 0);
    assert_true(fl_signature_payload(&s, "n", "[]", "{}", &out, &err) < 0);
}

static void keys_sign_and_verify(void **state)
{
    struct fl_ed25519 *key = NULL, *again = NULL;
    struct fl_err err = { 0 };
    char *pem = NULL, *public = NULL, *sig = NULL, *public2 = NULL;

    assert_int_equal(fl_ed25519_generate(&key, &err), 0);
    assert_int_equal(fl_ed25519_public_text(key, &public), 0);
    assert_true(fl_ed25519_public_valid(public));
    for (int with = 0; with < 2; with++) {
        const char *pass = with ? "correct horse" : NULL;

        assert_int_equal(fl_ed25519_private_pem(key, pass, &pem), 0);
        if (with) {
            assert_int_equal(fl_ed25519_from_private_pem(pem, NULL, &again, &err), -ENOKEY);
            assert_int_equal(fl_ed25519_from_private_pem(pem, "wrong", &again, &err), -EINVAL);
        }
        assert_int_equal(fl_ed25519_from_private_pem(pem, pass, &again, &err), 0);
        assert_int_equal(fl_ed25519_public_text(again, &public2), 0);
        assert_string_equal(public, public2);
        again = fl_ed25519_free(again);
        fl_free_secret(pem, strlen(pem));
        free(public2);
    }
    assert_int_equal(fl_ed25519_sign(key, "data", 4, &sig), 0);
    assert_int_equal(fl_ed25519_verify(public, "data", 4, sig), 0);
    assert_int_equal(fl_ed25519_verify(public, "dato", 4, sig), -EBADMSG);
    assert_int_equal(fl_ed25519_verify(public, "data", 4, "AAAA"), -EBADMSG);
    assert_int_equal(fl_ed25519_verify("AAAA", "data", 4, sig), -EBADMSG);
    sig[10] = sig[10] == 'A' ? 'B' : 'A';
    assert_int_equal(fl_ed25519_verify(public, "data", 4, sig), -EBADMSG);
    free(sig);
    free(public);
    fl_ed25519_free(key);
}

/* RFC 8032 §7.1, test 2: a signature made elsewhere. */
static void a_vector_of_the_standard(void **state)
{
    static const char public[] = "MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    uint8_t raw[64];
    static const char hex[] = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    char *text;

    assert_int_equal(fl_hex_decode(hex, raw, sizeof(raw)), 0);
    text = fl_base64_encode(raw, sizeof(raw));
    assert_int_equal(fl_ed25519_verify(public, "\x72", 1, text), 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_one_text_is_a_signature),
        cmocka_unit_test(targets),
        cmocka_unit_test(what_is_signed),
        cmocka_unit_test(keys_sign_and_verify),
        cmocka_unit_test(a_vector_of_the_standard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
