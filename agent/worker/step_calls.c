/* step_calls.c - see step_calls.h. */
#include "agent/worker/step_calls.h"
#include <errno.h>
#include <stdlib.h>

struct fl_step_call_entry {
    LIST_ENTRY(fl_step_call_entry) link;
    uint32_t id;
    fl_step_answer_fn done;
    fl_step_reply_fn replied;
    void *arg;
};

void fl_step_calls_init(struct fl_step_calls *s, struct fl_calls *calls)
{
    s->calls = calls;
    LIST_INIT(&s->list);
}

static void forget(struct fl_step_call_entry *e)
{
    LIST_REMOVE(e, link);
    free(e);
}

void fl_step_calls_end(struct fl_step_calls *s)
{
    struct fl_step_call_entry *e;

    while ((e = LIST_FIRST(&s->list))) {
        fl_calls_cancel(s->calls, e->id);
        forget(e);
    }
}

void fl_step_calls_cancel(struct fl_step_calls *s, uint32_t id)
{
    struct fl_step_call_entry *e;

    LIST_FOREACH (e, &s->list, link)
        if (e->id == id) {
            fl_calls_cancel(s->calls, id);
            forget(e);
            return;
        }
}

static void on_answer(void *arg, const struct fl_step_answer *answer)
{
    struct fl_step_call_entry e = *(struct fl_step_call_entry *)arg;

    forget(arg);
    e.done(e.arg, answer);
}

static void on_reply(void *arg, const struct fl_step_reply *reply)
{
    struct fl_step_call_entry e = *(struct fl_step_call_entry *)arg;

    forget(arg);
    e.replied(e.arg, reply);
}

static int new_entry(struct fl_step_calls *s, void *arg, struct fl_step_call_entry **ret_entry,
                     struct fl_err *err)
{
    struct fl_step_call_entry *e = s->calls ? calloc(1, sizeof(*e)) : NULL;

    if (!s->calls)
        return fl_err_set(err, -EOPNOTSUPP, NULL, "there is no network here");
    if (!e)
        return fl_err_nomem(err);
    e->arg = arg;
    LIST_INSERT_HEAD(&s->list, e, link);
    *ret_entry = e;
    return 0;
}

static int started(struct fl_step_call_entry *e, int r, uint32_t *ret_id)
{
    if (r == 0 && ret_id)
        *ret_id = e->id;
    if (r < 0)
        forget(e);
    return r;
}

int fl_step_calls_start(struct fl_step_calls *s, const struct fl_step_request *request,
                        fl_step_answer_fn done, void *arg, uint32_t *ret_id, struct fl_err *err)
{
    struct fl_step_call_entry *e;
    int r = new_entry(s, arg, &e, err);

    if (r < 0)
        return r;
    e->done = done;
    return started(e, fl_calls_start(s->calls, request, on_answer, e, &e->id, err), ret_id);
}

int fl_step_calls_ssm(struct fl_step_calls *s, const char *operation,
                      const struct fl_shape *in_shape, const void *in,
                      const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                      uint32_t *ret_id, struct fl_err *err)
{
    struct fl_step_call_entry *e;
    int r = new_entry(s, arg, &e, err);

    if (r < 0)
        return r;
    e->replied = done;
    return started(e,
                   fl_calls_operation(s->calls, &fl_calls_service_ssm, operation, in_shape, in,
                                      out_shape, on_reply, e, &e->id, err),
                   ret_id);
}
