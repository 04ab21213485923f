/* ops.h - what fairlead-agent-key can be asked to do: the operations of keyproc.h as rows. */
#pragma once
#include "agent/lib/keyproc.h"
#include "common/aws/crypto.h"

struct fl_key {
    const char *state_dir;
    struct fl_rsa *fresh; /* made by register-begin, stored by register-commit */
};

/* 0 with *ret_answer filled (strings in the arena), or an error in words. */
int fl_key_run(struct fl_key *key, const struct fl_key_request *req, struct fl_arena *arena,
               struct fl_key_answer *ret_answer, struct fl_err *err);
void fl_key_done(struct fl_key *key);
