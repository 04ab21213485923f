/* policy.h - what this node agrees to run, whatever the control plane says: policy.json.
 *
 * An ordered list of rules; the first that fits decides, else the default. The grammar for people
 * is docs/policy.md; here are its shapes:
 *
 *   {"version": 1, "default": "allow" | "deny",
 *    "keys": {NAME: PUBLIC KEY, ...}, "labels": [NAME, ...],
 *    "rules": [{"name": TEXT, "effect": "allow" | "deny", "match": {
 *        "documents": [GLOB], "documentHashes": [HEX], "actions": [GLOB], "sessionTypes": [GLOB],
 *        "parameters": {NAME: ERE}, "inputs": {NAME: ERE}, "signedBy": [KEY NAME],
 *        "runAs": [USER], "times": ["Mon-Fri 08:00-18:00 UTC"]}}, ...]}
 *
 * All members of `match` must hold; one without members fits everything. Text is strict: an unknown
 * member, an empty list or a member given twice is an error. Deciding is pure, but for the time
 * zone of this machine.
 */
#pragma once
#include "common/base/err.h"

#define FL_POLICY_MAX_BYTES (256u << 10)

struct fl_node_policy;

/* 0, or -EINVAL/-EBADMSG with "line 7: rules[1].match.times[0]: ..." in `err`; -ENOMEM. */
int fl_node_policy_parse(const char *text, size_t len, struct fl_node_policy **ret_policy,
                         struct fl_err *err);
struct fl_node_policy *fl_node_policy_free(struct fl_node_policy *p);

size_t fl_node_policy_n_rules(const struct fl_node_policy *p);
bool fl_node_policy_default_allows(const struct fl_node_policy *p);
/* The name of the next rule from *index on that allows what the control plane chooses freely: it
 * asks for no hash, no signature and no inputs. Moves *index behind it; NULL if there is none. */
const char *fl_node_policy_next_trusting(const struct fl_node_policy *p, size_t *index);
/* The public key of that name, or NULL. */
const char *fl_node_policy_key(const struct fl_node_policy *p, const char *name);
char *const *fl_node_policy_labels(const struct fl_node_policy *p, size_t *ret_n);

/* One step of a document, or one session. Strings may be NULL where nothing is known. */
struct fl_node_policy_subject {
    const char *session_type; /* NULL: a step */
    const char *document, *document_sha256;
    const char *parameters;      /* JSON object: all effective ones (fl_doc_parameters) */
    bool parameters_open;        /* what they will be is not known yet: no pattern allows them */
    const char *action, *inputs; /* of the step; inputs are JSON, references resolved */
    const char *signed_by;       /* the key of a signature that was found good, else NULL */
    const char *run_as;
    int64_t time_ms;
};

struct fl_node_policy_verdict {
    bool allowed;
    bool by_signature;           /* allowed by a rule that asks for a signature */
    char why[FL_ERR_TEXT_BYTES]; /* `rule "name"`, or that no rule allows it */
};

void fl_node_policy_decide(const struct fl_node_policy *p, const struct fl_node_policy_subject *s,
                           struct fl_node_policy_verdict *ret_verdict);
