/* sessions_read.c - DescribeSessions (protocol 6 §3.6). */
#include "server/api/sessions.h"
#include "common/base/clock.h"
#include "server/api/list.h"
#include "server/session/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WHAT         "DescribeSessions"
#define PAGE_DEFAULT 50
#define ACCESS_TYPE  "Standard" /* there is no other here */

struct wanted {
    int64_t after_ms, before_ms;              /* started between them, ends not included */
    int64_t mask;                             /* 1 << status */
    const char *node_id, *owner, *session_id; /* "": any */
};

static int64_t state_mask(const char *state)
{
    bool over = strcmp(state, "History") == 0;
    int64_t mask = 0;

    for (int s = 0; s < FL_SESS__N; s++)
        if (fl_session_over((enum fl_session_status)s) == over)
            mask |= 1 << s;
    return mask;
}

static int bad_value(const struct fl_session_filter *f, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "ValidationException",
                      "The value \"%.128s\" is not valid for the filter key %s.", f->value, f->key);
}

static int take_after(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    int64_t ms;

    if (fl_time_parse_iso(f->value, &ms) < 0)
        return bad_value(f, err);
    w->after_ms = FL_MAX(w->after_ms, ms);
    return 0;
}

static int take_before(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    int64_t ms;

    if (fl_time_parse_iso(f->value, &ms) < 0)
        return bad_value(f, err);
    w->before_ms = FL_MIN(w->before_ms, ms);
    return 0;
}

static int take_status(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    enum fl_session_status s = fl_session_status_of(f->value);

    if (s == FL_SESS__N)
        return bad_value(f, err);
    w->mask &= 1 << s;
    return 0;
}

static int take_access(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    if (strcmp(f->value, ACCESS_TYPE) != 0)
        w->mask = 0;
    return 0;
}

static int take_node(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    w->node_id = f->value;
    return 0;
}

static int take_owner(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    w->owner = f->value;
    return 0;
}

static int take_id(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err)
{
    w->session_id = f->value;
    return 0;
}

static const struct {
    const char *key;
    int (*take)(struct wanted *w, const struct fl_session_filter *f, struct fl_err *err);
} filters[] = {
    { "InvokedAfter", take_after }, { "InvokedBefore", take_before }, { "Target", take_node },
    { "Owner", take_owner },        { "Status", take_status },        { "SessionId", take_id },
    { "AccessType", take_access },
};

static int take_filters(const struct fl_describe_sessions_in *req, struct wanted *w,
                        struct fl_err *err)
{
    int r = 0;

    *w = (struct wanted){ .after_ms = -1,
                          .before_ms = INT64_MAX,
                          .mask = state_mask(req->state),
                          .node_id = "",
                          .owner = "",
                          .session_id = "" };
    for (size_t i = 0; i < req->n_filters && r == 0; i++)
        for (size_t k = 0; k < FL_ARRAY_LEN(filters) && r == 0; k++)
            if (strcmp(filters[k].key, req->filters[i].key) == 0)
                r = filters[k].take(w, &req->filters[i], err);
    return r;
}

/* ---- rows ---- */

struct extra { /* columns that are no members */
    int64_t status, max_minutes;
    char *s3_url, *log_url;
};
#define F(member) FL_FIELD(struct extra, member, #member, 0)
static const struct fl_field extra_fields[] = { F(status), F(max_minutes), F(s3_url), F(log_url) };
#undef F
static const struct fl_shape extra_shape = FL_SHAPE(struct extra, "Row", extra_fields);

static char *text_or_null(char *s)
{
    return s && *s ? s : NULL;
}

static int read_session(struct fl_call *call, struct fl_cursor *c, struct fl_session_out *out,
                        struct fl_err *err)
{
    struct extra extra;
    int r = fl_sql_row(c, &fl_session_out_shape, call->arena, out, err);

    if (r == 0)
        r = fl_sql_row(c, &extra_shape, call->arena, &extra, err);
    if (r < 0)
        return r;
    out->status = fl_session_status_name((enum fl_session_status)extra.status);
    out->access_type = ACCESS_TYPE;
    out->reason = text_or_null(out->reason);
    out->details = text_or_null(out->details);
    out->output_url = fl_arena_alloc(call->arena, sizeof(*out->output_url));
    if (extra.max_minutes)
        out->max_duration = fl_arena_printf(call->arena, "%" PRId64, extra.max_minutes);
    if (!out->output_url || (extra.max_minutes && !out->max_duration))
        return fl_err_nomem(err);
    out->output_url->s3 = text_or_null(extra.s3_url);
    out->output_url->logs = text_or_null(extra.log_url);
    return 0;
}

int fl_op_describe_sessions(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_describe_sessions_in *req = in;
    struct fl_describe_sessions_out *res = out;
    int64_t max = req->max_results.set ? req->max_results.v : PAGE_DEFAULT;
    int64_t before_ms = INT64_MAX; /* a page holds what stands before this row, newest first */
    fl_autocursor struct fl_cursor *c = NULL;
    char before_id[128] = "", *after;
    struct wanted w;
    size_t cap = 0;
    int r = take_filters(req, &w, err);

    if (r == 0)
        r = fl_page_token_decode(call, WHAT, req->next_token, &after, err);
    if (r < 0)
        return r;
    if (after && sscanf(after, "%" SCNd64 " %127s", &before_ms, before_id) != 2)
        return fl_err_set(err, -EINVAL, "InvalidNextToken", "The specified token is not valid.");
    r = fl_sql_open(call->tx, FL_SQL_session_page, &c, err, FL_T(call->account), FL_T(call->region),
                    FL_N(w.mask), FL_N(w.after_ms), FL_N(w.before_ms), FL_T(w.node_id),
                    FL_T(w.owner), FL_T(w.session_id), FL_N(before_ms), FL_T(before_id),
                    FL_N(max + 1));
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        struct fl_session_out *list =
            fl_list_room(call->arena, res->sessions, res->n_sessions, &cap, sizeof(*list));

        if (!list)
            return fl_err_nomem(err);
        res->sessions = list;
        if ((int64_t)res->n_sessions == max) {
            const struct fl_session_out *last = &list[max - 1];
            const char *text =
                fl_arena_printf(call->arena, "%" PRId64 " %s", last->started.ms, last->session_id);

            res->next_token = text ? fl_page_token_encode(call, WHAT, text) : NULL;
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        r = read_session(call, c, &list[res->n_sessions], err);
        if (r < 0)
            return r;
        res->n_sessions++;
    }
    return r;
}
