/* What the control channel brings, past the frame's header: a type (up to the first newline) and a
 * payload. Whatever it is, what comes out is bounded and the ids in it are of harmless characters.
 */
#include <string.h>
#include "agent/net/dispatch.h"
#include "common/wire/datachannel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_out;

static void out_send(void *arg, const char *type, const char *payload, size_t len)
{
    n_out++;
    if (strlen(payload) != len)
        abort();
}

static int out_job(void *arg, const struct fl_net_job *job)
{
    n_out++;
    if (!job->job_id || !job->content || strlen(job->command_id) > 100 ||
        strchr(job->command_id, '/') || job->command_id[0] == '.' || !job->command_id[0] ||
        job->cancel != (job->cancel_job_id != NULL))
        abort();
    return 0;
}

static void out_acked(void *arg, const char *message_id)
{
    n_out++;
    if (!fl_uuid_valid(message_id))
        abort();
}

static void out_audit(void *arg, const char *event, const char *subject, const char *detail)
{
    n_out++;
}

static int out_session(void *arg, const struct fl_net_session *session)
{
    n_out++;
    if (!fl_session_id_valid(session->session_id) || !session->content)
        abort();
    return 0;
}

static void out_session_close(void *arg, const char *session_id)
{
    n_out++;
    if (!fl_session_id_valid(session_id))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fl_dispatch_out out = {
        .send = out_send,
        .job = out_job,
        .acked = out_acked,
        .session = out_session,
        .session_close = out_session_close,
        .task_acked = out_acked,
        .audit = out_audit,
    };
    fl_autobuf struct fl_buf wire = FL_BUF(1 << 22);
    struct fl_dispatch d = { .node_id = "mi-1", .agent_version = "1", .out = &out };
    const uint8_t *end = memchr(data, '\n', size);
    struct fl_frame f = { .schema_version = 1, .created_ms = 1 };
    size_t type_len = end ? (size_t)(end - data) : 0;

    if (!end || type_len == 0 || type_len > FL_FRAME_TYPE_BYTES)
        return 0;
    memcpy(f.type, data, type_len);
    f.payload = (const char *)end + 1;
    f.payload_len = size - type_len - 1;
    if (fl_frame_encode(&f, &wire) < 0)
        return 0;
    n_out = 0;
    fl_dispatch_message(&d, wire.data, wire.len);
    if (n_out > 3)
        abort();
    return 0;
}
