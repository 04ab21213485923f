/* table.c - see table.h. */
#include "cli/table.h"
#include <errno.h>
#include <libsmartcols.h>
#include <string.h>
#include <time.h>
#include "cli/term.h"
#include "common/base/clock.h"

#define CUT_HINT 0.1 /* of the width, before the rest is shared out */

struct fl_table {
    struct libscols_table *tb;
    const struct fl_column *columns;
    size_t n;
};

void fl_when(int64_t ms, char out[FL_WHEN_BYTES])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (isatty(STDOUT_FILENO) && localtime_r(&seconds, &tm))
        strftime(out, FL_WHEN_BYTES, "%Y-%m-%d %H:%M:%S", &tm);
    else
        fl_time_iso_seconds(ms, out);
}

void fl_size(double bytes, char out[FL_SIZE_BYTES])
{
    static const char units[] = "BKMGTPE";
    size_t unit = 0;

    bytes = bytes > 0 ? bytes : 0;
    /* 999.5 would be written with four digits */
    for (; bytes >= (unit ? 999.5 : 1000) && unit + 2 < sizeof(units); unit++)
        bytes /= 1024;
    if (unit == 0)
        snprintf(out, FL_SIZE_BYTES, "%.0f", bytes);
    else
        snprintf(out, FL_SIZE_BYTES, bytes < 9.95 ? "%.1f%c" : "%.0f%c", bytes, units[unit]);
}

static char *join(const struct fl_strs *list)
{
    struct fl_buf out = FL_BUF(65536);

    for (size_t i = 0; i < list->n; i++)
        if (fl_buf_printf(&out, "%s%s", i ? "," : "", list->v[i]) < 0)
            break; /* what fits is shown */
    return fl_buf_take(&out, NULL);
}

int fl_column_text(const struct fl_column *c, const void *item, char **ret_text)
{
    const void *at = (const char *)item + c->offset;
    char text[FL_WHEN_BYTES] = "";

    switch (c->kind) {
    case FL_KIND_STR:
        *ret_text = strdup(*(char *const *)at ? *(char *const *)at : "");
        break;
    case FL_KIND_STRS:
        *ret_text = join(at);
        break;
    case FL_KIND_TIME:
        if (((const struct fl_time *)at)->ms)
            fl_when(((const struct fl_time *)at)->ms, text);
        *ret_text = strdup(text);
        break;
    case FL_KIND_BOOL:
        *ret_text = strdup(*(const bool *)at ? "yes" : "no");
        break;
    case FL_KIND_I32:
        snprintf(text, sizeof(text), "%d", *(const int32_t *)at);
        *ret_text = strdup(text);
        break;
    case FL_KIND_I64:
        snprintf(text, sizeof(text), "%lld", (long long)*(const int64_t *)at);
        *ret_text = strdup(text);
        break;
    default:
        return -EINVAL;
    }
    return *ret_text ? 0 : -ENOMEM;
}

int fl_table_new(const struct fl_cli *cli, const struct fl_column *columns, size_t n,
                 struct fl_table **ret_table)
{
    struct fl_table *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    scols_init_debug(0);
    t->tb = scols_new_table();
    r = t->tb ? scols_table_set_column_separator(t->tb, "  ") : -ENOMEM;
    t->columns = columns;
    t->n = n;
    if (r == 0)
        r = scols_table_enable_noheadings(t->tb, cli->no_headers);
    for (size_t i = 0; i < n && r == 0; i++) {
        bool number =
            columns[i].right || columns[i].kind == FL_KIND_I32 || columns[i].kind == FL_KIND_I64;
        int flags = number ? SCOLS_FL_RIGHT : columns[i].cut ? SCOLS_FL_TRUNC : 0;

        if (!scols_table_new_column(t->tb, columns[i].title, columns[i].cut ? CUT_HINT : 1, flags))
            r = -ENOMEM;
    }
    if (r < 0) {
        fl_table_free(t);
        return r;
    }
    *ret_table = t;
    return 0;
}

struct fl_table *fl_table_free(struct fl_table *t)
{
    if (t)
        scols_unref_table(t->tb);
    free(t);
    return NULL;
}

int fl_table_add(struct fl_table *t, const void *item)
{
    struct libscols_line *line = scols_table_new_line(t->tb, NULL);
    int r = line ? 0 : -ENOMEM;

    for (size_t i = 0; i < t->n && r == 0; i++) {
        char *text = NULL;

        r = fl_column_text(&t->columns[i], item, &text);
        if (r == 0 && !*text) {
            free(text);
            text = strdup("-"); /* so that awk and people count the same columns */
        }
        if (r == 0)
            r = text ? scols_line_refer_data(line, i, text) : -ENOMEM;
    }
    return r;
}

int fl_table_print(struct fl_table *t)
{
    fl_progress("%s", "");
    return scols_print_table(t->tb);
}

int fl_table_print_one(const struct fl_cli *cli, const struct fl_column *columns, size_t n,
                       const void *item)
{
    int width = 0;

    (void)cli;
    for (size_t i = 0; i < n; i++)
        width = FL_MAX(width, (int)strlen(columns[i].title));
    for (size_t i = 0; i < n; i++) {
        fl_autofree char *text = NULL;
        int r = fl_column_text(&columns[i], item, &text);

        if (r < 0)
            return r;
        if (!*text)
            continue;
        printf("%-*s  ", width, columns[i].title);
        fl_put_text(stdout, text);
        fputc('\n', stdout);
    }
    return 0;
}
