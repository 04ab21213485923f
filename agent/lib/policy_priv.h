/* policy_priv.h - what policy.c (deciding) and policy_load.c (reading) share. */
#pragma once
#include "agent/lib/policy.h"
#include "common/codec/codec.h"
#include "common/codec/regexp.h"

struct fl_node_policy_window {
    uint8_t days; /* bit 0: Sunday */
    int from_min, to_min;
    bool utc;
};

struct fl_node_policy_pattern {
    const char *name; /* of the parameter or input */
    struct fl_regexp *re;
};
struct fl_node_policy_patterns {
    struct fl_node_policy_pattern *v;
    size_t n;
};

/* As it is written; then what is made of it. */
struct fl_node_policy_match {
    struct fl_strs documents, document_hashes, actions, session_types, signed_by, run_as, times;
    struct fl_strmap parameters, inputs;
};
struct fl_node_policy_rule {
    char *name, *effect;
    struct fl_node_policy_match *match;

    bool allow;
    struct fl_node_policy_patterns parameters, inputs;
    struct fl_node_policy_window *windows; /* match->times.n of them */
};

struct fl_node_policy_file {
    int64_t version;
    char *default_effect;
    struct fl_strmap keys;
    struct fl_strs labels;
    struct fl_node_policy_rule *rules;
    size_t n_rules;
};

struct fl_node_policy {
    struct fl_arena arena;
    struct fl_node_policy_file file;
};
