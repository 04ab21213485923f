#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/net/head.h"

#define CRLF "\r\n"

static const struct {
    const char *in;
    int want;
    const char *method, *path, *query;
    int minor;
} requests[] = {
    { "GET / HTTP/1.1" CRLF CRLF, 0, "GET", "/", "", 1 },
    { "POST /a//b/%2e/../c%2Fd?x=1&y=%20+;z HTTP/1.0" CRLF CRLF, 0, "POST", "/a//b/%2e/../c%2Fd",
      "x=1&y=%20+;z", 0 },
    { "GET /? HTTP/1.1" CRLF CRLF, 0, "GET", "/", "", 1 },
    { "OPTIONS * HTTP/1.1" CRLF CRLF, 0, "OPTIONS", "*", "", 1 },
    { "GET http://host:80/p?q HTTP/1.1" CRLF CRLF, 0, "GET", "/p", "q", 1 },
    { "GET http://host?q HTTP/1.1" CRLF CRLF, 0, "GET", "/", "q", 1 },
    { "GET HTTPS://host HTTP/1.1" CRLF CRLF, 0, "GET", "/", "", 1 },
    { "GET  / HTTP/1.1" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1 " CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET /" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET relative HTTP/1.1" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "CONNECT host:443 HTTP/1.1" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "G(T / HTTP/1.1" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/2.0" CRLF CRLF, -EPROTONOSUPPORT, NULL, NULL, NULL, 0 },
    { "PRI * HTTP/2.0" CRLF CRLF, -EPROTONOSUPPORT, NULL, NULL, NULL, 0 },
    { "GET / FTP/1.1" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1\nHost: x" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF "Name : x" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF "A: x" CRLF " folded" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF "no colon" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF ": x" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF "A: b\x01" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
    { "GET / HTTP/1.1" CRLF "A: b\rX: c" CRLF CRLF, -EINVAL, NULL, NULL, NULL, 0 },
};

static void request_lines(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(requests); i++) {
        fl_autoarena struct fl_arena arena = { .max_bytes = 65536 };
        fl_autofree char *text = strdup(requests[i].in);
        struct fl_head head = { 0 };

        assert_int_equal(fl_head_length(text, strlen(text), 0), strlen(text));
        assert_int_equal(fl_head_parse_request(text, strlen(text), &arena, &head),
                         requests[i].want);
        if (requests[i].want)
            continue;
        assert_string_equal(head.method, requests[i].method);
        assert_string_equal(head.path, requests[i].path);
        assert_string_equal(head.query, requests[i].query);
        assert_int_equal(head.minor, requests[i].minor);
    }
}

static void fields(void **state)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = 65536 };
    char text[] = "GET / HTTP/1.1" CRLF "Host:  a b\t" CRLF "X-A: 1" CRLF "empty:" CRLF
                  "x-a:   2  " CRLF "Connection: keep-alive, Upgrade" CRLF CRLF;
    struct fl_head head;

    assert_int_equal(fl_head_parse_request(text, sizeof(text) - 1, &arena, &head), 0);
    assert_string_equal(fl_head_get(&head, "host"), "a b");
    assert_string_equal(fl_head_get(&head, "X-a"), "1,2");
    assert_string_equal(fl_head_get(&head, "Empty"), "");
    assert_null(fl_head_get(&head, "absent"));
    assert_int_equal(head.n_fields, 4);
    assert_true(fl_head_has_token(fl_head_get(&head, "connection"), "upgrade"));
    assert_false(fl_head_has_token(fl_head_get(&head, "connection"), "keep"));
    assert_false(fl_head_has_token(NULL, "upgrade"));
}

static void too_many_fields(void **state)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = 65536 };
    char text[8192];
    size_t n = (size_t)sprintf(text, "GET / HTTP/1.1" CRLF);
    struct fl_head head;

    for (int i = 0; i <= FL_HEAD_MAX_FIELDS; i++)
        n += (size_t)sprintf(text + n, "h%d: v" CRLF, i);
    n += (size_t)sprintf(text + n, CRLF);
    assert_int_equal(fl_head_parse_request(text, n, &arena, &head), -E2BIG);
}

static void repeated_field_is_bounded(void **state)
{
    fl_autoarena struct fl_arena arena = { .max_bytes = 8192 };
    char text[8192];
    size_t n = (size_t)sprintf(text, "GET / HTTP/1.1" CRLF);
    struct fl_head head;

    while (n < 6000)
        n += (size_t)sprintf(text + n, "a: bbbbbbbbbbbbbbbb" CRLF);
    n += (size_t)sprintf(text + n, CRLF);
    assert_int_equal(fl_head_parse_request(text, n, &arena, &head), -ENOMEM);
}

static const struct {
    const char *in;
    int want, status;
} responses[] = {
    { "HTTP/1.1 101 Switching Protocols" CRLF CRLF, 0, 101 },
    { "HTTP/1.0 407" CRLF CRLF, 0, 407 },
    { "HTTP/1.1 40 Short" CRLF CRLF, -EINVAL, 0 },
    { "HTTP/1.1 4040 Long" CRLF CRLF, -EINVAL, 0 },
    { "HTTP/1.1" CRLF CRLF, -EINVAL, 0 },
    { "ICY 200 OK" CRLF CRLF, -EINVAL, 0 },
};

static void status_lines(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(responses); i++) {
        fl_autoarena struct fl_arena arena = { .max_bytes = 65536 };
        fl_autofree char *text = strdup(responses[i].in);
        struct fl_head head = { 0 };

        assert_int_equal(fl_head_parse_response(text, strlen(text), &arena, &head),
                         responses[i].want);
        if (!responses[i].want)
            assert_int_equal(head.status, responses[i].status);
    }
}

static void end_is_found_across_reads(void **state)
{
    static const char text[] = "GET / HTTP/1.1" CRLF "A: b" CRLF CRLF "body";
    size_t want = sizeof(text) - 1 - 4, searched = 0;

    for (size_t len = 1; len < sizeof(text); len++) {
        assert_int_equal(fl_head_length(text, len, searched), len >= want ? want : 0);
        if (len < want)
            searched = len;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines),   cmocka_unit_test(fields),
        cmocka_unit_test(too_many_fields), cmocka_unit_test(repeated_field_is_bounded),
        cmocka_unit_test(status_lines),    cmocka_unit_test(end_is_found_across_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
