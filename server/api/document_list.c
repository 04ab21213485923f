/* document_list.c - ListDocuments: built-in and own documents in one list, by name. */
#include "server/api/document_ops.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/api/document_builtin.h"

/* ---- filters ---- */
static const char *const owners[] = { "Amazon", "Private", "Public", "Self", "ThirdParty" };

static bool contains_nocase(const char *s, const char *word)
{
    size_t len = strlen(word);

    for (; s && strlen(s) >= len; s++)
        if (strncasecmp(s, word, len) == 0)
            return true;
    return false;
}

static bool is_builtin(const struct fl_document *doc)
{
    return strcmp(doc->owner, FL_DOCUMENT_BUILTIN_BY) == 0;
}

/* Each: 1 the document meets the value, 0 not, or negative. `key` is the whole filter key. */
typedef int meets_fn(struct fl_call *call, const struct fl_document *doc, const char *key,
                     const char *v, struct fl_err *err);

static int name_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                      const char *v, struct fl_err *err)
{
    return strncmp(doc->name, v, strlen(v)) == 0;
}

/* Public are the built-in ones and own ones that are shared with everyone. */
static int owner_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                       const char *v, struct fl_err *err)
{
    bool is_public = is_builtin(doc);

    if (strcmp(v, "Amazon") == 0)
        return is_public;
    if (strcmp(v, "Self") == 0 || strcmp(v, "ThirdParty") == 0)
        return !is_public && strcmp(v, "Self") == 0;
    if (!is_public)
        is_public = fl_sql_scalar(call->tx, FL_SQL_document_share_all, 0, err, FL_T(call->account),
                                  FL_T(call->region), FL_T(doc->name)) > 0;
    return is_public == (strcmp(v, "Public") == 0);
}

static int platform_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                          const char *v, struct fl_err *err)
{
    return v[0] && fl_document_runs_on(doc, v);
}

static int type_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                      const char *v, struct fl_err *err)
{
    return strcmp(doc->type, v) == 0;
}

static int target_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                        const char *v, struct fl_err *err)
{
    return doc->target_type && strcmp(doc->target_type, v) == 0;
}

static int keyword_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                         const char *v, struct fl_err *err)
{
    return contains_nocase(doc->name, v) || contains_nocase(doc->description, v) ||
           contains_nocase(doc->display_name, v);
}

static int tag_meets(struct fl_call *call, const struct fl_document *doc, const char *key,
                     const char *v, struct fl_err *err)
{
    for (size_t i = 0; i < doc->n_tags; i++)
        if (strcmp(doc->tags[i].key, key + strlen("tag:")) == 0)
            return strcmp(doc->tags[i].value, v) == 0;
    return 0;
}

static const struct {
    const char *key;
    bool is_prefix; /* the key goes on behind this */
    meets_fn *meets;
} filter_keys[] = {
    { "Name", false, name_meets },
    { "Owner", false, owner_meets },
    { "PlatformTypes", false, platform_meets },
    { "DocumentType", false, type_meets },
    { "SearchKeyword", false, keyword_meets },
    { "TargetType", false, target_meets },
    { "tag:", true, tag_meets },
};

static meets_fn *find_filter(const char *key)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(filter_keys); i++)
        if (filter_keys[i].is_prefix
                ? strncmp(key, filter_keys[i].key, strlen(filter_keys[i].key)) == 0
                : strcmp(key, filter_keys[i].key) == 0)
            return filter_keys[i].meets;
    return NULL;
}

static bool is_owner(const char *s)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(owners); i++)
        if (strcmp(owners[i], s) == 0)
            return true;
    return false;
}

static int check_filter(const struct fl_document_filter *f, struct fl_err *err)
{
    if (!f->key || !find_filter(f->key))
        return fl_err_set(err, -EINVAL, "InvalidFilterKey", "The filter key \"%s\" is not valid.",
                          f->key ? f->key : "");
    if (strcmp(f->key, "Owner") == 0 && (f->values.n != 1 || !is_owner(f->values.v[0])))
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "The filter Owner takes one value of Amazon, Private, Public, Self, "
                          "ThirdParty.");
    return 0;
}

/* The filters of either form, checked. */
static int take_filters(const struct fl_document_list_in *req, struct fl_document_filter *filters,
                        size_t *n, struct fl_err *err)
{
    const struct fl_document_filter *from = req->n_filters ? req->filters : req->old_filters;

    *n = req->n_filters ? req->n_filters : req->n_old_filters;
    if (req->n_filters && req->n_old_filters)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Filters and DocumentFilterList cannot be used together.");
    if (*n > FL_DOCUMENT_FILTERS_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException", "At most %d filters are allowed.",
                          FL_DOCUMENT_FILTERS_MAX);
    for (size_t i = 0; i < *n; i++) {
        int r;

        filters[i] = from[i];
        if (from[i].value)
            filters[i].values = (struct fl_strs){ &filters[i].value, 1 };
        r = check_filter(&filters[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- the list ---- */
struct listing {
    struct fl_call *call;
    struct fl_err *err;
    struct fl_document_filter filters[FL_DOCUMENT_FILTERS_MAX];
    size_t n_filters;
    struct fl_documents_out *res;
    size_t max;
};

static int meets_all(struct listing *l, const struct fl_document *doc)
{
    for (size_t i = 0; i < l->n_filters; i++) {
        const struct fl_document_filter *f = &l->filters[i];
        meets_fn *meets = find_filter(f->key);
        int r = 0;

        for (size_t v = 0; v < f->values.n && r == 0; v++)
            r = meets(l->call, doc, f->key, f->values.v[v], l->err);
        if (r <= 0)
            return r;
    }
    return 1;
}

/* 1: the page is full and this one would be on the next. */
static int offer(struct listing *l, struct fl_document *doc)
{
    struct fl_documents_out *res = l->res;
    int r = 0;

    if (!is_builtin(doc))
        r = fl_tags_list(l->call, FL_DOCUMENT_RESOURCE, doc->name, &doc->tags, &doc->n_tags,
                         l->err);
    if (r == 0)
        r = meets_all(l, doc);
    if (r <= 0)
        return r;
    if (res->n_list < l->max) {
        res->list[res->n_list++] = *doc;
        return 0;
    }
    res->next_token =
        fl_page_token_encode(l->call, "ListDocuments", res->list[res->n_list - 1].name);
    return res->next_token ? 1 : fl_err_nomem(l->err);
}

/* The next built-in document behind `after`, from *i on: 1, 0 at the end. */
static int next_builtin(struct listing *l, const char *after, size_t *i, struct fl_document *doc)
{
    int r;

    do {
        if (!fl_builtin_at((*i)++, doc))
            return 0;
    } while (strcmp(doc->name, after) <= 0);
    r = fl_document_load_content(l->call, doc, l->err);
    return r < 0 ? r : 1;
}

static int next_own(struct listing *l, struct fl_cursor *c, struct fl_document *doc)
{
    int r = fl_sql_next(c, l->err);

    if (r <= 0)
        return r;
    r = fl_sql_row(c, &fl_document_description_shape, l->call->arena, doc, l->err);
    return r < 0 ? r : 1;
}

static int merge(struct listing *l, const char *after, struct fl_cursor *c)
{
    struct fl_document builtin, own;
    size_t i = 0;
    int more_builtin = next_builtin(l, after, &i, &builtin);
    int more_own = next_own(l, c, &own);

    while (more_builtin > 0 || more_own > 0) {
        bool take_own = more_own > 0 && (more_builtin <= 0 || strcmp(own.name, builtin.name) < 0);
        int r = offer(l, take_own ? &own : &builtin);

        if (r != 0)
            return r < 0 ? r : 0;
        if (take_own)
            more_own = next_own(l, c, &own);
        else
            more_builtin = next_builtin(l, after, &i, &builtin);
        if (more_own < 0 || more_builtin < 0)
            break;
    }
    return FL_MIN(FL_MIN(more_own, more_builtin), 0);
}

int fl_op_list_documents(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_list_in *req = in;
    struct listing l = { .call = call, .err = err, .res = out };
    fl_autocursor struct fl_cursor *c = NULL;
    char *after = NULL;
    int r = take_filters(req, l.filters, &l.n_filters, err);

    l.max = req->max_results.set ? (size_t)req->max_results.v : FL_DOCUMENT_PAGE;
    if (r == 0)
        r = fl_page_token_decode(call, "ListDocuments", req->next_token, &after, err);
    if (r < 0)
        return r;
    l.res->list = fl_arena_calloc(call->arena, l.max, sizeof(*l.res->list));
    if (!l.res->list)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_document_list, &c, err, FL_T(call->account),
                    FL_T(call->region), FL_T(after ? after : ""));
    return r < 0 ? r : merge(&l, after ? after : "", c);
}
