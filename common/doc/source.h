/* source.h - the text of a document in either format: its value, and where a member stands in it.
 *
 * Positions are not kept while reading: they are looked up in the text, along the path, when there
 * is an error to tell. Pure.
 */
#pragma once
#include "common/doc/yaml.h"

enum fl_doc_format { FL_DOC_JSON, FL_DOC_YAML };

struct fl_doc_source {
    enum fl_doc_format format;
    const char *text;
    size_t len;
};

/* The value (the caller's, json_decref). Members that stand twice are refused in both formats.
 * -EBADMSG with "line 3, column 5: …"; -ENOMEM. */
int fl_doc_source_load(const struct fl_doc_source *src, json_t **ret_root, struct fl_err *err);

/* As fl_yaml_locate, in text that fl_doc_source_load takes. */
struct fl_text_place fl_doc_source_locate(const struct fl_doc_source *src,
                                          const struct fl_path_part *path, size_t n);
