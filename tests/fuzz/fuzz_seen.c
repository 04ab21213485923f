/* The file of seen command ids with any content: it opens, what is added is found, also after it
 * was compacted and opened again, and what was found before still is. The input's first line is an
 * id to ask for. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/monitor/seen.h"

#define NOW_MS      1767225600000
#define ENTRY_BYTES 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
}

static void open_seen(const char *path, struct fl_seen *s)
{
    struct fl_err err = { 0 };

    if (fl_seen_open(path, NOW_MS, s, &err) < 0)
        abort();
}

static void want(struct fl_seen *s, const char *id)
{
    if (fl_seen_has(s, id) != 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    const char *dir = getenv("TMPDIR");
    char path[256], asked[64] = "";
    struct fl_seen s;
    struct stat st;
    bool known;

    if (!end)
        return 0;
    snprintf(asked, sizeof(asked), "%.*s", (int)(end - data), (const char *)data);
    snprintf(path, sizeof(path), "%s/seen", dir ? dir : "/tmp");
    write_file(path, end + 1, size - (size_t)(end + 1 - data));
    open_seen(path, &s);
    /* the oldest of more may be dropped when it is compacted */
    known = s.n < FL_SEEN_KEEP_ENTRIES - 1 && fl_seen_has(&s, asked) == 1;
    if (fl_seen_add(&s, "added", NOW_MS) < 0)
        abort();
    want(&s, "added");
    s.compact_at = 0; /* the next one compacts first */
    if (fl_seen_add(&s, "later", NOW_MS) < 0)
        abort();
    want(&s, "added");
    if (known)
        want(&s, asked);
    fl_seen_close(&s);
    if (stat(path, &st) < 0 || st.st_size % ENTRY_BYTES != 0)
        abort();
    open_seen(path, &s);
    want(&s, "later");
    want(&s, "added");
    if (known)
        want(&s, asked);
    fl_seen_close(&s);
    unlink(path);
    return 0;
}
