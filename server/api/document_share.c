/* document_share.c - who else may use a document, and reviews of its versions.
 *
 * A plane has one account; shares and reviews are kept for the clients that set and read them.
 */
#include "server/api/document_ops.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/api/list.h"

#define SHARES_MAX  1000
#define SHARES_PAGE 50
#define EVERYONE    "all"

/* ---- ModifyDocumentPermission ---- */
static const char *account_id(const char *given)
{
    return strcasecmp(given, EVERYONE) == 0 ? EVERYONE : given;
}

static int change(struct fl_call *call, const struct fl_document_share_in *req, struct fl_err *err)
{
    const char *name = req->document.name;
    int r = 0;

    for (size_t i = 0; i < req->add.n && r >= 0; i++)
        r = fl_sql_exec(call->tx, FL_SQL_document_share_put, err, FL_T(call->account),
                        FL_T(call->region), FL_T(name), FL_T(account_id(req->add.v[i])),
                        FL_T(req->shared_version ? req->shared_version : "$DEFAULT"));
    /* what is both added and removed is removed */
    for (size_t i = 0; i < req->remove.n && r >= 0; i++)
        r = fl_sql_exec(call->tx, FL_SQL_document_share_remove, err, FL_T(call->account),
                        FL_T(call->region), FL_T(name), FL_T(account_id(req->remove.v[i])));
    return r < 0 ? r : 0;
}

int fl_op_share_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_share_in *req = in;
    const char *name = req->document.name;
    struct fl_err why = { 0 };
    int64_t n, all;
    int r = fl_document_must_be_own(call, name, err);

    if (r == 0)
        r = change(call, req, err);
    if (r < 0)
        return r;
    n = fl_sql_scalar(call->tx, FL_SQL_document_share_count, 0, &why, FL_T(call->account),
                      FL_T(call->region), FL_T(name));
    all = fl_sql_scalar(call->tx, FL_SQL_document_share_all, 0, &why, FL_T(call->account),
                        FL_T(call->region), FL_T(name));
    if (why.code < 0)
        return fl_err_set(err, why.code, NULL, "%s", why.text);
    if (all > 0 && n > 1)
        return fl_err_set(err, -EINVAL, "DocumentPermissionLimit",
                          "Document %s is shared with everyone, or with accounts by their ids, "
                          "but not both.",
                          name);
    if (n > SHARES_MAX)
        return fl_err_set(err, -EINVAL, "DocumentPermissionLimit",
                          "A document can be shared with at most %d accounts.", SHARES_MAX);
    return 0;
}

/* ---- DescribeDocumentPermission ---- */
int fl_op_list_document_shares(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_page_in *req = in;
    struct fl_document_shares_out *res = out;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : SHARES_PAGE;
    fl_autocursor struct fl_cursor *c = NULL;
    const char *what = fl_arena_printf(call->arena, "DocumentShares %s", req->document.name);
    char *after = NULL;
    int r = what ? fl_document_must_be_own(call, req->document.name, err) : fl_err_nomem(err);

    if (r == 0)
        r = fl_page_token_decode(call, what, req->next_token, &after, err);
    if (r < 0)
        return r;
    res->shares = fl_arena_calloc(call->arena, max, sizeof(*res->shares));
    res->ids.v = fl_arena_calloc(call->arena, max, sizeof(*res->ids.v));
    if (!res->shares || !res->ids.v)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_document_shares, &c, err, FL_T(call->account),
                    FL_T(call->region), FL_T(req->document.name), FL_T(after ? after : ""));
    while (r == 0 && (r = fl_sql_next(c, err)) > 0) {
        if (res->n_shares == max) {
            res->next_token = fl_page_token_encode(call, what, res->shares[max - 1].account_id);
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        r = fl_sql_row(c, &fl_document_share_shape, call->arena, &res->shares[res->n_shares], err);
        if (r == 0)
            res->ids.v[res->ids.n++] = res->shares[res->n_shares++].account_id;
    }
    return r;
}

/* ---- UpdateDocumentMetadata ---- */
static const struct {
    const char *action, *status; /* NULL: as it is */
} reviews[] = {
    { "SendForReview", "PENDING" },
    { "UpdateReview", NULL },
    { "Approve", "APPROVED" },
    { "Reject", "REJECTED" },
};

static const char *status_after(const char *action, const char *before)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(reviews); i++)
        if (strcmp(reviews[i].action, action) == 0 && reviews[i].status)
            return reviews[i].status;
    return before;
}

int fl_op_review_document(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_review_in *req = in;
    const struct fl_review *review = req->review;
    const char *comment = review->n_comments ? review->comments[0].content : NULL;
    const char *status;
    struct fl_document doc;
    int64_t version;
    int r = fl_document_must_be_own(call, req->document.name, err);

    if (r == 0)
        r = fl_document_find(call, req->document.name, req->version, &doc, err);
    if (r < 0)
        return r;
    if (!doc.review_status && strcmp(review->action, "SendForReview") != 0)
        return fl_err_set(
            err, -EINVAL, "InvalidDocumentOperation",
            "Version %s of document %s is not under review; send it for review first.", doc.version,
            doc.name);
    status = status_after(review->action, doc.review_status);
    version = strtoll(doc.version, NULL, 10);
    r = fl_sql_exec(call->tx, FL_SQL_document_version_review, err, FL_T(call->account),
                    FL_T(call->region), FL_T(doc.name), FL_N(version), FL_T(status));
    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_document_review_insert, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc.name), FL_N(version), FL_T(status),
                        FL_T(comment), FL_T(call->who->name), FL_N(call->now_ms));
    return r < 0 ? r : 0;
}

/* ---- ListDocumentMetadataHistory ---- */
static int take_comment(struct fl_call *call, struct fl_review_response *r, struct fl_err *err)
{
    if (!r->comment)
        return 0;
    r->comments = fl_arena_alloc(call->arena, sizeof(*r->comments));
    if (!r->comments)
        return fl_err_nomem(err);
    r->comments[0] = (struct fl_review_comment){ (char *)"Comment", r->comment };
    r->n_comments = 1;
    return 0;
}

int fl_op_list_document_reviews(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_document_page_in *req = in;
    struct fl_document_reviews_out *res = out;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : FL_DOCUMENT_PAGE;
    struct fl_reviews *list = fl_arena_alloc(call->arena, sizeof(*list));
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_document doc;
    const char *what;
    char *after = NULL;
    int r = list ? fl_document_must_be_own(call, req->document.name, err) : fl_err_nomem(err);

    if (r == 0)
        r = fl_document_find(call, req->document.name, req->version, &doc, err);
    if (r < 0)
        return r;
    what = fl_arena_printf(call->arena, "DocumentReviews %s %s", doc.name, doc.version);
    list->v = fl_arena_calloc(call->arena, max, sizeof(*list->v));
    if (!what || !list->v)
        return fl_err_nomem(err);
    *res = (struct fl_document_reviews_out){ doc.name, doc.version, doc.author, list, NULL };
    r = fl_page_token_decode(call, what, req->next_token, &after, err);
    if (r == 0)
        r = fl_sql_open(call->tx, FL_SQL_document_reviews, &c, err, FL_T(call->account),
                        FL_T(call->region), FL_T(doc.name), FL_N(strtoll(doc.version, NULL, 10)),
                        FL_N(after ? strtoll(after, NULL, 10) : 0));
    while (r == 0 && (r = fl_sql_next(c, err)) > 0) {
        if (list->n == max) {
            res->next_token = fl_page_token_encode(
                call, what, fl_arena_printf(call->arena, "%lld", (long long)list->v[max - 1].seq));
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        r = fl_sql_row(c, &fl_review_row_shape, call->arena, &list->v[list->n], err);
        if (r == 0)
            r = take_comment(call, &list->v[list->n++], err);
    }
    return r;
}
