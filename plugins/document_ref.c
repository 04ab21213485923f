/* document_ref.c - see document_ref.h. */
#include "plugins/document_ref.h"
#include <errno.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define ARN_COLONS 5 /* before "document/NAME" */

static const struct fl_field in_fields[] = {
    FL_FIELD(struct fl_get_document_in, name, "Name", FL_REQUIRED),
    FL_FIELD(struct fl_get_document_in, version, "DocumentVersion", 0),
};
const struct fl_shape fl_shape_get_document_in =
    FL_SHAPE(struct fl_get_document_in, "GetDocument", in_fields);

static const struct fl_field out_fields[] = {
    FL_FIELD(struct fl_get_document_out, name, "Name", 0),
    FL_FIELD(struct fl_get_document_out, content, "Content", FL_REQUIRED),
};
const struct fl_shape fl_shape_get_document_out =
    FL_SHAPE(struct fl_get_document_out, "GetDocumentResult", out_fields);

int fl_document_ref_parse(const char *text, struct fl_arena *arena,
                          struct fl_get_document_in *ret_in, char **ret_bare)
{
    const char *at = text, *colon, *slash;
    size_t len;

    for (int i = 0; strncmp(text, "arn:", 4) == 0 && i < ARN_COLONS; i++) {
        at = strchr(at, ':');
        if (!at)
            return -EINVAL;
        at++;
    }
    colon = strchr(at, ':');
    len = colon ? (size_t)(colon - text) : strlen(text);
    ret_in->name = fl_arena_memdup(arena, text, len);
    ret_in->version = colon && colon[1] ? fl_arena_strdup(arena, colon + 1) : NULL;
    if (!ret_in->name || (colon && colon[1] && !ret_in->version))
        return -ENOMEM;
    slash = at > text ? strrchr(ret_in->name, '/') : NULL;
    *ret_bare = fl_arena_strdup(arena, slash ? slash + 1 : ret_in->name);
    if (!*ret_bare)
        return -ENOMEM;
    len = strlen(*ret_bare);
    return len > 0 && len <= 128 && strspn(*ret_bare, NAME_CHARS) == len &&
                   strcmp(*ret_bare, ".") != 0 && strcmp(*ret_bare, "..") != 0
               ? 0
               : -EINVAL;
}
