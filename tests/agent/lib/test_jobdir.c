/* Job folders: bounds of what is accepted, what a crash may leave, ids of replies. */
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
#include "agent/lib/jobdir.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"

static char nonce[] = "00112233445566778899aabbccddeeff";

static struct fl_job sample(char *content)
{
    static char job_id[] = "aws.ssm.c1.mi-1", command_id[] = "c1", name[] = "Demo", node[] = "mi-1";

    return (struct fl_job){ .job_id = job_id,
                            .command_id = command_id,
                            .document_name = name,
                            .content = content,
                            .created_ms = 1,
                            .accepted_ms = 2,
                            .nonce = nonce,
                            .node_id = node,
                            .output_max_bytes = 3 };
}

static void command_ids(void **state)
{
    char longest[FL_COMMAND_ID_MAX_BYTES + 2];
    static const struct {
        const char *id;
        bool ok;
    } cases[] = {
        { "11111111-2222-3333-4444-555555555555", true },
        { "a", true },
        { "A.b_c-9", true },
        { "", false },
        { ".", false },
        { "..", false },
        { ".a", false },
        { "a/b", false },
        { "a b", false },
        { "a\n", false },
        { "\xc3\xa4", false },
        { NULL, false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_command_id_valid(cases[i].id), cases[i].ok);
    memset(longest, 'a', sizeof(longest));
    longest[FL_COMMAND_ID_MAX_BYTES + 1] = '\0';
    assert_false(fl_command_id_valid(longest));
    longest[FL_COMMAND_ID_MAX_BYTES] = '\0';
    assert_true(fl_command_id_valid(longest));
}

static void bounds(void **state)
{
    char *big = malloc(FL_JOB_MAX_CONTENT_BYTES + 2), *text = malloc(1000), two[] = "{}";
    struct fl_job j = sample(two);

    assert_int_equal(fl_job_check(&j, NULL), 0);
    memset(big, ' ', FL_JOB_MAX_CONTENT_BYTES + 1);
    big[FL_JOB_MAX_CONTENT_BYTES + 1] = '\0';
    j.content = big;
    assert_int_equal(fl_job_check(&j, NULL), -EINVAL);
    big[FL_JOB_MAX_CONTENT_BYTES] = '\0';
    assert_int_equal(fl_job_check(&j, NULL), 0);
    memset(text, 'x', 999);
    text[FL_JOB_MAX_ID_BYTES + 1] = '\0';
    j.job_id = text;
    assert_int_equal(fl_job_check(&j, NULL), -EINVAL);
    text[FL_JOB_MAX_ID_BYTES] = '\0';
    assert_int_equal(fl_job_check(&j, NULL), 0);
    text[3] = '\n';
    assert_int_equal(fl_job_check(&j, NULL), -EINVAL);
    j = sample(NULL);
    assert_int_equal(fl_job_check(&j, NULL), -EINVAL);
    free(big);
    free(text);
}

static void a_job_survives_and_a_torn_one_was_never_there(void **state)
{
    char dir[TMPDIR_BYTES], content[] = "{\"CommandId\":\"c1\"}", path[TMPDIR_BYTES + 16];
    struct fl_job job = sample(content), back;
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_journal j;
    struct stat st;
    int dir_fd;
    make_tmpdir(dir);
    assert_int_equal(fl_jobdir_create(dir, &job, NULL), 0);
    assert_int_equal(fl_jobdir_create(dir, &job, NULL), -EEXIST);
    snprintf(path, sizeof(path), "%s/c1", dir);
    dir_fd = open(path, O_RDONLY | O_DIRECTORY);
    assert_false(fl_jobdir_is_unborn(dir_fd));
    assert_int_equal(fl_jobdir_load(dir_fd, &arena, &back, NULL), 0);
    assert_string_equal(back.job_id, job.job_id);
    assert_string_equal(back.content, content);
    assert_string_equal(back.nonce, nonce);
    assert_int_equal(back.output_max_bytes, 3);
    assert_null(back.aws_profile);

    snprintf(path, sizeof(path), "%s/c1/job", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (off_t size = st.st_size - 1; size >= 0; size--) {
        assert_int_equal(truncate(path, size), 0);
        assert_true(fl_jobdir_is_unborn(dir_fd));
        assert_int_equal(fl_jobdir_load(dir_fd, &arena, &back, NULL), -EBADMSG);
    }
    /* With a journal that was written to, it is damage, not a crash while it was made. */
    assert_int_equal(fl_jobdir_open(dir_fd, "journal", &j, NULL), 0);
    assert_int_equal(fl_journal_append(&j, FL_JREC_RUN, &(struct fl_jrec_run){ 1, 2 }, NULL), 0);
    fl_journal_done(&j);
    assert_false(fl_jobdir_is_unborn(dir_fd));
    close(dir_fd);
    fl_dir_remove(dir, NULL);
}

static void reply_ids_repeat_and_differ(void **state)
{
    static char other[] = "00112233445566778899aabbccddeef0";
    char a[FL_UUID_BYTES], b[FL_UUID_BYTES];

    for (int64_t i = FL_REPLY_FINAL; i < 50; i++) {
        fl_job_reply_id(nonce, 0, i, a);
        assert_true(fl_uuid_valid(a));
        assert_int_equal(a[14], '4');
        fl_job_reply_id(nonce, 0, i, b);
        assert_string_equal(a, b);
        fl_job_reply_id(nonce, 0, i + 1, b);
        assert_string_not_equal(a, b);
        fl_job_reply_id(nonce, 1, i, b);
        assert_string_not_equal(a, b);
        fl_job_reply_id(other, 0, i, b);
        assert_string_not_equal(a, b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_ids),
        cmocka_unit_test(bounds),
        cmocka_unit_test(a_job_survives_and_a_torn_one_was_never_there),
        cmocka_unit_test(reply_ids_repeat_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
