#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "plugins/download_content/git_wire.h"

#define A40     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B40     "0123456789012345678901234567890123456789"
#define TEXT(t) (t), sizeof(t) - 1

static const struct {
    const char *text;
    size_t len;
    int want;
    enum fl_git_pkt_kind kind;
    size_t data_len;
} lines[] = {
    { TEXT("0000"), 1, FL_GIT_FLUSH, 0 },
    { TEXT("0001"), 1, FL_GIT_DELIM, 0 },
    { TEXT("0002"), 1, FL_GIT_END, 0 },
    { TEXT("0003"), -EBADMSG, 0, 0 },
    { TEXT("0004"), 1, FL_GIT_DATA, 0 },
    { TEXT("0006ab"), 1, FL_GIT_DATA, 2 },
    { TEXT("0006a"), 0, 0, 0 },
    { TEXT("000"), 0, 0, 0 },
    { TEXT(""), 0, 0, 0 },
    { TEXT("00-1"), -EBADMSG, 0, 0 },
    { TEXT("fff0"), 0, 0, 0 },
    { TEXT("fff1"), -EBADMSG, 0, 0 },
    { TEXT("FFFF"), -EBADMSG, 0, 0 },
};

static void lines_are_cut(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(lines); i++) {
        struct fl_git_pkt pkt = { 0 };
        size_t at = 0;

        print_message("%s\n", lines[i].text);
        assert_int_equal(fl_git_pkt_next(lines[i].text, lines[i].len, &at, &pkt), lines[i].want);
        assert_int_equal(at, lines[i].want == 1 ? lines[i].len : 0);
        if (lines[i].want == 1) {
            assert_int_equal(pkt.kind, lines[i].kind);
            assert_int_equal(pkt.len, lines[i].data_len);
        }
    }
}

static const struct {
    const char *text;
    size_t len;
    int want;
} hellos[] = {
    { TEXT("001e# service=git-upload-pack\n0000000eversion 2\n0000"), 2 },
    { TEXT("000eversion 2\n000cls-refs\n0000"), 2 },
    { TEXT("001e# service=git-upload-pack\n0000003e" B40 " refs/heads/main\0\n0000"), 0 },
    { TEXT("000eversion 3\n0000"), -EBADMSG },
    { TEXT("001e# service=git-upload-pack\n0000"), -EBADMSG },
    { TEXT("<html>"), -EBADMSG },
    { TEXT(""), -EBADMSG },
    { TEXT("000cERR no\x1b\n"), -EREMOTEIO },
};

static void servers_say_what_they_speak(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(hellos); i++) {
        struct fl_err err = { 0 };

        print_message("%s\n", hellos[i].text);
        assert_int_equal(fl_git_version(hellos[i].text, hellos[i].len, &err), hellos[i].want);
        if (hellos[i].want == -EREMOTEIO)
            assert_string_equal(err.text, "the server says: no ");
    }
}

static void refs_are_found_by_their_whole_names(void **state)
{
    static const char list[] = "0041" A40 " refs/heads/main-old\n"
                               "003f" B40 " refs/heads/main\0x\n0000";
    static const char wrong[] = "0032XX23456789012345678901234567890123456789 HEAD\n";
    char oid[FL_GIT_OID_BYTES];

    assert_int_equal(fl_git_find_ref(TEXT(list), "refs/heads/main", oid, NULL), 0);
    assert_string_equal(oid, B40);
    assert_int_equal(fl_git_find_ref(TEXT(wrong), "HEAD", oid, NULL), -EBADMSG);
    assert_int_equal(fl_git_find_ref(TEXT("0032" B40 " HEAD\n0000"), "HEAD", oid, NULL), 0);
    assert_string_equal(oid, B40);
    assert_int_equal(fl_git_find_ref(TEXT("0032" B40 " HEAD\n0000"), "HEA", oid, NULL), -ENOENT);
    assert_int_equal(fl_git_find_ref(TEXT("0032" B40 " HEAD\n00"), "HEA", oid, NULL), -EBADMSG);
    assert_int_equal(fl_git_find_ref(TEXT("0034" B40 " HEAD\0x\n0000"), "HEAD", oid, NULL), 0);
}

static void requests_are_as_documented(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(4096);

    assert_int_equal(fl_git_ask_ref(&b, "HEAD"), 0);
    assert_string_equal(b.data, "0014command=ls-refs\n00010014ref-prefix HEAD\n0000");
    fl_buf_reset(&b);
    assert_int_equal(fl_git_ask_pack(&b, 2, A40), 0);
    assert_string_equal(b.data, "0012command=fetch\n00010010no-progress\n000eofs-delta\n"
                                "000ddeepen 1\n0032want " A40 "\n0009done\n0000");
    fl_buf_reset(&b);
    assert_int_equal(fl_git_ask_pack(&b, 0, A40), 0);
    assert_string_equal(b.data, "005ewant " A40 " side-band-64k ofs-delta no-progress shallow\n"
                                "000ddeepen 1\n00000009done\n");
}

static void packs_are_unwrapped(void **state)
{
    static const char answer[] = "0011shallow-info\n0001000dpackfile\n0006\2x0008\1abc0006\1d0000";
    struct fl_git_pack pack = { 0 };
    char got[16] = "";
    struct fl_git_pkt pkt;
    size_t at = 0;

    while (fl_git_pkt_next(TEXT(answer), &at, &pkt) == 1) {
        const char *data;
        size_t len;

        assert_false(pack.ended);
        assert_int_equal(fl_git_pack_take(&pack, &pkt, &data, &len, NULL), 0);
        strncat(got, data ? data : "", len);
    }
    assert_true(pack.ended);
    assert_string_equal(got, "abcd");
}

static const struct {
    const char *text;
    size_t len;
    int want;
    bool file;
    uint64_t size;
    const char *path;
} entries[] = {
    { TEXT("100644 blob " B40 "       7\ta b\0"), 1, true, 7, "a b" },
    { TEXT("100755 blob " B40 " 18446744073709551615\tx\ty\0"), 1, true, UINT64_MAX, "x\ty" },
    { TEXT("120000 blob " B40 "       7\tl\0"), 1, false, 0, "l" },
    { TEXT("160000 commit " B40 "       -\tm\0"), 1, false, 0, "m" },
    { TEXT(""), 0, false, 0, NULL },
    { TEXT("100644 blob " B40 "       7\ta"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob " B40 "       7\t\0"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob " B40 "       -\ta\0"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob " B40 " -7\ta\0"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob " B40 " 18446744073709551616\ta\0"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob 0123 7\ta\0"), -EBADMSG, false, 0, NULL },
    { TEXT("100644 blob " B40 "7 7\ta\0"), -EBADMSG, false, 0, NULL },
};

static void trees_are_read(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(entries); i++) {
        struct fl_git_entry e = { 0 };
        size_t at = 0;

        print_message("%s\n", entries[i].text);
        assert_int_equal(fl_git_tree_next(entries[i].text, entries[i].len, &at, &e),
                         entries[i].want);
        if (entries[i].want != 1)
            continue;
        assert_int_equal(at, entries[i].len);
        assert_int_equal(e.file, entries[i].file);
        assert_true(e.size == entries[i].size);
        assert_string_equal(e.path, entries[i].path);
        assert_string_equal(e.oid, B40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_cut),
        cmocka_unit_test(servers_say_what_they_speak),
        cmocka_unit_test(refs_are_found_by_their_whole_names),
        cmocka_unit_test(requests_are_as_documented),
        cmocka_unit_test(packs_are_unwrapped),
        cmocka_unit_test(trees_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
