/* filterPattern of FilterLogEvents: the first line is a pattern, the rest a message. What is read
 * says the same when it is written out, every term in quotes, and read again. */
#include <stdlib.h>
#include <string.h>
#include "common/base/buf.h"
#include "server/api/log_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const signs[] = {
    [FL_TERM_ALL] = "", [FL_TERM_ANY] = "?", [FL_TERM_NONE] = "-"
};

/* A term with a quote in it was not in quotes, and stays so. */
static void write_term(const struct fl_log_pattern *p, size_t i, struct fl_buf *out)
{
    const char *quote = strchr(p->terms[i].text, '"') ? "" : "\"";

    if (fl_buf_printf(out, "%s%s%s%s ", signs[p->terms[i].kind], quote, p->terms[i].text, quote) <
        0)
        abort();
}

static void check_again(const struct fl_log_pattern *p, const char *message, struct fl_arena *arena)
{
    fl_autobuf struct fl_buf text = FL_BUF(8 << 20);
    struct fl_log_pattern again;

    for (size_t i = 0; i < p->n; i++)
        write_term(p, i, &text);
    if (fl_log_pattern_read(text.data, arena, &again, NULL) < 0 || again.n != p->n)
        abort();
    for (size_t i = 0; i < p->n; i++)
        if (again.terms[i].kind != p->terms[i].kind ||
            strcmp(again.terms[i].text, p->terms[i].text) != 0)
            abort();
    if (fl_log_pattern_matches(&again, message) != fl_log_pattern_matches(p, message))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
    const uint8_t *end = memchr(data, '\n', size);
    size_t line = end ? (size_t)(end - data) : size;
    char *text = fl_arena_memdup(&arena, data, line);
    char *message =
        end ? fl_arena_memdup(&arena, end + 1, size - line - 1) : fl_arena_strdup(&arena, "");
    struct fl_log_pattern p;
    struct fl_err err = { 0 };

    if (!text || !message)
        return 0;
    if (fl_log_pattern_read(text, &arena, &p, &err) == 0)
        check_again(&p, message, &arena);
    else if (!err.name || strcmp(err.name, "InvalidParameterException") != 0)
        abort();
    return 0;
}
