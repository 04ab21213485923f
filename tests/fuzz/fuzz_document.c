/* A job's Content: decoded, the document loaded and substituted, the flow rules asked. */
#include <jansson.h>
#include <stdlib.h>
#include "common/codec/json_load.h"
#include "agent/worker/flow.h"
#include "common/doc/doc.h"
#include "common/doc/ssm_refs.h"
#include "common/wire/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Loads it with what Parameter Store might answer: every other parameter is a list. */
static int load(const struct fl_msg_send_content *content, struct fl_arena *arena,
                struct fl_doc *ret_doc, struct fl_err *err)
{
    struct fl_ssm_refs *refs = fl_ssm_refs_new();
    const char *names[FL_SSM_REFS_BATCH];
    int r = fl_doc_load_refs(content->document_content.text, content->parameters.text, "linux",
                             refs, arena, ret_doc, err);
    bool wanting = r == 0 && fl_ssm_refs_wanting(refs);
    size_t n;

    while (r == 0 && (n = fl_ssm_refs_next(refs, names)) > 0)
        for (size_t i = 0; i < n; i++)
            if (fl_ssm_refs_learn(refs, names[i], "", (int64_t)i, i % 2 ? "StringList" : "String",
                                  "a,{{ssm:b}}") < 0)
                abort();
    if (wanting)
        r = fl_doc_load_refs(content->document_content.text, content->parameters.text, "linux",
                             refs, arena, ret_doc, err);
    if (r == 0 && fl_ssm_refs_wanting(refs))
        abort(); /* one round knows all there is */
    fl_ssm_refs_free(refs);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(72 << 20);
    struct fl_msg_send_content content;
    struct fl_err err = { 0 };
    struct fl_doc doc;

    if (fl_json_decode(&fl_shape_send_content, (const char *)data, size, FL_DECODE_NOCASE, &arena,
                       &content, &err) < 0)
        return 0;
    if (load(&content, &arena, &doc, &err) < 0) {
        if (err.code == 0 || err.text[0] == '\0')
            abort(); /* a refusal has words */
        return 0;
    }
    for (size_t i = 0; i < doc.n_steps; i++) {
        json_t *inputs =
            fl_json_load_text(doc.steps[i].inputs, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        const struct fl_doc_control *c = &doc.steps[i].control;
        struct fl_flow_props props;
        char *text = NULL;

        if (!inputs || !doc.steps[i].key || !doc.steps[i].action)
            abort();
        /* A document comes to its end: forwards only. */
        if ((c->next_step && c->next_step <= i) || (c->failure_step && c->failure_step <= i) ||
            (c->cancel_step && c->cancel_step <= i) || c->next_step >= doc.n_steps ||
            c->failure_step >= doc.n_steps || c->cancel_step >= doc.n_steps)
            abort();
        json_decref(inputs);
        fl_flow_props_read(&doc.steps[i], &props);
        fl_flow_decide(doc.schema, &doc.steps[i], &props, i % 2, i + 1 == doc.n_steps, i % 3,
                       &arena, &text);
    }
    return 0;
}
