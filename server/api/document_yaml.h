/* document_yaml.h - a JSON document written as YAML. */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

/* Appends `json` (text of one JSON value) as block-style YAML with the same content: members keep
 * their order, strings that YAML would read as something else are quoted. 0; -EBADMSG for text that
 * is not JSON; -EMSGSIZE over the buffer's limit; -ENOMEM. */
int fl_document_to_yaml(const char *json, size_t len, struct fl_buf *out, struct fl_err *err);
