/* doc.h - a command document and its parameters as one model: decoded, checked, substituted.
 *
 * Pure: no side effects, so that agent, server and fuzzers share it. Rules and texts: protocol 4 §1
 * and §2.2. Schema versions 1.0 and 1.2 (runtimeConfig), 2.0, 2.0.1-2.0.3 and 2.2 (mainSteps).
 */
#pragma once
#include "common/codec/codec.h"
#include "common/doc/control.h"

#define FL_DOC_MAX_STEPS      1000
#define FL_DOC_MAX_NAME_BYTES 256 /* of a step's name or action */

enum fl_doc_schema { FL_DOC_1, FL_DOC_2_0, FL_DOC_2_2 };

enum fl_doc_precondition {
    FL_PRE_NONE, /* the step has none */
    FL_PRE_TRUE,
    FL_PRE_FALSE,   /* `precondition_text` lists the operators that are false or invalid */
    FL_PRE_INVALID, /* no operator is false, at least one is invalid */
};

struct fl_doc_step {
    char *key;    /* in replies: the step's name (2.x) or the plugin's (1.x) */
    char *action; /* the plugin */
    char *inputs; /* JSON text, substituted: inputs (2.x) or properties (1.x); "null" if absent */
    bool has_settings; /* and they are not null */
    enum fl_doc_precondition precondition;
    char *precondition_text;
    struct fl_doc_control control; /* all zero unless the document asks for it */
};

struct fl_doc {
    enum fl_doc_schema schema;
    struct fl_doc_step *steps;
    size_t n_steps;
    struct fl_strmap env; /* SSM_<name>: parameters that scripts get as variables (params.h) */
};

/* `document` and `parameters` are JSON text; parameters may be NULL, "null" or "{}". Memory is
 * taken from `arena`. `platform` is what the variable platformType means here: "linux". 0; -EINVAL
 * with the official agent's text for a document error, whose name is FL_ERR_PARAMETER if the text
 * shows the value of a parameter, which may be a secret; -EBADMSG for text that is not JSON;
 * -EMSGSIZE. */
#define FL_ERR_PARAMETER "InvalidParameters"
struct fl_ssm_refs;
int fl_doc_load(const char *document, const char *parameters, const char *platform,
                struct fl_arena *arena, struct fl_doc *ret_doc, struct fl_err *err);

/* The same with references to Parameter Store replaced (ssm_refs.h), in parameters before they are
 * checked and in inputs after they are substituted. While `refs` wants values, what is loaded is a
 * document with references in it. NULL: they stay. */
int fl_doc_load_refs(const char *document, const char *parameters, const char *platform,
                     struct fl_ssm_refs *refs, struct fl_arena *arena, struct fl_doc *ret_doc,
                     struct fl_err *err);

/* A document inside another: allowedValues and the limits of lengths are checked, too, which for a
 * document that was sent the service has done (protocol 4 §1.2). */
int fl_doc_load_nested(const char *document, const char *parameters, const char *platform,
                       struct fl_ssm_refs *refs, struct fl_arena *arena, struct fl_doc *ret_doc,
                       struct fl_err *err);

/* What references in the document resolve to: the supplied parameters whose names may be used, and
 * the defaults of the others, as one canonical JSON object (signed.h) in the arena. Errors as
 * above. */
int fl_doc_parameters(const char *document, const char *parameters, struct fl_arena *arena,
                      char **ret_text, struct fl_err *err);
