/* check.h - whether a whole document is sound, before it is stored.
 *
 * A table a type and schema version (rules.c): members and their types, required ones, actions and
 * their inputs, parameter declarations, references. An error names the line and the member:
 *     line 7, column 9: mainSteps[1].inputs.runCommand: must be a list or one {{ parameter }}
 * Rules: protocol 4 §1, protocol 6 §3.2 and §4.1, protocol 3 §9. Pure.
 */
#pragma once
#include "common/codec/codec.h"
#include "common/doc/source.h"

enum fl_doc_type {
    FL_DOC_COMMAND,
    FL_DOC_POLICY,
    FL_DOC_AUTOMATION,
    FL_DOC_SESSION,
    FL_DOC_PACKAGE,
    FL_DOC_OTHER, /* stored only: any JSON or YAML */
};

enum { FL_DOC_LINUX = 1, FL_DOC_WINDOWS = 2, FL_DOC_MACOS = 4, FL_DOC_ANYWHERE = 7 };

/* What a sound document says of itself; NULL: nothing. */
struct fl_doc_facts {
    char *schema_version;
    char *description;
    unsigned platforms; /* FL_DOC_LINUX | …: where its actions run */
};

/* 0; -EINVAL named InvalidDocumentContent or InvalidDocumentSchemaVersion; -ENOMEM. Memory of
 * `arena`. */
int fl_doc_check(enum fl_doc_type type, const struct fl_doc_source *src, struct fl_arena *arena,
                 struct fl_doc_facts *ret_facts, struct fl_err *err);
