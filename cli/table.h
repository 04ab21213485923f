/* table.h - columns for people: a list of structs printed by a table of its members.
 *
 * On a terminal the lines fit its width; in a pipe or file nothing is cut, and there are no escape
 * codes anywhere. libsmartcols does the layout; this is the only module that sees it.
 */
#pragma once
#include "cli/cli.h"

struct fl_column {
    const char *title; /* "NODE" */
    size_t offset;     /* of the member */
    uint8_t kind;      /* enum fl_kind: text, number, flag, time or list of texts */
    bool cut;          /* may be cut short where the terminal is narrow */
    bool right;        /* a text that is a number */
};

/*     FL_COLUMN("NODE", struct node, id) */
#define FL_COLUMN(column_title, type, member)                      \
    {                                                              \
        .title = (column_title), .offset = offsetof(type, member), \
        .kind = FL_KIND_OF(type, member)                           \
    }
#define FL_COLUMN_CUT(column_title, type, member)                  \
    {                                                              \
        .title = (column_title), .offset = offsetof(type, member), \
        .kind = FL_KIND_OF(type, member), .cut = true              \
    }
#define FL_COLUMN_RIGHT(column_title, type, member)                \
    {                                                              \
        .title = (column_title), .offset = offsetof(type, member), \
        .kind = FL_KIND_OF(type, member), .right = true            \
    }

struct fl_table;

/* `columns` must outlive the table. */
int fl_table_new(const struct fl_cli *cli, const struct fl_column *columns, size_t n,
                 struct fl_table **ret_table);
struct fl_table *fl_table_free(struct fl_table *t);

/* Adds a row: texts are copied. */
int fl_table_add(struct fl_table *t, const void *item);
int fl_table_print(struct fl_table *t);

/* One thing: a line "Title  value" for each column that has a value. */
int fl_table_print_one(const struct fl_cli *cli, const struct fl_column *columns, size_t n,
                       const void *item);

/* A member as it stands in a cell, "" if it is absent. -ENOMEM. */
int fl_column_text(const struct fl_column *c, const void *item, char **ret_text);

/* "2026-01-02 03:04:05", local time; UTC with Z where output is no terminal. */
#define FL_WHEN_BYTES 32
void fl_when(int64_t ms, char out[FL_WHEN_BYTES]);

/* "0", "999", "1.0K", "12K", "1.5G": bytes in powers of 1024, four characters at most. */
#define FL_SIZE_BYTES 8
void fl_size(double bytes, char out[FL_SIZE_BYTES]);
