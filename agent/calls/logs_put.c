/* logs_put.c - see logs_put.h. */
#include "agent/calls/logs_put.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/lib/boot.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/logposition.h"

#define TICK_MS          1000
#define LATE_MAX_MS      10000 /* after a step that waited in vain */
#define EVENT_MAX_BYTES  200000
#define EVENT_MAX_QUOTED 256000 /* of the same as JSON: the service's limit after conversion */
#define EVENTS_A_CALL    4
#define BACKOFF_BASE_MS  500
#define BACKOFF_CAP_MS   20000
#define TOKEN_TRIES      3
#define NOTE_FILE        "logged"
/* Two offsets of 20 digits, then the writer and a line feed; a blank before each but the first. */
#define OFFSETS_BYTES    41
#define NOTE_BYTES       (OFFSETS_BYTES + 1 + FL_LOG_WRITER_BYTES)
#define REFUSED_MAX      4096
#define HALF_BYTES       (FL_LOG_WRITER_BYTES / 2) /* of a writer, without a NUL */

/* ---- what is said (protocol 6 §1.6) ---- */

struct create_in {
    const char *group, *stream; /* stream NULL: the group */
};
#define F(member, key) FL_FIELD(struct create_in, member, key, 0)
static const struct fl_field create_fields[] = { F(group, "logGroupName"),
                                                 F(stream, "logStreamName") };
#undef F
static const struct fl_shape create_shape =
    FL_SHAPE(struct create_in, "CreateLogStream", create_fields);

struct event {
    int64_t time_ms;
    struct fl_raw message;
};
static const struct fl_field event_fields[] = {
    FL_FIELD(struct event, time_ms, "timestamp", FL_ALWAYS),
    FL_FIELD(struct event, message, "message", FL_ALWAYS),
};
static const struct fl_shape event_shape = FL_SHAPE(struct event, "InputLogEvent", event_fields);

struct put_in {
    const char *group, *stream, *token;
    struct event *events;
    size_t n_events;
};
#define F(member, key) FL_FIELD(struct put_in, member, key, 0)
static const struct fl_field put_fields[] = {
    F(group, "logGroupName"),
    F(stream, "logStreamName"),
    FL_FIELD_LIST(struct put_in, events, n_events, "logEvents", FL_ALWAYS, &event_shape),
    F(token, "sequenceToken"),
};
#undef F
static const struct fl_shape put_shape = FL_SHAPE(struct put_in, "PutLogEvents", put_fields);

/* Of an answer, or of a refusal that tells the right token. */
struct token_out {
    char *token;
};
static const struct fl_field put_out_fields[] = { FL_FIELD(struct token_out, token,
                                                           "nextSequenceToken", 0) };
static const struct fl_shape put_out_shape =
    FL_SHAPE(struct token_out, "PutLogEvents", put_out_fields);
static const struct fl_field expected_fields[] = { FL_FIELD(struct token_out, token,
                                                            "expectedSequenceToken", 0) };
static const struct fl_shape expected_shape =
    FL_SHAPE(struct token_out, "InvalidSequenceTokenException", expected_fields);

/* ---- state ---- */

struct stream {
    char *name;
    const char *file;
    int fd; /* -1: not there yet */
    bool made;
    uint64_t sent, sending; /* up to there it arrived; is under way */
    char *token;            /* NULL: none is known */
    bool plain;             /* positions mean nothing to the service */
    unsigned token_tries;
};

struct fl_logs_put {
    struct fl_calls *calls;
    char *group, *what, *id;
    size_t event_max_bytes;
    fl_logs_event_fn event;
    void *event_arg;
    bool group_made;
    bool given_up; /* for the rest of the document */
    struct stream streams[FL_LOGS_PUT_FILES];
    struct stream *turn;              /* whose call is under way; NULL: the group's */
    int dir_fd, note_fd;              /* -1: no step is under way */
    char writer[FL_LOG_WRITER_BYTES]; /* of the step */
    uint32_t call;                    /* under way; 0: none */
    struct fl_timer *tick, *limit;
    struct fl_backoff backoff;
    bool ending;
    bool late; /* the service did not answer in time, and not well since */
    fl_logs_put_fn done;
    void *arg;
};

static void pump(struct fl_logs_put *p);

static void warn(const struct fl_logs_put *p, const char *what, const char *why)
{
    fl_log_warn(what, FL_S(p->what, p->id), FL_S("group", p->group), FL_S("error", why));
}

static void end_step(struct fl_logs_put *p)
{
    fl_calls_cancel(p->calls, p->call);
    p->call = 0;
    fl_timer_stop(p->tick);
    fl_timer_stop(p->limit);
    for (size_t i = 0; i < FL_LOGS_PUT_FILES; i++) {
        struct stream *s = &p->streams[i];

        free(s->name);
        free(s->token);
        if (s->fd >= 0)
            close(s->fd);
        *s = (struct stream){ .fd = -1 };
    }
    if (p->note_fd >= 0) {
        fdatasync(p->note_fd); /* after a reboot the step may run again */
        close(p->note_fd);
    }
    p->note_fd = p->dir_fd = -1;
    p->ending = false;
}

static void finish(struct fl_logs_put *p, bool all)
{
    fl_logs_put_fn done = p->done;

    end_step(p);
    done(p->arg, all);
}

static void on_limit(void *arg)
{
    struct fl_logs_put *p = arg;

    if (!p->given_up)
        warn(p, "output not all streamed", "it took too long");
    p->late = true;
    finish(p, false);
}

/* Streaming ends here for the document; its results do not suffer. */
static void give_up(struct fl_logs_put *p, const char *why)
{
    warn(p, "output is not streamed", why);
    p->given_up = true;
    if (p->ending)
        fl_timer_start(p->tick, 0);
}

/* ---- how far it came ---- */

/* Offsets mean the same as long as the machine runs: after that a file may be shorter than it was,
 * and go on with something else. So a writer's second half is of the boot. */
static void new_writer(const char *boot, char out[FL_LOG_WRITER_BYTES])
{
    fl_random_hex(out, FL_LOG_WRITER_BYTES - 1);
    memcpy(out + HALF_BYTES, boot, strlen(boot));
}

/* The first digits of its id, without dashes; "" if it is not known. */
static void read_boot(char out[HALF_BYTES + 1])
{
    char id[FL_BOOT_ID_BYTES];
    size_t n = 0;

    fl_boot_id(id);
    for (const char *p = id; *p && n < HALF_BYTES; p++)
        if (*p != '-')
            out[n++] = *p;
    out[n] = '\0';
}

static void write_note(struct fl_logs_put *p)
{
    char text[NOTE_BYTES + 1];

    snprintf(text, sizeof(text), "%020llu %020llu %s\n", (unsigned long long)p->streams[0].sent,
             (unsigned long long)p->streams[1].sent, p->writer);
    (void)!fl_fd_pwrite_all(p->note_fd, text, NOTE_BYTES, 0);
}

static void read_note(struct fl_logs_put *p)
{
    char text[NOTE_BYTES + 1] = "", boot[HALF_BYTES + 1];
    unsigned long long sent[FL_LOGS_PUT_FILES];
    ssize_t n = fl_fd_pread_upto(p->note_fd, text, NOTE_BYTES, 0);

    read_boot(boot);
    if (n >= OFFSETS_BYTES && sscanf(text, "%20llu %20llu", &sent[0], &sent[1]) == 2)
        for (size_t i = 0; i < FL_LOGS_PUT_FILES; i++)
            p->streams[i].sent = sent[i];
    if (n == NOTE_BYTES && *boot && sscanf(text + OFFSETS_BYTES, " %32[0-9a-f]", p->writer) == 1 &&
        strcmp(p->writer + HALF_BYTES, boot) == 0)
        return;
    new_writer(boot, p->writer);
    write_note(p);
}

/* ---- events ---- */

/* The length of the event at the front of `len` bytes; 0: its last line is not whole yet. */
static size_t cut_event(const struct fl_logs_put *p, const char *data, size_t len, size_t max)
{
    const char *end = memrchr(data, '\n', FL_MIN(len, max));
    size_t cut = max;

    if (end)
        return (size_t)(end - data) + 1;
    if (len <= max)
        return p->ending ? len : 0;
    /* A line too long for one event: not in the middle of a character. */
    while (cut > max - 4 && ((unsigned char)data[cut] & 0xc0) == 0x80)
        cut--;
    return cut;
}

static int event_as_printed(void *arg, const char *data, size_t len, struct fl_buf *quoted)
{
    return fl_json_quote(quoted, data, len);
}

/* One event at that offset: how many bytes went into it, 0 for none, or negative. */
static ssize_t make_event(const struct fl_logs_put *p, const struct stream *s, uint64_t offset,
                          char *data, struct fl_buf *quoted)
{
    ssize_t len = fl_fd_pread_upto(s->fd, data, p->event_max_bytes + 1, offset);
    size_t n = len > 0 ? cut_event(p, data, (size_t)len, p->event_max_bytes) : 0;
    int r = len < 0 ? (int)len : 0;

    while (n > 0 && r == 0) {
        /* The line feed at the end goes: an event is a line of its own where it is shown. */
        size_t shown = n > 1 && data[n - 1] == '\n' ? n - 1 : n;

        fl_buf_reset(quoted);
        r = p->event(p->event_arg, data, shown, quoted);
        if (r < 0 || quoted->len <= EVENT_MAX_QUOTED)
            break;
        n = cut_event(p, data, n, n / 2);
    }
    return r < 0 ? r : (ssize_t)n;
}

static void free_events(struct event *events)
{
    for (size_t i = 0; i < EVENTS_A_CALL; i++)
        free(events[i].message.text);
}

/* 1 and a batch in `in`, 0 if there is nothing to send. */
static int make_batch(const struct fl_logs_put *p, struct stream *s, struct put_in *in)
{
    fl_autofree char *data = NULL;
    int64_t now_ms = fl_now_ms();
    ssize_t n = 0;

    if (!s->file)
        return 0;
    if (s->fd < 0)
        s->fd = openat(p->dir_fd, s->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd < 0)
        return errno == ENOENT ? 0 : -errno;
    data = malloc(EVENT_MAX_BYTES + 2);
    if (!data)
        return -ENOMEM;
    s->sending = s->sent;
    in->n_events = 0;
    while (in->n_events < EVENTS_A_CALL) {
        fl_autobuf struct fl_buf quoted = FL_BUF(6 * EVENT_MAX_BYTES + 16);

        n = make_event(p, s, s->sending, data, &quoted);
        if (n <= 0)
            break;
        in->events[in->n_events] = (struct event){ now_ms, { fl_buf_take(&quoted, NULL) } };
        if (!in->events[in->n_events].message.text)
            return -ENOMEM;
        in->n_events++;
        s->sending += (uint64_t)n;
    }
    return n < 0 ? (int)n : in->n_events > 0;
}

/* ---- calls ---- */

static void learn_token(struct stream *s, const char *token)
{
    s->plain = true;
    free(s->token);
    s->token = token ? strdup(token) : NULL;
}

/* The call went well: up to where it came, and with what token it goes on. */
static void learn_position(struct fl_logs_put *p, struct stream *s, const char *token)
{
    struct fl_log_position at;
    struct stat st;

    s->token_tries = 0;
    if (!fl_log_position_read(token, &at) || strcmp(at.writer, p->writer) != 0)
        learn_token(s, token);
    else if (at.to >= s->sent && fstat(s->fd, &st) == 0 && at.to <= (uint64_t)st.st_size)
        s->sending = at.to; /* an earlier call may have been heard and not answered */
}

/* A refusal that is none, or can be put right. */
static bool put_right(struct fl_logs_put *p, const struct fl_step_reply *reply)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(REFUSED_MAX);
    bool exists = strcmp(reply->name, "ResourceAlreadyExistsException") == 0;
    bool accepted = strcmp(reply->name, "DataAlreadyAcceptedException") == 0;
    struct token_out out = { 0 };
    struct stream *s = p->turn;
    if (exists)
        return true;
    if (!s || !s->made || (!accepted && strcmp(reply->name, "InvalidSequenceTokenException") != 0))
        return false;
    if (s->token_tries++ >= TOKEN_TRIES)
        return false;
    fl_json_decode(&expected_shape, reply->body, strlen(reply->body), 0, &arena, &out, NULL);
    learn_token(s, out.token);
    if (!accepted)
        s->sending = s->sent; /* once more */
    return true;
}

static void on_reply(void *arg, const struct fl_step_reply *reply)
{
    const struct token_out *out = reply->out;
    struct fl_logs_put *p = arg;
    struct stream *s = p->turn;
    char why[300];

    p->call = 0;
    if (reply->error && !put_right(p, reply)) {
        if (reply->error != -EREMOTEIO || reply->busy) {
            fl_timer_start(p->tick, fl_backoff_next_ms(&p->backoff, fl_random_u32()));
            return;
        }
        snprintf(why, sizeof(why), "%s: %s", reply->name, reply->text);
        give_up(p, why);
        return;
    }
    fl_backoff_reset(&p->backoff);
    p->late = false;
    if (!s) {
        p->group_made = true;
    } else if (!s->made) {
        s->made = true;
    } else {
        if (out)
            learn_position(p, s, out->token);
        s->sent = s->sending;
        write_note(p);
    }
    pump(p);
}

static int call(struct fl_logs_put *p, const char *operation, const struct fl_shape *shape,
                const void *in, const struct fl_shape *out_shape)
{
    return fl_calls_operation(p->calls, &fl_calls_service_logs, operation, shape, in, out_shape,
                              on_reply, p, &p->call, NULL);
}

/* Starts a call if there is something to say of this stream: 1, 0, or negative. */
static int serve(struct fl_logs_put *p, struct stream *s)
{
    struct event events[EVENTS_A_CALL] = { 0 };
    struct put_in in = { p->group, s->name, s->token, events, 0 };
    const struct create_in create = { p->group, p->group_made ? s->name : NULL };
    char position[FL_LOG_POSITION_BYTES];
    int r = make_batch(p, s, &in);

    if (r == 1) {
        if (!s->plain) {
            struct fl_log_position at = { .from = s->sent, .to = s->sending };

            memcpy(at.writer, p->writer, sizeof(at.writer));
            fl_log_position_write(&at, position);
            in.token = position;
        }
        p->turn = p->group_made ? s : NULL;
        if (!p->group_made)
            r = call(p, "CreateLogGroup", &create_shape, &create, &fl_shape_empty);
        else if (!s->made)
            r = call(p, "CreateLogStream", &create_shape, &create, &fl_shape_empty);
        else
            r = call(p, "PutLogEvents", &put_shape, &in, &put_out_shape);
        r = r < 0 ? r : 1;
    }
    free_events(events);
    return r;
}

static void pump(struct fl_logs_put *p)
{
    int r = 0;

    for (size_t i = 0; i < FL_LOGS_PUT_FILES && r == 0 && !p->given_up; i++)
        r = serve(p, &p->streams[i]);
    if (r == 1)
        return;
    if (r < 0)
        give_up(p, strerror(-r));
    if (p->ending && (r == 0 || p->given_up))
        finish(p, !p->given_up);
    else if (!p->given_up)
        fl_timer_start(p->tick, TICK_MS);
}

static void on_tick(void *arg)
{
    struct fl_logs_put *p = arg;

    if (!p->call)
        pump(p);
}

/* ---- begin and end ---- */

int fl_logs_put_begin(struct fl_logs_put *p, int dir_fd,
                      const struct fl_logs_file files[FL_LOGS_PUT_FILES])
{
    end_step(p);
    p->note_fd = openat(dir_fd, NOTE_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (p->note_fd < 0)
        return -errno;
    p->dir_fd = dir_fd;
    for (size_t i = 0; i < FL_LOGS_PUT_FILES; i++) {
        p->streams[i].file = files[i].file;
        p->streams[i].sent = files[i].from;
        p->streams[i].name = files[i].file ? strdup(files[i].stream) : NULL;
        if (files[i].file && !p->streams[i].name) {
            end_step(p);
            return -ENOMEM;
        }
    }
    read_note(p);
    if (!p->given_up)
        fl_timer_start(p->tick, TICK_MS);
    return 0;
}

void fl_logs_put_end(struct fl_logs_put *p, uint64_t limit_ms, fl_logs_put_fn done, void *arg)
{
    p->ending = true;
    p->done = done;
    p->arg = arg;
    fl_timer_start(p->limit, p->late ? FL_MIN(limit_ms, (uint64_t)LATE_MAX_MS) : limit_ms);
    fl_timer_start(p->tick, 0);
}

void fl_logs_put_hurry(struct fl_logs_put *p, uint64_t limit_ms)
{
    if (p->ending)
        fl_timer_start(p->limit, limit_ms);
}

int fl_logs_put_new(const struct fl_logs_put_conf *conf, struct fl_logs_put **ret_put)
{
    struct fl_logs_put *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->calls = conf->calls;
    p->dir_fd = p->note_fd = -1;
    for (size_t i = 0; i < FL_LOGS_PUT_FILES; i++)
        p->streams[i].fd = -1;
    p->backoff = (struct fl_backoff){ .base_ms = BACKOFF_BASE_MS, .cap_ms = BACKOFF_CAP_MS };
    p->event_max_bytes = conf->event_max_bytes ? conf->event_max_bytes : EVENT_MAX_BYTES;
    p->event = conf->event ? conf->event : event_as_printed;
    p->event_arg = conf->event_arg;
    p->group_made = conf->group_exists;
    p->group = strdup(conf->group);
    p->what = strdup(conf->what);
    p->id = strdup(conf->id);
    p->tick = fl_timer_new(conf->loop, on_tick, p);
    p->limit = fl_timer_new(conf->loop, on_limit, p);
    if (!p->group || !p->what || !p->id || !p->tick || !p->limit) {
        fl_logs_put_free(p);
        return -ENOMEM;
    }
    *ret_put = p;
    return 0;
}

struct fl_logs_put *fl_logs_put_free(struct fl_logs_put *p)
{
    if (!p)
        return NULL;
    if (p->tick && p->limit)
        end_step(p);
    fl_timer_free(p->tick);
    fl_timer_free(p->limit);
    free(p->group);
    free(p->what);
    free(p->id);
    free(p);
    return NULL;
}
