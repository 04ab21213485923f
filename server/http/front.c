/* front.c - starting, running and stopping the loop threads. */
#include "server/http/front.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/auth/known.h"
#include "server/auth/revoked.h"
#include "server/http/exchange.h"
#include "server/http/route.h"
#include "server/http/service.h"
#include "server/http/upgrade.h"
#include "server/s3/exchange.h"

#define LOOPS_MAX     64 /* of each kind */
#define SERVICES_MAX  16
#define DRAIN_MS      10000 /* requests in flight get this long */
#define CHANNELS_MS   2000  /* channels are closed over this time */
#define DRAIN_POLL_MS 50
#define FD_RESERVE    128 /* descriptors that are not for connections */
#define PEOPLE_PART   16  /* of the connections, one in so many is left to people */
#define SAY_MS        60000
#define LAST_TURNS    8 /* of each loop, for callbacks that lead to callbacks */

struct thread {
    struct fl_front *front;
    unsigned index;
    struct fl_loop *loop;
    struct fl_server *server;
    struct fl_timer *drain_timer;
    int64_t drain_until_ms;
    struct fl_exchange_ctx exchanges;
    void *states[FL_ROUTES_MAX];
    unsigned next; /* people: which of the threads for nodes gets the next connection */
    pthread_t id;
    bool running; /* `id` is to be joined */
};

/* An accepted socket on its way from a thread for people to one for nodes. */
struct passed {
    struct thread *to;
    int fd;
};

struct fl_front {
    struct fl_plane *plane;
    struct thread threads[2 * LOOPS_MAX]; /* first those for people, then as many for nodes */
    unsigned n, n_people;
    _Atomic unsigned connections; /* of all threads */
    void *services[SERVICES_MAX];
    bool stopping;
    const char *cert_file, *key_file;
    atomic_int_fast64_t said_ms; /* that nothing can be accepted is not said again before */
};

/* ---- whose connection it is ---- */

static void on_passed(void *arg)
{
    struct passed *p = arg;

    atomic_fetch_sub(&p->to->front->connections, 1);
    if (p->to->server)
        fl_server_adopt(p->to->server, p->fd);
    else
        close(p->fd); /* stopped meanwhile */
    free(p);
}

/* True: it went to a thread for nodes. */
static bool on_accept(void *arg, int fd, const char *peer)
{
    struct thread *t = arg;
    struct fl_front *f = t->front;
    struct passed *p;

    if (fl_known_has(f->plane->known, peer, fl_mono_ms()))
        return false;
    p = malloc(sizeof(*p));
    if (!p)
        return false;
    *p = (struct passed){ .to = &f->threads[f->n_people + t->next++ % f->n_people], .fd = fd };
    atomic_fetch_add(&f->connections, 1); /* it has a descriptor on its way, too */
    if (fl_loop_post(p->to->loop, on_passed, p) == 0)
        return true;
    atomic_fetch_sub(&f->connections, 1);
    free(p);
    return false;
}

/* ---- server events ---- */

static void on_request(void *arg, struct fl_server_req *req)
{
    struct thread *t = arg;

    fl_exchange_start(&t->exchanges, req);
}

static bool on_head(void *arg, struct fl_server_req *req)
{
    struct thread *t = arg;

    return fl_s3_start(&t->exchanges, req);
}

static void on_abort(void *arg, struct fl_server_req *req)
{
    struct thread *t = arg;

    fl_exchange_abort(&t->exchanges, req);
}

static int on_upgrade(void *arg, struct fl_server_req *req, struct fl_ws_events *ret_events,
                      void **ret_arg, struct fl_ws_limits *ret_limits, char *ret_body,
                      const char **ret_type)
{
    struct thread *t = arg;
    struct fl_upgrade_result result = { .events = ret_events,
                                        .arg = ret_arg,
                                        .limits = ret_limits,
                                        .body = ret_body,
                                        .type = ret_type };

    return fl_upgrade(t->front->plane, t->states, req, &result);
}

/* Once a minute for all threads: it may happen ten times a second. */
static void say_accept_failed(struct fl_front *front, int error)
{
    int64_t now = fl_mono_ms(), then = atomic_load(&front->said_ms);

    if (now < then || !atomic_compare_exchange_strong(&front->said_ms, &then, now + SAY_MS))
        return;
    fl_log_warn(error == EMFILE || error == ENFILE
                    ? "no descriptor is free for new connections: raise the limit of open files"
                    : "new connections cannot be accepted",
                FL_S("error", strerror(error)));
}

static void on_limit(void *arg, enum fl_server_limit what, int error)
{
    static const enum fl_counter counters[FL_LIMIT__N] = {
        [FL_LIMIT_REFUSED] = FL_CTR_CONNECTIONS_REFUSED,
        [FL_LIMIT_DROPPED] = FL_CTR_CONNECTIONS_DROPPED,
        [FL_LIMIT_ACCEPT] = FL_CTR_ACCEPT_FAILURES,
    };
    struct thread *t = arg;

    fl_metrics_count(t->front->plane->metrics, counters[what]);
    if (what == FL_LIMIT_ACCEPT)
        say_accept_failed(t->front, error);
}

static const struct fl_server_events server_events = {
    .on_head = on_head,
    .on_request = on_request,
    .on_upgrade = on_upgrade,
    .on_abort = on_abort,
    .on_accept = on_accept,
    .on_limit = on_limit,
};

/* ---- stopping ---- */

static bool quiet(struct thread *t)
{
    struct fl_server_stats stats;

    fl_server_get_stats(t->server, &stats);
    return t->exchanges.open == 0 && stats.websockets == 0;
}

static void on_drain_tick(void *arg)
{
    struct thread *t = arg;

    if (quiet(t) || fl_mono_ms() >= t->drain_until_ms)
        fl_loop_stop(t->loop);
    else
        fl_timer_start(t->drain_timer, DRAIN_POLL_MS);
}

static void begin_drain(void *arg)
{
    struct thread *t = arg;

    fl_server_drain(t->server);
    fl_exchange_drain(&t->exchanges);
    for (size_t i = 0; fl_routes[i]; i++)
        if (fl_routes[i]->drain)
            fl_routes[i]->drain(t->states[i], CHANNELS_MS);
    t->drain_until_ms = fl_mono_ms() + DRAIN_MS;
    fl_timer_start(t->drain_timer, DRAIN_POLL_MS);
}

static void stop_now(void *arg)
{
    struct thread *t = arg;

    fl_loop_stop(t->loop);
}

void fl_front_stop(struct fl_front *front)
{
    fl_post_fn fn = front->stopping ? stop_now : begin_drain;

    front->stopping = true;
    for (unsigned i = 0; i < front->n; i++)
        if (fl_loop_post(front->threads[i].loop, fn, &front->threads[i]) < 0)
            fl_log_error("out of memory while stopping");
}

/* ---- certificates ---- */

static void reload(void *arg)
{
    struct thread *t = arg;
    struct fl_err err = { 0 };

    if (!t->server) /* stopped meanwhile */
        return;
    if (fl_server_reload(t->server, t->front->cert_file, t->front->key_file, &err) < 0)
        fl_log_error("the certificate in use stays", FL_S("error", fl_err_text(&err)));
    else if (t->index == 0)
        fl_log_info("server certificate read again");
}

void fl_front_reload(struct fl_front *front)
{
    if (!front->cert_file)
        return;
    for (unsigned i = 0; i < front->n; i++)
        if (fl_loop_post(front->threads[i].loop, reload, &front->threads[i]) < 0)
            fl_log_error("out of memory: a certificate is not read again");
}

/* ---- starting ---- */

static void on_revoked(void *arg, const char *node_id)
{
    struct fl_plane *plane = arg;

    if (fl_revoked_add(plane->revoked, node_id) < 0)
        fl_log_error("out of memory: a revoked node is not remembered", FL_S("node", node_id));
}

/* A loop's share of the guests that all of its kind may have. Connections leave descriptors for the
 * store and the audit log, and those without credentials leave places for nodes. */
static void share_limits(const struct fl_front *f, unsigned loops, struct fl_server_conf *sc)
{
    const struct fl_plane_conf *c = &f->plane->conf;
    unsigned all = c->max_connections, guests, per_address;
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        all = (unsigned)FL_MIN(all, files.rlim_cur - FL_MIN(FD_RESERVE, files.rlim_cur / 2));
    guests = FL_MIN(c->max_guests, all / 2);
    per_address = c->max_guests_per_address ? c->max_guests_per_address : guests / 2;
    sc->max_connections = sc->no_listener ? all - all / PEOPLE_PART : all;
    sc->max_guests = guests / loops + 1;
    sc->max_guests_per_address = per_address / loops + 1;
}

static int thread_init(struct fl_front *f, unsigned index, unsigned loops,
                       const struct fl_front_conf *conf, struct fl_err *err)
{
    struct thread *t = &f->threads[index];
    struct fl_server_conf sc = {
        .bind = f->plane->conf.bind,
        .port = f->plane->conf.port,
        .cert_file = conf->cert_file,
        .key_file = conf->key_file,
        .no_listener = index >= loops,
        .exclusive = index == 0, /* it shares with our other loops only */
        .connections = &f->connections,
        .max_body_bytes = f->plane->conf.max_body_bytes,
        .max_header_bytes = f->plane->conf.max_header_bytes,
        .header_timeout_s = f->plane->conf.header_s,
        .idle_timeout_s = f->plane->conf.idle_s,
        .min_bytes_per_s = f->plane->conf.min_bytes_per_s,
    };
    int r = fl_loop_new(&t->loop);

    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot make an event loop");
    f->n = index + 1;
    t->front = f;
    t->index = index;
    t->drain_timer = fl_timer_new(t->loop, on_drain_tick, t);
    if (!t->drain_timer ||
        fl_exchange_ctx_init(&t->exchanges, f->plane, t->loop, index < loops) < 0)
        return fl_err_nomem(err);
    share_limits(f, loops, &sc);
    r = fl_server_new(t->loop, &sc, &server_events, t, &t->server, err);
    if (r < 0)
        return r;
    if (index == 0)
        f->plane->conf.port = fl_server_port(t->server); /* the others share it */
    for (size_t i = 0; fl_routes[i]; i++) {
        r = fl_routes[i]->start ? fl_routes[i]->start(f->plane, t->loop, index, &t->states[i], err)
                                : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int front_start(struct fl_front *f, const struct fl_front_conf *conf, struct fl_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = f->plane->conf.loops ? f->plane->conf.loops : (unsigned)FL_MAX(cores, 1L);
    int r = 0;

    n = f->n_people = FL_MIN(n, (unsigned)LOOPS_MAX);
    for (unsigned i = 0; r >= 0 && i < 2 * n; i++)
        r = thread_init(f, i, n, conf, err);
    if (r < 0)
        return r;
    r = fl_bus_subscribe(f->plane->bus, FL_SUBJECT_NODE_DROP, f->threads[0].loop, on_revoked,
                         f->plane);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot subscribe to the bus");
    for (size_t i = 0; r >= 0 && fl_services[i] && i < SERVICES_MAX; i++)
        r = fl_service_start(fl_services[i], f->plane, f->threads[0].loop, &f->services[i], err);
    return r;
}

int fl_front_new(struct fl_plane *plane, const struct fl_front_conf *conf,
                 struct fl_front **ret_front, struct fl_err *err)
{
    struct fl_front *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return fl_err_nomem(err);
    f->plane = plane;
    f->cert_file = conf->cert_file;
    f->key_file = conf->key_file;
    r = front_start(f, conf, err);
    if (r < 0) {
        fl_front_free(f);
        return r;
    }
    *ret_front = f;
    return 0;
}

struct fl_loop *fl_front_loop(struct fl_front *front)
{
    return front->threads[0].loop;
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;

    fl_loop_run(t->loop);
    return NULL;
}

int fl_front_run(struct fl_front *front, struct fl_err *err)
{
    int result = 0;

    for (unsigned i = 1; i < front->n; i++) {
        struct thread *t = &front->threads[i];
        int r = pthread_create(&t->id, NULL, thread_main, t);

        if (r != 0) {
            result = fl_err_set(err, -r, NULL, "cannot start a loop thread: %s", strerror(r));
            front->stopping = true;
            fl_front_stop(front);
            break;
        }
        t->running = true;
    }
    fl_loop_run(front->threads[0].loop);
    for (unsigned i = 1; i < front->n; i++) {
        if (front->threads[i].running)
            pthread_join(front->threads[i].id, NULL);
        front->threads[i].running = false;
    }
    return result;
}

static void last_turns(struct fl_front *f)
{
    for (int turn = 0; turn < LAST_TURNS; turn++)
        for (unsigned i = 0; i < f->n; i++)
            fl_loop_run_once(f->threads[i].loop, false);
}

struct fl_front *fl_front_free(struct fl_front *front)
{
    if (!front)
        return NULL;
    for (unsigned i = 0; i < front->n; i++) {
        /* A second signal stops a drain under way: its timer must not look at the server again. */
        front->threads[i].drain_timer = fl_timer_free(front->threads[i].drain_timer);
        front->threads[i].server = fl_server_free(front->threads[i].server);
    }
    for (unsigned i = 0; i < front->n; i++)
        fl_exchange_drain(&front->threads[i].exchanges);
    /* What the store still does ends in callbacks on our loops, which own their memory. */
    fl_store_close(front->plane->store);
    last_turns(front);
    for (size_t i = 0; fl_services[i] && i < SERVICES_MAX; i++)
        fl_service_stop(front->services[i]);
    for (unsigned i = 0; i < front->n; i++) {
        struct thread *t = &front->threads[i];

        for (size_t j = 0; fl_routes[j]; j++)
            if (t->states[j] && fl_routes[j]->stop)
                fl_routes[j]->stop(t->states[j]);
    }
    last_turns(front);
    for (unsigned i = 0; i < front->n; i++) {
        fl_exchange_ctx_done(&front->threads[i].exchanges);
        fl_loop_free(front->threads[i].loop);
    }
    free(front);
    return NULL;
}
