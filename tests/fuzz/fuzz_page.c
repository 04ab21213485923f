/* Page tokens with any content, as only we could have sealed it: a plane of another version may
 * have. The first byte picks a list ('0' is the first), the rest is what the token holds. The next
 * page, or a refusal with a name; and so on to a last page. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/log.h"
#include "server/api/registry.h"
#include "server/call.h"
#include "tests/server/fixture.h"

#define ANSWER_MAX_BYTES (1 << 20)
#define MAX_PAGES        20 /* of a plane that holds three of each */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_fixture fixture;

/* Named as in the token; what else the request takes. */
static const struct {
    const char *op, *request;
} lists[] = {
    { "DescribeActivations", "" },
    { "DescribeInstanceInformation", "" },
    { "ListCommands", "" },
    { "ListCommandInvocations", "" },
    { "ListNodes", "" },
    { "ListNodesSummary",
      "\"Aggregators\":[{\"AggregatorType\":\"Count\",\"TypeName\":\"Instance\","
      "\"AttributeName\":\"PlatformType\"}]," },
    { "ListDocuments", "" },
};

static void tear_down(void)
{
    fl_fixture_close(&fixture);
}

static void set_up(void)
{
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    fl_fixture_open(&fixture);
    for (int i = 0; i < 3; i++) {
        char request[256];

        fl_fixture_ok(&fixture, "CreateActivation", "{\"IamRole\":\"fleet\"}");
        snprintf(request, sizeof(request),
                 "{\"InstanceIds\":[\"%s\"],\"DocumentName\":\"AWS-RunShellScript\","
                 "\"Parameters\":{\"commands\":[\"id\"]}}",
                 fl_fixture_node(&fixture, "Prod"));
        fl_fixture_ok(&fixture, "SendCommand", request);
    }
    /* OpenSSL has been used by now: it cleans up after us, not before the writer's thread ends. */
    atexit(tear_down);
}

static const struct fl_op *find_op(const char *name)
{
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n_ops; i++)
            if (strcmp((*t)->ops[i].name, name) == 0)
                return &(*t)->ops[i];
    abort();
}

struct job {
    size_t list;
    const char *after;
};

struct page {
    char *next_token;
};
static const struct fl_field page_fields[] = { FL_FIELD(struct page, next_token, "NextToken", 0) };
static const struct fl_shape page_shape = FL_SHAPE(struct page, "Page", page_fields);

static int run(struct fl_call *call, void *arg)
{
    const struct job *job = arg;
    const struct fl_op *op = find_op(lists[job->list].op);
    struct page at = { fl_page_token_encode(call, op->name, job->after) };

    for (int n = 0; at.next_token; n++) {
        fl_autobuf struct fl_buf answer = FL_BUF(ANSWER_MAX_BYTES);
        const char *request = fl_arena_printf(call->arena, "{%s\"NextToken\":\"%s\"}",
                                              lists[job->list].request, at.next_token);
        void *in = fl_arena_calloc(call->arena, 1, op->in->size);
        void *out = fl_arena_calloc(call->arena, 1, op->out->size);
        struct fl_err err = { 0 };

        if (!request || !in || !out || n > MAX_PAGES ||
            fl_json_decode(op->in, request, strlen(request), 0, call->arena, in, &err) < 0)
            abort();
        if (fl_call_check(op, call->who, in, &err) < 0)
            break; /* longer than a token may be */
        if (op->fn(call, in, out, &err) < 0) {
            if (!err.name || !err.text[0])
                abort();
            break;
        }
        if (fl_json_encode(op->out, out, &answer) < 0 ||
            fl_json_decode(&page_shape, answer.data, answer.len, FL_DECODE_LAX, call->arena, &at,
                           &err) < 0)
            abort();
    }
    return -ECANCELED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *after = size ? strndup((const char *)data + 1, size - 1) : NULL;
    struct job job;

    if (!after)
        return 0;
    if (!fixture.dir[0])
        set_up();
    job = (struct job){ (uint8_t)(data[0] - '0') % FL_ARRAY_LEN(lists), after };
    if (fl_fixture_run(&fixture, FL_LANE_WRITE, run, &job) != -ECANCELED)
        abort();
    return 0;
}
