/* used.h - signatures that were used: each holds for one command, on each node.
 *
 * <state>/signatures/<not after>-<nonce> holds the command's id. Files go a day after their
 * signature's time is over: until then a clock that is set back finds them.
 */
#pragma once
#include "common/base/err.h"

/* 0 if the signature is free or this command's own; then it is durably this command's. -EEXIST if
 * another command used it: `err` names that. */
int fl_signature_use(const char *state_dir, const char *nonce, int64_t not_after_s,
                     const char *command_id, int64_t now_ms, struct fl_err *err);
