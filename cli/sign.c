/* sign.c - see sign.h. */
#include "cli/sign.h"
#include <errno.h>
#include <string.h>
#include "common/base/rand.h"
#include "common/codec/json_load.h"
#include "common/doc/signed.h"

#define PAYLOAD_MAX_BYTES (2 * FL_SIGNATURE_MAX_BYTES)

/* ---- parameters ---- */

static bool is_texts(const json_t *v)
{
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!json_is_string(json_array_get(v, i)))
            return false;
    return json_is_array(v);
}

/* A new reference, or NULL if a value of this form does not fit the type. */
static json_t *as_seen(const char *type, json_t *v)
{
    bool one = is_texts(v) && json_array_size(v) == 1;

    if (strcmp(type, "StringList") == 0 && json_is_string(v))
        return json_pack("[O]", v);
    if (strcmp(type, "StringList") == 0)
        return is_texts(v) ? json_incref(v) : NULL;
    if (one && (strcmp(type, "StringMap") == 0 || strcmp(type, "MapList") == 0))
        return fl_json_load_text(json_string_value(json_array_get(v, 0)), JSON_DECODE_ANY, NULL);
    if (one)
        return json_incref(json_array_get(v, 0));
    return is_texts(v) ? NULL : json_incref(v);
}

static int take(const json_t *declared, const char *name, json_t *v, json_t *out,
                struct fl_err *err)
{
    const json_t *decl = json_object_get(declared, name);
    const char *type = json_string_value(json_object_get(decl, "type"));
    json_t *seen;

    if (!decl)
        return fl_err_set(err, -EINVAL, NULL,
                          "parameter %.100s: the document has none of that name", name);
    seen = as_seen(type ? type : "String", v);
    if (!seen)
        return fl_err_set(err, -EINVAL, NULL, "parameter %.100s: not a value of a %s", name,
                          type ? type : "String");
    return json_object_set_new(out, name, seen) < 0 ? fl_err_nomem(err) : 0;
}

int fl_sign_parameters(const char *document, const char *parameters, char **ret_text,
                       struct fl_err *err)
{
    fl_autojson json_t *doc = fl_json_load_text(document, 0, NULL);
    fl_autojson json_t *given = fl_json_load_text(parameters, 0, NULL);
    fl_autojson json_t *out = json_object();
    const json_t *declared = json_object_get(doc, "parameters");
    const char *name;
    json_t *v;

    if (!json_is_object(doc))
        return fl_err_set(err, -EINVAL, NULL, "the document is not JSON; convert YAML first");
    if (!json_is_object(given))
        return fl_err_set(err, -EINVAL, NULL, "the parameters are not a JSON object");
    json_object_foreach(given, name, v)
    {
        int r = take(declared, name, v, out, err);

        if (r < 0)
            return r;
    }
    *ret_text = json_dumps(out, FL_JSON_CANONICAL);
    return *ret_text ? 0 : fl_err_nomem(err);
}

/* A new reference. */
static json_t *as_sent(json_t *v)
{
    fl_autofree char *text = NULL;

    if (json_is_string(v))
        return json_pack("[O]", v);
    if (is_texts(v))
        return json_incref(v);
    text = json_dumps(v, FL_JSON_CANONICAL);
    return text ? json_pack("[s]", text) : NULL;
}

int fl_sign_ready(const char *parameters, const char *signature, char **ret_text,
                  struct fl_err *err)
{
    fl_autojson json_t *in = fl_json_load_text(parameters, 0, NULL);
    fl_autojson json_t *out = json_pack("{s:[s]}", FL_SIGNATURE_PARAMETER, signature);
    const char *name;
    json_t *v;

    json_object_foreach(in, name, v) if (strcmp(name, FL_SIGNATURE_PARAMETER) != 0 &&
                                         json_object_set_new(out, name, as_sent(v)) <
                                             0) return fl_err_nomem(err);
    *ret_text = out ? json_dumps(out, JSON_COMPACT) : NULL;
    return *ret_text ? 0 : fl_err_nomem(err);
}

/* ---- the signature ---- */

int fl_sign_command(const struct fl_ed25519 *key, struct fl_signature *s, const char *document_name,
                    const char *document, const char *parameters, struct fl_arena *arena,
                    struct fl_buf *out, struct fl_err *err)
{
    fl_autobuf struct fl_buf payload = FL_BUF(PAYLOAD_MAX_BYTES);
    fl_autofree char *sig = NULL;
    int r;

    s->nonce = fl_arena_alloc(arena, FL_SIGNATURE_NONCE_BYTES);
    if (!s->nonce)
        return fl_err_nomem(err);
    fl_random_hex(s->nonce, FL_SIGNATURE_NONCE_BYTES - 1);
    r = fl_signature_payload(s, document_name, document, parameters, &payload, err);
    if (r < 0)
        return r;
    r = fl_ed25519_sign(key, payload.data, payload.len, &sig);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot sign with this key");
    s->sig = fl_arena_strdup(arena, sig);
    return s->sig ? fl_signature_format(s, out, err) : fl_err_nomem(err);
}

char *fl_sign_key_name(const char *pem, struct fl_arena *arena)
{
    size_t title = strlen(FL_SIGN_KEY_TITLE);
    char *name;

    if (strncmp(pem, FL_SIGN_KEY_TITLE, title) != 0)
        return NULL;
    name = fl_arena_memdup(arena, pem + title, strcspn(pem + title, "\r\n"));
    return name && fl_signature_name_valid(name) ? name : NULL;
}
