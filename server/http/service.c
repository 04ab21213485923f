/* service.c - see service.h. */
#include "server/http/service.h"

#include <errno.h>
#include <string.h>

void fl_duty_ref(struct fl_duty *duty)
{
    duty->refs++;
}

void fl_duty_unref(struct fl_duty *duty)
{
    if (--duty->refs == 0)
        free(duty);
}

void fl_service_stop(void *state)
{
    struct fl_duty *duty = state;

    if (!duty)
        return;
    duty->stopped = true;
    duty->timer = fl_timer_free(duty->timer);
    fl_duty_unref(duty);
}

int fl_service_start(const struct fl_service *service, struct fl_plane *plane, struct fl_loop *loop,
                     void **ret_state, struct fl_err *err)
{
    struct fl_duty *duty = calloc(1, service->state_bytes);
    int r = 0;

    if (!duty)
        return fl_err_nomem(err);
    *duty = (struct fl_duty){ .plane = plane, .loop = loop, .refs = 1 };
    duty->timer = fl_timer_new(loop, service->on_timer, duty);
    if (!duty->timer)
        r = -ENOMEM;
    else if (service->begin)
        r = service->begin(duty);
    for (const struct fl_service_hint *h = service->hints; r == 0 && h && h->subject; h++)
        r = fl_bus_subscribe(plane->bus, h->subject, loop, h->fn, duty);
    if (r < 0) {
        fl_service_stop(duty);
        return fl_err_set(err, r, NULL, "%s: %s", service->name, strerror(-r));
    }
    fl_timer_start(duty->timer, service->first_ms);
    *ret_state = duty;
    return 0;
}

/* ---- errands ---- */

struct errand {
    struct fl_duty *duty;
    const char *what;
    fl_errand_fn fn;
    char key[];
};

static int run_errand(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct errand *x = arg;

    return x->fn(e, x->key, err);
}

static void errand_done(void *arg, int r, bool again)
{
    struct errand *x = arg;
    struct fl_duty *duty = x->duty;

    if (r == 0 && again && !duty->stopped)
        fl_duty_errand(duty, x->what, x->fn, x->key);
    free(x);
    fl_duty_unref(duty);
}

int fl_duty_errand(struct fl_duty *duty, const char *what, fl_errand_fn fn, const char *key)
{
    size_t len = strlen(key) + 1;
    struct errand *x = malloc(sizeof(*x) + len);
    int r;

    if (!x)
        return -ENOMEM;
    *x = (struct errand){ .duty = duty, .what = what, .fn = fn };
    memcpy(x->key, key, len);
    fl_duty_ref(duty);
    r = fl_engine_submit(duty->plane, duty->loop, what, run_errand, errand_done, x);
    if (r < 0) {
        fl_duty_unref(duty);
        free(x);
    }
    return r;
}
