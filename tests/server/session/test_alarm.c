/* Alarms over what is typed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "server/session/alarm.h"

static const struct fl_conf_alarm rows[] = {
    { (char *)"root", (char *)"\\bsudo\\s+(su|-i|bash)\\b", true },
    { (char *)"shadow", (char *)"/etc/shadow", false },
};

static void raised(void *arg, const struct fl_conf_alarm *alarm)
{
    fl_buf_printf(arg, "%s ", alarm->name);
}

/* "<" begins what was typed, ">" what the terminal showed. */
static const struct {
    const char *name, *talk, *want;
} cases[] = {
    { "typed", "<sudo su\r>sudo su\r\n", "root " },
    { "typed without echo", "<cat /etc/shadow\r>\r\n", "shadow " },
    { "in pieces", "<su|<do s|<u\r>sudo su\r\n", "root " },
    { "corrected", "<sudx\x7fo su\r>sudo su\r\n", "root " },
    { "out of the history", "<\x1b[A>$ sudo su<\r>\r\n", "root " },
    { "by completion", "<cat /etc/sha\t>$ cat /etc/shadow <\r>\r\n", "shadow " },
    { "both in one line", "<sudo bash /etc/shadow\r>$ sudo bash /etc/shadow\r\n", "root shadow " },
    { "twice", "<sudo su\r>$ sudo su\r\n<sudo su\r>$ sudo su\r\n", "root root " },
    { "only printed", "<cat notes\r>$ cat notes\r\nuse sudo su\r\n", "" },
    { "thrown away", "<sudo su\x03>^C\r\n$ <ls\r>ls\r\n", "" },
    { "nothing", "<ls\r>$ ls\r\nfile\r\n", "" },
};

static void lines(void **state)
{
    struct fl_alarms *alarms;
    struct fl_err err = { 0 };

    (void)state;
    assert_int_equal(fl_alarms_new(rows, 2, &alarms, &err), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(1000);
        struct fl_alarm_watch w = { 0 };
        bool input = false;

        fl_buf_puts(&out, "");
        for (const char *p = cases[i].talk; *p; p++) {
            if (*p == '<' || *p == '>')
                input = *p == '<';
            else if (*p != '|' && input)
                fl_alarm_input(alarms, &w, p, 1, raised, &out);
            else if (*p != '|')
                fl_alarm_output(alarms, &w, p, 1, raised, &out);
        }
        if (strcmp(out.data ? out.data : "", cases[i].want) != 0)
            fail_msg("%s: \"%s\", wanted \"%s\"", cases[i].name, out.data, cases[i].want);
        fl_alarm_watch_done(&w);
    }
    fl_alarms_free(alarms);
}

static void a_pattern_that_is_none(void **state)
{
    static const struct fl_conf_alarm bad = { (char *)"bad", (char *)"a(b", false };
    struct fl_alarms *alarms;
    struct fl_err err = { 0 };

    (void)state;
    assert_int_equal(fl_alarms_new(&bad, 1, &alarms, &err), -22);
    assert_non_null(strstr(fl_err_text(&err), "alarm bad: "));
}

/* What would take for ever does not match. */
static void a_pattern_that_explodes(void **state)
{
    static const struct fl_conf_alarm slow = { (char *)"slow", (char *)"^(a+)+$", false };
    fl_autobuf struct fl_buf out = FL_BUF(1000);
    struct fl_alarm_watch w = { 0 };
    struct fl_alarms *alarms;
    char text[4001];

    (void)state;
    memset(text, 'a', sizeof(text) - 2);
    text[sizeof(text) - 2] = '!';
    text[sizeof(text) - 1] = '\r';
    assert_int_equal(fl_alarms_new(&slow, 1, &alarms, NULL), 0);
    fl_alarm_input(alarms, &w, text, sizeof(text), raised, &out);
    assert_int_equal(out.len, 0);
    fl_alarm_watch_done(&w);
    fl_alarms_free(alarms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(a_pattern_that_is_none),
        cmocka_unit_test(a_pattern_that_explodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
