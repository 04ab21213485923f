/* sign.h - signing commands: the part of `fairlead sign` that needs no terminal. */
#pragma once
#include "common/aws/crypto.h"
#include "common/doc/signature.h"

/* The parameters of a command as the API takes them, {"name": "v" | ["v", ...]}, in the form that a
 * document sees: one value for a String, a list for a StringList. Canonical JSON, fresh memory.
 * -EINVAL for a name the document does not declare, and for a value of another form. */
int fl_sign_parameters(const char *document, const char *parameters, char **ret_text,
                       struct fl_err *err);

/* Back into the API's form, every value a list of strings, with the signature; JSON, fresh memory.
 * `parameters` is what the function above made. */
int fl_sign_ready(const char *parameters, const char *signature, char **ret_text,
                  struct fl_err *err);

/* Fills s->nonce (arena) and s->sig, and writes the line. */
int fl_sign_command(const struct fl_ed25519 *key, struct fl_signature *s, const char *document_name,
                    const char *document, const char *parameters, struct fl_arena *arena,
                    struct fl_buf *out, struct fl_err *err);

/* The name that `fairlead keygen` wrote into a key file, in the arena; NULL if there is none. */
char *fl_sign_key_name(const char *pem, struct fl_arena *arena);
#define FL_SIGN_KEY_TITLE "fairlead signing key "
