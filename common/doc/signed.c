/* signed.c - see signed.h. */
#include "common/doc/signed.h"
#include <errno.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/doc/doc.h"

#define DOC_MAX_BYTES (32u << 20) /* memory a document decodes into */

static int hash(const json_t *json, char out[FL_SHA256_HEX_BYTES])
{
    fl_autofree char *text = json_dumps(json, FL_JSON_CANONICAL);

    if (!text)
        return -ENOMEM;
    fl_sha256_hex(text, strlen(text), out);
    return 0;
}

int fl_document_sha256(const char *document, char out[FL_SHA256_HEX_BYTES])
{
    fl_autojson json_t *json = fl_json_load_text(document, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    return json ? hash(json, out) : -EBADMSG;
}

int fl_signature_payload(const struct fl_signature *s, const char *document_name,
                         const char *document, const char *parameters, struct fl_buf *out,
                         struct fl_err *err)
{
    char content_hash[FL_SHA256_HEX_BYTES], parameters_hash[FL_SHA256_HEX_BYTES];
    fl_autoarena struct fl_arena arena = FL_ARENA(DOC_MAX_BYTES);
    fl_autojson json_t *json = NULL;
    char *effective;
    int r;
    if (strpbrk(document_name, "\r\n"))
        return fl_err_set(err, -EINVAL, NULL, "the document's name is not one line");
    r = fl_doc_parameters(document, parameters, &arena, &effective, err);
    if (r < 0)
        return r;
    json = fl_json_load_text(effective, JSON_ALLOW_NUL, NULL);
    json_object_del(json, FL_SIGNATURE_PARAMETER);
    r = json ? hash(json, parameters_hash) : -ENOMEM;
    if (r == 0)
        r = fl_document_sha256(document, content_hash);
    if (r == 0)
        r = fl_buf_printf(out,
                          "fairlead command signature 1\nkey %s\nnot-before %lld\nnot-after %lld\n"
                          "nonce %s\ntargets %s\ndocument %s\ncontent-sha256 %s\n"
                          "parameters-sha256 %s\n",
                          s->key, (long long)s->not_before_s, (long long)s->not_after_s, s->nonce,
                          s->targets, document_name, content_hash, parameters_hash);
    return r < 0 ? fl_err_set(err, r, NULL, "cannot write what is signed: %s", strerror(-r)) : 0;
}
