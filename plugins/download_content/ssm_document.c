/* ssm_document.c - the content of a document, as a file of its name. */
#include <errno.h>
#include "plugins/document_ref.h"
#include "plugins/download_content/source.h"

struct info {
    char *name;
};
static const struct fl_field fields[] = { FL_FIELD(struct info, name, "name", FL_REQUIRED) };
static const struct fl_shape shape = FL_SHAPE(struct info, "SSMDocInfo", fields);

static void on_document(void *arg, const struct fl_step_reply *reply)
{
    const struct fl_get_document_out *out = reply->out;
    struct fl_download *d = arg;
    struct fl_arena *arena = fl_download_arena(d);
    const char *bare = *fl_download_own(d);
    const char *path = fl_arena_printf(arena, "%s.json", bare);
    struct fl_err err = { 0 };
    int r = path ? 0 : fl_err_nomem(&err);

    if (reply->error)
        r = fl_err_set(&err, reply->error, NULL, "document %s: %s%s%s", bare, reply->name,
                       *reply->name ? ": " : "", reply->text);
    if (r == 0)
        r = fl_download_add_text(d, out->content, path, &err);
    if (r == 0)
        fl_download_go(d, true);
    else
        fl_download_fail(d, &err);
}

static int start(struct fl_download *d, const void *in, struct fl_err *err)
{
    const struct info *info = in;
    struct fl_get_document_in call = { 0 };
    char *bare = NULL;
    int r = fl_document_ref_parse(info->name, fl_download_arena(d), &call, &bare);

    if (r < 0)
        return fl_err_set(err, r, NULL, "invalid input: name %.200s: not a document's", info->name);
    *fl_download_own(d) = bare;
    return fl_step_ssm(fl_download_step(d), "GetDocument", &fl_shape_get_document_in, &call,
                       &fl_shape_get_document_out, on_document, d, NULL, err);
}

const struct fl_download_source fl_source_ssm_document = { .name = "SSMDocument",
                                                           .info = &shape,
                                                           .start = start };
