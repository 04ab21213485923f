/* flow.h - which steps run, and what a result means for the steps after it (protocol 4 §2.2, §2.3).
 * Pure: tables.
 */
#pragma once
#include "common/doc/doc.h"
#include "plugins/status.h"

enum fl_flow_verdict { FL_FLOW_RUN, FL_FLOW_SKIP, FL_FLOW_FAIL };

/* What the step's inputs say about the flow, and what it says beside them if that counts. */
struct fl_flow_props {
    bool on_failure_exit, on_failure_success_and_exit, on_success_exit, finally;
    bool abort, succeed, has_failure_step, has_cancel_step, has_next_step, is_end;
    struct fl_doc_control control;
};
void fl_flow_props_read(const struct fl_doc_step *step, struct fl_flow_props *ret_props);

/* Is the step run? `stopped`: an earlier step asked to end the document; `last`: no step follows;
 * `handled`: there is a plugin for its action. For SKIP and FAIL the text goes to *ret_text
 * (arena). */
enum fl_flow_verdict fl_flow_decide(enum fl_doc_schema schema, const struct fl_doc_step *step,
                                    const struct fl_flow_props *props, bool stopped, bool last,
                                    bool handled, struct fl_arena *arena, char **ret_text);

/* A step's result on its way to its reply. */
struct fl_flow_result {
    enum fl_status status;
    int64_t code;
    bool clear_stderr; /* stderr counts as empty */
    const char
        *suffix;  /* NULL, or what both streams get at their end (stdout only if clear_stderr) */
    bool stop;    /* later steps are skipped */
    size_t go_to; /* the step that is next; 0: the one that follows */
};

/* Changes status and code as the step's properties and the codes 168 and 169 demand, and fills the
 * other members. */
void fl_flow_after(const struct fl_flow_props *props, struct fl_flow_result *result);
