/* fleet.c - see fleet.h. */
#include "cli/fleet.h"
#include <errno.h>
#include <string.h>
#include "cli/nodes.h"
#include "cli/send.h"
#include "common/codec/json_load.h"

#define DOCUMENT_PREFIX "AWSFleetManager-"
#define ARENA_BYTES     (8 << 20)
#define ROWS_BYTES      (256 << 20) /* of all pages */
#define PAGES_MAX       10000       /* a node that never ends its list ends here */
#define DELIVERY_S      30 /* a person is waiting, and a node that is not there will not answer */
#define TOKEN           "NextToken"

/* ---- nodes ---- */

int fl_fleet_find(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                  struct fl_fleet_node *ret_node, struct fl_err *err)
{
    struct fl_strs ids = { 0 };
    int r = fl_nodes_find(cli, (char *const *)&word, 1, arena, &ids, err);

    if (r < 0)
        return r;
    if (ids.n != 1)
        return fl_err_set(err, -EINVAL, NULL, "\"%s\" means %zu nodes, not one", word, ids.n);
    *ret_node = (struct fl_fleet_node){ ids.v[0], word };
    return 0;
}

int fl_fleet_find_path(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                       struct fl_fleet_node *ret_node, const char **ret_path, struct fl_err *err)
{
    const char *mark = strstr(word, ":/");
    char *name = mark ? fl_arena_memdup(arena, word, (size_t)(mark - word)) : NULL;

    if (!mark || mark == word)
        return fl_err_set(err, -EINVAL, NULL, "\"%s\" is not NODE:/PATH", word);
    if (!name)
        return -ENOMEM;
    *ret_path = mark + 1;
    return fl_fleet_find(cli, name, arena, ret_node, err);
}

/* ---- answers ---- */

/* Of a step that gave no answer: its first line that says something. */
static int no_answer(const char *label, const struct fl_outcome *o, struct fl_err *err)
{
    const char *texts[] = { o->error, o->out };
    const char *details = o->details && *o->details ? o->details : o->status;

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        const char *text = texts[i] ? texts[i] + strspn(texts[i], "\r\n ") : "";

        if (*text)
            return fl_err_set(err, -EREMOTE, NULL, "%s: %s: %.*s", label, details,
                              (int)strcspn(text, "\r\n"), text);
    }
    return fl_err_set(err, -EREMOTE, NULL, "%s: %s%s", label, details,
                      o->status && strcmp(o->status, "Success") == 0 ? ": nothing was put out"
                                                                     : "");
}

int fl_fleet_read(const char *label, const struct fl_outcome *o, json_t **ret_data,
                  struct fl_err *err)
{
    json_t *answer = fl_json_load_text(o->out, 0, NULL);
    json_t *data = json_object_get(answer, "data");
    const char *error = json_string_value(json_object_get(answer, "error"));
    int r = 0;

    if (error && *error)
        r = fl_err_set(err, -EREMOTE, NULL, "%s: %s", label, error);
    else if (!json_is_array(json_object_get(data, "results")))
        r = no_answer(label, o, err);
    else
        *ret_data = json_incref(data);
    json_decref(answer);
    return r;
}

struct asking {
    const char *label;
    json_t *data;
    struct fl_err err;
    int r;
};

static int take(void *arg, const struct fl_outcome *o)
{
    struct asking *a = arg;

    a->r = fl_fleet_read(a->label, o, &a->data, &a->err);
    return 0;
}

static int parameters(const struct fl_fleet_ask *ask, struct fl_arena *arena, char **ret_text,
                      struct fl_err *err)
{
    json_t *all = json_object();
    char *text = NULL;
    int r = all ? 0 : -ENOMEM;

    for (size_t i = 0; i < ask->n_params && r == 0; i++) {
        const struct fl_fleet_param *p = &ask->params[i];
        json_t *list = json_object_get(all, p->name);

        if (!list && json_object_set_new(all, p->name, list = json_array()) < 0)
            r = -ENOMEM;
        else if (json_array_append_new(list, json_string(p->value)) < 0)
            r = fl_err_set(err, -EINVAL, NULL, "\"%s\" is not UTF-8", p->value);
    }
    if (r == 0)
        text = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (r < 0)
        return r;
    *ret_text = fl_arena_strdup(arena, text);
    free(text);
    return *ret_text ? 0 : -ENOMEM;
}

int fl_fleet_call(struct fl_cli *cli, const struct fl_fleet_node *node,
                  const struct fl_fleet_ask *ask, json_t **ret_data, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct asking a = { .label = node->label, .r = -EREMOTE };
    struct fl_follow f = { .yes = true, .quiet = ask->quiet, .take = take, .take_arg = &a };
    struct fl_send in = { .document = fl_arena_printf(&arena, DOCUMENT_PREFIX "%s", ask->document),
                          .nodes = { (char **)&node->id, 1 }, /* only read */
                          .timeout_s = DELIVERY_S };
    int r = in.document ? parameters(ask, &arena, &in.parameters.text, err) : -ENOMEM;

    if (r == 0)
        r = fl_send_and_follow(cli, &in, &f, false, &arena, err);
    if (r >= 0 && f.cancelled) {
        r = -EINTR;
    } else if (r >= 0) {
        r = a.r;
        if (r < 0 && err)
            *err = a.err;
    }
    if (r < 0) {
        json_decref(a.data);
        return r;
    }
    *ret_data = a.data;
    return 0;
}

/* ---- tables ---- */

struct row {
    void *item;
    json_t *json;
};

struct table {
    const struct fl_fleet_list *l;
    const void *options;
    struct fl_arena arena; /* of items */
    struct row *v;
    size_t n, room;
};

static int add_row(struct table *t, const json_t *json, struct fl_err *err)
{
    void *item = fl_arena_alloc(&t->arena, t->l->shape->size);

    if (!item)
        return -ENOMEM;
    if (fl_json_decode_value(t->l->shape, json, FL_DECODE_LAX, &t->arena, item, err) < 0)
        return -EREMOTE;
    if (t->l->keep && !t->l->keep(t->options, item))
        return 0;
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 256;
        struct row *more = realloc(t->v, room * sizeof(*more));

        if (!more)
            return -ENOMEM;
        t->v = more;
        t->room = room;
    }
    t->v[t->n++] = (struct row){ item, json_incref((json_t *)json) };
    return 0;
}

/* Page after page. */
static int read_rows(struct fl_cli *cli, const struct fl_fleet_node *node,
                     const struct fl_fleet_ask *ask, struct table *t, struct fl_err *err)
{
    fl_autofree struct fl_fleet_param *params = calloc(ask->n_params + 1, sizeof(*params));
    const struct fl_fleet_ask page = { ask->document, params, ask->n_params + 1, ask->quiet };
    fl_autofree char *token = NULL;
    int r = params ? 0 : -ENOMEM;

    if (r == 0 && ask->n_params)
        memcpy(params, ask->params, ask->n_params * sizeof(*params));
    for (unsigned n = 0; r == 0 && n < PAGES_MAX; n++) {
        const char *next;
        json_t *data = NULL, *row;
        size_t i;

        params[ask->n_params] = (struct fl_fleet_param){ TOKEN, token ? token : "*" };
        r = fl_fleet_call(cli, node, &page, &data, err);
        json_array_foreach(json_object_get(data, "results"), i, row)
        {
            if (r == 0)
                r = add_row(t, row, err);
        }
        next = json_string_value(json_object_get(data, "nextToken"));
        if (next && token && strcmp(next, token) == 0)
            next = NULL;
        free(token);
        token = next ? strdup(next) : NULL;
        json_decref(data);
        if (!token)
            break;
    }
    return r;
}

static int compare_rows(const void *a, const void *b, void *arg)
{
    const struct fl_fleet_order *order = arg;

    return order->compare(((const struct row *)a)->item, ((const struct row *)b)->item);
}

static int print_rows(const struct fl_cli *cli, const struct table *t, size_t limit)
{
    size_t n = limit ? FL_MIN(t->n, limit) : t->n;
    struct fl_table *out = NULL;
    int r = fl_table_new(cli, t->l->columns, t->l->n_columns, &out);

    for (size_t i = 0; i < n && r == 0; i++) {
        t->l->fill(t->v[i].item);
        r = cli->json ? fl_print_json(t->v[i].json) : fl_table_add(out, t->v[i].item);
    }
    if (r == 0 && n && !cli->json)
        r = fl_table_print(out);
    fl_table_free(out);
    return r;
}

const struct fl_fleet_order *fl_fleet_order(const struct fl_fleet_list *l, const char *word)
{
    for (size_t i = 0; i < l->n_orders; i++)
        if (!word || strcmp(l->orders[i].word, word) == 0)
            return &l->orders[i];
    return NULL;
}

int fl_fleet_print(struct fl_cli *cli, const struct fl_fleet_node *node,
                   const struct fl_fleet_ask *ask, const struct fl_fleet_list *l,
                   const struct fl_fleet_order *order, const void *options, size_t limit,
                   struct fl_err *err)
{
    struct table t = { .l = l, .options = options, .arena = FL_ARENA(ROWS_BYTES) };
    int r = read_rows(cli, node, ask, &t, err);

    if (r == 0 && t.n)
        qsort_r(t.v, t.n, sizeof(*t.v), compare_rows, (void *)order);
    if (r == 0)
        r = print_rows(cli, &t, limit);
    for (size_t i = 0; i < t.n; i++)
        json_decref(t.v[i].json);
    free(t.v);
    fl_arena_done(&t.arena);
    return r;
}

int fl_fleet_fail(int r, struct fl_err *err)
{
    int status;

    if (r == -EINTR || r == -EPIPE) /* or whoever read it has enough */
        return FL_EXIT_INTERRUPTED;
    status = fl_cli_failed_input(r, err);
    return r == -EREMOTE ? FL_EXIT_FAILED : status;
}
