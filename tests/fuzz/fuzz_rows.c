/* What `fairlead-server admin` prints of rows, whatever texts a store holds: each two lines of the
 * input are the texts of a row. As a table every row is one line without control characters; as
 * JSON it is a list that reads back as so many rows. */
#include <stdio.h>
#include <string.h>
#include "server/admin/rows.h"

#define MAX_ROWS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct row {
    char *name, *other;
    int64_t times;
    struct fl_time first;
    struct fl_raw document;
};
static const struct fl_field row_fields[] = {
    FL_FIELD(struct row, name, "Name", 0),           FL_FIELD(struct row, other, "Other", 0),
    FL_FIELD(struct row, times, "Times", FL_ALWAYS), FL_FIELD(struct row, first, "FirstSeen", 0),
    FL_FIELD(struct row, document, "Document", 0),
};
static const struct fl_shape row_shape = FL_SHAPE(struct row, "Row", row_fields);

struct list {
    struct row *rows;
    size_t n_rows;
};
static const struct fl_field list_fields[] = {
    FL_FIELD_LIST(struct list, rows, n_rows, "Rows", 0, &row_shape),
};
static const struct fl_shape list_shape = FL_SHAPE(struct list, "List", list_fields);

static char *print(const struct fl_rows *rows, bool json, size_t *ret_len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);

    if (!out)
        abort();
    if (json)
        fputs("{\"Rows\":", out);
    if (fl_rows_print(rows, json, out) < 0)
        abort();
    if (json)
        fputs("}", out);
    fclose(out);
    return text;
}

static void check_table(const char *text, size_t len, size_t n_rows)
{
    size_t lines = 0;

    for (size_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
        if (text[i] != '\n' && ((unsigned char)text[i] < ' ' || text[i] == 0x7f))
            abort();
    }
    if (lines != n_rows + 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 22);
    fl_autofree char *text = strndup((const char *)data, size);
    fl_autofree char *table = NULL, *json = NULL;
    char *rest = text;
    struct row rows[MAX_ROWS];
    struct fl_rows list = { .shape = &row_shape, .v = (char *)rows };
    struct list got = { 0 };
    size_t len;

    while (rest && list.n < MAX_ROWS) {
        struct row *row = &rows[list.n++];

        *row = (struct row){ .times = (int64_t)size, .first = { .ms = (int64_t)size * 1000 } };
        row->name = strsep(&rest, "\n");
        row->other = strsep(&rest, "\n");
        row->document = (struct fl_raw){ "{\"a\":[1]}" };
    }
    table = print(&list, false, &len);
    check_table(table, len, list.n);
    json = print(&list, true, &len);
    if (fl_json_decode(&list_shape, json, len, 0, &arena, &got, NULL) < 0 || got.n_rows != list.n)
        abort();
    return 0;
}
