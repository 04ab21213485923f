/* reply.h - the inner JSON of agent_job_reply, member for member as the official agent sends it
 * (protocol 2 §3.4). Pure.
 */
#pragma once
#include "agent/lib/jobdir.h"

#define FL_REPLY_TRACE_BYTES 2500 /* of documentTraceOutput */

struct fl_reply_agent {
    const char *os_lang, *os_name, *os_version; /* from the configuration */
};

/* Each appends one JSON object; 0 or -ENOMEM. `now_ms` is the reply's dateTime: fresh on every
 * send. */

/* A status alone: the first InProgress, or Failed with `trace` (NULL for none). */
int fl_reply_bare(const struct fl_reply_agent *agent, const char *status, const char *trace,
                  int64_t now_ms, struct fl_buf *out);

/* InProgress with one step's result. */
int fl_reply_step(const struct fl_reply_agent *agent, const struct fl_jrec_step_done *step,
                  int64_t now_ms, struct fl_buf *out);

/* The final one; `only` is the step's result if the document has exactly one, else NULL. */
int fl_reply_final(const struct fl_reply_agent *agent, const struct fl_jrec_doc_done *doc,
                   const struct fl_jrec_step_done *only, int64_t now_ms, struct fl_buf *out);
