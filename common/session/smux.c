/* smux.c - see smux.h. */
#include "common/session/smux.h"
#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include "common/base/buf.h"

#define VERSION        1
#define MAX_STREAMS    256
#define MAX_KEPT_BYTES ((size_t)4 << 20)
#define BUCKETS        64
#define FIRST_ID       3 /* protocol 3 §8: what the official client begins with */
#define KEEPALIVE_MS   10000
#define SILENCE_MS     30000
#define FRAMES_A_WRITE 16
#define DELIVER_BYTES  65536

enum cmd { SYN, FIN, PSH, NOP, END = 0x80 /* ours: far from what later versions use */ };

struct fl_smux_stream {
    LIST_ENTRY(fl_smux_stream) in_bucket;
    TAILQ_ENTRY(fl_smux_stream) in_unsent; /* with one of the unsent */
    struct fl_smux *smux;
    void *arg;
    uint32_t id;
    bool syn_unsent, end_unsent, fin_unsent;
    bool paused;
    bool ended;    /* by us: nothing more is written */
    bool end_came; /* from the peer */
    bool end_told;
    bool finished; /* by the peer */
    bool fin_told;
    bool closed;        /* by us: only its FIN is still to be sent */
    unsigned busy;      /* callbacks it is in */
    struct fl_buf kept; /* for later, from here on: */
    size_t kept_at;
};

LIST_HEAD(stream_list, fl_smux_stream);
TAILQ_HEAD(stream_queue, fl_smux_stream);

struct fl_smux {
    struct fl_smux_conf conf;
    struct fl_smux_events events;
    void *arg;
    struct stream_list buckets[BUCKETS];
    struct stream_queue unsent; /* openings in the order of their numbers */
    size_t n_streams;           /* those that wait for their FIN to be sent, too */
    size_t n_open;
    size_t kept_bytes;
    int64_t last_id; /* the highest opened */
    int64_t heard_ms, said_ms;
    int broken; /* error of `write`: what was to be sent has a hole */

    uint8_t head[FL_SMUX_HEADER_BYTES];
    size_t head_len;
    size_t left;     /* bytes of the frame's data still to come */
    uint32_t for_id; /* whose they are */
};

/* ---- streams ---- */

static struct stream_list *bucket(struct fl_smux *m, uint32_t id)
{
    return &m->buckets[(id >> 1) % BUCKETS];
}

static struct fl_smux_stream *find(struct fl_smux *m, uint32_t id)
{
    struct fl_smux_stream *st;

    LIST_FOREACH (st, bucket(m, id), in_bucket)
        if (st->id == id)
            return st->closed ? NULL : st;
    return NULL;
}

static struct fl_smux_stream *stream_new(struct fl_smux *m, uint32_t id, void *arg)
{
    struct fl_smux_stream *st = calloc(1, sizeof(*st));

    if (!st)
        return NULL;
    st->smux = m;
    st->arg = arg;
    st->id = id;
    fl_buf_init(&st->kept, SIZE_MAX / 2);
    LIST_INSERT_HEAD(bucket(m, id), st, in_bucket);
    m->n_streams++;
    m->n_open++;
    m->last_id = id;
    return st;
}

static size_t kept(const struct fl_smux_stream *st)
{
    return st->kept.len - st->kept_at;
}

static void drop_kept(struct fl_smux_stream *st)
{
    st->smux->kept_bytes -= kept(st);
    st->kept_at = 0;
    fl_buf_done(&st->kept);
}

/* Is something of it still to be sent? Then it is in `unsent`. */
static bool queued(const struct fl_smux_stream *st)
{
    return st->syn_unsent || st->end_unsent || st->fin_unsent;
}

/* Once nothing refers to it any more. */
static void maybe_free(struct fl_smux_stream *st)
{
    if (!st->closed || st->busy > 0 || queued(st))
        return;
    LIST_REMOVE(st, in_bucket);
    st->smux->n_streams--;
    drop_kept(st);
    free(st);
}

/* ---- sending ---- */

static void put_head(uint8_t out[FL_SMUX_HEADER_BYTES], enum cmd cmd, size_t len, uint32_t id)
{
    out[0] = VERSION;
    out[1] = (uint8_t)cmd;
    out[2] = (uint8_t)len;
    out[3] = (uint8_t)(len >> 8);
    for (size_t i = 0; i < 4; i++)
        out[4 + i] = (uint8_t)(id >> (8 * i));
}

static int write_out(struct fl_smux *m, const struct iovec *iov, size_t n_iov)
{
    if (m->broken == 0)
        m->broken = m->events.write(m->arg, iov, n_iov);
    return m->broken;
}

/* A frame without data; false if there is no room for it. */
static bool say(struct fl_smux *m, enum cmd cmd, uint32_t id)
{
    uint8_t head[FL_SMUX_HEADER_BYTES];

    if (m->events.room(m->arg) < sizeof(head))
        return false;
    put_head(head, cmd, 0, id);
    write_out(m, &(struct iovec){ head, sizeof(head) }, 1);
    return true;
}

static bool say_unsent(struct fl_smux *m, bool *unsent, enum cmd cmd, uint32_t id)
{
    if (*unsent && !say(m, cmd, id))
        return false;
    *unsent = false;
    return true;
}

int fl_smux_kick(struct fl_smux *m)
{
    struct fl_smux_stream *st;

    while (m->broken == 0 && (st = TAILQ_FIRST(&m->unsent))) {
        if (!say_unsent(m, &st->syn_unsent, SYN, st->id) ||
            !say_unsent(m, &st->end_unsent, END, st->id) ||
            !say_unsent(m, &st->fin_unsent, FIN, st->id))
            break;
        TAILQ_REMOVE(&m->unsent, st, in_unsent);
        maybe_free(st);
    }
    return m->broken;
}

size_t fl_smux_room(const struct fl_smux *m)
{
    size_t bytes = m->events.room(m->arg), rest;

    if (m->broken || !TAILQ_EMPTY(&m->unsent))
        return 0;
    rest = bytes % (FL_SMUX_HEADER_BYTES + FL_SMUX_DATA_BYTES);
    return bytes / (FL_SMUX_HEADER_BYTES + FL_SMUX_DATA_BYTES) * FL_SMUX_DATA_BYTES +
           (rest > FL_SMUX_HEADER_BYTES ? rest - FL_SMUX_HEADER_BYTES : 0);
}

int fl_smux_stream_write(struct fl_smux_stream *st, const void *data, size_t len)
{
    struct fl_smux *m = st->smux;
    uint8_t heads[FRAMES_A_WRITE][FL_SMUX_HEADER_BYTES];
    struct iovec iov[2 * FRAMES_A_WRITE];
    const char *from = data;

    if (st->finished || st->closed || st->ended)
        return -EPIPE;
    if (m->broken)
        return m->broken;
    if (len > fl_smux_room(m))
        return -ENOBUFS;
    while (len > 0) {
        size_t n = 0;

        for (; n < FRAMES_A_WRITE && len > 0; n++) {
            size_t step = FL_MIN(len, (size_t)FL_SMUX_DATA_BYTES);

            put_head(heads[n], PSH, step, st->id);
            iov[2 * n] = (struct iovec){ heads[n], FL_SMUX_HEADER_BYTES };
            iov[2 * n + 1] = (struct iovec){ (void *)from, step };
            from += step;
            len -= step;
        }
        if (write_out(m, iov, 2 * n) < 0)
            return m->broken;
    }
    return 0;
}

/* Marks what is to be sent of it. */
static void queue(struct fl_smux_stream *st, bool *unsent)
{
    if (!queued(st))
        TAILQ_INSERT_TAIL(&st->smux->unsent, st, in_unsent);
    *unsent = true;
}

int fl_smux_open(struct fl_smux *m, void *arg, struct fl_smux_stream **ret_stream)
{
    int64_t id = m->last_id ? m->last_id + 2 : FIRST_ID;
    struct fl_smux_stream *st;

    if (m->broken)
        return m->broken;
    if (m->n_streams >= m->conf.max_streams)
        return -EMFILE;
    if (id > UINT32_MAX)
        return -EOVERFLOW;
    st = stream_new(m, (uint32_t)id, arg);
    if (!st)
        return -ENOMEM;
    queue(st, &st->syn_unsent);
    *ret_stream = st;
    return fl_smux_kick(m);
}

int fl_smux_stream_end(struct fl_smux_stream *st)
{
    if (!st->smux->conf.half_close)
        return -EOPNOTSUPP;
    if (st->ended || st->finished || st->closed)
        return 0;
    st->ended = true;
    queue(st, &st->end_unsent);
    fl_smux_kick(st->smux);
    return 0;
}

void fl_smux_stream_close(struct fl_smux_stream *st)
{
    struct fl_smux *m = st->smux;

    if (st->closed)
        return;
    st->closed = true;
    m->n_open--;
    if (st->busy == 0) /* else someone may be reading it */
        drop_kept(st);
    queue(st, &st->fin_unsent);
    st->busy++; /* kick may be about to free it */
    fl_smux_kick(m);
    st->busy--;
    maybe_free(st);
}

/* ---- receiving ---- */

static void give(struct fl_smux_stream *st, const char *data, size_t len)
{
    st->busy++;
    st->smux->events.on_data(st->smux->arg, st, data, len);
    st->busy--;
}

static void tell_end(struct fl_smux_stream *st)
{
    if (!st->end_came || st->end_told || st->paused || st->closed || kept(st) > 0)
        return;
    st->end_told = true;
    st->busy++;
    if (st->smux->events.on_end)
        st->smux->events.on_end(st->smux->arg, st);
    st->busy--;
}

static void tell_fin(struct fl_smux_stream *st)
{
    if (!st->finished || st->fin_told || st->closed || kept(st) > 0)
        return;
    st->fin_told = true;
    st->busy++;
    st->smux->events.on_fin(st->smux->arg, st);
    st->busy--;
}

/* What is kept, as far as it is wanted. The memory moves to the front only when half of it was
 * given. */
static void give_kept(struct fl_smux_stream *st)
{
    while (!st->paused && !st->closed && kept(st) > 0) {
        size_t n = FL_MIN(kept(st), (size_t)DELIVER_BYTES);
        const char *from = st->kept.data + st->kept_at;

        st->kept_at += n;
        st->smux->kept_bytes -= n;
        give(st, from, n);
    }
    if (st->closed || kept(st) == 0)
        drop_kept(st);
    if (st->kept_at > st->kept.len / 2) {
        fl_buf_consume(&st->kept, st->kept_at);
        st->kept_at = 0;
    }
}

void fl_smux_stream_pause(struct fl_smux_stream *st, bool paused)
{
    st->paused = paused;
    if (paused || st->busy > 0) /* inside of give_kept(), which goes on by itself */
        return;
    st->busy++;
    give_kept(st);
    tell_end(st);
    tell_fin(st);
    st->busy--;
    maybe_free(st);
}

static int take_data(struct fl_smux *m, const char *data, size_t len)
{
    struct fl_smux_stream *st = find(m, m->for_id);
    int r;

    if (!st || st->finished || st->end_came)
        return 0;
    if (st->paused) {
        r = fl_buf_append(&st->kept, data, len);
        if (r == 0)
            m->kept_bytes += len;
        return r;
    }
    give(st, data, len);
    maybe_free(st);
    return 0;
}

/* Numbers only rise, so that none is used twice; an opening that breaks that is not heard. Beyond
 * the limits one is refused as long as the refusal can be kept. */
static int take_syn(struct fl_smux *m, uint32_t id)
{
    struct fl_smux_stream *st;
    int r = -EMFILE;

    if (id <= m->last_id || m->n_streams >= 2 * m->conf.max_streams)
        return 0;
    st = stream_new(m, id, NULL);
    if (!st)
        return -ENOMEM;
    if (m->conf.server && m->n_open <= m->conf.max_streams) {
        st->busy++;
        r = m->events.on_open(m->arg, st);
        st->busy--;
    }
    if (r < 0)
        fl_smux_stream_close(st);
    else
        maybe_free(st);
    return 0;
}

static int take_head(struct fl_smux *m)
{
    const uint8_t *h = m->head;
    size_t len = h[2] | (size_t)h[3] << 8;
    uint32_t id = h[4] | (uint32_t)h[5] << 8 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 24;
    struct fl_smux_stream *st;

    m->head_len = 0;
    if (h[0] != VERSION || (h[1] != PSH && len > 0))
        return -EBADMSG;
    switch ((enum cmd)h[1]) {
    case SYN:
        return take_syn(m, id);
    case FIN:
        st = find(m, id);
        if (st) {
            st->finished = true;
            tell_fin(st);
            maybe_free(st);
        }
        return 0;
    case PSH:
        m->for_id = id;
        m->left = len;
        return 0;
    case NOP: /* it was heard */
        return 0;
    case END:
        st = find(m, id);
        if (st && m->conf.half_close) {
            st->end_came = true;
            tell_end(st);
            maybe_free(st);
        }
        return m->conf.half_close ? 0 : -EBADMSG;
    }
    return -EBADMSG;
}

int fl_smux_input(struct fl_smux *m, const void *data, size_t len, int64_t mono_ms)
{
    const char *p = data, *end = p + len;
    int r = m->broken;

    m->heard_ms = mono_ms;
    while (p < end && r == 0) {
        size_t n;

        if (m->left > 0) {
            n = FL_MIN(m->left, (size_t)(end - p));
            m->left -= n;
            r = take_data(m, p, n);
        } else {
            n = FL_MIN(sizeof(m->head) - m->head_len, (size_t)(end - p));
            memcpy(m->head + m->head_len, p, n);
            m->head_len += n;
            r = m->head_len == sizeof(m->head) ? take_head(m) : 0;
        }
        p += n;
        if (r == 0)
            r = m->broken;
    }
    return r;
}

/* ---- the session ---- */

int fl_smux_new(const struct fl_smux_conf *conf, const struct fl_smux_events *events, void *arg,
                int64_t mono_ms, struct fl_smux **ret_smux)
{
    struct fl_smux *m = calloc(1, sizeof(*m));

    if (!m)
        return -ENOMEM;
    m->conf = *conf;
    m->conf.max_streams = conf->max_streams ? conf->max_streams : MAX_STREAMS;
    m->conf.max_kept_bytes = conf->max_kept_bytes ? conf->max_kept_bytes : MAX_KEPT_BYTES;
    m->events = *events;
    m->arg = arg;
    m->heard_ms = m->said_ms = mono_ms;
    TAILQ_INIT(&m->unsent);
    *ret_smux = m;
    return 0;
}

struct fl_smux *fl_smux_free(struct fl_smux *m)
{
    if (!m)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct fl_smux_stream *st;

        while ((st = LIST_FIRST(&m->buckets[i]))) {
            LIST_REMOVE(st, in_bucket);
            fl_buf_done(&st->kept);
            free(st);
        }
    }
    free(m);
    return NULL;
}

bool fl_smux_full(const struct fl_smux *m)
{
    return m->kept_bytes >= m->conf.max_kept_bytes;
}

int fl_smux_tick(struct fl_smux *m, int64_t mono_ms, int64_t *ret_next_ms)
{
    *ret_next_ms = INT64_MAX;
    if (!m->conf.keepalive)
        return m->broken;
    if (fl_smux_full(m)) /* what the peer says is not read */
        m->heard_ms = mono_ms;
    if (mono_ms - m->heard_ms >= SILENCE_MS)
        return -ETIMEDOUT;
    /* what waits for room says as much */
    if (mono_ms - m->said_ms >= KEEPALIVE_MS) {
        say(m, NOP, 0);
        m->said_ms = mono_ms;
    }
    *ret_next_ms = FL_MIN(m->said_ms + KEEPALIVE_MS, m->heard_ms + SILENCE_MS);
    return m->broken;
}

size_t fl_smux_streams(const struct fl_smux *m)
{
    return m->n_open;
}

uint32_t fl_smux_stream_id(const struct fl_smux_stream *st)
{
    return st->id;
}

void *fl_smux_stream_arg(const struct fl_smux_stream *st)
{
    return st->arg;
}

void fl_smux_stream_set_arg(struct fl_smux_stream *st, void *arg)
{
    st->arg = arg;
}
