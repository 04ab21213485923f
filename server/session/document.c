/* document.c - see document.h. */
#include "server/session/document.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "server/api/document_builtin.h"
#include "server/api/documents.h"
#include "server/plane.h"

#define IDLE_MINUTES_MAX 60
#define MAX_MINUTES_MAX  1440

/* The account's preferences, or those that hold without. */
static int find_preferences(struct fl_call *call, struct fl_document *doc, bool *ret_own,
                            struct fl_err *err)
{
    int r = fl_document_exists(call, FL_SESSION_PREFERENCES, err);

    if (r < 0)
        return r;
    *ret_own = r > 0;
    if (r > 0)
        return fl_document_find(call, FL_SESSION_PREFERENCES, NULL, doc, err);
    *doc = (struct fl_document){ .name = FL_SESSION_PREFERENCES,
                                 .type = "Session",
                                 .json = fl_builtin_text(FL_SESSION_PREFERENCES) };
    return 0;
}

static int check(const struct fl_document *doc, const struct fl_listmap *given, struct fl_err *err)
{
    struct fl_err found = { 0 };
    int r;

    if (strcmp(doc->type, "Session") != 0)
        return fl_err_set(err, -EINVAL, "InvalidDocument",
                          "Document type: %s is not supported. Only type: Session is supported for "
                          "StartSession.",
                          doc->type);
    r = fl_document_check_parameters(doc, given, &found);
    if (r < 0)
        return fl_err_set(err, r, r == -EINVAL ? "ValidationException" : NULL, "%s",
                          fl_err_text(&found));
    return 0;
}

/* Minutes as text or as a number; anything else, and what is out of bounds, is `dflt`. */
static int64_t minutes(const json_t *inputs, const char *key, int64_t max, int64_t dflt)
{
    const json_t *v = json_object_get(inputs, key);
    const char *text = json_string_value(v);
    char *end = NULL;
    long long n = json_is_integer(v) ? json_integer_value(v) : 0;

    if (text && *text) {
        n = strtoll(text, &end, 10);
        if (*end)
            n = 0;
    }
    return n >= 1 && n <= max ? n : dflt;
}

static bool has_input(const json_t *inputs, const char *key)
{
    const char *text = json_string_value(json_object_get(inputs, key));

    return text && *text;
}

/* All references are borrowed. */
static int build(struct fl_call *call, json_t *json, const json_t *preferences,
                 struct fl_session_document *ret, struct fl_err *err)
{
    const struct fl_plane_conf *conf = &call->plane->conf;
    const char *type = json_string_value(json_object_get(json, "sessionType"));
    json_t *inputs = json_object_get(json, "inputs"),
           *more = json_object_get(preferences, "inputs");
    fl_autofree char *text = NULL;

    if (more && !inputs)
        json_object_set_new(json, "inputs", inputs = json_object());
    if (more)
        json_object_update_missing(inputs, more);
    text = json_dumps(json, JSON_COMPACT);
    ret->type = type ? fl_arena_strdup(call->arena, type) : NULL;
    ret->content = text ? fl_arena_strdup(call->arena, text) : NULL;
    if (!ret->type || !ret->content)
        return fl_err_set(err, -EINVAL, "InvalidDocument", "Document %s has no sessionType.",
                          ret->name);
    if (strcmp(ret->name, FL_PASSWORD_RESET) == 0 && !has_input(inputs, "kmsKeyId"))
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "%s needs a session encrypted with KMS: set kmsKeyId in %s.", ret->name,
                          FL_SESSION_PREFERENCES);
    ret->idle_minutes =
        minutes(inputs, "idleSessionTimeout", IDLE_MINUTES_MAX, conf->session_idle_minutes);
    ret->max_minutes =
        minutes(inputs, "maxSessionDuration", MAX_MINUTES_MAX, conf->session_max_minutes);
    return 0;
}

int fl_session_document(struct fl_call *call, const char *name, const struct fl_listmap *given,
                        struct fl_session_document *ret_doc, struct fl_err *err)
{
    fl_autojson json_t *json = NULL, *preferences = NULL;
    struct fl_session_document out = { 0 };
    struct fl_document prefs, doc;
    bool own = false;
    int r = find_preferences(call, &prefs, &own, err);

    if (r < 0)
        return r;
    doc = prefs;
    if (name && strcmp(name, FL_SESSION_PREFERENCES) != 0)
        r = fl_document_find(call, name, NULL, &doc, err);
    if (r == 0)
        r = check(&doc, given, err);
    if (r == 0)
        r = fl_document_values(call, &doc, given, &out.parameters, err);
    if (r < 0)
        return r;
    out.name = doc.name;
    json = doc.json ? fl_json_load_text(doc.json, 0, NULL) : NULL;
    preferences = own ? fl_json_load_text(prefs.json, 0, NULL) : NULL;
    if (!json_is_object(json))
        return fl_err_set(err, -EINVAL, "InvalidDocument", "Document %s is not JSON.", doc.name);
    r = build(call, json, preferences, &out, err);
    if (r == 0)
        *ret_doc = out;
    return r;
}
