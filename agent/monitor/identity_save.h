/* identity_save.h - keeps fresh credentials on disk without ever waiting for it: identity_files.h
 * on the loop's work pool, one write at a time.
 *
 * A file system that hangs must not collect jobs: what is to be saved meanwhile is saved when the
 * write is over, only the last of it. Failures are logged; nothing depends on these files.
 */
#pragma once
#include "agent/lib/credcache.h"
#include "agent/lib/config.h"
#include "common/base/loop.h"

struct fl_identity_saver;

/* `state_dir` and `config` must outlive it. 0 or -ENOMEM. */
int fl_identity_saver_new(struct fl_loop *loop, const char *state_dir,
                          const struct fl_agent_config *config,
                          struct fl_identity_saver **ret_saver, struct fl_err *err);

/* A write under way goes on by itself. */
struct fl_identity_saver *fl_identity_saver_free(struct fl_identity_saver *s);

/* Saves a copy of *creds; if a write is under way, what it points to when that is over. */
void fl_identity_save(struct fl_identity_saver *s, const struct fl_credcache *creds);
