/* result.c - see result.h. */
#include "server/command/result.h"
#include "common/base/clock.h"
#include "common/codec/json_load.h"
#include "common/wire/control.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* What a step's status means; protocol 2 §3.4, protocol 6 §3.4. */
static const struct {
    const char *status;
    int rank; /* more of the step is over */
    enum fl_inv_state state;
    bool ours; /* the plane's word, which no agent says */
} statuses[] = {
    { "NotStarted", 0, FL_INV_PENDING, false },
    { "InProgress", 1, FL_INV_IN_PROGRESS, false },
    { "SuccessAndReboot", 2, FL_INV_IN_PROGRESS, false },
    { "PassedAndReboot", 2, FL_INV_IN_PROGRESS, false },
    { "Success", 3, FL_INV_SUCCESS, false },
    { "Skipped", 3, FL_INV_SUCCESS, false },
    { "TestPass", 3, FL_INV_SUCCESS, false },
    { "Failed", 3, FL_INV_FAILED, false },
    { "TestFailure", 3, FL_INV_FAILED, false },
    { "TimedOut", 3, FL_INV_EXEC_TIMED_OUT, false },
    { "Cancelled", 3, FL_INV_CANCELLED, false },
    { "DeliveryTimedOut", 3, FL_INV_DELIVERY_TIMED_OUT, true },
    { "Undeliverable", 3, FL_INV_UNDELIVERABLE, true },
    { "Terminated", 3, FL_INV_TERMINATED, true },
};
#define ENDED_RANK     3
#define ROW_OF_UNKNOWN 1 /* a word of a later agent: as InProgress */

static size_t find_status(const char *status)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(statuses); i++)
        if (strcmp(statuses[i].status, status) == 0)
            return i;
    return ROW_OF_UNKNOWN;
}

enum fl_inv_state fl_inv_state_of_step(const char *status, bool *ret_ended)
{
    size_t i = find_status(status);

    *ret_ended = statuses[i].rank == ENDED_RANK;
    return statuses[i].state;
}

void fl_step_come_late(struct fl_step_result *s, enum fl_inv_state state)
{
    bool ended;

    fl_inv_state_of_step(s->status, &ended);
    for (size_t i = 0; ended && i < FL_ARRAY_LEN(statuses); i++)
        if (statuses[i].ours && statuses[i].state == state) {
            s->status = (char *)statuses[i].status;
            s->code = -1;
        }
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

bool fl_step_replaces(const struct fl_step_result *a, const struct fl_step_result *b)
{
    /* Texts come last: two reports that agree in rank and times differ only when one was cut. */
    const int order[] = {
        compare_numbers(statuses[find_status(b->status)].rank,
                        statuses[find_status(a->status)].rank),
        compare_numbers(b->finished_ms, a->finished_ms),
        compare_numbers(b->started_ms, a->started_ms),
        compare_numbers(b->code, a->code),
        strcmp(b->status, a->status),
        compare_numbers((int64_t)strlen(b->out), (int64_t)strlen(a->out)),
        compare_numbers((int64_t)strlen(b->err), (int64_t)strlen(a->err)),
        strcmp(b->out, a->out),
        strcmp(b->err, a->err),
        strcmp(b->output, a->output),
        strcmp(b->plugin, a->plugin),
        strcmp(b->s3_bucket, a->s3_bucket),
        strcmp(b->s3_prefix, a->s3_prefix),
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(order); i++)
        if (order[i] != 0)
            return order[i] > 0;
    return false;
}

size_t fl_utf8_prefix(const char *s, size_t max)
{
    size_t i = 0;

    for (size_t chars = 0; s[i]; i++) {
        if (((unsigned char)s[i] & 0xc0) == 0x80) /* inside a character */
            continue;
        if (chars++ == max)
            break;
    }
    return i;
}

/* A copy of at most `max` characters; "" for NULL. */
static char *cut(struct fl_arena *arena, const char *s, size_t max)
{
    if (!s)
        s = "";
    return fl_arena_memdup(arena, s, fl_utf8_prefix(s, max));
}

char *fl_step_show_stderr(struct fl_arena *arena, char *s)
{
    static const char mark[] = "--output truncated--"; /* protocol 2 §3.4 */
    size_t len = fl_utf8_prefix(s, FL_STEP_SHOW_STDERR);

    if (!s[len])
        return s;
    len = fl_utf8_prefix(s, FL_STEP_SHOW_STDERR - strlen(mark));
    return fl_arena_printf(arena, "%.*s%s", (int)len, s, mark);
}

static int64_t parse_time(const char *s)
{
    int64_t ms;

    if (!s || fl_time_parse_iso(s, &ms) < 0)
        return 0;
    return FL_MAX(ms, 0); /* unset is sent as year 1 */
}

static int take_step(const char *name, const json_t *value, struct fl_arena *arena,
                     struct fl_step_result *s, struct fl_err *err)
{
    struct fl_msg_step in;
    const char *below;
    bool named;
    int r;

    r = fl_json_decode_value(&fl_shape_step, value, FL_DECODE_NOCASE | FL_DECODE_LAX, arena, &in,
                             err);
    if (r < 0)
        return r;
    s->step = cut(arena, name, FL_REPLY_MAX_NAME);
    s->plugin = cut(arena, in.name, FL_REPLY_MAX_NAME);
    if (in.status && statuses[find_status(in.status)].ours)
        in.status = (char *)statuses[ROW_OF_UNKNOWN].status;
    s->status = cut(arena, in.status, FL_REPLY_MAX_NAME);
    s->code = in.code;
    s->started_ms = parse_time(in.start_time);
    s->finished_ms = parse_time(in.end_time);
    s->output = cut(arena, in.output, FL_STEP_MAX_OUTPUT);
    s->out = cut(arena, in.standard_output, FL_STEP_MAX_STDOUT);
    s->err = cut(arena, in.standard_error, FL_STEP_MAX_STDERR);
    s->s3_bucket = cut(arena, in.s3_bucket, FL_REPLY_MAX_NAME);
    /* The prefix ends in the plugin; files lie in a folder of the step below it, or beside it where
     * a property of a 1.x document has no id (protocol 4 §4.3). No key begins with a slash,
     * whatever the prefix did. */
    named = in.step_name && *in.step_name;
    below = in.s3_prefix ? in.s3_prefix + strspn(in.s3_prefix, "/") : "";
    s->s3_prefix = in.s3_bucket && *in.s3_bucket
                       ? fl_arena_printf(arena, "%.1024s%s%.256s", below, named ? "/" : "",
                                         named ? in.step_name : "")
                       : cut(arena, "", 0);
    if (!s->step || !s->plugin || !s->status || !s->output || !s->out || !s->err || !s->s3_bucket ||
        !s->s3_prefix)
        return fl_err_set(err, -ENOMEM, NULL, "reply: step does not fit");
    return 0;
}

static int take_steps(const char *text, struct fl_arena *arena, struct fl_reply *reply,
                      struct fl_err *err)
{
    json_t *steps = fl_json_load_text(text, JSON_ALLOW_NUL, NULL);
    const char *name;
    json_t *value;
    int r = 0;

    if (!json_is_object(steps)) {
        r = fl_err_set(err, -EBADMSG, NULL, "reply: runtimeStatus is not an object");
    } else if (json_object_size(steps) > FL_REPLY_MAX_STEPS) {
        r = fl_err_set(err, -EMSGSIZE, NULL, "reply: over %d steps", FL_REPLY_MAX_STEPS);
    } else {
        reply->steps = fl_arena_calloc(arena, json_object_size(steps), sizeof(*reply->steps));
        if (!reply->steps)
            r = fl_err_set(err, -ENOMEM, NULL, "reply: steps do not fit");
        json_object_foreach(steps, name, value)
        {
            if (r == 0)
                r = take_step(name, value, arena, &reply->steps[reply->n_steps], err);
            if (r == 0)
                reply->n_steps++;
        }
    }
    json_decref(steps);
    return r;
}

int fl_reply_decode_content(const char *job_id, const char *content, size_t len,
                            struct fl_arena *arena, struct fl_reply *ret_reply, struct fl_err *err)
{
    struct fl_reply reply = { 0 };
    struct fl_msg_result in;
    int r;

    r = fl_json_decode(&fl_shape_result, content, len, FL_DECODE_NOCASE | FL_DECODE_LAX, arena, &in,
                       err);
    if (r < 0)
        return r;
    reply.job_id = fl_arena_strdup(arena, job_id);
    reply.trace = cut(arena, in.trace_output, FL_STEP_MAX_TRACE);
    if (!reply.job_id || !reply.trace)
        return fl_err_set(err, -ENOMEM, NULL, "reply: does not fit");
    reply.event = fl_report_event(in.document_status);
    reply.bare = !in.runtime_status.text || strcmp(in.runtime_status.text, "null") == 0;
    if (!reply.bare) {
        r = take_steps(in.runtime_status.text, arena, &reply, err);
        if (r < 0)
            return r;
    }
    *ret_reply = reply;
    return 0;
}

int fl_reply_decode(const char *payload, size_t len, struct fl_arena *arena,
                    struct fl_reply *ret_reply, struct fl_err *err)
{
    struct fl_msg_job_reply in;
    int r;

    if (len > FL_REPLY_MAX_BYTES)
        return fl_err_set(err, -EMSGSIZE, NULL, "reply: %zu bytes", len);
    r = fl_json_decode(&fl_shape_job_reply, payload, len, FL_DECODE_NOCASE | FL_DECODE_LAX, arena,
                       &in, err);
    if (r < 0)
        return r;
    if (!in.job_id || !in.content)
        return fl_err_set(err, -EBADMSG, NULL, "reply: jobId or content is missing");
    r = fl_reply_decode_content(in.job_id, in.content, strlen(in.content), arena, ret_reply, err);
    if (r < 0)
        return r;
    ret_reply->cancel =
        in.topic && strncmp(in.topic, FL_TOPIC_CANCEL, strlen(FL_TOPIC_CANCEL)) == 0;
    return 0;
}
