/* xml.h - the XML of AWS's query protocol: a struct written by its shape, one text element read.
 *
 * Written members stand in table order as <Member>text</Member>; structures nest; a list is
 * <Member><member>…</member></Member>, a map
 * <Member><entry><key>…</key><value>…</value></entry></Member>. Timestamps are ISO 8601 seconds
 * (protocol 6 §1.6, sts). What is absent is left out, as in JSON.
 */
#pragma once
#include "common/codec/codec.h"

/* Appends the members, without an element around them. Text is escaped; what XML 1.0 cannot hold
 * (control characters, invalid UTF-8) becomes U+FFFD. 0, -EMSGSIZE or -ENOMEM. */
int fl_xml_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out);

/* Append escaped text, or <name>escaped text</name>; NULL text is empty. `name` must be a valid
 * name. */
int fl_xml_text(struct fl_buf *out, const char *s, size_t len);
int fl_xml_element(struct fl_buf *out, const char *name, const char *text);

/* Appends the text of the first element whose name without prefix is `local_name`: entities and
 * CDATA resolved, comments and child elements' tags left out, white space kept. -ENOENT if there is
 * none, -EBADMSG for text that is not XML as far as it was read, -EMSGSIZE over the buffer's limit.
 * Reads what comes, without checking that tags match; entity declarations are not read. */
int fl_xml_find_text(const char *xml, size_t len, const char *local_name, struct fl_buf *out);

/* The next element of that name from *p on: 1 with what stands inside it as it is, and *p behind
 * it; 0 if there is none; -EBADMSG. Elements of the name inside of it end it early; for flat lists.
 */
int fl_xml_next(const char **p, const char *end, const char *local_name, const char **ret_inner,
                size_t *ret_len);
