/* Jobs on a node in trouble: power cuts at every byte of every file, damaged folders, no
 * descriptors left. */
#include <sys/resource.h>
#include "tests/agent/monitor/jobs_fixture.h"

#define FILE_MAX_BYTES (1u << 20)
#define FINAL_STATUS   "\"documentStatus\":\""

/* ---- what was told ---- */

static bool is_final(const struct sent *s)
{
    const char *status = strstr(s->content, FINAL_STATUS);

    return s->expect_ack && status && strncmp(status + strlen(FINAL_STATUS), "InProgress", 10) != 0;
}

/* Final replies sent since reply `from`. */
static size_t count_finals(const struct fixture *f, size_t from)
{
    size_t n = 0;

    for (size_t i = from; i < f->n_replies; i++)
        n += is_final(&f->replies[i]);
    return n;
}

static const char *final_text(const struct fixture *f)
{
    for (size_t i = f->n_replies; i-- > 0;)
        if (is_final(&f->replies[i]))
            return f->replies[i].content;
    fail_msg("no final reply");
    return "";
}

static void forget_replies(struct fixture *f)
{
    while (f->n_replies > 0)
        free(f->replies[--f->n_replies].content);
}

static void in_dir(struct fixture *f, const char *below, char out[TMPDIR_BYTES + 64])
{
    snprintf(out, TMPDIR_BYTES + 64, "%s/%s", f->dir, below);
}

static off_t size_of(struct fixture *f, const char *below)
{
    char path[TMPDIR_BYTES + 64];
    struct stat st;

    in_dir(f, below, path);
    return stat(path, &st) < 0 ? 0 : st.st_size;
}

/* ---- power cuts ---- */

static const char *const files[] = { "jobs/c1/job", "jobs/c1/journal", "jobs/c1/acks", "seen" };

enum { JOB, JOURNAL, ACKS, SEEN, N_FILES };

struct image {
    char *data[N_FILES];
    size_t len[N_FILES];
    uint64_t step_started; /* where the record that the step began ends in the journal */
};

/* A document that ran to its end, its step's reply acknowledged, the final one not; the monitor
 * died. */
static void make_image(struct fixture *f, struct image *image)
{
    char script[TMPDIR_BYTES + 64], path[TMPDIR_BYTES + 64];
    struct fl_journal_record rec = { 0 };
    struct fl_journal j;

    f->auto_ack = false;
    snprintf(script, sizeof(script), "\"echo x >> %s/ran; echo out\"", f->dir);
    send_shell(f, "c1", script);
    wait_replies(f, 3);
    fl_jobs_acked(f->jobs, f->replies[1].message_id);
    f->jobs = fl_jobs_free(f->jobs);
    for (size_t i = 0; i < N_FILES; i++) {
        in_dir(f, files[i], path);
        assert_int_equal(fl_file_read(path, FILE_MAX_BYTES, &image->data[i], &image->len[i], NULL),
                         0);
        assert_true(image->len[i] > 0);
    }
    in_dir(f, files[JOURNAL], path);
    fl_journal_init(&j, open(path, O_RDONLY | O_CLOEXEC), fl_job_rows, 0);
    while (rec.type != FL_JREC_STEP_START) {
        fl_autoarena struct fl_arena arena = FL_ARENA(FILE_MAX_BYTES);

        assert_int_equal(fl_journal_read(&j, &arena, &rec), 1);
    }
    image->step_started = j.end;
    fl_journal_done(&j);
    f->auto_ack = true;
}

/* The folder as the power cut left it: `size` bytes of one file, then `tail`. */
static void restore(struct fixture *f, const struct image *image, size_t which, size_t size,
                    const char *tail, size_t tail_len)
{
    char path[TMPDIR_BYTES + 64];

    in_dir(f, "jobs", path);
    assert_int_equal(fl_dir_remove(path, NULL), 0);
    in_dir(f, "done", path);
    assert_int_equal(fl_dir_remove(path, NULL), 0);
    in_dir(f, "ran", path);
    unlink(path);
    in_dir(f, "jobs/c1/steps", path);
    assert_int_equal(fl_dir_make(path, 0700, NULL), 0);
    for (size_t i = 0; i < N_FILES; i++) {
        size_t len = i == which ? size : image->len[i];
        int fd;

        in_dir(f, files[i], path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(fl_fd_write_all(fd, image->data[i], len), 0);
        if (i == which)
            assert_int_equal(fl_fd_write_all(fd, tail, tail_len), 0);
        close(fd);
    }
}

/* One start of the monitor from there: no crash, one report, no second run, and the id stays known.
 */
static void start_from(struct fixture *f, const struct image *image, size_t which, size_t size,
                       const char *tail, size_t tail_len)
{
    restore(f, image, which, size, tail, tail_len);
    forget_replies(f);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    wait_closed(f);
    if (count_finals(f, 0) != 1)
        fail_msg("%s cut to %zu: %zu final replies", files[which], size, count_finals(f, 0));
    /* It may run only if the journal does not say that it began. */
    if (size_of(f, "ran") > (which == JOURNAL && size < image->step_started ? 2 : 0))
        fail_msg("%s cut to %zu: the step ran again", files[which], size);
    send_shell(f, "c1", "\"true\"");
    assert_string_equal(f->acks[(f->n_acks - 1) % 64], "51405");
    f->jobs = fl_jobs_free(f->jobs);
}

/* A stride of bytes here; each of them in `make check-faults`. */
static void every_file_cut_at_every_byte(void **state)
{
    static const char zeros[512], ones[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    struct fixture *f = *state;
    const char *every = getenv("FAULTS_FULL");
    size_t stride = every ? 1 : 23; /* odd, and no divisor of what is aligned */
    struct image image = { 0 };

    make_image(f, &image);
    for (size_t which = 0; which < N_FILES; which++)
        for (size_t size = 0; size <= image.len[which]; size += stride) {
            start_from(f, &image, which, size, "", 0);
            if (size % (stride * 8) == 0) {
                start_from(f, &image, which, size, ones, sizeof(ones) - 1);
                start_from(f, &image, which, size, zeros, sizeof(zeros));
            }
        }
    start_from(f, &image, JOURNAL, image.step_started - 1, "", 0);
    start_from(f, &image, JOURNAL, image.step_started, "", 0);
    start_from(f, &image, JOURNAL, image.len[JOURNAL], ones, sizeof(ones) - 1);
    start_from(f, &image, JOURNAL, image.len[JOURNAL], zeros, sizeof(zeros));
    for (size_t i = 0; i < N_FILES; i++)
        free(image.data[i]);
}

/* ---- damage that no power cut makes ---- */

/* The queued document's record is lost: it cannot be run, and it must not vanish. */
static void a_damaged_folder_is_reported_once(void **state)
{
    static const char *const lost[] = { "jobs/c1/job", "jobs/c1/journal" };
    struct fixture *f = *state;
    struct image image = { 0 };

    make_image(f, &image);
    for (size_t i = 0; i < FL_ARRAY_LEN(lost); i++) {
        char path[TMPDIR_BYTES + 64];

        restore(f, &image, N_FILES, 0, NULL, 0);
        in_dir(f, "jobs/c1/journal", path);
        assert_int_equal(truncate(path, (off_t)image.step_started), 0);
        in_dir(f, lost[i], path);
        assert_int_equal(unlink(path), 0);
        forget_replies(f);
        f->auto_ack = false;
        for (int start = 0; start < 2; start++) { /* killed before the acknowledgement came */
            start_jobs(f);
            fl_jobs_online(f->jobs, true);
            wait_replies(f, (size_t)start + 1);
            if (start == 0)
                f->jobs = fl_jobs_free(f->jobs);
        }
        assert_string_equal(f->replies[0].message_id, f->replies[1].message_id);
        assert_string_equal(f->replies[0].job_id, "aws.ssm.c1.mi-0123456789abcdef0");
        assert_has(f->replies[0].content, "\"documentStatus\":\"Failed\"");
        assert_has(f->replies[0].content, "the files of this document were damaged");
        fl_jobs_acked(f->jobs, f->replies[1].message_id);
        assert_int_equal(size_of(f, "ran"), 0);
        assert_true(exists(f, "done/c1/journal"));
        if (i == 0)
            assert_false(exists(f, "done/c1/" FL_JOB_DAMAGED_FILE)); /* there was nothing to keep */
        else
            assert_true(exists(f, "done/c1/" FL_JOB_DAMAGED_FILE));
        f->jobs = fl_jobs_free(f->jobs);
    }
    for (size_t i = 0; i < N_FILES; i++)
        free(image.data[i]);
}

/* ---- no descriptors left ---- */

struct famine {
    struct rlimit before;
    int spare[256];
    size_t n;
};

static void begin_famine(struct famine *x)
{
    struct rlimit few;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &x->before), 0);
    few = x->before;
    few.rlim_cur = FL_ARRAY_LEN(x->spare);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    x->n = 0;
    while (x->n < FL_ARRAY_LEN(x->spare) &&
           (x->spare[x->n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        x->n++;
}

static void relax(struct famine *x, size_t n)
{
    while (n-- > 0 && x->n > 0)
        close(x->spare[--x->n]);
}

static void end_famine(struct famine *x)
{
    relax(x, x->n);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &x->before), 0);
}

/* Refused with the reason, whatever it was that failed, and taken when it comes again. */
static void without_descriptors_a_document_is_refused_not_lost(void **state)
{
    struct fixture *f = *state;
    size_t refused = 0;

    for (size_t n = 0; n < 5; n++) {
        struct famine x;
        char id[8];

        snprintf(id, sizeof(id), "c%zu", n);
        wait_closed(f); /* what the one before says is not of this */
        begin_famine(&x);
        relax(&x, n);
        send_shell(f, id, "\"echo hi\"");
        end_famine(&x);
        if (strcmp(f->acks[n + refused], "200") == 0)
            continue;
        assert_string_equal(f->acks[n + refused], "51499");
        assert_has(f->replies[f->n_replies - 1].content, "\"documentStatus\":\"Failed\"");
        assert_has(f->replies[f->n_replies - 1].content, "Too many open files");
        refused++;
        send_shell(f, id, "\"echo hi\"");
        assert_string_equal(f->acks[n + refused], "200");
    }
    assert_true(refused >= 3);
    wait_closed(f);
    assert_int_equal(count_finals(f, 0), 5);
    for (size_t i = 0; i < f->n_replies; i++)
        if (is_final(&f->replies[i]))
            assert_has(f->replies[i].content, "\"documentStatus\":\"Success\"");
}

/* No file can grow: no worker gets anywhere, and its failure cannot be journaled either. It is
 * told, and once the folder can be written the document is over for every later start. */
static void a_failure_told_from_memory_is_kept_before_the_folder_goes(void **state)
{
    struct fixture *f = *state;
    char script[TMPDIR_BYTES + 64], done[TMPDIR_BYTES + 64], gone[TMPDIR_BYTES + 64];
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct rlimit before, none;

    f->config.command_retry_limit = 1;
    f->config.command_workers = 1;
    send_shell(f, "c0", until_let_go(f));
    snprintf(script, sizeof(script), "\"echo x >> %s/ran\"", f->dir);
    send_shell(f, "c1", script);
    /* Nothing can be put away either: at the next start it is found where it is. */
    in_dir(f, "done", done);
    in_dir(f, "gone", gone);
    assert_int_equal(rename(done, gone), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    let_go(f);
    while (fl_jobs_count(f->jobs).running || fl_jobs_count(f->jobs).queued ||
           fl_jobs_count(f->jobs).unacked_replies)
        fl_loop_run_once(f->loop, true);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_has(final_text(f), "\"documentStatus\":\"Failed\"");
    assert_has(final_text(f), "no worker could finish this document");
    assert_int_equal(size_of(f, "jobs/c1/journal"), 0);
    while (size_of(f, "jobs/c1/journal") == 0 && fl_mono_ms() < end)
        fl_loop_run_once(f->loop, false);
    f->jobs = fl_jobs_free(f->jobs);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    wait_closed(f);
    assert_false(exists(f, "ran"));
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_file_cut_at_every_byte),
        T(a_damaged_folder_is_reported_once),
        T(without_descriptors_a_document_is_refused_not_lost),
        T(a_failure_told_from_memory_is_kept_before_the_folder_goes),
    };
    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
