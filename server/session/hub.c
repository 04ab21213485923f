/* hub.c - see hub.h: mailboxes between loop threads, and the plane's table of relays. */
#include "server/session/hub_priv.h"
#include "common/base/clock.h"

#include <errno.h>
#include <string.h>

/* ---- the plane's table: which session is relayed by which hub ---- */

struct fl_home {
    struct fl_hub *hub;
    unsigned coming; /* sockets on their way to it */
    bool agent;      /* an agent is connected */
};

struct fl_hubs {
    pthread_mutex_t lock;
    struct fl_counts homes; /* session id -> struct fl_home * */
};

int fl_hubs_new(struct fl_hubs **ret_hubs)
{
    struct fl_hubs *h = calloc(1, sizeof(*h));

    if (!h)
        return -ENOMEM;
    pthread_mutex_init(&h->lock, NULL);
    *ret_hubs = h;
    return 0;
}

struct fl_hubs *fl_hubs_free(struct fl_hubs *hubs)
{
    if (!hubs)
        return NULL;
    for (size_t i = 0; i < hubs->homes.n_slots; i++)
        if (hubs->homes.slots[i].key)
            free((void *)(intptr_t)hubs->homes.slots[i].value);
    fl_counts_done(&hubs->homes);
    pthread_mutex_destroy(&hubs->lock);
    free(hubs);
    return NULL;
}

static struct fl_home *home_of(struct fl_hubs *hubs, const char *session_id)
{
    const int64_t *slot = fl_counts_get(&hubs->homes, session_id);

    return slot ? (struct fl_home *)(intptr_t)*slot : NULL;
}

bool fl_hubs_has(struct fl_hubs *hubs, const char *session_id)
{
    bool has;

    pthread_mutex_lock(&hubs->lock);
    has = home_of(hubs, session_id) != NULL;
    pthread_mutex_unlock(&hubs->lock);
    return has;
}

bool fl_hubs_has_agent(struct fl_hubs *hubs, const char *session_id)
{
    const struct fl_home *home;
    bool has;

    pthread_mutex_lock(&hubs->lock);
    home = home_of(hubs, session_id);
    has = home && home->agent;
    pthread_mutex_unlock(&hubs->lock);
    return has;
}

size_t fl_hubs_count(struct fl_hubs *hubs)
{
    size_t n;

    pthread_mutex_lock(&hubs->lock);
    n = hubs->homes.n;
    pthread_mutex_unlock(&hubs->lock);
    return n;
}

void fl_hub_set_agent(struct fl_hub *hub, const char *session_id, bool there)
{
    struct fl_hubs *hubs = hub->plane->hubs;
    struct fl_home *home;

    pthread_mutex_lock(&hubs->lock);
    home = home_of(hubs, session_id);
    if (home)
        home->agent = there;
    pthread_mutex_unlock(&hubs->lock);
}

/* The hub that relays the session, or is to; a socket is on its way there. NULL without memory. */
static struct fl_hub *come_home(struct fl_hub *own, const char *session_id)
{
    struct fl_hubs *hubs = own->plane->hubs;
    struct fl_home *home;
    int64_t *slot;

    pthread_mutex_lock(&hubs->lock);
    home = home_of(hubs, session_id);
    if (!home) {
        home = calloc(1, sizeof(*home));
        slot = home ? fl_counts_put(&hubs->homes, session_id) : NULL;
        if (slot) {
            home->hub = own;
            *slot = (int64_t)(intptr_t)home;
        } else {
            free(home);
            home = NULL;
        }
    }
    if (home)
        home->coming++;
    pthread_mutex_unlock(&hubs->lock);
    return home ? home->hub : NULL;
}

static void has_come(struct fl_hub *hub, const char *session_id)
{
    struct fl_hubs *hubs = hub->plane->hubs;

    pthread_mutex_lock(&hubs->lock);
    home_of(hubs, session_id)->coming--;
    pthread_mutex_unlock(&hubs->lock);
}

/* False: somebody is on the way here. */
static bool leave_home(struct fl_hub *hub, const char *session_id)
{
    struct fl_hubs *hubs = hub->plane->hubs;
    struct fl_home *home;
    bool left;

    pthread_mutex_lock(&hubs->lock);
    home = home_of(hubs, session_id);
    left = home->coming == 0;
    if (left) {
        fl_counts_remove(&hubs->homes, session_id);
        free(home);
    }
    pthread_mutex_unlock(&hubs->lock);
    return left;
}

/* ---- mail ---- */

typedef void (*mail_fn)(struct fl_end *end, struct fl_msg *m, int64_t n,
                        struct fl_session_info *info);

struct fl_mail {
    mail_fn fn;
    struct fl_end *end;
    struct fl_msg *m; /* with a reference */
    struct fl_session_info *info;
    int64_t n;
};

static void drain_mail(void *arg)
{
    struct fl_hub *hub = arg;
    struct fl_mail *mail;
    size_t n;

    pthread_mutex_lock(&hub->lock);
    mail = hub->mail;
    n = hub->n_mail;
    hub->mail = NULL;
    hub->n_mail = hub->cap_mail = 0;
    hub->posted = false;
    pthread_mutex_unlock(&hub->lock);
    for (size_t i = 0; i < n; i++)
        mail[i].fn(mail[i].end, mail[i].m, mail[i].n, mail[i].info);
    free(mail);
}

static int put_mail(struct fl_hub *to, const struct fl_mail *item)
{
    int r = 0;

    pthread_mutex_lock(&to->lock);
    if (to->n_mail == to->cap_mail) {
        size_t cap = to->cap_mail ? to->cap_mail * 2 : 16;
        struct fl_mail *grown = reallocarray(to->mail, cap, sizeof(*grown));

        if (grown) {
            to->mail = grown;
            to->cap_mail = cap;
        } else {
            r = -ENOMEM;
        }
    }
    if (r == 0 && !to->posted) {
        r = fl_loop_post(to->loop, drain_mail, to);
        to->posted = r == 0;
    }
    if (r == 0)
        to->mail[to->n_mail++] = *item;
    pthread_mutex_unlock(&to->lock);
    return r;
}

/* A letter that is lost would leave a session that hangs, or memory that two threads use: without
 * memory for it the process ends, as it would by the next call of another module. */
static void send_mail(struct fl_hub *from, struct fl_hub *to, struct fl_mail item)
{
    if (from == to)
        item.fn(item.end, item.m, item.n, item.info);
    else if (put_mail(to, &item) < 0)
        abort();
}

static void to_home(struct fl_end *end, struct fl_mail item)
{
    item.end = end;
    send_mail(end->hub, end->home, item);
}

static void to_end(struct fl_end *end, struct fl_mail item)
{
    item.end = end;
    send_mail(end->home, end->hub, item);
}

/* ---- from the relay to the socket ---- */

static void end_send(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    end->ops->send(end, m, n);
    fl_msg_unref(m);
}

static void end_pause(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    end->ops->pause(end, FL_PAUSE_RELAY, n);
}

static void end_go_on(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    end->ops->pause(end, FL_PAUSE_FLIGHT, false);
}

static void end_pong(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    end->ops->pong(end);
}

static void end_close(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    end->ops->close(end, (int)n);
}

static void end_release(struct fl_end *end, struct fl_msg *m, int64_t n,
                        struct fl_session_info *info)
{
    end->ops->released(end);
}

void fl_hub_send(struct fl_end *end, struct fl_msg *m)
{
    to_end(end, (struct fl_mail){ .fn = end_send, .m = fl_msg_ref(m), .n = m->last });
}

void fl_hub_pause(struct fl_end *end, bool paused)
{
    to_end(end, (struct fl_mail){ .fn = end_pause, .n = paused });
}

void fl_hub_pong(struct fl_end *end)
{
    to_end(end, (struct fl_mail){ .fn = end_pong });
}

void fl_hub_close(struct fl_end *end, int code)
{
    to_end(end, (struct fl_mail){ .fn = end_close, .n = code });
}

void fl_hub_release(struct fl_end *end)
{
    to_end(end, (struct fl_mail){ .fn = end_release });
}

/* ---- from the socket to the relay ---- */

struct fl_session_info *fl_session_info_free(struct fl_session_info *info)
{
    if (info)
        fl_arena_done(&info->arena);
    free(info);
    return NULL;
}

struct fl_live *fl_hub_find(struct fl_hub *hub, const char *session_id)
{
    const int64_t *slot = fl_counts_get(&hub->lives, session_id);

    return slot ? (struct fl_live *)(intptr_t)*slot : NULL;
}

static struct fl_live *add_live(struct fl_hub *hub, struct fl_session_info *info)
{
    struct fl_live *live = fl_live_new(hub, info);
    int64_t *slot = live ? fl_counts_put(&hub->lives, info->session.id) : NULL;

    if (!slot)
        abort(); /* as send_mail */
    *slot = (int64_t)(intptr_t)live;
    live->next = hub->first;
    if (live->next)
        live->next->prev = live;
    hub->first = live;
    if (!hub->stopped && !fl_timer_active(hub->timer))
        fl_timer_start(hub->timer, FL_LIVE_TICK_MS);
    return live;
}

static void remove_live(struct fl_live *live)
{
    struct fl_hub *hub = live->hub;

    if (!leave_home(hub, live->info->session.id))
        return;
    fl_counts_remove(&hub->lives, live->info->session.id);
    *(live->prev ? &live->prev->next : &hub->first) = live->next;
    if (live->next)
        live->next->prev = live->prev;
    fl_live_free(live, live->over);
}

static void home_attach(struct fl_end *end, struct fl_msg *m, int64_t n,
                        struct fl_session_info *info)
{
    struct fl_live *live = fl_hub_find(end->home, info->session.id);

    has_come(end->home, info->session.id);
    if (live)
        fl_session_info_free(info);
    else
        live = add_live(end->home, info);
    end->live = live;
    fl_live_attach(live, end);
}

static void home_input(struct fl_end *end, struct fl_msg *m, int64_t n,
                       struct fl_session_info *info)
{
    size_t flight = atomic_fetch_sub(&end->flight, m->len) - m->len;

    if (flight < FL_HUB_FLIGHT / 4 && atomic_exchange(&end->held, false))
        to_end(end, (struct fl_mail){ .fn = end_go_on });
    fl_live_input(end->live, end, m);
}

static void home_drained(struct fl_end *end, struct fl_msg *m, int64_t n,
                         struct fl_session_info *info)
{
    fl_live_drained(end->live, end, (size_t)n);
}

static void home_gone(struct fl_end *end, struct fl_msg *m, int64_t n, struct fl_session_info *info)
{
    fl_live_gone(end->live, end);
}

int fl_end_attach(struct fl_end *end, struct fl_session_info *info)
{
    end->home = come_home(end->hub, info->session.id);
    if (!end->home)
        return -ENOMEM;
    to_home(end, (struct fl_mail){ .fn = home_attach, .info = info });
    return 0;
}

void fl_end_input(struct fl_end *end, struct fl_msg *m)
{
    if (atomic_fetch_add(&end->flight, m->len) + m->len > FL_HUB_FLIGHT &&
        !atomic_exchange(&end->held, true))
        end->ops->pause(end, FL_PAUSE_FLIGHT, true);
    to_home(end, (struct fl_mail){ .fn = home_input, .m = m });
}

void fl_end_drained(struct fl_end *end, size_t bytes)
{
    to_home(end, (struct fl_mail){ .fn = home_drained, .n = (int64_t)bytes });
}

void fl_end_gone(struct fl_end *end)
{
    to_home(end, (struct fl_mail){ .fn = home_gone });
}

/* ---- the hub ---- */

void fl_hub_ref(struct fl_hub *hub)
{
    hub->refs++;
}

void fl_hub_unref(struct fl_hub *hub)
{
    if (--hub->refs > 0)
        return;
    fl_counts_done(&hub->lives);
    for (size_t i = 0; i < hub->n_mail; i++) {
        fl_msg_unref(hub->mail[i].m);
        fl_session_info_free(hub->mail[i].info);
    }
    free(hub->mail);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

static void on_tick(void *arg)
{
    struct fl_hub *hub = arg;
    int64_t now_ms = fl_mono_ms();

    for (struct fl_live *live = hub->first, *next; live; live = next) {
        next = live->next;
        if (!fl_live_tick(live, now_ms))
            remove_live(live);
    }
    if (hub->first)
        fl_timer_start(hub->timer, FL_LIVE_TICK_MS);
}

static void on_session(void *arg, const char *session_id)
{
    struct fl_live *live = fl_hub_find(arg, session_id);

    if (live)
        fl_live_changed(live);
}

int fl_hub_new(struct fl_plane *plane, struct fl_loop *loop, struct fl_hub **ret_hub,
               struct fl_err *err)
{
    struct fl_hub *hub = calloc(1, sizeof(*hub));
    int r;

    if (!hub)
        return fl_err_nomem(err);
    *hub = (struct fl_hub){ .plane = plane, .loop = loop, .refs = 1 };
    pthread_mutex_init(&hub->lock, NULL);
    hub->timer = fl_timer_new(loop, on_tick, hub);
    r = hub->timer ? fl_bus_subscribe(plane->bus, FL_SUBJECT_SESSION, loop, on_session, hub)
                   : -ENOMEM;
    if (r < 0) {
        fl_hub_stop(hub);
        fl_hub_free(hub);
        return fl_err_set(err, r, NULL, "sessions: %s", strerror(-r));
    }
    *ret_hub = hub;
    return 0;
}

void fl_hub_stop(struct fl_hub *hub)
{
    hub->stopped = true;
    hub->timer = fl_timer_free(hub->timer);
}

struct fl_hub *fl_hub_free(struct fl_hub *hub)
{
    for (struct fl_live *live = hub->first, *next; live; live = next) {
        next = live->next;
        fl_live_free(live, live->over);
    }
    hub->first = NULL;
    fl_hub_unref(hub);
    return NULL;
}
