/* Documents that ask for a reboot: what waits, what goes on, what is told, and what ends it. A boot
 * is another id in the journal's record of the one that was to end. */
#include <unistd.h>
#include "tests/agent/next_boot.h"
#include "tests/agent/worker/worker_fixture.h"

static void boot(void)
{
    char path[TMPDIR_BYTES + 64];

    job_path(path, "/journal");
    next_boot(path);
}

/* ---- marks: a letter for each time a script ran ---- */

static void marks_path(char out[TMPDIR_BYTES + 64])
{
    snprintf(out, TMPDIR_BYTES + 64, "%s/marks", dir);
}

static int ran(char letter)
{
    char path[TMPDIR_BYTES + 64];
    fl_autofree char *marks = NULL;
    size_t len = 0;
    int n = 0;

    marks_path(path);
    if (fl_file_read(path, 10000, &marks, &len, NULL) == 0)
        for (size_t i = 0; i < len; i++)
            n += marks[i] == letter;
    return n;
}

/* A document whose scripts have the folder of the marks for %s. */
static void make(const char *steps)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 16);

    for (const char *p = steps; *p; p++)
        assert_int_equal(p[0] == '@' ? fl_buf_puts(&b, dir) : fl_buf_append(&b, p, 1), 0);
    make_document(b.data);
}

#define MARK(letter)       "echo " letter " >> @/marks; "
/* Asks for a reboot the first n times it runs. */
#define REBOOTS(letter, n) MARK(letter) "[ $(grep -c " letter " @/marks) -gt " n " ] || exit 194; "

/* ---- tests ---- */

/* The vector of protocol 4 §6. */
static void what_is_told_before_and_after(void **state)
{
    struct outcome o;

    make(SHELL("ok", MARK("o")) "," SHELL("bad", "exit 3") "," SHELL(
        "rb", "echo run; echo e 1>&2; " REBOOTS("r", "1")) "," SHELL("last", MARK("l")));
    assert_true(run_to_boot());
    read_outcome(&o);
    assert_int_equal(o.dones, 3);
    assert_string_equal(o.steps[2].status, "SuccessAndReboot");
    assert_int_equal(o.steps[2].code, 194);
    assert_int_equal(o.reboot_step, 2);
    assert_int_equal(o.n_results, 3);
    free_outcome(&o);

    boot();
    run_worker();
    read_outcome(&o);
    assert_int_equal(o.dones, 5);
    assert_string_equal(o.steps[3].key, "rb");
    assert_string_equal(o.steps[3].status, "Success");
    assert_string_equal(o.steps[3].text[1], "\"run\\nrun\\n\"");
    assert_string_equal(o.steps[3].text[2], "\"e\\ne\\n\"");
    assert_string_equal(o.steps[4].key, "last");
    assert_string_equal(o.status, "Failed");
    assert_int_equal(o.n_results, 3); /* bad, rb, last */
    free_outcome(&o);
    assert_int_equal(ran('o'), 1);
    assert_int_equal(ran('r'), 2);
    assert_int_equal(ran('l'), 1);
}

static void nothing_happens_before_the_boot(void **state)
{
    struct outcome before, after;

    make(SHELL("rb", REBOOTS("r", "1")) "," SHELL("last", MARK("l")));
    assert_true(run_to_boot());
    read_outcome(&before);
    for (int i = 0; i < 3; i++)
        assert_true(run_to_boot());
    read_outcome(&after);
    assert_int_equal(before.n_records, after.n_records);
    assert_int_equal(ran('r'), 1);
    assert_int_equal(ran('l'), 0);
    free_outcome(&before);
    free_outcome(&after);
}

/* Killed between the two records that share a sync: the result is there, the wish is not. */
static void a_wish_that_was_lost_is_written_again(void **state)
{
    char path[TMPDIR_BYTES + 64];
    struct outcome o;

    make(SHELL("rb", REBOOTS("r", "1")));
    assert_true(run_to_boot());
    read_outcome(&o);
    job_path(path, "/journal");
    assert_int_equal(truncate(path, (off_t)o.reboot_at), 0);
    free_outcome(&o);
    assert_true(run_to_boot());
    read_outcome(&o);
    assert_int_equal(o.dones, 1);
    assert_int_equal(o.reboots, 1);
    free_outcome(&o);
    assert_int_equal(ran('r'), 1);
}

static void no_more_reboots_than_are_allowed(void **state)
{
    struct outcome o;

    reboots_max = "2";
    make(SHELL("rb", "echo x; " REBOOTS("r", "99")) "," SHELL("later", MARK("l")) "," SHELL_WITH(
        "end", "\"finallyStep\":true,", MARK("f")));
    for (int i = 0; i < 2; i++) {
        assert_true(run_to_boot());
        boot();
    }
    run_worker();
    reboots_max = "15";
    read_outcome(&o);
    assert_int_equal(ran('r'), 3);
    assert_int_equal(ran('l'), 0);
    assert_int_equal(ran('f'), 1);
    assert_string_equal(o.steps[2].status, "Failed");
    assert_int_equal(o.steps[2].code, 194);
    assert_non_null(strstr(o.steps[2].text[2], "as often as Mds.CommandRetryLimit allows"));
    assert_string_equal(o.steps[3].status, "Skipped");
    assert_string_equal(o.status, "Failed");
    free_outcome(&o);
}

static void too_old_a_document_does_not_go_on(void **state)
{
    struct outcome o;

    accepted_ms = fl_now_ms() - FL_JOB_RESUME_MS - 1000;
    make(SHELL("rb", REBOOTS("r", "1")) "," SHELL("later", MARK("l")));
    assert_true(run_to_boot());
    boot();
    run_worker();
    read_outcome(&o);
    assert_string_equal(o.status, "Failed");
    assert_non_null(strstr(o.error, "more than 48 hours"));
    assert_int_equal(ran('r'), 1);
    assert_int_equal(ran('l'), 0);
    free_outcome(&o);
}

static void a_cancel_ends_the_wait(void **state)
{
    struct outcome o;

    make(SHELL("bad", "exit 3") "," SHELL("rb", REBOOTS("r", "1")) "," SHELL("later", MARK("l")));
    assert_true(run_to_boot());
    assert_int_equal(wait_worker(start_worker("--cancel")), 0);
    read_outcome(&o);
    assert_int_equal(o.dones, 4);
    assert_string_equal(o.steps[2].key, "rb");
    assert_string_equal(o.steps[2].status, "Cancelled");
    assert_string_equal(o.steps[3].status, "Cancelled");
    assert_int_equal(o.n_results, 3);
    assert_string_equal(o.status, "Failed");
    assert_int_equal(ran('r'), 1);
    free_outcome(&o);
}

/* The rest of a list runs before the reboot, and all of it after; a failure in it outweighs 194. */
static void lists_of_inputs(void **state)
{
    static const struct {
        const char *inputs;
        bool boots;
        int first, second; /* how often the two ran in all */
    } cases[] = {
        { "{\"runCommand\":[\"" REBOOTS("r", "1") "\"]},{\"runCommand\":[\"" MARK("s") "\"]}", true,
          2, 2 },
        { "{\"runCommand\":[\"" REBOOTS("r", "1") "\"]},{\"runCommand\":[\"" MARK("s") "exit 5\"]}",
          false, 1, 1 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char steps[2048], path[TMPDIR_BYTES + 64];
        struct outcome o;

        marks_path(path);
        unlink(path);
        snprintf(steps, sizeof(steps),
                 "{\"action\":\"aws:runShellScript\",\"name\":\"l\",\"inputs\":[%s]}",
                 cases[i].inputs);
        make(steps);
        assert_int_equal(run_to_boot(), cases[i].boots);
        assert_int_equal(ran('s'), 1);
        if (cases[i].boots) {
            boot();
            run_worker();
        }
        read_outcome(&o);
        assert_string_equal(o.status, cases[i].boots ? "Success" : "Failed");
        assert_int_equal(ran('r'), cases[i].first);
        assert_int_equal(ran('s'), cases[i].second);
        free_outcome(&o);
    }
}

/* ---- killed at every record, and in the middle of each ---- */

static void make_long_document(void)
{
    make(SHELL("a", MARK("a")) "," SHELL("b", "echo out; " REBOOTS("b", "1")) "," SHELL_WITH(
        "c", "\"onFailure\":\"exit\",",
        MARK("c") "exit 3") "," SHELL("d", MARK("d")) "," SHELL_WITH("e", "\"finallyStep\":true,",
                                                                     MARK("e")));
}

/* What the scripts had done when the worker wrote so much of the journal. */
static void make_marks(void)
{
    fl_autobuf struct fl_buf b = FL_BUF(4096);
    char path[TMPDIR_BYTES + 64];
    struct outcome o;

    read_outcome(&o);
    for (int i = 0; i < o.dones; i++)
        if (strcmp(o.steps[i].status, "Skipped") != 0)
            assert_int_equal(fl_buf_printf(&b, "%s\n", o.steps[i].key), 0);
    free_outcome(&o);
    marks_path(path);
    assert_int_equal(fl_file_replace(path, 0600, b.data ? b.data : "", b.len, NULL), 0);
}

static const struct outcome *last_of(const struct outcome *o, const char *key, int *ret)
{
    *ret = -1;
    for (int i = 0; i < o->dones; i++)
        if (strcmp(o->steps[i].key, key) == 0)
            *ret = i;
    return *ret >= 0 ? o : NULL;
}

static void check_long_document(uint64_t at)
{
    static const char *const keys[] = { "a", "b", "c", "d", "e" };
    static const char *const good[] = { "Success", "Success", "Failed", "Skipped", "Success" };
    struct outcome o;

    read_outcome(&o);
    assert_int_equal(o.ends, 1);
    assert_string_equal(o.status, "Failed");
    for (int i = 0; i < 5; i++) {
        bool interrupted;
        int k;

        if (!last_of(&o, keys[i], &k))
            fail_msg("killed at %lu: no result of %s", (unsigned long)at, keys[i]);
        interrupted = strstr(o.steps[k].text[2], "the worker was interrupted") != NULL;
        assert_string_equal(o.steps[k].status, interrupted ? "Failed" : good[i]);
        if (ran(keys[i][0]) > (i == 1 ? 2 : 1) || (!interrupted && i != 3 && ran(keys[i][0]) == 0))
            fail_msg("killed at %lu: %s ran %d times", (unsigned long)at, keys[i], ran(keys[i][0]));
    }
    assert_int_equal(ran('d'), 0);
    assert_true(o.reboots <= 1);
    free_outcome(&o);
}

static void run_from(const char *whole, uint64_t size)
{
    char journal[TMPDIR_BYTES + 64];

    job_path(journal, "/journal");
    make_long_document();
    assert_int_equal(fl_file_replace(journal, 0600, whole, size, NULL), 0);
    make_marks();
    while (run_to_boot())
        boot();
    check_long_document(size);
}

/* Each byte in `make check-faults`. */
static void goes_on_from_every_prefix_of_the_journal(void **state)
{
    bool every = getenv("FAULTS_FULL") != NULL;
    char journal[TMPDIR_BYTES + 64];
    fl_autofree char *whole = NULL;
    struct outcome o;
    size_t len;

    job_path(journal, "/journal");
    make_long_document();
    assert_true(run_to_boot());
    boot();
    run_worker();
    check_long_document(0);
    read_outcome(&o);
    free_outcome(&o);
    assert_int_equal(o.reboots, 1);
    assert_int_equal(fl_file_read(journal, 1 << 20, &whole, &len, NULL), 0);
    for (size_t size = 0; every && size <= len; size++)
        run_from(whole, size);
    for (int i = 0; !every && i < o.n_records; i++) {
        uint64_t begin = i == 0 ? 0 : o.ends_at[i - 1];

        run_from(whole, begin);
        run_from(whole, begin + (o.ends_at[i] - begin) / 2);
    }
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_told_before_and_after),
        T(nothing_happens_before_the_boot),
        T(a_wish_that_was_lost_is_written_again),
        T(no_more_reboots_than_are_allowed),
        T(too_old_a_document_does_not_go_on),
        T(a_cancel_ends_the_wait),
        T(lists_of_inputs),
        T(goes_on_from_every_prefix_of_the_journal),
    };
    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
