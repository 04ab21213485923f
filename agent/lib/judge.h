/* judge.h - asking fairlead-agent-policy whether a job or a session may run on this node.
 *
 * The only process that sees a document before it is decided about: it gets the policy and the job
 * as descriptors, runs as the user of net without capabilities, opens nothing, and ends with its
 * answer. Whoever asks enforces it; no answer is a no.
 */
#pragma once
#include "agent/lib/paths.h"
#include "common/base/loop.h"
#include "common/codec/codec.h"

#define FL_JUDGE_POLICY_FD 3 /* the text of policy.json */
#define FL_JUDGE_JOB_FD                                                      \
    4 /* the `job` file of a job folder (jobdir.h), or the `session` file of \
       a session's (sessiondir.h) */
#define FL_JUDGE_TIMEOUT_MS    20000
#define FL_JUDGEMENT_MAX_BYTES (64u << 10)

struct fl_judgement {
    char *error;  /* the policy or the job cannot be read; nothing else is set */
    char *broken; /* the document is none: what a worker would report it with */
    bool allowed;
    char *why;    /* of a refusal: words that name the rule; of an approval: the last rule */
    int64_t step; /* refused, or else the first that only a signature allows: index, key, action */
    char *key, *action;

    char *document_sha256;
    char *signed_by, *nonce; /* of a good signature, else NULL */
    int64_t not_after_s;
    bool by_signature; /* some step is allowed only because of it */
    int64_t time_ms;   /* what time it was for the policy */
};
extern const struct fl_shape fl_shape_judgement;

struct fl_judge;

enum fl_judge_what { FL_JUDGE_JOB, FL_JUDGE_SESSION };

/* `judgement` is NULL if there was none; then `why` says so. The object may be freed inside. */
typedef void (*fl_judge_fn)(void *arg, const struct fl_judgement *judgement, const char *why);

/* `user` is what an agent of root makes of the process (role.h), `run_as` the user that documents
 * run as: this process's. The descriptors stay the caller's. */
int fl_judge_start(struct fl_loop *loop, const struct fl_paths *paths, const char *user,
                   const char *run_as, enum fl_judge_what what, int policy_fd, int job_fd,
                   fl_judge_fn fn, void *arg, struct fl_judge **ret_judge, struct fl_err *err);
struct fl_judge *fl_judge_free(struct fl_judge *j);

/* The name of the user this process is. */
void fl_judge_run_as(char *out, size_t out_size);
