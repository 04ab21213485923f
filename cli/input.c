/* input.c - see input.h. */
#include "cli/input.h"
#include <errno.h>
#include <string.h>
#include "common/base/file.h"

int fl_input_file(const char *path, size_t max_bytes, char **ret_text, struct fl_err *err)
{
    bool standard = strcmp(path, "-") == 0;
    char *text = NULL;
    size_t len = 0;
    int r = standard ? fl_fd_read_all(STDIN_FILENO, max_bytes, &text, &len)
                     : fl_file_read(path, max_bytes, &text, &len, err);

    if (r < 0)
        return standard ? fl_err_set(err, r, NULL, "standard input: %s", strerror(-r)) : r;
    if (strlen(text) != len) {
        free(text);
        return fl_err_set(err, -EILSEQ, NULL, "%s: holds a NUL, so it is no text", path);
    }
    *ret_text = text;
    return 0;
}

int fl_input_text(const char *word, size_t max_bytes, char **ret_text, struct fl_err *err)
{
    if (*word == '@')
        return fl_input_file(word + 1, max_bytes, ret_text, err);
    *ret_text = strdup(word);
    return *ret_text ? 0 : -ENOMEM;
}

int fl_shell_quote(struct fl_buf *out, const char *word, bool blank)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%_-+:,./=";
    int r = blank ? fl_buf_puts(out, " ") : 0;

    if (r == 0 && *word && !word[strspn(word, plain)])
        return fl_buf_puts(out, word);
    if (r == 0)
        r = fl_buf_puts(out, "'");
    for (; *word && r == 0; word++)
        r = *word == '\'' ? fl_buf_puts(out, "'\\''") : fl_buf_append(out, word, 1);
    return r == 0 ? fl_buf_puts(out, "'") : r;
}
