/* regcall.h - the RegisterManagedInstance call: its body, and what its answers mean. Pure. */
#pragma once
#include "agent/lib/ipc_net.h"
#include "common/codec/codec.h"

struct fl_reg_tag {
    char *key, *value;
};
struct fl_reg_body {
    char *code, *id; /* with an activation */
    char *fingerprint;
    char *iam_role; /* with a role */
    char *public_key, *public_key_type;
    struct fl_reg_tag *tags;
    size_t n_tags;
};
extern const struct fl_shape fl_shape_reg_body;

/* The -tags text, [{"Key":"k","Value":"v"}]; pairs with an empty half are dropped. */
int fl_reg_tags(const char *text, struct fl_arena *arena, struct fl_reg_tag **ret_tags,
                size_t *ret_n, struct fl_err *err);

/* What an answer means. */
struct fl_reg_verdict {
    char *node_id;     /* set: registered */
    bool retry_quick;  /* TooManyUpdates: the short retry of protocol 1 §4.4 */
    bool retry;        /* throttled, 5xx or a transport fault that may pass */
    int64_t skew_ms;   /* server's clock minus ours; 0 unknown */
    struct fl_err why; /* unless registered: words for the user, naming what is wrong */
};

/* `id` and `url` are named in the texts. */
void fl_reg_judge(const struct fl_fetch_answer *answer, const char *id, const char *url,
                  struct fl_arena *arena, struct fl_reg_verdict *ret_verdict);
