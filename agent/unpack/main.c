/* main.c - fairlead-agent-unpack: reads a zip archive on descriptor 3 and writes what is in it to
 * standard output, as records (plugins/configure_package/unpack.h).
 *
 * An archive is bytes of the network: it is parsed by a process that may do nothing else. It opens
 * no file, makes no connection, has no capability, and a user of no rights.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "agent/lib/begun.h"
#include "agent/lib/sandbox.h"
#include "common/base/file.h"
#include "plugins/configure_package/unpack.h"

#define ARCHIVE_FD 3
#define READ_BYTES 65536
#define CPU_MAX_S  600
#define MEMORY_MAX_BYTES                                                     \
    (512u << 20) /* of address space: some methods name their own dictionary \
                  */

extern void __asan_init(void) __attribute__((weak)); /* wants terabytes of it */

static int say(uint32_t type, const void *data, size_t len)
{
    const struct fl_unpack_head head = { type, (uint32_t)len };
    int r = fl_fd_write_all(STDOUT_FILENO, &head, sizeof(head));

    return r == 0 ? fl_fd_write_all(STDOUT_FILENO, data, len) : r;
}

static int fail(const char *what, const char *why)
{
    char text[FL_UNPACK_NAME_MAX_BYTES];

    snprintf(text, sizeof(text), "%.500s%s%.400s", what, *what ? ": " : "",
             why ? why : "unreadable");
    say(FL_UNPACK_ERROR, text, strlen(text));
    return 1;
}

static int confine(struct fl_err *err)
{
    const struct rlimit memory = { MEMORY_MAX_BYTES, MEMORY_MAX_BYTES };

    setlocale(LC_CTYPE, "C.UTF-8"); /* the names are UTF-8 */
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, 0 }) < 0 ||
        setrlimit(RLIMIT_CPU, &(struct rlimit){ CPU_MAX_S, CPU_MAX_S }) < 0 ||
        (!__asan_init && setrlimit(RLIMIT_AS, &memory) < 0))
        return fl_err_set(err, -errno, NULL, "cannot set limits: %s", strerror(errno));
    return fl_sandbox_enter(err);
}

static int send_data(struct archive *a, const char *name)
{
    static char block[FL_UNPACK_DATA_MAX_BYTES];

    for (;;) {
        la_ssize_t n = archive_read_data(a, block, sizeof(block));

        if (n == 0)
            return 0;
        if (n < 0)
            return fail(name, archive_error_string(a));
        if (say(FL_UNPACK_DATA, block, (size_t)n) < 0)
            return 1;
    }
}

static int send_entry(struct archive *a, struct archive_entry *entry)
{
    const char *path = archive_entry_pathname(entry);
    size_t len = path ? strlen(path) : 0;
    uint32_t type = archive_entry_perm(entry) & 0111 ? FL_UNPACK_PROGRAM : FL_UNPACK_FILE;

    if (len == 0 || len > FL_UNPACK_NAME_MAX_BYTES)
        return fail("", "an entry without a usable name");
    if (archive_entry_is_encrypted(entry))
        return fail(path, "encrypted");
    if (archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return fail(path, "a link");
    if (archive_entry_filetype(entry) == AE_IFDIR) {
        while (len > 1 && path[len - 1] == '/')
            len--;
        return say(FL_UNPACK_DIR, path, len) < 0;
    }
    if (archive_entry_filetype(entry) != AE_IFREG)
        return fail(path, "neither a file nor a folder");
    return say(type, path, len) < 0 ? 1 : send_data(a, path);
}

static int unpack(struct archive *a)
{
    struct archive_entry *entry;
    int r = archive_read_support_format_zip_seekable(a);

    if (r == ARCHIVE_OK)
        r = archive_read_open_fd(a, ARCHIVE_FD, READ_BYTES);
    while (r == ARCHIVE_OK && (r = archive_read_next_header(a, &entry)) == ARCHIVE_OK)
        if (send_entry(a, entry) != 0)
            return 1;
    if (r != ARCHIVE_EOF)
        return fail("", archive_error_string(a));
    return say(FL_UNPACK_END, "", 0) < 0;
}

int main(int argc, char **argv)
{
    struct archive *a;
    struct fl_err err = { 0 };
    int r;

    if (!fl_begun("fairlead-agent-unpack", argc == 1 && fcntl(ARCHIVE_FD, F_GETFD) >= 0))
        return 2;
    a = archive_read_new();
    if (!a || confine(&err) < 0)
        return fail("", a ? fl_err_text(&err) : "out of memory");
    r = unpack(a);
    archive_read_free(a);
    return r;
}
