/* Every operation run to its end, on a small plane with an activation, two nodes and a command;
 * what it writes is rolled back. The first byte picks the operation ('0' is the first), the rest is
 * its request in JSON. It succeeds with an answer that encodes, or is refused with a name: an error
 * without one would be told as a fault of the plane. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/log.h"
#include "server/call.h"
#include "tests/fuzz/pick_op.h"
#include "tests/server/fixture.h"

#define ANSWER_MAX_BYTES (16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fl_fixture fixture;
static char node_id[24];

static void tear_down(void)
{
    fl_fixture_close(&fixture);
}

static void set_up(void)
{
    char request[256];

    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    fl_fixture_open(&fixture);
    fixture.plane.conf.output_buckets_elsewhere = true;
    fl_fixture_ok(&fixture, "CreateActivation", "{\"IamRole\":\"fleet\"}");
    /* OpenSSL has been used by now: it cleans up after us, not before the writer's thread ends. */
    atexit(tear_down);
    fl_fixture_node(&fixture, "Prod");
    snprintf(node_id, sizeof(node_id), "%s", fl_fixture_node(&fixture, "Dev"));
    snprintf(request, sizeof(request),
             "{\"InstanceIds\":[\"%s\"],\"DocumentName\":\"AWS-RunShellScript\","
             "\"Parameters\":{\"commands\":[\"id\"]}}",
             node_id);
    fl_fixture_ok(&fixture, "SendCommand", request);
}

struct job {
    const struct fl_op *op;
    const char *text;
    size_t len;
};

static int run(struct fl_call *call, void *arg)
{
    fl_autobuf struct fl_buf answer = FL_BUF(ANSWER_MAX_BYTES);
    const struct job *job = arg;
    const struct fl_op *op = job->op;
    struct fl_resources resources = { 0 };
    struct fl_err err = { 0 };
    void *in = fl_arena_alloc(call->arena, op->in->size);
    void *out = fl_arena_alloc(call->arena, op->out->size);
    int r = 0;

    if (fl_json_decode(op->in, job->text, job->len, FL_DECODE_LAX, call->arena, in, NULL) < 0 ||
        fl_call_check(op, call->who, in, &err) < 0)
        return -ECANCELED;
    if (op->resources)
        r = op->resources(call, in, &resources, &err);
    if (r >= 0)
        r = op->fn(call, in, out, &err);
    if (r < 0 ? !err.name || !err.text[0] : fl_json_encode(op->out, out, &answer) < 0)
        abort();
    return -ECANCELED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job;

    if (size == 0)
        return 0;
    if (!node_id[0])
        set_up();
    job = (struct job){ pick_op(data[0]), (const char *)data + 1, size - 1 };
    if (job.op->auth == FL_AUTH_NODE || job.op->auth == FL_AUTH_NODE_RSA)
        fl_fixture_as_node(&fixture, node_id);
    else
        fl_fixture_as_admin(&fixture);
    if (fl_fixture_run(&fixture, FL_LANE_WRITE, run, &job) != -ECANCELED)
        abort();
    return 0;
}
