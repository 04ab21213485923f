/* log_event.c - see log_event.h. */
#include "common/session/log_event.h"
#include <stdio.h>
#include "common/base/clock.h"

struct target {
    const char *id;
};
struct user {
    const char *arn;
};
struct event {
    const char *version, *time, *region, *run_as, *session_id;
    struct target *target;
    struct user *user;
    struct fl_strs lines;
};
static const struct fl_field target_fields[] = { FL_FIELD(struct target, id, "id", FL_ALWAYS) };
static const struct fl_field user_fields[] = { FL_FIELD(struct user, arn, "arn", FL_ALWAYS) };
static const struct fl_shape target_shape = FL_SHAPE(struct target, "target", target_fields);
static const struct fl_shape user_shape = FL_SHAPE(struct user, "userIdentity", user_fields);
#define F(member, key) FL_FIELD(struct event, member, key, FL_ALWAYS)
static const struct fl_field event_fields[] = {
    F(version, "eventVersion"),
    F(time, "eventTime"),
    F(region, "awsRegion"),
    FL_FIELD_STRUCT(struct event, target, "target", FL_ALWAYS, &target_shape),
    FL_FIELD_STRUCT(struct event, user, "userIdentity", FL_ALWAYS, &user_shape),
    F(run_as, "runAsUser"),
    F(session_id, "sessionId"),
    F(lines, "sessionData"),
};
#undef F
static const struct fl_shape event_shape = FL_SHAPE(struct event, "event", event_fields);

int fl_session_log_event_encode(const struct fl_session_log_event *in, int64_t now_ms,
                                struct fl_buf *out)
{
    char now[FL_ISO_BYTES];
    struct target target = { in->node_id };
    struct user user = { in->owner };
    const struct event event = { .version = "1.0",
                                 .time = now,
                                 .region = in->region,
                                 .run_as = in->run_as,
                                 .session_id = in->session_id,
                                 .target = &target,
                                 .user = &user,
                                 .lines = in->lines };

    fl_time_iso(now_ms, false, now);
    return fl_json_encode(&event_shape, &event, out);
}

static size_t frame(const char *words, int64_t time_ms, char *out)
{
    char when[FL_ISO_BYTES];

    fl_time_iso_seconds(time_ms, when);
    return (size_t)snprintf(out, FL_SESSION_FRAME_BYTES, "%s %s\n", words, when);
}

size_t fl_session_frame_begin(int64_t time_ms, char out[FL_SESSION_FRAME_BYTES])
{
    return frame("Script started on", time_ms, out);
}

size_t fl_session_frame_end(int64_t time_ms, char out[FL_SESSION_FRAME_BYTES])
{
    return frame("\nScript done on", time_ms, out);
}
