/* sessions_start.c - StartSession, ResumeSession, TerminateSession.
 *
 * Checks and error names: protocol 6 §3.6, protocol 3 §1.
 */
#include "server/api/sessions.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"
#include "server/api/documents.h"
#include "server/api/nodes.h"
#include "server/channel/channel_token.h"
#include "server/plane.h"
#include "server/session/document.h"
#include "server/session/inputs.h"
#include "server/session/place.h"
#include "server/session/session.h"
#include "server/session/transcript.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX_CHARS      17
#define CONTENT_MAX_BYTES (256 * 1024)
#define OUR_CLIENT        "fairlead/" /* its User-Agent begins so */

/* ---- what policies are asked about ---- */

int fl_op_start_session_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                                  struct fl_err *err)
{
    const struct fl_start_session_in *req = in;
    int r = fl_node_resource(call, req->target, ret, err);

    /* Also where none is named: who may use one document only must not get a shell by naming none.
     */
    return r < 0 ? r
                 : fl_document_resource(
                       call, req->document_name ? req->document_name : FL_SESSION_PREFERENCES, ret,
                       err);
}

int fl_op_session_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                            struct fl_err *err)
{
    const struct fl_session_id_in *req = in;

    return fl_session_resource(call, req->session_id, ret, err);
}

/* ---- names ---- */

/* "<caller>-<17 of a-z0-9>": also a segment of a URL, a folder, an object's key. */
static char *new_id(struct fl_call *call)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    char suffix[SUFFIX_CHARS + 1] = "", *id;
    size_t room = FL_SESSION_ID_BYTES - 1 - 1 - SUFFIX_CHARS;

    for (size_t i = 0; i < SUFFIX_CHARS; i++)
        suffix[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[fl_random_between(0, 35)];
    id = fl_arena_printf(call->arena, "%.*s-%s", (int)room, call->who->name, suffix);
    for (char *p = id; p && *p; p++)
        if (!strchr(allowed, *p) || (p == id && *p == '.'))
            *p = '_';
    return id;
}

/* Where the data channel is opened, and what shows that it may be. */
static int give_access(struct fl_call *call, const char *id, struct fl_session_access_out *out,
                       struct fl_err *err)
{
    const struct fl_plane_conf *conf = &call->plane->conf;
    bool ipv6 = strchr(conf->public_host, ':');
    fl_autofree char *token = NULL;
    int r =
        fl_channel_token_new(call->plane->seal_key, FL_TOKEN_DATA_CLIENT, id, call->now_ms, &token);

    if (r < 0)
        return fl_err_set(err, r, NULL, "token of a session: %s", strerror(-r));
    out->session_id = fl_arena_strdup(call->arena, id);
    out->token = fl_arena_strdup(call->arena, token);
    out->stream_url =
        fl_arena_printf(call->arena, "wss://%s%s%s:%u/v1/data-channel/%s?role=publish_subscribe",
                        ipv6 ? "[" : "", conf->public_host, ipv6 ? "]" : "", conf->port, id);
    return out->session_id && out->token && out->stream_url ? 0 : fl_err_nomem(err);
}

/* ---- StartSession ---- */

static int check_limits(struct fl_call *call, const char *node_id, struct fl_err *err)
{
    const struct fl_plane_conf *conf = &call->plane->conf;
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_session_open_counts, &c, err, FL_T(call->account),
                        FL_T(call->region), FL_T(node_id), FL_T(call->who->arn));
    const struct {
        const char *whose;
        int64_t max;
    } limits[] = {
        { "the plane", conf->sessions_max },
        { "the node", conf->sessions_max_per_node },
        { "the caller", conf->sessions_max_per_owner },
    };

    if (r == 0)
        r = fl_sql_next(c, err);
    if (r < 0)
        return r;
    for (int i = 0; i < (int)FL_ARRAY_LEN(limits); i++)
        if (limits[i].max > 0 && fl_sql_int(c, i) >= limits[i].max)
            return fl_err_set(err, -EINVAL, "ServiceQuotaExceededException",
                              "All %" PRId64 " sessions that %s may have are in use.",
                              limits[i].max, limits[i].whose);
    return 0;
}

static int check_target(struct fl_call *call, const char *node_id, struct fl_err *err)
{
    int r = fl_node_exists(call, node_id, err);

    if (r < 0)
        return r;
    if (r == 0 || !fl_presence_connected(call->plane->presence, node_id))
        return fl_err_set(err, -EINVAL, "TargetNotConnected", "%s is not connected.", node_id);
    return 0;
}

/* What is shown goes to the bucket and the group that the document names once: the plane takes it
 * there if it can read it and has that place, or no other plane could; else the node does. */
static int find_places(struct fl_call *call, const struct fl_msg_session_content *content,
                       const char *type, struct fl_session_place *ret, struct fl_err *err)
{
    const struct fl_plane *plane = call->plane;
    struct fl_session_inputs in;
    bool reads, bucket_here, group_here;

    *ret = (struct fl_session_place){ 0 };
    fl_session_inputs_read(content, type, call->arena, &in);
    if (strcmp(type, "Port") == 0)
        return 0;
    reads = plane->transcripts && !in.encrypted;
    bucket_here = !plane->conf.output_buckets_elsewhere ||
                  (in.bucket && fl_sql_scalar(call->tx, FL_SQL_bucket_exists, -1, NULL,
                                              FL_T(call->account), FL_T(in.bucket)) >= 0);
    group_here = !plane->conf.output_buckets_elsewhere ||
                 (in.log_group &&
                  fl_sql_scalar(call->tx, FL_SQL_log_group_get, -1, NULL, FL_T(call->account),
                                FL_T(call->region), FL_T(in.log_group)) >= 0);
    ret->bucket = bucket_here ? in.bucket : NULL;
    ret->log_group = group_here ? in.log_group : NULL;
    ret->key = fl_session_object_key(call->arena, in.prefix, content->session_id);
    ret->keeps_object = reads && ret->bucket;
    ret->keeps_events = reads && ret->log_group;
    return ret->key ? 0 : fl_err_nomem(err);
}

/* The Content of interactive_shell. */
static int make_content(struct fl_call *call, const struct fl_session *s,
                        const struct fl_session_document *doc, struct fl_session_place *ret_place,
                        char **ret_content, struct fl_err *err)
{
    static char nobody[] = "";
    struct fl_msg_extras extras = {
        .max_payload = FL_DATA_MAX_PAYLOAD_BYTES,
        .end_of_input = true,
        .handshake =
            call->user_agent && strncmp(call->user_agent, OUR_CLIENT, strlen(OUR_CLIENT)) == 0,
    };
    const struct fl_msg_session_content content = {
        .session_id = s->id,
        .document_name = s->document_name,
        .document_content = { doc->content },
        .parameters = { doc->parameters },
        .run_as_user = nobody,
        .session_owner = s->owner,
        .extras = &extras,
    };
    fl_autobuf struct fl_buf text = FL_BUF(CONTENT_MAX_BYTES);
    int r = find_places(call, &content, doc->type, ret_place, err);

    if (r < 0)
        return r;
    extras.keeps_bucket = ret_place->keeps_object;
    extras.keeps_group = ret_place->keeps_events;
    r = fl_json_encode(&fl_shape_session_content, &content, &text);
    if (r < 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument", "Document %s is too large.", doc->name);
    *ret_content = fl_arena_strdup(call->arena, text.data);
    return *ret_content ? 0 : fl_err_nomem(err);
}

int fl_op_start_session(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_start_session_in *req = in;
    struct fl_session_document doc;
    struct fl_session_place place;
    struct fl_session s = { .node_id = req->target, .owner = (char *)call->who->arn };
    int r = fl_session_document(call, req->document_name, &req->parameters, &doc, err);

    if (r == 0)
        r = check_target(call, req->target, err);
    if (r == 0)
        r = check_limits(call, req->target, err);
    if (r == 0)
        r = fl_transcripts_ready(call->plane->transcripts, err);
    if (r < 0)
        return r;
    s.id = new_id(call);
    if (!s.id)
        return fl_err_nomem(err);
    s.owner_id = (char *)(call->who->user_id ? call->who->user_id : "");
    s.document_name = (char *)doc.name;
    s.session_type = (char *)doc.type;
    s.idle_minutes = doc.idle_minutes;
    r = make_content(call, &s, &doc, &place, &s.content, err);
    if (r == 0)
        r = fl_session_insert(call, &s, req->reason ? req->reason : "", doc.max_minutes, err);
    if (r == 0)
        r = fl_session_place_add(call, s.id, &place, err);
    return r < 0 ? r : give_access(call, s.id, out, err);
}

/* ---- the others ---- */

int fl_op_resume_session(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_session_id_in *req = in;
    struct fl_session_access_out *res = out;
    struct fl_session s;
    int r = fl_session_load(call, req->session_id, &s, err);

    if (r == 0)
        return fl_err_set(err, -EINVAL, "DoesNotExistException", "Session %s does not exist.",
                          req->session_id);
    if (r < 0)
        return r;
    /* Also while it ends: its last words are for the client, and why. */
    if (!fl_session_over((enum fl_session_status)s.status))
        return give_access(call, s.id, res, err);
    res->session_id = s.id; /* and no token: it has ended (protocol 3 §1) */
    return 0;
}

int fl_op_terminate_session(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct fl_session_id_in *req = in;
    struct fl_session_id_out *res = out;
    char *why = fl_arena_printf(call->arena, "The session was terminated by %s.", call->who->arn);

    if (!why)
        return fl_err_nomem(err);
    res->session_id = req->session_id;
    return fl_session_terminate(call, req->session_id, why, err);
}
