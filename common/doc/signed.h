/* signed.h - what an operator signs when a command is signed.
 *
 * This text, every line ended by LF (docs/policy.md):
 *
 *     fairlead command signature 1
 *     key KEY
 *     not-before NOT-BEFORE
 *     not-after NOT-AFTER
 *     nonce NONCE
 *     targets TARGETS
 *     document NAME
 *     content-sha256 HEX
 *     parameters-sha256 HEX
 *
 * Hashes are over canonical JSON (json_load.h): of the document, and of the object of all its
 * parameters, defaults included, FairleadSignature left out. Pure.
 */
#pragma once
#include "common/aws/crypto.h"
#include "common/doc/signature.h"

/* Appends the text that is signed. `document` and `parameters` are the JSON texts of a command
 * (doc.h); what they are refused for by fl_doc_load they are refused for here. */
int fl_signature_payload(const struct fl_signature *s, const char *document_name,
                         const char *document, const char *parameters, struct fl_buf *out,
                         struct fl_err *err);

/* Of the canonical form of JSON text; -EBADMSG if it is none. */
int fl_document_sha256(const char *document, char out[FL_SHA256_HEX_BYTES]);
