/* Session folders: what stands in them, and who holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/lib/sessiondir.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"

static char *ips[] = { "10.0.0.1", "fd00::1" };

static const struct fl_session sample = {
    .session_id = "alice-1",
    .content = "{}",
    .accepted_ms = 7,
    .nonce = "00112233445566778899aabbccddeeff",
    .node_id = "mi-1",
    .region = "local",
    .mgs_region = "local",
    .mgs_url = "https://a",
    .kms_url = "https://b",
    .agent_version = "3.3.0.0",
    .net_user = "fairlead",
    .denied_ips = { ips, 2 },
};

static int setup(void **state)
{
    static char dir[TMPDIR_BYTES];

    make_tmpdir(dir);
    *state = dir;
    return 0;
}

static int open_dir(const char *dir)
{
    fl_autofree char *path = fl_path_join(dir, sample.session_id);

    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void what_was_accepted_is_found(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_journal j fl_autojournal = { .fd = -1 };
    struct fl_session got;
    struct fl_session_log log;
    struct stat st;
    int fd;

    assert_int_equal(fl_sessiondir_create(*state, &sample, NULL), 0);
    assert_int_equal(fl_sessiondir_create(*state, &sample, NULL), -EEXIST);
    fd = open_dir(*state);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(fstatat(fd, "session", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fl_sessiondir_load(fd, &arena, &got, NULL), 0);
    assert_string_equal(got.session_id, sample.session_id);
    assert_int_equal(got.accepted_ms, 7);
    assert_int_equal(got.denied_ips.n, 2);
    assert_string_equal(got.denied_ips.v[1], "fd00::1");
    assert_null(got.user);

    assert_int_equal(fl_sessiondir_open(fd, true, &arena, &j, &log, NULL), 0);
    assert_false(log.run || log.ended || log.child.pid);
    close(fd);
}

static void one_holder_and_one_end(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_journal j fl_autojournal = { .fd = -1 };
    struct fl_journal other fl_autojournal = { .fd = -1 };
    struct fl_session_log log;
    int fd;

    assert_int_equal(fl_sessiondir_create(*state, &sample, NULL), 0);
    fd = open_dir(*state);
    assert_int_equal(fl_sessiondir_open(fd, true, &arena, &j, NULL, NULL), 0);
    assert_int_equal(fl_sessiondir_open(fd, true, &arena, &other, NULL, NULL), -EWOULDBLOCK);
    assert_int_equal(fl_sessiondir_note(&j, FL_SREC_RUN, &(struct fl_srec_run){ 1, 2 }, NULL), 0);
    assert_int_equal(
        fl_sessiondir_note(&j, FL_SREC_CHILD, &(struct fl_srec_child){ 42, 43, "boot" }, NULL), 0);
    assert_int_equal(fl_sessiondir_follow(fd, &arena, &log, NULL), 0);
    assert_true(log.run && !log.ended && log.child.pid == 42 && log.child.start_ticks == 43);
    assert_int_equal(
        fl_sessiondir_note(&j, FL_SREC_END, &(struct fl_srec_end){ "Failed", "words" }, NULL), 0);
    fl_journal_done(&j);
    j.fd = -1;
    assert_int_equal(fl_sessiondir_open(fd, true, &arena, &other, &log, NULL), 0);
    assert_true(log.ended);
    assert_string_equal(log.end.status, "Failed");
    assert_string_equal(log.end.output, "words");
    close(fd);
}

/* A record that was cut anywhere, and one that lacks what a holder needs. */
static void damage_is_noticed(void **state)
{
    struct fl_session lacking = sample;
    char path[512], data[4096];
    ssize_t len;
    int fd, file;

    assert_int_equal(fl_sessiondir_create(*state, &sample, NULL), 0);
    fd = open_dir(*state);
    snprintf(path, sizeof(path), "%s/alice-1/session", (char *)*state);
    file = open(path, O_RDWR | O_CLOEXEC);
    len = read(file, data, sizeof(data));
    assert_true(len > 0 && len < (ssize_t)sizeof(data));
    for (ssize_t cut = 0; cut < len; cut += 13) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_session got;

        assert_int_equal(ftruncate(file, cut), 0);
        assert_int_equal(fl_sessiondir_load(fd, &arena, &got, NULL), -EBADMSG);
        assert_int_equal(pwrite(file, data, (size_t)len, 0), len);
    }
    close(file);
    close(fd);
    fl_sessiondir_remove(*state, "alice-1");
    assert_int_equal(access(path, F_OK), -1);

    lacking.mgs_url = NULL;
    assert_int_equal(fl_sessiondir_create(*state, &lacking, NULL), 0);
    fd = open_dir(*state);
    {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_session got;

        assert_int_equal(fl_sessiondir_load(fd, &arena, &got, NULL), -EBADMSG);
    }
    close(fd);
}

static void ids_of_reports_stay(void **state)
{
    char a[FL_UUID_BYTES], b[FL_UUID_BYTES];

    fl_session_message_id(sample.nonce, a);
    fl_session_message_id(sample.nonce, b);
    assert_string_equal(a, b);
    assert_true(fl_uuid_valid(a));
    fl_session_message_id("10112233445566778899aabbccddeeff", b);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_accepted_is_found, setup),
        cmocka_unit_test_setup(one_holder_and_one_end, setup),
        cmocka_unit_test_setup(damage_is_noticed, setup),
        cmocka_unit_test(ids_of_reports_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
