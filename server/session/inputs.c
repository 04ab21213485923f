/* inputs.c - see inputs.h. */
#include "server/session/inputs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/doc/subst.h"

struct inputs {
    char *bucket, *prefix, *log_group, *key_id, *run_as;
    struct fl_raw streams;
};
#define F(member, key) FL_FIELD(struct inputs, member, key, 0)
static const struct fl_field inputs_fields[] = {
    F(bucket, "s3BucketName"),
    F(prefix, "s3KeyPrefix"),
    F(log_group, "cloudWatchLogGroupName"),
    F(key_id, "kmsKeyId"),
    F(run_as, "runAsDefaultUser"),
    F(streams, "cloudWatchStreamingEnabled"),
};
#undef F
static const struct fl_shape inputs_shape = FL_SHAPE(struct inputs, "inputs", inputs_fields);

/* What parameters stand for: given, else by default. */
static json_t *values_of(const json_t *document, const char *given)
{
    json_t *values = json_object(), *one;
    fl_autojson json_t *more = given ? fl_json_load_text(given, 0, NULL) : NULL;
    const char *name;

    json_object_foreach(json_object_get(document, "parameters"), name,
                        one) if (json_object_get(one, "default"))
        json_object_set(values, name, json_object_get(one, "default"));
    if (more)
        json_object_update(values, more);
    return values;
}

/* As the agent will see them: whether a session is encrypted may hang on a parameter. */
static void resolve(const struct fl_msg_session_content *c, struct fl_arena *arena,
                    struct inputs *ret)
{
    fl_autojson json_t *document =
        c->document_content.text ? fl_json_load_text(c->document_content.text, 0, NULL) : NULL;
    fl_autojson json_t *values = values_of(document, c->parameters.text);
    fl_autofree char *text = NULL;
    struct fl_subst subst;
    void *inputs = NULL;

    fl_subst_init(&subst, values);
    if (!json_object_get(document, "inputs") ||
        fl_subst_value(&subst, json_object_get(document, "inputs"), &inputs, NULL) < 0)
        return;
    text = json_dumps(inputs, JSON_COMPACT);
    json_decref(inputs);
    if (text)
        fl_json_decode(&inputs_shape, text, strlen(text), FL_DECODE_NOCASE, arena, ret, NULL);
}

static char *none_if_empty(char *text)
{
    return text && *text ? text : NULL;
}

static char *none_if_unknown(char *text)
{
    return text && *text && !strstr(text, "{{") ? text : NULL;
}

void fl_session_inputs_read(const struct fl_msg_session_content *content, const char *type,
                            struct fl_arena *arena, struct fl_session_inputs *ret_inputs)
{
    struct inputs in = { 0 };

    resolve(content, arena, &in);
    *ret_inputs = (struct fl_session_inputs){
        .bucket = none_if_unknown(in.bucket),
        .log_group = none_if_unknown(in.log_group),
        .prefix = none_if_empty(in.prefix),
        .run_as = none_if_empty(in.run_as),
        .streams = in.streams.text && strcmp(in.streams.text, "true") == 0 &&
                   strcmp(type, "Standard_Stream") == 0,
        .encrypted = strcmp(type, "Port") != 0 && none_if_empty(in.key_id),
    };
}

char *fl_session_object_key(struct fl_arena *arena, const char *prefix, const char *session_id)
{
    size_t n = prefix ? strlen(prefix) : 0;

    return fl_arena_printf(arena, "%s%s%s.log", prefix ? prefix : "",
                           n && prefix[n - 1] != '/' ? "/" : "", session_id);
}
