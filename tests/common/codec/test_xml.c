#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/codec/utf8.h"
#include "common/codec/xml.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

static void text_is_escaped(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "" },
        { "plain €", "plain €" },
        { "<a b=\"c\">&'", "&lt;a b=&quot;c&quot;&gt;&amp;&#39;" },
        { "a\tb\nc\rd", "a\tb\nc&#13;d" },
        { "a\x01z", "a\xef\xbf\xbdz" },
        { "\xff-\xed\xa0\x80", "\xef\xbf\xbd-\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xef\xbf\xbe|\xef\xbf\xbd|\xf0\x9f\x98\x80",
          "\xef\xbf\xbd|\xef\xbf\xbd|\xf0\x9f\x98\x80" },
        { "cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd" },
        { "]]>", "]]&gt;" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(256);

        assert_int_equal(fl_xml_text(&out, cases[i].text, strlen(cases[i].text)), 0);
        assert_string_equal(out.data, cases[i].want);
    }
}

static void every_kind_is_written(void **state)
{
    struct sample_tag tags[] = { { (char *)"k&", (char *)"" }, { (char *)"l", NULL } };
    char *strings[] = { (char *)"x", (char *)"<y>" };
    struct fl_strmap_entry pair = { (char *)"k", (char *)"v" };
    struct fl_listmap_entry lists = { (char *)"c", { strings, 2 } };
    struct fl_intmap_entry count = { (char *)"Success", 3 };
    const struct sample s = {
        .name = (char *)"Zoë & co",
        .on = true,
        .small = -5,
        .big = 9007199254740993,
        .ratio = 0.5,
        .maybe = { true, 0 },
        .flag = { true, false },
        .when = { 1767323045678 },
        .raw = { (char *)"{\"a\":1}" },
        .list = { strings, 2 },
        .map = { &pair, 1 },
        .lists = { &lists, 1 },
        .counts = { &count, 1 },
        .one = &tags[0],
        .tags = tags,
        .n_tags = 2,
    };
    fl_autobuf struct fl_buf out = FL_BUF(4096);

    assert_int_equal(fl_xml_encode(&sample_shape, &s, &out), 0);
    assert_string_equal(
        out.data,
        "<Name>Zoë &amp; co</Name><On>true</On><Small>-5</Small><Big>9007199254740993</Big>"
        "<Ratio>0.5</Ratio><Maybe>0</Maybe><Flag>false</Flag><When>2026-01-02T03:04:05Z</When>"
        "<Raw>{&quot;a&quot;:1}</Raw><List><member>x</member><member>&lt;y&gt;</member></List>"
        "<Map><entry><key>k</key><value>v</value></entry></Map>"
        "<Lists><entry><key>c</key><value><member>x</member><member>&lt;y&gt;</member></value>"
        "</entry></Lists><Counts><entry><key>Success</key><value>3</value></entry></Counts>"
        "<One><Key>k&amp;</Key><Value></Value></One>"
        "<Tags><member><Key>k&amp;</Key><Value></Value></member><member><Key>l</Key></member>"
        "</Tags>");
}

static void a_full_buffer_is_an_error(void **state)
{
    const struct sample s = { .name = (char *)"a name" };
    fl_autobuf struct fl_buf out = FL_BUF(10);

    assert_int_equal(fl_xml_encode(&sample_shape, &s, &out), -EMSGSIZE);
}

static void text_elements_are_found(void **state)
{
    static const struct {
        const char *xml, *name;
        int r;
        const char *want;
    } cases[] = {
        { "<R><A>x</A></R>", "A", 0, "x" },
        { "<R><n:A>x</n:A></R>", "A", 0, "x" },
        { "<A>x</A>", "A", 0, "x" },
        { "<R><AB>no</AB><A>first</A><A>second</A></R>", "A", 0, "first" },
        { "<R><A x='/>' y=\"<\" >v</A ></R>", "A", 0, "v" },
        { "<R><A/></R>", "A", 0, "" },
        { "<R><A a=\"b\" /></R>", "A", 0, "" },
        { "<A>&lt;&gt;&amp;&quot;&apos;&#65;&#x20ac;&#xD800;</A>", "A", 0,
          "<>&\"'A\xe2\x82\xac\xef\xbf\xbd" },
        { "<A> a<B>b</B><C/><!-- & < --><?pi <x>?>c<![CDATA[&<]]> </A>", "A", 0, " abc&< " },
        { "<?xml version=\"1.0\"?><!DOCTYPE x><!-- <A>no</A> "
          "--><R><![CDATA[<A>no</A>]]><A>y</A></R>",
          "A", 0, "y" },
        { "<R></R>", "A", -ENOENT, NULL },
        { "</A>", "A", -ENOENT, NULL },
        { "", "A", -EBADMSG, NULL },
        { "no xml", "A", -EBADMSG, NULL },
        { "{\"A\":1}", "A", -EBADMSG, NULL },
        { "<A>x", "A", -EBADMSG, NULL },
        { "<A>x<", "A", -EBADMSG, NULL },
        { "<A>x<!-- </A>", "A", -EBADMSG, NULL },
        { "<A><![CDATA[</A>", "A", -EBADMSG, NULL },
        { "<A>&nbsp;</A>", "A", -EBADMSG, NULL },
        { "<A>&#0;</A>", "A", -EBADMSG, NULL },
        { "<A>&#x110000;</A>", "A", -EBADMSG, NULL },
        { "<A>&#99999999999;</A>", "A", -EBADMSG, NULL },
        { "<A>&#;</A>", "A", -EBADMSG, NULL },
        { "<A>& </A>", "A", -EBADMSG, NULL },
        { "<A", "A", -EBADMSG, NULL },
        { "<A x=\">", "A", -EBADMSG, NULL },
        { "<R <A>x</A>", "A", -EBADMSG, NULL },
        { "<>", "A", -EBADMSG, NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(256);
        int r = fl_xml_find_text(cases[i].xml, strlen(cases[i].xml), cases[i].name, &out);

        if (r != cases[i].r)
            fail_msg("%s: %d", cases[i].xml, r);
        if (cases[i].want)
            assert_string_equal(out.data ? out.data : "", cases[i].want);
    }
}

static void long_text_is_an_error(void **state)
{
    fl_autobuf struct fl_buf out = FL_BUF(4);

    assert_int_equal(fl_xml_find_text("<A>12345</A>", 12, "A", &out), -EMSGSIZE);
}

static void utf8_is_well_formed(void **state)
{
    static const struct {
        const char *text;
        size_t want;
    } cases[] = {
        { "a", 1 },
        { "\xc2\x80", 2 },
        { "\xe0\xa0\x80", 3 },
        { "\xed\x9f\xbf", 3 },
        { "\xf4\x8f\xbf\xbf", 4 },
        { "\xc0\x80", 0 },
        { "\xc1\xbf", 0 },
        { "\xe0\x9f\xbf", 0 },
        { "\xed\xa0\x80", 0 },
        { "\xf0\x8f\xbf\xbf", 0 },
        { "\xf4\x90\x80\x80", 0 },
        { "\xf5\x80\x80\x80", 0 },
        { "\x80", 0 },
        { "\xc2", 0 },
        { "\xe2\x82", 0 },
        { "\xe2\x82x", 0 },
    };
    static const uint32_t codes[] = { 1, 0x7f, 0x80, 0x7ff, 0x800, 0xfffd, 0x10000, 0x10ffff };
    char out[4];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_utf8_len(cases[i].text, strlen(cases[i].text)), cases[i].want);
    for (size_t i = 0; i < FL_ARRAY_LEN(codes); i++) {
        size_t n = fl_utf8_put(codes[i], out);

        assert_int_equal(fl_utf8_len(out, n), n);
    }
    assert_int_equal(fl_utf8_put(0xd800, out), 3);
    assert_memory_equal(out, FL_UTF8_REPLACEMENT, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped),           cmocka_unit_test(every_kind_is_written),
        cmocka_unit_test(a_full_buffer_is_an_error), cmocka_unit_test(text_elements_are_found),
        cmocka_unit_test(long_text_is_an_error),     cmocka_unit_test(utf8_is_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
