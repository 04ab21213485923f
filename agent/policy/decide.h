/* decide.h - a whole job under a policy: its document parsed as a worker parses it, its signature
 * verified, each step decided. Pure, but for the clock.
 */
#pragma once
#include "agent/lib/jobdir.h"
#include "agent/lib/judge.h"
#include "agent/lib/policy.h"
#include "agent/lib/sessiondir.h"

/* Fills *ret (strings in `arena`, or of `job`). The document runs only if every step is allowed. */
void fl_decide_job(const struct fl_node_policy *policy, const struct fl_job *job,
                   const char *run_as, int64_t now_ms, struct fl_arena *arena,
                   struct fl_judgement *ret);

/* The same for a session. `run_as` is the agent's own user; what the session will run as follows
 * from its document (session_plan.h). */
void fl_decide_session(const struct fl_node_policy *policy, const struct fl_session *session,
                       const char *run_as, int64_t now_ms, struct fl_arena *arena,
                       struct fl_judgement *ret);
