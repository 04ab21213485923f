/* Journals, job and acks files with any content: read to the end, cut there, and read the same
 * again. */
#include "agent/lib/jobdir.h"
#include "tests/fuzz/memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_all(int fd, uint64_t *ret_end)
{
    struct fl_journal j;
    int n = 0, r = 1;

    fl_journal_init(&j, fd, fl_job_rows, 0);
    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
        struct fl_journal_record rec;

        r = fl_journal_read(&j, &arena, &rec);
        n += r == 1;
    }
    *ret_end = j.end;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[MEMFILE_PATH_BYTES];
    static int fd = -1;
    struct fl_journal j;
    uint64_t end, again;
    int n;

    if (fd < 0)
        fd = memfile_new(path);
    memfile_set(fd, data, size);
    n = read_all(fd, &end);
    fl_journal_init(&j, fd, fl_job_rows, end);
    if (end > size || fl_journal_cut(&j) < 0 || read_all(fd, &again) != n || again != end)
        abort();
    return 0;
}
