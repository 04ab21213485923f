/* next_boot.h - the machine is booted anew, as far as a job's journal knows. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include "agent/lib/jobdir.h"

/* Sees to it that the newest reboot in the journal was asked for in another boot than this. */
static inline void next_boot(const char *journal)
{
    static char other[] = "00000000-0000-4000-8000-000000000000";
    fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
    struct fl_jrec_reboot reboot = { .boot_id = NULL };
    struct fl_journal_record rec;
    struct fl_journal j;
    uint64_t at = 0;

    fl_journal_init(&j, open(journal, O_RDWR | O_CLOEXEC), fl_job_rows, 0);
    while (fl_journal_read(&j, &arena, &rec) == 1)
        if (rec.type == FL_JREC_REBOOT) {
            reboot = *(const struct fl_jrec_reboot *)rec.in;
            at = rec.offset;
        }
    assert_non_null(reboot.boot_id);
    assert_int_equal(strlen(reboot.boot_id), strlen(other)); /* the record keeps its size */
    reboot.boot_id = other;
    j.end = at;
    assert_int_equal(fl_journal_append(&j, FL_JREC_REBOOT, &reboot, NULL), 0);
    fl_journal_done(&j);
}
