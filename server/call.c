/* call.c - publishing after commit, constraint and policy checks of operations. */
#include "server/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/auth/authorize.h"
#include "server/pattern.h"

/* ---- publishing ---- */

struct published {
    struct published *next;
    const char *subject;
    const char *key;
};

struct publish_list {
    struct published *head, **tail;
    size_t n;
};

void fl_call_init(struct fl_call *call, struct fl_plane *plane, struct fl_arena *arena,
                  const struct fl_identity *who, const char *request_id, int64_t now_ms)
{
    *call = (struct fl_call){ .plane = plane,
                              .arena = arena,
                              .who = who,
                              .account = plane->conf.account,
                              .region = plane->conf.region,
                              .request_id = request_id,
                              .now_ms = now_ms };
}

int fl_call_publish(struct fl_call *call, const char *subject, const char *key)
{
    struct publish_list *l = call->published;
    struct published *p;

    if (!l) {
        l = call->published = fl_arena_alloc(call->arena, sizeof(*l));
        if (!l)
            return -ENOMEM;
        l->tail = &l->head;
    }
    if (l->n == FL_CALL_MAX_PUBLISHED)
        return -ENOBUFS;
    p = fl_arena_alloc(call->arena, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->subject = subject;
    p->key = fl_arena_strdup(call->arena, key);
    if (!p->key)
        return -ENOMEM;
    *l->tail = p;
    l->tail = &p->next;
    l->n++;
    return 0;
}

void fl_call_publish_all(struct fl_call *call)
{
    struct publish_list *l = call->published;

    call->published = NULL;
    for (struct published *p = l ? l->head : NULL; p; p = p->next)
        fl_bus_publish(call->plane->bus, p->subject, p->key);
}

/* ---- constraints ---- */

static const char *member_text(const struct fl_op *op, const void *in, const char *key)
{
    for (size_t i = 0; i < op->in->n_fields; i++) {
        const struct fl_field *f = &op->in->fields[i];

        if (f->kind == FL_KIND_STR && strcmp(f->key, key) == 0)
            return *(char *const *)((const char *)in + f->offset);
    }
    return NULL;
}

int fl_call_check(const struct fl_op *op, const struct fl_identity *who, const void *in,
                  struct fl_err *err)
{
    static const char *const own[] = { "InstanceId", "Destination" };
    struct fl_err found = { 0 };
    int r = fl_shape_check(op->in, in, fl_pattern_match, NULL, &found);

    if (r < 0)
        return fl_err_set(err, -EINVAL, "ValidationException", "%s", fl_err_text(&found));
    for (size_t i = 0; who->kind == FL_ID_NODE && i < FL_ARRAY_LEN(own); i++) {
        const char *id = member_text(op, in, own[i]);

        if (id && strcmp(id, who->node_id) != 0)
            return fl_err_set(err, -EACCES, "AccessDeniedException",
                              "Node %s may not act for %.64s.", who->node_id, id);
    }
    return 0;
}

/* ---- policy ---- */

/* The member "Tags" of a request, a list of {Key, Value}, as a map. */
static int request_tags(struct fl_call *call, const struct fl_op *op, const void *in,
                        struct fl_strmap *ret_tags)
{
    for (size_t i = 0; i < op->in->n_fields; i++) {
        const struct fl_field *f = &op->in->fields[i], *key = NULL, *value = NULL;
        const char *list = *(char *const *)((const char *)in + f->offset);
        size_t n;

        if (f->kind != FL_KIND_LIST || strcmp(f->key, "Tags") != 0)
            continue;
        for (size_t j = 0; j < f->shape->n_fields; j++) {
            if (f->shape->fields[j].kind != FL_KIND_STR)
                continue;
            if (strcmp(f->shape->fields[j].key, "Key") == 0)
                key = &f->shape->fields[j];
            if (strcmp(f->shape->fields[j].key, "Value") == 0)
                value = &f->shape->fields[j];
        }
        n = *(const size_t *)(const void *)((const char *)in + f->count_offset);
        if (!key || !value || n == 0)
            continue;
        ret_tags->v = fl_arena_calloc(call->arena, n, sizeof(*ret_tags->v));
        if (!ret_tags->v)
            return -ENOMEM;
        for (size_t j = 0; j < n; j++) {
            const char *elem = list + j * f->shape->size;

            ret_tags->v[j].key = *(char *const *)(const void *)(elem + key->offset);
            ret_tags->v[j].value = *(char *const *)(const void *)(elem + value->offset);
        }
        ret_tags->n = n;
    }
    return 0;
}

/* sts calls that AWS grants to every authenticated caller. */
static bool always_allowed(const char *action)
{
    return strcmp(action, "sts:GetCallerIdentity") == 0 ||
           strcmp(action, "sts:GetSessionToken") == 0;
}

static int everything(struct fl_call *call, const char *service, struct fl_resources *out)
{
    out->v = fl_arena_calloc(call->arena, 1, sizeof(*out->v));
    if (!out->v)
        return -ENOMEM;
    out->v[0].arn =
        fl_arena_printf(call->arena, "arn:aws:%s:%s:%s:*", service, call->region, call->account);
    out->n = 1;
    return out->v[0].arn ? 0 : -ENOMEM;
}

int fl_call_authorize(struct fl_call *call, const struct fl_caller *caller, const char *service,
                      const struct fl_op *op, const void *in, struct fl_resources *ret_resources,
                      struct fl_err *err)
{
    struct fl_strmap tags = { 0 };
    struct fl_access access = { .resources = ret_resources, .request_tags = &tags };
    char action[128];
    int r;

    snprintf(action, sizeof(action), "%s:%s", service, op->name);
    access.action = action;
    *ret_resources = (struct fl_resources){ 0 };
    if (always_allowed(action))
        return 0;
    if (op->auth == FL_AUTH_NODE && caller->id.kind != FL_ID_NODE)
        return fl_err_set(err, -EACCES, "AccessDeniedException",
                          "User: %s is not authorized to perform: %s: only a node may, for itself",
                          caller->id.arn, action);
    if (op->resources) {
        r = op->resources(call, in, ret_resources, err);
        if (r < 0)
            return r;
    }
    access.builtin = ret_resources->builtin;
    if (ret_resources->n == 0 && everything(call, service, ret_resources) < 0)
        return fl_err_nomem(err);
    if (request_tags(call, op, in, &tags) < 0)
        return fl_err_nomem(err);
    return fl_authorize(call, caller, &access, err);
}
