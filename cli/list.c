/* list.c - see list.h. */
#include "cli/list.h"
#include <errno.h>
#include <string.h>
#include "cli/term.h"
#include "common/codec/json_load.h"

#define PAGE_MEMORY (32 << 20)
#define PAGES_MAX   100000 /* an endpoint that never ends its list ends here */

int fl_print_json(const void *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

    if (!text)
        return -ENOMEM;
    fl_progress("%s", "");
    fl_put_json(text);
    free(text);
    return 0;
}

int fl_print_answer(const char *text)
{
    json_t *json = fl_json_load_text(text, 0, NULL);
    int r = json ? fl_print_json(json) : -EBADMSG;

    json_decref(json);
    return r;
}

static int each_of_page(const struct fl_list *l, const json_t *page, fl_list_fn fn, void *arg,
                        struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(PAGE_MEMORY);
    void *item = fl_arena_alloc(&arena, l->shape->size);
    const json_t *list = json_object_get(page, l->key);
    const json_t *json;
    size_t i;
    int r = 0;

    if (!item)
        return -ENOMEM;
    json_array_foreach((json_t *)list, i, json)
    {
        r = fl_json_decode_value(l->shape, json, FL_DECODE_LAX, &arena, item, err);
        if (r == 0)
            r = fn(arg, item, json);
        if (r)
            break;
    }
    return r;
}

/* The page's token goes into the query; false at the end, or if it is the one that was asked. */
static bool next_page(json_t *query, const json_t *page)
{
    const char *next = json_string_value(json_object_get(page, "NextToken"));
    const char *last = json_string_value(json_object_get(query, "NextToken"));

    if (!next || !*next || (last && strcmp(last, next) == 0))
        return false;
    return json_object_set_new(query, "NextToken", json_string(next)) == 0;
}

static int one_page(struct fl_cli *cli, const struct fl_list *l, json_t *query, fl_list_fn fn,
                    void *arg, bool *ret_more, struct fl_err *err)
{
    char *body = json_dumps(query, JSON_COMPACT);
    fl_autofree char *answer = NULL;
    json_t *page = NULL;
    int r = body ? fl_api_text(cli, l->operation, false, body, &answer, err) : -ENOMEM;

    free(body);
    if (r < 0)
        return r;
    page = fl_json_load_text(answer, 0, NULL);
    if (!json_is_object(page))
        r = fl_err_set(err, -EBADMSG, NULL, "%s: the answer is no JSON object", l->operation);
    else
        r = each_of_page(l, page, fn, arg, err);
    *ret_more = r == 0 && next_page(query, page);
    json_decref(page);
    return r;
}

int fl_list_each(struct fl_cli *cli, const struct fl_list *l, const char *query, fl_list_fn fn,
                 void *arg, struct fl_err *err)
{
    json_t *input = fl_json_load_text(query, 0, NULL);
    bool more = true;
    int r = json_is_object(input) ? 0 : -EINVAL;

    if (r == 0 && l->page && json_object_set_new(input, "MaxResults", json_integer(l->page)) < 0)
        r = -ENOMEM;
    for (unsigned pages = 0; r == 0 && more && pages < PAGES_MAX; pages++)
        r = one_page(cli, l, input, fn, arg, &more, err);
    json_decref(input);
    if (r < 0 && err && !err->code)
        fl_err_set(err, r, NULL, "%s: %s", l->operation, strerror(-r));
    return r < 0 ? r : 0;
}

struct printing {
    const struct fl_cli *cli;
    struct fl_table *table;
    bool (*keep)(void *arg, const void *item);
    void *arg;
    size_t limit, n;
};

static int print_item(void *arg, const void *item, const void *json)
{
    struct printing *p = arg;
    int r;

    if (p->keep && !p->keep(p->arg, item))
        return 0;
    r = p->cli->json ? fl_print_json(json) : fl_table_add(p->table, item);
    return r == 0 && ++p->n == p->limit ? 1 : r;
}

int fl_list_print(struct fl_cli *cli, const struct fl_list *l, const char *query,
                  bool (*keep)(void *arg, const void *item), void *arg)
{
    struct printing p = { .cli = cli, .keep = keep, .arg = arg, .limit = l->limit };
    struct fl_err err = { 0 };
    int r = fl_table_new(cli, l->columns, l->n_columns, &p.table);

    if (r == 0)
        r = fl_list_each(cli, l, query, print_item, &p, &err);
    if (r == 0 && !cli->json)
        r = fl_table_print(p.table);
    fl_table_free(p.table);
    return r < 0 ? fl_cli_failed(r, &err) : FL_EXIT_OK;
}
