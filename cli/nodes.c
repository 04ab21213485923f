/* nodes.c - `fairlead nodes`, `fairlead node …`, and nodes by name. */
#include "cli/nodes.h"
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>
#include "cli/command.h"
#include "cli/filter.h"
#include "cli/tags.h"
#include "cli/term.h"

#define MAX_QUERY_BYTES 65536
#define MAX_FILTERS     10
#define ARENA_BYTES     (4 << 20)
#define WATCH_MS        5000

#define F(member, key) FL_FIELD(struct fl_node, member, key, 0)
static const struct fl_field node_fields[] = {
    F(id, "InstanceId"),
    F(ping, "PingStatus"),
    F(name, "Name"),
    F(computer, "ComputerName"),
    F(ip, "IPAddress"),
    F(platform, "PlatformName"),
    F(platform_type, "PlatformType"),
    F(version, "PlatformVersion"),
    F(agent, "AgentVersion"),
    F(activation, "ActivationId"),
    F(role, "IamRole"),
    F(seen, "LastPingDateTime"),
    F(registered, "RegistrationDate"),
};
#undef F
static const struct fl_shape node_shape =
    FL_SHAPE(struct fl_node, "InstanceInformation", node_fields);

#define C(title, member)     FL_COLUMN(title, struct fl_node, member)
#define C_CUT(title, member) FL_COLUMN_CUT(title, struct fl_node, member)
static const struct fl_column node_columns[] = {
    C("NODE", id),         C("STATUS", ping),
    C_CUT("NAME", name),   C_CUT("COMPUTER", computer),
    C("ADDRESS", ip),      C_CUT("PLATFORM", platform),
    C("VERSION", version), C("AGENT", agent),
};
static const struct fl_column one_columns[] = {
    C("Node", id),
    C("Status", ping),
    C("Name", name),
    C("Computer", computer),
    C("Address", ip),
    C("Platform", platform),
    C("Version", version),
    C("Kind", platform_type),
    C("Agent", agent),
    C("Last seen", seen),
    C("Registered", registered),
    C("Activation", activation),
    C("Role", role),
    C("Tags", tags),
};
#undef C
#undef C_CUT

const struct fl_list fl_node_list = {
    .operation = "DescribeInstanceInformation",
    .key = "InstanceInformationList",
    .shape = &node_shape,
    .columns = node_columns,
    .n_columns = FL_ARRAY_LEN(node_columns),
    .page = 50,
};

/* ---- queries ---- */

struct query {
    struct fl_filter *filters;
    size_t n_filters;
};
static const struct fl_field query_fields[] = {
    FL_FIELD_LIST(struct query, filters, n_filters, "Filters", 0, &fl_filter_shape),
};
static const struct fl_shape query_shape = FL_SHAPE(struct query, "query", query_fields);

struct nodes_options {
    bool online, offline, watch;
    const char *platform;
    struct fl_texts tags, filters;
    struct fl_seconds interval;
};

/* "KEY=VALUE,VALUE" into a filter. */
static int add_filter(struct query *q, const char *prefix, const char *word, struct fl_arena *arena)
{
    const char *mark = strchr(word, '=');
    struct fl_filter *f = &q->filters[q->n_filters];

    if (!mark || mark == word || q->n_filters == MAX_FILTERS)
        return -EINVAL;
    f->key = fl_arena_printf(arena, "%s%.*s", prefix, (int)(mark - word), word);
    if (!f->key)
        return -ENOMEM;
    q->n_filters++;
    return fl_strs_add_each(&f->values, mark + 1, arena);
}

static int add_filters(struct query *q, const char *prefix, const struct fl_texts *words,
                       struct fl_arena *arena, const char **ret_bad)
{
    for (size_t i = 0; i < words->n; i++)
        if (add_filter(q, prefix, words->v[i], arena) < 0) {
            *ret_bad = words->v[i];
            return -EINVAL;
        }
    return 0;
}

struct keeping {
    const struct nodes_options *o;
    const struct fl_args *words;
};

static bool fits(const char *pattern, const char *text)
{
    return text && fnmatch(pattern, text, 0) == 0;
}

static bool node_fits(const char *word, const struct fl_node *n)
{
    return fits(word, n->id) || fits(word, n->name) || fits(word, n->computer);
}

static bool keep_node(void *arg, const void *item)
{
    const struct keeping *k = arg;
    const struct fl_node *n = item;
    bool online = n->ping && strcmp(n->ping, "Online") == 0;
    bool wanted = k->words->n == 0;

    if ((k->o->online && !online) || (k->o->offline && online))
        return false;
    if (k->o->platform &&
        !(n->platform_type && strcasecmp(n->platform_type, k->o->platform) == 0) &&
        !(n->platform && strcasecmp(n->platform, k->o->platform) == 0))
        return false;
    for (size_t i = 0; i < k->words->n && !wanted; i++)
        wanted = node_fits(k->words->v[i], n);
    return wanted;
}

static const struct fl_opt nodes_options[] = {
#define O(...) FL_OPT(struct nodes_options, __VA_ARGS__)
    O(online, 0, "online", NULL, "those that are connected"),
    O(offline, 0, "offline", NULL, "those that are not"),
    O(platform, 0, "platform", "NAME", "those of a platform: Linux, Windows, MacOS, or as listed"),
    O(tags, 't', "tag", "KEY=VALUE", "those with a tag; VALUE,VALUE for one of several"),
    O(filters, 'f', "filter", "KEY=VALUE",
      "a filter of the API, such as PingStatus=Online; not together with --tag"),
    O(watch, 'w', "watch", NULL, "again and again, until Ctrl-C"),
    O(interval, 'i', "interval", "TIME", "with --watch: so often; 5s without"),
#undef O
};

extern const struct fl_command fl_cmd_nodes;

/* Once, or until it fails or nobody reads it any more. */
static int list_nodes(struct fl_cli *cli, const char *query, struct keeping *k)
{
    const struct nodes_options *o = k->o;
    uint32_t pause_ms = o->interval.set ? (uint32_t)(1000 * FL_MIN(o->interval.v, 3600)) : WATCH_MS;
    const bool never = false;
    int status;

    if (!o->watch)
        return fl_list_print(cli, &fl_node_list, query, keep_node, k);
    for (bool first = true;; first = false) {
        if (!cli->json)
            fl_screen_next(first);
        status = fl_list_print(cli, &fl_node_list, query, keep_node, k);
        if (status != FL_EXIT_OK)
            return status;
        if (fl_flush() < 0)
            return FL_EXIT_INTERRUPTED;
        fl_cli_wait(cli, &never, FL_MAX(pause_ms, 1000));
    }
}

static int run_nodes(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(MAX_QUERY_BYTES);
    const struct nodes_options *o = options;
    struct fl_filter filters[MAX_FILTERS] = { 0 };
    struct query q = { .filters = filters };
    struct keeping k = { o, args };
    const char *bad = NULL;

    if (add_filters(&q, "tag:", &o->tags, &arena, &bad) < 0 ||
        add_filters(&q, "", &o->filters, &arena, &bad) < 0)
        return fl_usage(&fl_cmd_nodes, "\"%s\" is not KEY=VALUE, or one too many", bad);
    if (fl_json_encode(&query_shape, &q, &body) < 0)
        return fl_usage(&fl_cmd_nodes, "too many filters");
    return list_nodes(cli, body.data, &k);
}

const struct fl_command fl_cmd_nodes = {
    .name = "nodes",
    .args = "[NAME...]",
    .summary = "List the managed nodes",
    .text = "NAME is an id, the name of a node or of its computer, or a pattern such as 'web*'.",
    FL_OPTIONS(struct nodes_options, nodes_options),
    .max_args = FL_ARGS_ANY,
    .complete = FL_COMPLETE_NODE,
    .run = run_nodes,
};

/* ---- nodes by name ---- */

bool fl_node_is_id(const char *word)
{
    return strncmp(word, "mi-", 3) == 0 || strncmp(word, "i-", 2) == 0;
}

struct finding {
    char *const *words;
    size_t n_words;
    size_t *hits; /* of each word */
    struct fl_arena *arena;
    struct fl_strs *ids;
};

static int add_id(struct finding *f, const char *id)
{
    for (size_t i = 0; i < f->ids->n; i++)
        if (strcmp(f->ids->v[i], id) == 0)
            return 0;
    return fl_strs_add(f->ids, id, f->arena);
}

static int find_in(void *arg, const void *item, const void *json)
{
    struct finding *f = arg;
    const struct fl_node *n = item;
    int r = 0;

    (void)json;
    for (size_t i = 0; n->id && i < f->n_words && r == 0; i++)
        if (!fl_node_is_id(f->words[i]) && node_fits(f->words[i], n)) {
            f->hits[i]++;
            r = add_id(f, n->id);
        }
    return r;
}

int fl_nodes_find(struct fl_cli *cli, char *const *words, size_t n, struct fl_arena *arena,
                  struct fl_strs *ret_ids, struct fl_err *err)
{
    size_t *hits = fl_arena_calloc(arena, n + 1, sizeof(*hits));
    struct fl_strs ids = { 0 };
    struct finding f = { words, n, hits, arena, &ids };
    bool ask = false;
    int r = hits ? 0 : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++)
        if (fl_node_is_id(words[i]))
            r = add_id(&f, words[i]);
        else
            ask = true;
    if (r == 0 && ask)
        r = fl_list_each(cli, &fl_node_list, "{}", find_in, &f, err);
    for (size_t i = 0; i < n && r == 0; i++) {
        if (fl_node_is_id(words[i]))
            continue;
        if (hits[i] == 0)
            r = fl_err_set(err, -ENOENT, NULL, "no node has the name \"%s\"", words[i]);
        else if (hits[i] > 1 && !strpbrk(words[i], "*?["))
            r = fl_err_set(err, -ENOTUNIQ, NULL,
                           "%zu nodes have the name \"%s\": give the id, or '%s*' for all of them",
                           hits[i], words[i], words[i]);
    }
    if (r == 0)
        *ret_ids = ids;
    else if (err && !err->code)
        fl_err_set(err, r, NULL, "%s", strerror(-r));
    return r;
}

int fl_node_find_one(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                     const char **ret_id, struct fl_err *err)
{
    char *copy = (char *)word; /* read alone */
    struct fl_strs ids = { 0 };
    int r = fl_nodes_find(cli, &copy, 1, arena, &ids, err);

    if (r == 0 && ids.n != 1)
        r = fl_err_set(err, -ENOTUNIQ, NULL, "\"%s\" means %zu nodes: one is needed", word, ids.n);
    if (r == 0)
        *ret_id = ids.v[0];
    return r;
}

/* ---- node show ---- */

struct tags_in {
    const char *type, *id;
};
static const struct fl_field tags_in_fields[] = {
    FL_FIELD(struct tags_in, type, "ResourceType", 0),
    FL_FIELD(struct tags_in, id, "ResourceId", 0),
};
static const struct fl_shape tags_in_shape = FL_SHAPE(struct tags_in, "tags", tags_in_fields);

struct tags_out {
    struct fl_tag *tags;
    size_t n_tags;
};
static const struct fl_field tags_out_fields[] = {
    FL_FIELD_LIST(struct tags_out, tags, n_tags, "TagList", 0, &fl_tag_shape),
};
static const struct fl_shape tags_out_shape = FL_SHAPE(struct tags_out, "tags", tags_out_fields);
static const struct fl_op op_tags = { "ListTagsForResource", &tags_in_shape, &tags_out_shape,
                                      false };

static int read_tags(struct fl_cli *cli, struct fl_node *n, struct fl_arena *arena,
                     struct fl_err *err)
{
    const struct tags_in in = { "ManagedInstance", n->id };
    struct tags_out out = { 0 };
    int r = fl_api_call(cli, &op_tags, &in, arena, &out, err);

    if (r == 0)
        n->tags.v = fl_arena_calloc(arena, out.n_tags + 1, sizeof(char *));
    for (size_t i = 0; r == 0 && n->tags.v && i < out.n_tags; i++) {
        n->tags.v[i] = fl_arena_printf(arena, "%s=%s", out.tags[i].key, out.tags[i].value);
        if (!n->tags.v[i])
            return -ENOMEM;
        n->tags.n++;
    }
    return r;
}

struct showing {
    struct fl_cli *cli;
    struct fl_arena *arena;
    struct fl_err *err;
    bool found;
};

static int show_node(void *arg, const void *item, const void *json)
{
    struct showing *s = arg;
    struct fl_node n = *(const struct fl_node *)item;
    int r = 0;

    if (s->found)
        putchar('\n');
    s->found = true;
    if (s->cli->json)
        return fl_print_json(json);
    r = read_tags(s->cli, &n, s->arena, s->err);
    if (r == 0)
        r = fl_table_print_one(s->cli, one_columns, FL_ARRAY_LEN(one_columns), &n);
    return r;
}

static int run_node_show(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    fl_autobuf struct fl_buf body = FL_BUF(MAX_QUERY_BYTES);
    struct fl_err err = { 0 };
    struct showing s = { cli, &arena, &err, false };
    struct fl_filter filter = { .key = "InstanceIds" };
    const struct query q = { &filter, 1 };
    int r = fl_nodes_find(cli, args->v, args->n, &arena, &filter.values, &err);

    (void)options;
    if (r == 0)
        r = fl_json_encode(&query_shape, &q, &body);
    if (r == 0)
        r = fl_list_each(cli, &fl_node_list, body.data, show_node, &s, &err);
    if (r == 0 && !s.found)
        r = fl_err_set(&err, -ENOENT, NULL, "there is no node %s", args->v[0]);
    return r < 0 ? fl_cli_fail(&err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_node_show = {
    .name = "node show",
    .args = "NODE...",
    .summary = "Tell all about nodes, with their tags",
    .min_args = 1,
    .max_args = FL_NODES_MAX,
    .complete = FL_COMPLETE_NODE,
    .run = run_node_show,
};
