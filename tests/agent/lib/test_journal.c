/* A journal is whole up to any point at which it was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include "agent/lib/jobdir.h"

static int memory_file(void)
{
    int fd = memfd_create("journal", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static struct fl_jrec_acked acked(int i)
{
    static char ids[4][64] = { "", "one", "a somewhat longer message id, to move the borders",
                               "x" };

    return (struct fl_jrec_acked){ .message_id = ids[i] };
}

/* Four records; ends[i] is where record i ends. */
static int make(uint64_t ends[4])
{
    struct fl_journal j;
    int fd = memory_file();

    fl_journal_init(&j, fd, fl_job_rows, 0);
    for (int i = 0; i < 4; i++) {
        struct fl_jrec_acked a = acked(i);

        assert_int_equal(fl_journal_append(&j, FL_JREC_ACKED, &a, NULL), 0);
        ends[i] = j.end;
    }
    assert_int_equal(fl_journal_commit(&j, NULL), 0);
    return fd;
}

/* Reads all; returns how many records there were and leaves *ret_end behind the last. */
static int count(int fd, uint64_t *ret_end)
{
    struct fl_journal j;
    int n = 0, r = 1;

    fl_journal_init(&j, fd, fl_job_rows, 0);
    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_journal_record rec;
        r = fl_journal_read(&j, &arena, &rec);
        if (r == 1) {
            assert_int_equal(rec.type, FL_JREC_ACKED);
            assert_string_equal(((const struct fl_jrec_acked *)rec.in)->message_id,
                                acked(n).message_id);
            n++;
        }
    }
    assert_int_equal(r, 0);
    *ret_end = j.end;
    return n;
}

static void cut_at_every_byte(void **state)
{
    uint64_t ends[4], end;
    int fd = make(ends);

    for (off_t size = (off_t)ends[3]; size >= 0; size--) {
        struct fl_jrec_acked a;
        struct fl_journal j;
        int n;

        assert_int_equal(ftruncate(fd, size), 0);
        n = count(fd, &end);
        assert_int_equal(n, (size >= (off_t)ends[0]) + (size >= (off_t)ends[1]) +
                                (size >= (off_t)ends[2]) + (size >= (off_t)ends[3]));
        assert_int_equal(end, n ? ends[n - 1] : 0);

        /* Cut and written on, it is a journal again; then back to what it was. */
        fl_journal_init(&j, fd, fl_job_rows, end);
        assert_int_equal(fl_journal_cut(&j), 0);
        if (n < 4) {
            a = acked(n);
            assert_int_equal(fl_journal_append(&j, FL_JREC_ACKED, &a, NULL), 0);
            assert_int_equal(count(fd, &end), n + 1);
            assert_int_equal(ftruncate(fd, (off_t)(n ? ends[n - 1] : 0)), 0);
        }
    }
    close(fd);
}

static void every_flipped_bit_is_noticed(void **state)
{
    uint64_t ends[4], end;
    int fd = make(ends);

    for (uint64_t at = ends[0]; at < ends[1]; at++) {
        unsigned char byte, bad;

        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        bad = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        assert_int_equal(count(fd, &end), 1);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    close(fd);
}

static void zeros_at_the_end_are_the_end(void **state)
{
    uint64_t ends[4], end;
    int fd = make(ends);

    assert_int_equal(ftruncate(fd, (off_t)ends[3] + 4096), 0);
    assert_int_equal(count(fd, &end), 4);
    assert_int_equal(end, ends[3]);
    close(fd);
}

static void crc_is_the_usual_one(void **state)
{
    uint32_t header[2];
    uint64_t ends[4];
    int fd = make(ends);
    unsigned char payload[128];
    uint32_t crc = ~0u;

    assert_int_equal(pread(fd, header, 8, 0), 8);
    assert_int_equal(pread(fd, payload, header[0], 8), header[0]);
    for (uint32_t i = 0; i < header[0]; i++) {
        crc ^= payload[i];
        for (int b = 0; b < 8; b++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    assert_int_equal(header[1], ~crc);
    close(fd);
}

static void an_unknown_type_is_an_error_not_the_end(void **state)
{
    static const struct fl_journal_row none[] = { { 0, NULL } };
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_journal_record rec;
    struct fl_journal j;
    uint64_t ends[4];
    fl_journal_init(&j, make(ends), none, 0);
    assert_int_equal(fl_journal_read(&j, &arena, &rec), -EBADMSG);
    fl_journal_done(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(zeros_at_the_end_are_the_end),
        cmocka_unit_test(crc_is_the_usual_one),
        cmocka_unit_test(an_unknown_type_is_an_error_not_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
