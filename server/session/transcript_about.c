/* transcript_about.c - what the content of a session says about it: its kind, where a tunnel leads,
 * what of it may be kept, where else it goes. */
#include "server/session/transcript_priv.h"

#include <string.h>
#include "common/wire/datachannel.h"
#include "server/session/inputs.h"

#define PARSE_BYTES (4 * 1024 * 1024)

#define F(member, key) FL_FIELD(struct fl_tf_about, member, key, 0)
static const struct fl_field about_fields[] = {
    F(session_id, "SessionId"),  F(node_id, "Target"),   F(owner, "Owner"),
    F(document, "DocumentName"), F(type, "SessionType"), F(endpoint, "Endpoint"),
    F(started, "StartDate"),     F(kept, "Recorded"),
};
#undef F
const struct fl_shape fl_tf_about_shape = FL_SHAPE(struct fl_tf_about, "about", about_fields);

struct endpoint {
    char *host, *port;
};
struct document {
    char *type;
    struct endpoint *properties;
};
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

void fl_rec_about(struct fl_rec *rec, const char *content)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(PARSE_BYTES);
    struct fl_msg_session_content c = { 0 };
    struct document doc = { 0 };
    struct fl_session_inputs inputs;
    struct fl_msg_extras ours = { 0 };

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
    fl_session_inputs_read(&c, rec->about.type, &arena, &inputs);
    rec->bytes_kept &= !inputs.encrypted;
    /* As it was decided when the session began: the rest is the agent's. */
    ours = rec->bytes_kept && c.extras ? *c.extras : ours;
    rec->bucket = kept(rec, ours.keeps_bucket ? inputs.bucket : NULL);
    rec->prefix = kept(rec, inputs.prefix);
    rec->log_group = kept(rec, ours.keeps_group ? inputs.log_group : NULL);
    rec->run_as = kept(rec, c.run_as_user && *c.run_as_user ? c.run_as_user : inputs.run_as);
    rec->log_streams = inputs.streams;
    rec->input_kept = rec->bytes_kept && rec->t->plane->conf.transcript_input;
    rec->about.kept = (char *)(inputs.encrypted   ? "counts, encrypted"
                               : !rec->bytes_kept ? "counts"
                               : rec->input_kept  ? "output and input"
                                                  : "output");
}
