/* nodes.c - `fairlead nodes`: the managed nodes as a table. */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "common/codec/codec.h"

#define MAX_PAGE_MEMORY (8 << 20)

struct node {
    char *id, *ping, *name, *computer, *ip, *platform, *version, *agent;
};
#define F(member, key) FL_FIELD(struct node, member, key, 0)
static const struct fl_field node_fields[] = {
    F(id, "InstanceId"),           F(ping, "PingStatus"),    F(name, "Name"),
    F(computer, "ComputerName"),   F(ip, "IPAddress"),       F(platform, "PlatformName"),
    F(version, "PlatformVersion"), F(agent, "AgentVersion"),
};
#undef F
static const struct fl_shape node_shape = FL_SHAPE(struct node, "InstanceInformation", node_fields);

struct page {
    struct node *nodes;
    size_t n_nodes;
    char *next;
};
static const struct fl_field page_fields[] = {
    FL_FIELD_LIST(struct page, nodes, n_nodes, "InstanceInformationList", 0, &node_shape),
    FL_FIELD(struct page, next, "NextToken", 0),
};
static const struct fl_shape page_shape =
    FL_SHAPE(struct page, "DescribeInstanceInformation", page_fields);

struct query {
    int32_t max;
    char *next;
};
static const struct fl_field query_fields[] = {
    FL_FIELD(struct query, max, "MaxResults", 0),
    FL_FIELD(struct query, next, "NextToken", 0),
};
static const struct fl_shape query_shape =
    FL_SHAPE(struct query, "DescribeInstanceInformation", query_fields);

static const char *or_dash(const char *s)
{
    return s && *s ? s : "-";
}

static void print_page(const struct page *p)
{
    for (size_t i = 0; i < p->n_nodes; i++) {
        const struct node *n = &p->nodes[i];

        printf("%-20s  %-14s  %-20s  %-24s  %-15s  %s %s\n", or_dash(n->id), or_dash(n->ping),
               or_dash(n->name), or_dash(n->computer), or_dash(n->ip), or_dash(n->platform),
               n->version ? n->version : "");
    }
}

static int run_nodes(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autofree char *next = NULL;
    struct fl_err err = { 0 };

    (void)options;
    (void)args;
    if (!cli->json)
        printf("%-20s  %-14s  %-20s  %-24s  %-15s  %s\n", "NODE", "PING", "NAME", "COMPUTER",
               "ADDRESS", "PLATFORM");
    do {
        fl_autoarena struct fl_arena arena = FL_ARENA(MAX_PAGE_MEMORY);
        fl_autobuf struct fl_buf body = FL_BUF(65536);
        fl_autofree char *answer = NULL;
        struct query q = { .max = 50, .next = next };
        struct page page;

        if (fl_json_encode(&query_shape, &q, &body) < 0 ||
            fl_cli_call(cli, "DescribeInstanceInformation", body.data, &answer, &err) < 0 ||
            fl_json_decode(&page_shape, answer, strlen(answer), 0, &arena, &page, &err) < 0)
            return fl_cli_fail(&err);
        if (cli->json)
            printf("%s\n", answer); /* one page a line */
        else
            print_page(&page);
        free(next);
        next = page.next && *page.next ? strdup(page.next) : NULL;
    } while (next);
    return 0;
}

const struct fl_command fl_cmd_nodes = {
    .name = "nodes",
    .args = "",
    .summary = "List the managed nodes",
    .run = run_nodes,
};
