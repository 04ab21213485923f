/* transcript_about.c - what the content of a session says about it: its kind, where a tunnel leads,
 * what of it may be kept, where else it goes. */
#include "server/session/transcript_priv.h"

#include <jansson.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/doc/subst.h"
#include "common/wire/datachannel.h"

#define PARSE_BYTES (4 * 1024 * 1024)

#define F(member, key) FL_FIELD(struct fl_tf_about, member, key, 0)
static const struct fl_field about_fields[] = {
    F(session_id, "SessionId"),  F(node_id, "Target"),   F(owner, "Owner"),
    F(document, "DocumentName"), F(type, "SessionType"), F(endpoint, "Endpoint"),
    F(started, "StartDate"),     F(kept, "Recorded"),
};
#undef F
const struct fl_shape fl_tf_about_shape = FL_SHAPE(struct fl_tf_about, "about", about_fields);

struct inputs {
    char *bucket, *prefix, *log_group, *key_id, *run_as;
    struct fl_raw streams;
};
struct endpoint {
    char *host, *port;
};
struct document {
    char *type;
    struct endpoint *properties;
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
static const struct fl_field endpoint_fields[] = {
    FL_FIELD(struct endpoint, host, "host", 0),
    FL_FIELD(struct endpoint, port, "portNumber", 0),
};
static const struct fl_shape endpoint_shape =
    FL_SHAPE(struct endpoint, "properties", endpoint_fields);
static const struct fl_field document_fields[] = {
    FL_FIELD(struct document, type, "sessionType", 0),
};
static const struct fl_field port_fields[] = {
    FL_FIELD_STRUCT(struct document, properties, "properties", 0, &endpoint_shape),
};
static const struct fl_shape document_shape =
    FL_SHAPE(struct document, "document", document_fields);
static const struct fl_shape port_shape = FL_SHAPE(struct document, "document", port_fields);

/* NULL for what is empty. */
static char *kept(struct fl_rec *rec, const char *text)
{
    return text && *text ? fl_arena_strdup(&rec->arena, text) : NULL;
}

static const char *fixed(const char *text)
{
    return text && !strstr(text, "{{") ? text : NULL;
}

static void take_endpoint(struct fl_rec *rec, const struct fl_msg_session_content *c,
                          struct fl_arena *arena)
{
    struct document doc = { 0 };
    struct endpoint given = { 0 }, none = { 0 }, *p = &none;
    const char *host, *port;

    if (c->document_content.text &&
        fl_json_decode(&port_shape, c->document_content.text, strlen(c->document_content.text), 0,
                       arena, &doc, NULL) == 0 &&
        doc.properties)
        p = doc.properties;
    if (c->parameters.text &&
        fl_json_decode(&endpoint_shape, c->parameters.text, strlen(c->parameters.text), 0, arena,
                       &given, NULL) < 0)
        given = none;
    host = given.host ? given.host : fixed(p->host);
    port = given.port ? given.port : fixed(p->port);
    rec->about.endpoint = fl_arena_printf(&rec->arena, "%s:%s", host && *host ? host : "localhost",
                                          port && *port ? port : "?");
}

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

/* The inputs as the agent will see them: whether a session is encrypted may hang on a parameter. */
static void take_inputs(const struct fl_msg_session_content *c, struct fl_arena *arena,
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

void fl_rec_about(struct fl_rec *rec, const char *content)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(PARSE_BYTES);
    struct fl_msg_session_content c = { 0 };
    struct document doc = { 0 };
    struct inputs inputs = { 0 };
    bool encrypted;

    rec->about.type = (char *)"Standard_Stream";
    if (fl_json_decode(&fl_shape_session_content, content, strlen(content), FL_DECODE_LAX, &arena,
                       &c, NULL) == 0 &&
        c.document_content.text)
        fl_json_decode(&document_shape, c.document_content.text, strlen(c.document_content.text), 0,
                       &arena, &doc, NULL);
    if (doc.type)
        rec->about.type = kept(rec, doc.type);
    rec->bytes_kept = strcmp(rec->about.type, "Port") != 0;
    if (!rec->bytes_kept)
        take_endpoint(rec, &c, &arena);
    take_inputs(&c, &arena, &inputs);
    encrypted = rec->bytes_kept && inputs.key_id && *inputs.key_id;
    rec->bucket = kept(rec, inputs.bucket);
    rec->prefix = kept(rec, inputs.prefix);
    rec->log_group = kept(rec, inputs.log_group);
    rec->run_as = kept(rec, c.run_as_user && *c.run_as_user ? c.run_as_user : inputs.run_as);
    rec->log_streams = inputs.streams.text && strcmp(inputs.streams.text, "true") == 0 &&
                       strcmp(rec->about.type, "Standard_Stream") == 0;
    rec->bytes_kept &= !encrypted;
    rec->input_kept = rec->bytes_kept && rec->t->plane->conf.transcript_input;
    rec->about.kept = (char *)(encrypted          ? "counts, encrypted"
                               : !rec->bytes_kept ? "counts"
                               : rec->input_kept  ? "output and input"
                                                  : "output");
    if (!rec->bytes_kept) /* there is nothing to put there */
        rec->bucket = rec->log_group = NULL;
}
