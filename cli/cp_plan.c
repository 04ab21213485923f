/* cp_plan.c - see cp_plan.h. */
#include "cli/cp_plan.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "cli/input.h"

/* POSIX sh with coreutils or busybox. Paths are those of the user's home unless absolute. */
static const char common_lines[] =
    "fail() { echo \"$*\" >&2; exit 1; }\n"
    "cd || exit 1\n"
    "case $path in '~') path=$HOME ;; '~/'*) path=$HOME/${path#??} ;; '') path=. ;; "
    "-*) path=./$path ;; esac\n"
    "digest() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | "
    "cut -c 1-64; }\n";

static const char up_lines[] =
    "if [ -d \"$path\" ]; then path=${path%/}/$base\n"
    "else case $path in */) fail \"$path: no such folder\" ;; esac; fi\n"
    "[ -L \"$path\" ] && path=$(readlink -f \"$path\")\n"
    "if [ $folder = 0 ]; then [ -d \"$path\" ] && fail \"$path: is a folder\"\n"
    "elif [ -e \"$path\" ] && [ $force = 0 ]; then fail \"$path: exists; --force replaces it\"; "
    "fi\n"
    "dir=$(dirname \"$path\")\n"
    "[ -d \"$dir\" ] || fail \"$dir: no such folder\"\n"
    "tmp=$(mktemp -d \"$dir/.fairlead-XXXXXX\" 2>&1) || fail \"$dir: ${tmp##*: }\"\n"
    "trap 'rm -rf \"$tmp\"' EXIT\n"
    "trap 'exit 1' HUP INT TERM\n"
    "mkfifo \"$tmp/pipe\" || exit 1\n"
    "digest <\"$tmp/pipe\" >\"$tmp/digest\" &\n"
    "pieces() { while IFS= read -r n && [ \"$n\" -gt 0 ]; do "
    "dd bs=\"$n\" count=1 iflag=fullblock 2>/dev/null || return 1; done; }\n"
    "if [ $folder = 0 ]; then pieces | tee \"$tmp/pipe\" >\"$tmp/new\" || exit 1\n"
    "else mkdir \"$tmp/new\" && pieces | tee \"$tmp/pipe\" | "
    "{ tar -xof - -C \"$tmp/new\" --no-same-permissions; r=$?; cat >/dev/null; exit $r; } || exit "
    "1; fi\n"
    "wait\n"
    "IFS= read -r want || fail \"$path: cut off\"\n"
    "[ \"$want\" = \"$(cat \"$tmp/digest\")\" ] || fail \"$path: the checksum is wrong\"\n"
    "if [ $folder = 1 ]; then [ ! -e \"$path\" ] || mv \"$path\" \"$tmp/old\" || exit 1\n"
    "elif [ -e \"$path\" ]; then chmod --reference=\"$path\" \"$tmp/new\"; "
    "chown --reference=\"$path\" \"$tmp/new\" 2>/dev/null; chmod ug-s \"$tmp/new\"\n"
    "else chmod $(printf %o $((0$mode & ~0$(umask)))) \"$tmp/new\"; fi\n"
    "sync \"$tmp/new\" 2>/dev/null\n"
    "mv -f \"$tmp/new\" \"$path\" || { [ ! -e \"$tmp/old\" ] || mv \"$tmp/old\" \"$path\"; exit 1; "
    "}\n";

/* No file is made: whoever only reads needs no room, and a script that is killed leaves nothing.
 * Descriptor 3 is the session, 4 what the digest reads, 5 what the shell gets. */
static const char down_lines[] =
    "[ -e \"$path\" ] || fail \"$path: no such file\"\n"
    "[ -f \"$path\" ] || [ -d \"$path\" ] || fail \"$path: neither file nor folder\"\n"
    "[ -r \"$path\" ] || fail \"$path: permission denied\"\n"
    "[ -d \"$path\" ] && [ $folders = 0 ] && fail \"$path: is a folder; -r copies it\"\n"
    "if [ -d \"$path\" ]; then echo d 0 0\n"
    "else echo f $(stat -Lc '%a %s' \"$path\" 2>/dev/null || echo 644 0); fi\n"
    "give() { if [ -d \"$path\" ]; then tar -cf - -C \"$path\" .; else cat \"$path\"; fi || "
    "echo failed >&5; }\n"
    "{ sum=$({ { give | tee /dev/fd/4 >&3 || echo failed >&5; } 4>&1 | digest; } 5>&1); } 3>&1\n"
    "case $sum in *failed*) exit 1 ;; esac\n"
    "echo \"$sum\"\n";

size_t fl_cp_node_len(const char *word)
{
    size_t len = strcspn(word, ":/");

    return word[len] == ':' ? len : 0;
}

static int set(struct fl_buf *out, const char *name, const char *value)
{
    int r = fl_buf_printf(out, "%s=", name);

    if (r == 0)
        r = fl_shell_quote(out, value, false);
    return r < 0 ? r : fl_buf_puts(out, "\n");
}

int fl_cp_up_line(const struct fl_cp_up *up, struct fl_buf *out)
{
    int r = set(out, "path", up->target);

    if (r == 0)
        r = set(out, "base", up->base);
    if (r == 0)
        r = fl_buf_printf(out, "folder=%d force=%d mode=%o\n%s%s", up->folder, up->force,
                          up->mode & 0777, common_lines, up_lines);
    return r;
}

int fl_cp_down_line(const char *source, bool folders, struct fl_buf *out)
{
    int r = set(out, "path", source);

    return r < 0 ? r : fl_buf_printf(out, "folders=%d\n%s%s", folders, common_lines, down_lines);
}

int fl_cp_head_parse(const char *line, struct fl_cp_head *ret)
{
    struct fl_cp_head h = { 0 };
    char kind, rest;

    if (sscanf(line, "%c %o %" SCNu64 "%c", &kind, &h.mode, &h.size, &rest) != 3 ||
        (kind != 'f' && kind != 'd'))
        return -EBADMSG;
    h.folder = kind == 'd';
    h.mode &= 0777;
    *ret = h;
    return 0;
}

int fl_cp_tail_feed(struct fl_cp_tail *t, const char *data, size_t len,
                    int (*fn)(void *arg, const char *data, size_t len), void *arg)
{
    size_t out = t->n + len > sizeof(t->kept) ? t->n + len - sizeof(t->kept) : 0;
    size_t old = FL_MIN(out, t->n);
    int r = 0;

    if (old)
        r = fn(arg, t->kept, old);
    memmove(t->kept, t->kept + old, t->n - old);
    t->n -= old;
    out -= old;
    if (r == 0 && out)
        r = fn(arg, data, out);
    memcpy(t->kept + t->n, data + out, len - out);
    t->n += len - out;
    return r;
}

int fl_cp_tail_digest(const struct fl_cp_tail *t, char out[FL_CP_TRAILER_BYTES])
{
    if (t->n != sizeof(t->kept) || t->kept[t->n - 1] != '\n')
        return -EBADMSG;
    for (size_t i = 0; i + 1 < t->n; i++)
        if (fl_hex_value(t->kept[i]) < 0)
            return -EBADMSG;
    memcpy(out, t->kept, t->n - 1);
    out[t->n - 1] = '\0';
    return 0;
}
