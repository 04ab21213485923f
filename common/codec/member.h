/* member.h - what the text encoders share about one member of a struct. */
#pragma once
#include "common/codec/codec.h"

/* Whether the member says something: what is absent is left out unless FL_ALWAYS. */
bool fl_member_present(const struct fl_field *f, const void *in);

/* Appends a boolean or number, which read the same in JSON and XML. 1 if it did, 0 for every other
 * kind, or a negative errno. */
int fl_member_put_scalar(const struct fl_field *f, const void *in, struct fl_buf *out);
