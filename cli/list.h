/* list.h - operations that list: page after page, to a table or as JSON, one object a line. */
#pragma once
#include "cli/table.h"

struct fl_list {
    const char *operation;
    const char *key;              /* the answer's list */
    const struct fl_shape *shape; /* of an item */
    const struct fl_column *columns;
    size_t n_columns;
    uint32_t page; /* MaxResults; 0: not sent */
    size_t limit;  /* fl_list_print stops after so many; 0: all */
};

/* Called for each item; below 0 ends the list with that, above 0 without. `json` is a json_t. */
typedef int (*fl_list_fn)(void *arg, const void *item, const void *json);

/* Calls the operation with `query` (JSON object text, "{}" for none) until there is no next page;
 * an item lives as long as its page. */
int fl_list_each(struct fl_cli *cli, const struct fl_list *l, const char *query, fl_list_fn fn,
                 void *arg, struct fl_err *err);

/* All of it, or `limit` items, to standard output. Items that `keep` (may be NULL) answers false to
 * are left out. The exit status. */
int fl_list_print(struct fl_cli *cli, const struct fl_list *l, const char *query,
                  bool (*keep)(void *arg, const void *item), void *arg);

/* A json_t as one line on standard output. */
int fl_print_json(const void *json);

/* An answer as it is (--json), on one line. */
int fl_print_answer(const char *text);
