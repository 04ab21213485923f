/* reply.c - see reply.h. */
#include "agent/monitor/reply.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/platform.h"
#include "common/base/clock.h"
#include "common/wire/control.h"

/* As struct fl_msg_step, but the texts are JSON already: a C string cannot hold their NULs. */
struct step_out {
    char *status;
    int64_t code;
    char *name;
    struct fl_raw output;
    char *start_time, *end_time, *s3_bucket, *s3_prefix, *step_name;
    struct fl_raw standard_output, standard_error;
};
#define F(member, key) FL_FIELD(struct step_out, member, key, FL_ALWAYS)
static const struct fl_field step_fields[] = {
    FL_MSG_STEP_MEMBERS(F),
};
#undef F
static const struct fl_shape step_shape = FL_SHAPE(struct step_out, "StepReply", step_fields);

static char empty[] = "", empty_json[] = "\"\"";

static char *text_or(char *s, char *otherwise)
{
    return s ? s : otherwise;
}

/* {"<key>": {…}} */
static int encode_step(const struct fl_jrec_step_done *step, struct fl_buf *out)
{
    char start[FL_ISO_BYTES], end[FL_ISO_BYTES];
    struct step_out o = {
        .status = text_or(step->status, empty),
        .code = step->code,
        .name = text_or(step->plugin, empty),
        .output = { text_or(step->output_json, empty_json) },
        .start_time = start,
        .end_time = end,
        .s3_bucket = text_or(step->s3_bucket, empty),
        .s3_prefix = text_or(step->s3_prefix, empty),
        .step_name = text_or(step->step_name, empty),
        .standard_output = { text_or(step->stdout_json, empty_json) },
        .standard_error = { text_or(step->stderr_json, empty_json) },
    };
    const char *key = text_or(step->key, empty);
    int r;

    fl_time_iso(step->start_ms, true, start);
    fl_time_iso(step->end_ms, true, end);
    r = fl_buf_puts(out, "{");
    if (r == 0)
        r = fl_json_quote(out, key, strlen(key));
    if (r == 0)
        r = fl_buf_puts(out, ":");
    if (r == 0)
        r = fl_json_encode(&step_shape, &o, out);
    return r < 0 ? r : fl_buf_puts(out, "}");
}

static int encode_counts(const struct fl_intmap *counts, struct fl_buf *out)
{
    int r = fl_buf_puts(out, "{");

    for (size_t i = 0; i < counts->n && r == 0; i++)
        r = fl_buf_printf(out, "%s\"%s\":%lld", i ? "," : "", counts->v[i].key,
                          (long long)counts->v[i].value);
    return r < 0 ? r : fl_buf_puts(out, "}");
}

/* Counts and steps are JSON text or NULL for null. */
static int encode(const struct fl_reply_agent *agent, const char *status, const char *trace,
                  char *counts, char *steps, int64_t now_ms, struct fl_buf *out)
{
    char date[FL_ISO_BYTES], wire_name[] = "amazon-ssm-agent", version[] = FL_AGENT_WIRE_VERSION;
    struct fl_msg_agent_info info = {
        .lang = (char *)agent->os_lang,
        .name = wire_name,
        .os = (char *)agent->os_name,
        .osver = (char *)agent->os_version,
        .ver = version,
    };
    struct fl_msg_additional_info additional = {
        .agent = &info, .date_time = date, .run_id = empty, .status_counts = { counts }
    };
    struct fl_msg_result result = {
        .info = &additional,
        .document_status = (char *)status,
        .trace_output = (char *)(trace ? trace : ""),
        .runtime_status = { steps },
    };

    fl_time_iso(now_ms, false, date);
    return fl_json_encode(&fl_shape_result, &result, out);
}

int fl_reply_bare(const struct fl_reply_agent *agent, const char *status, const char *trace,
                  int64_t now_ms, struct fl_buf *out)
{
    fl_autofree char *cut = trace ? strndup(trace, FL_REPLY_TRACE_BYTES) : NULL;

    return encode(agent, status, cut, NULL, NULL, now_ms, out);
}

static int encode_with(const struct fl_reply_agent *agent, const char *status,
                       const struct fl_intmap *counts, const struct fl_jrec_step_done *step,
                       int64_t now_ms, struct fl_buf *out)
{
    fl_autobuf struct fl_buf counts_json = FL_BUF(4096);
    fl_autobuf struct fl_buf step_json = FL_BUF(out->max_bytes);
    int r;
    r = encode_counts(counts, &counts_json);
    if (r == 0)
        r = step ? encode_step(step, &step_json) : fl_buf_puts(&step_json, "{}");
    if (r == 0)
        r = encode(agent, status, NULL, counts_json.data, step_json.data, now_ms, out);
    return r;
}

int fl_reply_step(const struct fl_reply_agent *agent, const struct fl_jrec_step_done *step,
                  int64_t now_ms, struct fl_buf *out)
{
    struct fl_intmap_entry one = { .key = step->status, .value = 1 };

    return encode_with(agent, "InProgress", &(struct fl_intmap){ &one, 1 }, step, now_ms, out);
}

int fl_reply_final(const struct fl_reply_agent *agent, const struct fl_jrec_doc_done *doc,
                   const struct fl_jrec_step_done *only, int64_t now_ms, struct fl_buf *out)
{
    /* The official agent leaves the text of a document error out on this channel; the member is
     * there for it, and a person wants to read it. */
    if (doc->error)
        return fl_reply_bare(agent, doc->status, doc->error, now_ms, out);
    return encode_with(agent, doc->status, &doc->counts, only, now_ms, out);
}
