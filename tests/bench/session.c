/* session.c - what the wire of a session costs, without sockets: one connection of smux in a
 * session's reliability layer, both ends in this process, every frame handed over in memory and
 * acknowledged.
 *
 *     session [PAYLOAD MEGABYTES]...     e.g. session 1024 256 65536 1024
 *
 * Prints a line for each pair: payload, megabytes, the CPU's milliseconds of both ends together,
 * and for the same bytes hashed twice, which neither end can do without.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/aws/crypto.h"
#include "common/session/smux.h"
#include "common/session/reliable.h"

#define WALL_MS     1700000000000
#define QUEUE       4096
#define QUEUE_BYTES ((size_t)256 << 10) /* what a socket takes */
#define READ_BYTES  (2 * FL_SMUX_DATA_BYTES)

struct end {
    struct fl_reliable *reliable;
    struct fl_smux *smux;
    struct fl_smux_stream *connection;
    struct end *peer;
    size_t max_payload;
    uint64_t got;
    char *frames[QUEUE]; /* to this end */
    size_t lens[QUEUE];
    size_t first, n, bytes;
    bool refused;
};

static int64_t now_ms;

static int on_send(void *arg, const void *frame, size_t len)
{
    struct end *to = ((struct end *)arg)->peer;
    size_t at = (to->first + to->n) % QUEUE;

    if (to->n == QUEUE || to->bytes > QUEUE_BYTES) {
        to->refused = true;
        return -ENOBUFS;
    }
    if (!to->frames[at])
        to->frames[at] = malloc(FL_FRAME_HEADER_BYTES + FL_DATA_MAX_PAYLOAD_BYTES);
    memcpy(to->frames[at], frame, len); /* as a socket would */
    to->lens[at] = len;
    to->n++;
    to->bytes += len;
    return 0;
}

static int on_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct end *e = arg;

    return fl_smux_input(e->smux, data, len, now_ms);
}

static size_t on_room(void *arg)
{
    return fl_reliable_room(((struct end *)arg)->reliable);
}

static int on_write(void *arg, const struct iovec *iov, size_t n)
{
    return fl_reliable_writev(((struct end *)arg)->reliable, FL_DATA_TYPE_OUTPUT, iov, n, WALL_MS,
                              now_ms);
}

static int on_open(void *arg, struct fl_smux_stream *st)
{
    ((struct end *)arg)->connection = st;
    return 0;
}

static void on_data(void *arg, struct fl_smux_stream *st, const char *data, size_t len)
{
    ((struct end *)arg)->got += len;
}

static void on_fin(void *arg, struct fl_smux_stream *st)
{
}

static void start(struct end *e, bool agent, struct end *peer, size_t max_payload)
{
    static const struct fl_reliable_events events = { .send = on_send, .deliver = on_deliver };
    static const struct fl_smux_events smux = {
        .room = on_room, .write = on_write, .on_open = on_open, .on_data = on_data, .on_fin = on_fin
    };

    *e = (struct end){ .peer = peer, .max_payload = max_payload };
    if (fl_reliable_new(&(struct fl_reliable_conf){ .agent = agent }, &events, e, &e->reliable) <
            0 ||
        fl_smux_new(&(struct fl_smux_conf){ .server = agent }, &smux, e, 0, &e->smux) < 0)
        abort();
    fl_reliable_set_max_payload(e->reliable, max_payload);
    fl_reliable_set_connected(e->reliable, true);
}

/* Reads from the socket until it is empty. */
static void take(struct end *e)
{
    while (e->n > 0) {
        size_t at = e->first;

        e->first = (e->first + 1) % QUEUE;
        e->n--;
        e->bytes -= e->lens[at];
        if (fl_reliable_input(e->reliable, e->frames[at], e->lens[at], WALL_MS, now_ms) < 0)
            abort();
    }
    if (e->refused) {
        e->refused = false;
        fl_reliable_kick(e->peer->reliable, WALL_MS, now_ms);
    }
    fl_smux_kick(e->smux);
    fl_reliable_tick(e->reliable, WALL_MS, now_ms);
}

static void stop(struct end *e)
{
    fl_smux_free(e->smux);
    fl_reliable_free(e->reliable);
    for (size_t i = 0; i < QUEUE; i++)
        free(e->frames[i]);
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The agent sends `bytes`. */
static double transfer(size_t max_payload, uint64_t bytes)
{
    static char data[READ_BYTES];
    static struct end agent, client;
    double began;

    start(&agent, true, &client, max_payload);
    start(&client, false, &agent, max_payload);
    if (fl_smux_open(client.smux, NULL, &client.connection) < 0)
        abort();
    take(&agent);
    take(&client);
    memset(data, 'x', sizeof(data));
    began = cpu_ms();
    for (uint64_t sent = 0; client.got < bytes;) {
        size_t n = FL_MIN(fl_smux_room(agent.smux), sizeof(data));

        n = (size_t)FL_MIN((uint64_t)n, bytes - sent);
        if (n > 0 && fl_smux_stream_write(agent.connection, data, n) < 0)
            abort();
        sent += n;
        if (n == 0 || agent.peer->refused) {
            take(&client);
            take(&agent);
        }
    }
    began = cpu_ms() - began;
    stop(&agent);
    stop(&client);
    return began;
}

static double hashes(size_t max_payload, uint64_t bytes)
{
    static char data[FL_DATA_MAX_PAYLOAD_BYTES];
    uint8_t hash[FL_SHA256_BYTES];
    double began = cpu_ms();

    for (uint64_t i = 0; i < 2 * (bytes / max_payload); i++)
        fl_sha256(data, max_payload, hash);
    return cpu_ms() - began;
}

int main(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t payload = strtoul(argv[i], NULL, 10);
        uint64_t megabytes = strtoul(argv[i + 1], NULL, 10);

        printf("%zu %llu %.3f %.3f\n", payload, (unsigned long long)megabytes,
               transfer(payload, megabytes * 1000000), hashes(payload, megabytes * 1000000));
        fflush(stdout);
    }
    return 0;
}
