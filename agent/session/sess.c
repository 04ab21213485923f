/* sess.c - one session, from its first connection to its end: between data channel (channel.c),
 * reliability (common/session/reliable.h) and what its type makes of it. */
#include "common/session/reliable.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/text.h"
#include "agent/session/conduit.h"
#include "agent/session/session.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define DRAIN_MS         10000 /* without a word of the client */
#define WINDOW_BYTES     (1u << 20)
#define OUR_WINDOW_BYTES (4u << 20) /* messages of 64 KiB: more is under way */
#define EARLY_BYTES      (1u << 20)
#define OUTPUT_MAX_BYTES FL_SESSION_OUTPUT_MAX_BYTES
#define STATE_MAX_BYTES  1024

static void rearm(struct fl_sess *s)
{
    int64_t now = fl_mono_ms();
    int64_t next = fl_reliable_tick(s->reliable, fl_now_ms(), now);

    if (next == INT64_MAX)
        fl_timer_stop(s->tick);
    else
        fl_timer_start(s->tick, (uint64_t)FL_MAX(next - now, (int64_t)1));
}

static void on_tick(void *arg)
{
    rearm(arg);
}

/* ---- the end ---- */

static void keep_words(struct fl_sess *s, const char *status, const char *output)
{
    if (s->status)
        return;
    s->status = strdup(status);
    s->output = strndup(output ? output : "", OUTPUT_MAX_BYTES);
}

static void close_channel(struct fl_sess *s)
{
    s->phase = FL_SESS_ENDED;
    fl_timer_stop(s->tick);
    fl_timer_stop(s->deadline);
    if (s->data)
        fl_data_close(s->data, fl_sess_over);
    else
        fl_sess_over(s);
}

static void send_state(struct fl_sess *s, const char *state)
{
    fl_autobuf struct fl_buf frame = FL_BUF(STATE_MAX_BYTES);

    if (fl_data_frame(FL_DATA_SESSION_STATE, FL_FRAME_SYN | FL_FRAME_FIN, &fl_shape_session_state,
                      &(struct fl_msg_session_state){ .schema_version = 1,
                                                      .state = fl_text(state),
                                                      .session_id = s->start.session_id },
                      fl_now_ms(), &frame) == 0)
        fl_data_send(s->data, frame.data, frame.len);
}

/* Everything is acknowledged, or nobody is there to do so. */
static void terminate(struct fl_sess *s)
{
    if (!s->type->silent)
        send_state(s, "Terminating");
    close_channel(s);
}

static void give_up_type(struct fl_sess *s)
{
    if (s->type && s->state)
        s->type->done(s);
    s->state = NULL;
}

/* From the loop: whoever ends the session may still be inside of its parts. */
static void go_on_draining(void *arg)
{
    struct fl_sess *s = arg;

    if (s->phase != FL_SESS_DRAINING)
        return;
    give_up_type(s);
    rearm(s);
    if (fl_reliable_idle(s->reliable))
        terminate(s);
    else
        fl_timer_start(s->deadline, DRAIN_MS);
}

void fl_sess_finish(struct fl_sess *s, const char *status, const char *output)
{
    if (s->phase >= FL_SESS_DRAINING)
        return;
    keep_words(s, status, output);
    s->phase = FL_SESS_DRAINING;
    if (fl_loop_post(s->loop, go_on_draining, s) < 0)
        fl_loop_stop(s->loop);
}

static void end_now(void *arg)
{
    struct fl_sess *s = arg;

    give_up_type(s);
    close_channel(s);
}

void fl_sess_end(struct fl_sess *s, const char *status, const char *output)
{
    if (s->phase == FL_SESS_ENDED)
        return;
    keep_words(s, status, output);
    s->phase = FL_SESS_ENDED;
    if (fl_loop_post(s->loop, end_now, s) < 0)
        fl_loop_stop(s->loop);
}

static void on_deadline(void *arg)
{
    struct fl_sess *s = arg;

    if (s->phase == FL_SESS_DRAINING)
        terminate(s);
}

/* ---- sending ---- */

size_t fl_sess_room(struct fl_sess *s)
{
    return s->phase == FL_SESS_CARRYING ? fl_reliable_room(s->reliable) : 0;
}

/* As it is shown, before it is sealed. */
static void record(struct fl_sess *s, const struct iovec *iov, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        size_t len = FL_MIN(iov[i].iov_len, (size_t)s->record_left);

        r = fl_fd_write_all(s->record_fd, iov[i].iov_base, len);
        s->record_left -= (int64_t)len;
        if (r == 0 && len < iov[i].iov_len)
            r = -EFBIG;
    }
    if (r == 0)
        return;
    fl_log_warn("what the session prints is not kept any more",
                FL_S("session", s->start.session_id), FL_S("error", strerror(-r)));
    close(FL_TAKE_FD(s->record_fd));
}

static void fail_without_memory(struct fl_sess *s)
{
    if (s->phase < FL_SESS_DRAINING)
        fl_sess_finish(s, FL_SESSION_FAILED, "fairlead: out of memory");
}

int fl_sess_sendv(struct fl_sess *s, uint32_t type, const struct iovec *iov, size_t n)
{
    int r = fl_reliable_writev(s->reliable, type, iov, n, fl_now_ms(), fl_mono_ms());

    if (s->record_fd >= 0 && (type == FL_DATA_TYPE_OUTPUT || type == FL_DATA_TYPE_STDERR))
        record(s, iov, n);
    if (r < 0)
        fail_without_memory(s);
    rearm(s);
    return r;
}

int fl_sess_send(struct fl_sess *s, uint32_t type, const void *data, size_t len)
{
    return fl_sess_sendv(s, type, &(struct iovec){ (void *)(uintptr_t)data, len }, 1);
}

void fl_sess_give(struct fl_sess *s, struct fl_conduit *to, const void *data, size_t len)
{
    int r = fl_conduit_write(to, data, len);

    if (r < 0 && r != -EPIPE)
        fail_without_memory(s);
}

static void check(struct fl_sess *s, int r)
{
    if (r < 0 && r != -EAGAIN && s->phase < FL_SESS_DRAINING)
        fl_sess_finish(s, FL_SESSION_FAILED, "fairlead: what the client sent makes no sense");
    if (s->phase == FL_SESS_DRAINING && fl_reliable_idle(s->reliable) && !s->state)
        terminate(s);
    if (s->phase != FL_SESS_ENDED)
        rearm(s);
}

void fl_sess_ready(struct fl_sess *s)
{
    if (!s->input_waits)
        return;
    s->input_waits = false;
    check(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}

/* ---- what the reliability layer asks for ---- */

static int on_send(void *arg, const void *frame, size_t len)
{
    struct fl_sess *s = arg;

    return fl_data_send(s->data, frame, len);
}

static void on_room(void *arg)
{
    struct fl_sess *s = arg;

    if (s->phase == FL_SESS_CARRYING && s->state && s->type->room)
        s->type->room(s);
}

static int take_size(struct fl_sess *s, const char *data, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4096);
    struct fl_msg_size size;

    if (fl_json_decode(&fl_shape_size, data, len, FL_DECODE_NOCASE, &arena, &size, NULL) < 0)
        return 0;
    /* Terminals take the low 16 bits (protocol 3 §8). */
    s->size.cols = (int32_t)(size.cols & 0xffff);
    s->size.rows = (int32_t)(size.rows & 0xffff);
    return s->type->input(s, FL_DATA_TYPE_SIZE, data, len);
}

static int on_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct fl_sess *s = arg;
    uint32_t flag;
    int r;

    if (s->phase == FL_SESS_GREETING)
        return fl_greet_input(s, type, data, len);
    if (s->phase != FL_SESS_CARRYING)
        return 0;
    if (type == FL_DATA_TYPE_SIZE)
        return take_size(s, data, len);
    if (type == FL_DATA_TYPE_FLAG && fl_data_flag_decode(data, len, &flag) == 0 &&
        flag == FL_DATA_FLAG_TERMINATE) {
        fl_sess_end(s, FL_SESSION_SUCCESS, "");
        return 0;
    }
    r = s->type->input(s, type, data, len);
    s->input_waits |= r == -EAGAIN;
    return r;
}

/* Frames that are no data. */
static void on_other(void *arg, const struct fl_frame *frame)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_msg_channel_closed in;
    struct fl_sess *s = arg;

    if (strcmp(frame->type, FL_MSG_CHANNEL_CLOSED) != 0 ||
        fl_json_decode(&fl_shape_channel_closed, frame->payload, frame->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, &arena, &in, NULL) < 0 ||
        !in.session_id || strcmp(in.session_id, s->start.session_id) != 0)
        return;
    fl_sess_end(s, FL_SESSION_SUCCESS, "");
}

/* ---- the data channel ---- */

static void carry(struct fl_sess *s)
{
    struct fl_err err = { 0 };

    s->phase = FL_SESS_CARRYING;
    fl_timer_stop(s->deadline);
    if (s->type->begin(s, &err) < 0)
        fl_sess_finish(s, FL_SESSION_FAILED, fl_err_text(&err));
}

void fl_sess_greeted(struct fl_sess *s)
{
    carry(s);
}

static void begin(struct fl_sess *s)
{
    struct fl_err err = { 0 };

    send_state(s, "Connected");
    if (!s->type->handshake && !s->start.kms_key_id && !s->start.handshake) {
        carry(s);
        return;
    }
    s->phase = FL_SESS_GREETING;
    if (fl_greet_start(s, &err) < 0)
        fl_sess_finish(s, FL_SESSION_FAILED, fl_err_text(&err));
}

void fl_sess_connected(struct fl_sess *s, bool first)
{
    if (s->phase == FL_SESS_ENDED)
        return;
    fl_reliable_set_connected(s->reliable, true);
    if (first)
        begin(s);
    check(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}

void fl_sess_lost(struct fl_sess *s)
{
    fl_reliable_set_connected(s->reliable, false);
}

void fl_sess_frame(struct fl_sess *s, const char *data, size_t len)
{
    if (s->phase == FL_SESS_ENDED)
        return;
    if (s->phase == FL_SESS_DRAINING && fl_timer_active(s->deadline))
        fl_timer_start(s->deadline, DRAIN_MS);
    check(s, fl_reliable_input(s->reliable, data, len, fl_now_ms(), fl_mono_ms()));
}

void fl_sess_drained(struct fl_sess *s)
{
    if (s->phase != FL_SESS_ENDED)
        check(s, fl_reliable_kick(s->reliable, fl_now_ms(), fl_mono_ms()));
}

/* ---- life ---- */

int fl_sess_new(struct fl_sess *s, struct fl_err *err)
{
    static const struct fl_reliable_events events = {
        .send = on_send, .deliver = on_deliver, .other = on_other, .on_room = on_room
    };
    const struct fl_reliable_conf conf = {
        .agent = true,
        .max_bytes = s->start.max_payload > FL_DATA_PAYLOAD_BYTES ? OUR_WINDOW_BYTES : WINDOW_BYTES,
        .max_early_bytes = EARLY_BYTES,
    };

    for (const struct fl_sess_type *const *t = fl_sess_types; *t && !s->type; t++)
        if (strcmp((*t)->name, s->start.type) == 0)
            s->type = *t;
    if (!s->type)
        return fl_err_set(err, -EINVAL, NULL, "session type %.40s is unknown", s->start.type);
    s->tick = fl_timer_new(s->loop, on_tick, s);
    s->deadline = fl_timer_new(s->loop, on_deadline, s);
    if (!s->tick || !s->deadline || fl_reliable_new(&conf, &events, s, &s->reliable) < 0)
        return fl_err_nomem(err);
    return 0;
}

void fl_sess_free(struct fl_sess *s)
{
    give_up_type(s);
    s->reliable = fl_reliable_free(s->reliable);
    fl_greet_free(s); /* with the seal */
    s->tick = fl_timer_free(s->tick);
    s->deadline = fl_timer_free(s->deadline);
    free(s->status);
    free(s->output);
}
