/* A file of a transcript: bytes that are none, and a real one with bytes changed at places that the
 * input names. What is read of a changed one is a part of what was written. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "common/base/file.h"
#include "server/session/transcript_file.h"

static const uint8_t key[FL_SEAL_KEY_BYTES] = { 1, 2, 3 };

static int add(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    assert(wall_ms == 7 && kind == FL_TF_OUTPUT);
    return fl_buf_append(arg, data, len);
}

static int any(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    (void)arg, (void)kind, (void)wall_ms, (void)data, (void)len;
    return 0;
}

static int file_of(const void *data, size_t len)
{
    int fd = memfd_create("transcript", MFD_CLOEXEC);

    if (fd >= 0 && fl_fd_pwrite_all(fd, data, len, 0) < 0)
        close(FL_TAKE_FD(fd));
    return fd;
}

/* All readers; how much of the file is right. */
static void read_all(int fd, fl_tf_fn fn, struct fl_buf *out, uint64_t *ret_bytes)
{
    struct fl_tf_end at = { 0 }, sought;
    int r = fl_tf_read(fd, key, "s", &at, SIZE_MAX, fn, out, NULL);

    assert(r == 0 || r == -EBADMSG || r == -ENODATA || r == -ENOMEM);
    if (at.bytes)
        assert(fl_tf_seek(fd, "s", at.bytes, &sought, NULL) == 0 &&
               memcmp(&sought, &at, sizeof(at)) == 0);
    *ret_bytes = at.bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf file = FL_BUF(1 << 24), out = FL_BUF(1 << 24), said = FL_BUF(1 << 24);
    struct fl_tf_end end;
    uint64_t bytes;
    int fd = file_of(data, size), r;

    if (fd < 0)
        return 0;
    read_all(fd, any, NULL, &bytes);
    close(fd);

    r = fl_tf_start("s", &file, &end);
    for (size_t at = 0, n; r >= 0 && at < size; at += n) {
        fl_autobuf struct fl_buf body = FL_BUF(1 << 20);

        n = FL_MIN(size - at, (size_t)(data[at] + 1));
        r = fl_tf_record(&body, FL_TF_OUTPUT, 7, data + at, n);
        if (r >= 0)
            r = fl_tf_block(key, 7, body.data, body.len, &file, &end);
    }
    if (r < 0 || fl_buf_append(&said, data, size) < 0)
        return 0;
    for (size_t i = 0; i + 3 < size && i < 40; i += 4) {
        size_t at = ((size_t)data[i] << 8 | data[i + 1]) % file.len;

        file.data[at] = (char)data[i + 2];
    }
    fd = file_of(file.data, file.len);
    if (fd < 0)
        return 0;
    read_all(fd, add, &out, &bytes);
    close(fd);
    assert(out.len <= said.len && (!out.len || memcmp(out.data, said.data, out.len) == 0));
    return 0;
}
