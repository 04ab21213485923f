/* The audit log: whole lines, in order, rotated, kept private. */
#include "server/audit.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "common/base/file.h"

#define LINES 2000

static char dir[] = "/tmp/fl-audit-XXXXXX";

static char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/log/%s", dir, name);
    return path;
}

static struct fl_audit *open_audit(void)
{
    struct fl_audit *a = NULL;
    char path[64];

    snprintf(path, sizeof(path), "%s/log", dir);
    assert_int_equal(fl_audit_new(path, &a, NULL), 0);
    return a;
}

static void lines_are_whole(void **state)
{
    static const char *const arns[] = { "arn:a", "arn:\"b\"" };
    struct fl_audit *a = open_audit();
    fl_autofree char *text = NULL;
    struct stat st;
    char *save = NULL;
    int n = 0;

    for (int i = 0; i < LINES; i++) {
        char id[16];
        const struct fl_audit_entry e = { .time_ms = 1767225600000,
                                          .request_id = id,
                                          .operation = "ssm:SendCommand",
                                          .source_ip = "192.0.2.1",
                                          .resources = arns,
                                          .n_resources = 2,
                                          .status = 400,
                                          .error = "InvalidInstanceId" };

        snprintf(id, sizeof(id), "%d", i);
        fl_audit_write(a, &e);
    }
    fl_audit_free(a);
    assert_int_equal(stat(path_of("audit.log"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fl_file_read(path_of("audit.log"), 8 << 20, &text, NULL, NULL), 0);
    for (char *s = strtok_r(text, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
        json_t *line = json_loads(s, 0, NULL);

        assert_int_equal(atoi(json_string_value(json_object_get(line, "requestId"))), n);
        assert_string_equal(json_string_value(json_object_get(line, "error")), "InvalidInstanceId");
        assert_string_equal(json_string_value(json_object_get(line, "time")),
                            "2026-01-01T00:00:00.000Z");
        assert_int_equal(json_array_size(json_object_get(line, "resources")), 2);
        assert_null(json_object_get(line, "caller"));
        json_decref(line);
        n++;
    }
    assert_int_equal(n, LINES);
}

static void a_full_file_is_rotated(void **state)
{
    const struct fl_audit_entry e = { .time_ms = 1, .operation = "ssm:X", .status = 200 };
    struct fl_audit *a;
    struct stat st;
    int fd;

    fl_audit_free(open_audit());
    fd = open(path_of("audit.log"), O_WRONLY);
    assert_int_equal(ftruncate(fd, FL_AUDIT_FILE_BYTES - 10), 0); /* sparse */
    close(fd);
    a = open_audit();
    fl_audit_write(a, &e);
    fl_audit_free(a);
    assert_int_equal(stat(path_of("audit.log.1"), &st), 0);
    assert_int_equal(st.st_size, FL_AUDIT_FILE_BYTES - 10);
    assert_int_equal(stat(path_of("audit.log"), &st), 0);
    assert_true(st.st_size > 10 && st.st_size < 200);
}

static int setup(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    return fl_dir_remove(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_whole),
        cmocka_unit_test(a_full_file_is_rotated),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
