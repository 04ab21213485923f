/* command_fixture.h - what tests of commands share: sending, and speaking as a node would. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/command/job.h"
#include "tests/server/fixture.h"

/* One call of the engine in a transaction of its own, at the fixture's time. */
struct said {
    int (*fn)(struct fl_engine *e, const struct said *s, struct fl_err *err);
    const char *node, *job, *code, *content;
};

static inline int say_run(struct fl_engine *e, void *arg, struct fl_err *err)
{
    const struct said *s = arg;

    return s->fn(e, s, err);
}

static inline void say(struct fl_fixture *f, struct said s)
{
    struct fl_err err = { 0 };

    if (fl_engine_run(&f->plane, f->now_ms, say_run, &s, &err) < 0)
        fail_msg("engine: %s", fl_err_text(&err));
}

static inline int do_ack(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    return fl_engine_ack(e, s->node, s->job, s->code, err);
}

static inline int do_reply(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    struct fl_reply reply;
    int r = fl_reply_decode_content(s->job, s->content, strlen(s->content), e->call->arena, &reply,
                                    err);

    return r < 0 ? r : fl_engine_reply(e, s->node, &reply, err);
}

static inline int do_tick(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    (void)s;
    return fl_engine_tick(e, err);
}

static inline int do_advance(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    return fl_engine_advance(e, s->job, err);
}

static inline int do_connected(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    return fl_engine_connected(e, s->node, err);
}

static inline int do_gone(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    return fl_engine_node_gone(e, s->node, err);
}

static inline int do_find_orphans(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    (void)s;
    return fl_engine_find_orphans(e, err);
}

static inline int do_retire(struct fl_engine *e, const struct said *s, struct fl_err *err)
{
    (void)s;
    return fl_engine_retire(e, err);
}

/* "aws.ssm.<command>.<node>"; four at a time. */
static inline const char *job_id(const char *command, const char *node)
{
    static char ids[4][320];
    static unsigned next;
    char *id = ids[next++ % 4];

    snprintf(id, sizeof(ids[0]), "aws.ssm.%s.%s", command, node);
    return id;
}

static inline void ack(struct fl_fixture *f, const char *command, const char *node,
                       const char *code)
{
    say(f, (struct said){ do_ack, .node = node, .job = job_id(command, node), .code = code });
}

static inline void reply(struct fl_fixture *f, const char *command, const char *node,
                         const char *content)
{
    say(f,
        (struct said){ do_reply, .node = node, .job = job_id(command, node), .content = content });
}

static inline void tick(struct fl_fixture *f)
{
    say(f, (struct said){ .fn = do_tick });
}

static inline void advance(struct fl_fixture *f, const char *command)
{
    say(f, (struct said){ do_advance, .job = command });
}

/* A registered node, connected or not; the text is the caller's. */
static inline void make_node(struct fl_fixture *f, const char *tag, bool up, char out[24])
{
    snprintf(out, 24, "%s", fl_fixture_node(f, tag));
    if (up)
        assert_int_equal(fl_presence_add(f->plane.presence, out), 0);
}

/* SendCommand of AWS-RunShellScript; `where` is JSON members without braces, the id the caller's.
 */
static inline void send_command(struct fl_fixture *f, const char *where, char out[37])
{
    char request[4096];

    snprintf(request, sizeof(request),
             "{\"DocumentName\":\"AWS-RunShellScript\",\"Parameters\":{\"commands\":[\"echo hi\"]},"
             "%s}",
             where);
    fl_fixture_ok(f, "SendCommand", request);
    snprintf(out, 37, "%s", fl_fixture_text(f, "Command.CommandId"));
}

static inline void send_to(struct fl_fixture *f, const char *node, char out[37])
{
    char where[128];

    snprintf(where, sizeof(where), "\"InstanceIds\":[\"%s\"]", node);
    send_command(f, where, out);
}

/* "Status/StatusDetails" of an invocation, and of a command; valid until the next call. */
static inline const char *invocation(struct fl_fixture *f, const char *command, const char *node)
{
    static char text[64];
    char request[128];

    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceId\":\"%s\"}", command,
             node);
    fl_fixture_ok(f, "ListCommandInvocations", request);
    assert_int_equal(fl_fixture_count(f, "CommandInvocations"), 1);
    snprintf(text, sizeof(text), "%s/", fl_fixture_text(f, "CommandInvocations.0.Status"));
    strncat(text, fl_fixture_text(f, "CommandInvocations.0.StatusDetails"), 30);
    return text;
}

static inline const char *command_state(struct fl_fixture *f, const char *command)
{
    static char text[64];
    char request[128];

    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\"}", command);
    fl_fixture_ok(f, "ListCommands", request);
    snprintf(text, sizeof(text), "%s/", fl_fixture_text(f, "Commands.0.Status"));
    strncat(text, fl_fixture_text(f, "Commands.0.StatusDetails"), 30);
    return text;
}

static inline const char *command_member(struct fl_fixture *f, const char *command,
                                         const char *member)
{
    char path[64];

    command_state(f, command);
    snprintf(path, sizeof(path), "Commands.0.%s", member);
    return fl_fixture_text(f, path);
}

#define STEP_DONE                                                                                \
    "\"aws:runShellScript\":{\"status\":\"Success\",\"code\":0,\"name\":\"aws:runShellScript\"," \
    "\"output\":\"hi\\n\",\"startDateTime\":\"2026-01-01T00:00:01.000Z\","                       \
    "\"endDateTime\":\"2026-01-01T00:00:01.004Z\",\"standardOutput\":\"hi\\n\","                 \
    "\"standardError\":\"\"}"
#define REPLY_STARTED   "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":null}"
#define REPLY_STEP      "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":{" STEP_DONE "}}"
#define REPLY_DONE      "{\"documentStatus\":\"Success\",\"runtimeStatus\":{" STEP_DONE "}}"
#define REPLY_FAILED    "{\"documentStatus\":\"Failed\",\"runtimeStatus\":{}}"
#define REPLY_REBOOT    "{\"documentStatus\":\"SuccessAndReboot\",\"runtimeStatus\":{}}"
#define REPLY_CANCELLED "{\"documentStatus\":\"Cancelled\",\"runtimeStatus\":{}}"
