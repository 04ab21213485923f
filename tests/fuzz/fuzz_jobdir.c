/* The files of a job folder with whole records of any content: the input is a list of {u8 type, u16
 * length, payload}, to which the headers are made. What loads keeps every bound, what the journal
 * tells becomes replies, and reading stops at the same place each time. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include "agent/lib/jobdir.h"
#include "agent/monitor/reply.h"

#define REPLY_MAX_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_records(int fd, const uint8_t *data, size_t size)
{
    uint64_t at = 0;

    while (size >= 3) {
        size_t len = FL_MIN((size_t)data[1] | (size_t)data[2] << 8, size - 3);
        uint32_t header[2] = { (uint32_t)len + 4, 0 };
        uint8_t types[4] = { data[0] };

        header[1] = (uint32_t)crc32(crc32(0, types, sizeof(types)), data + 3, (uInt)len);
        if (pwrite(fd, header, sizeof(header), (off_t)at) < 0 ||
            pwrite(fd, types, sizeof(types), (off_t)at + 8) < 0 ||
            pwrite(fd, data + 3, len, (off_t)at + 12) < 0)
            abort();
        at += 12 + len;
        data += 3 + len;
        size -= 3 + len;
    }
}

static void reply_to(const struct fl_journal_record *rec)
{
    static const struct fl_reply_agent agent = { "C", "Linux", "1" };
    fl_autobuf struct fl_buf out = FL_BUF(REPLY_MAX_BYTES);

    if (rec->type == FL_JREC_STEP_DONE)
        (void)fl_reply_step(&agent, rec->in, 1, &out);
    else if (rec->type == FL_JREC_DOC_DONE)
        (void)fl_reply_final(&agent, rec->in, NULL, 1, &out);
}

/* Records read; where it stopped. */
static unsigned read_all(int dir_fd, uint64_t *ret_end)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    unsigned n = 0;
    int r = fl_jobdir_open(dir_fd, "job", &j, NULL);

    if (r < 0)
        abort();
    for (r = 1; r == 1;) {
        fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
        struct fl_journal_record rec;

        r = fl_journal_read(&j, &arena, &rec);
        if (r == 1) {
            reply_to(&rec);
            n++;
        }
    }
    *ret_end = j.end;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    const char *tmp = getenv("TMPDIR");
    fl_autofd int dir_fd = open(tmp ? tmp : "/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fl_autofd int fd = openat(dir_fd, "job", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct fl_err err = { 0 };
    struct fl_job job;
    char id[FL_UUID_BYTES];
    uint64_t end, again;
    unsigned n;

    if (fd < 0)
        abort();
    put_records(fd, data, size);
    if (fl_jobdir_load(dir_fd, &arena, &job, &err) == 0) {
        if (fl_job_check(&job, NULL) < 0 || !fl_command_id_valid(job.command_id))
            abort();
        fl_job_reply_id(job.nonce, 0, FL_REPLY_FINAL, id);
        if (!fl_uuid_valid(id))
            abort();
    } else if (!err.text[0]) {
        abort();
    }
    n = read_all(dir_fd, &end);
    if (read_all(dir_fd, &again) != n || again != end)
        abort();
    return 0;
}
