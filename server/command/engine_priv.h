/* engine_priv.h - between the parts of the engine: engine.c, fanout.c, sweep.c. */
#pragma once
#include "server/command/engine.h"

/* Applies an event to one invocation; the command's row is not saved (fl_engine_step does that). */
int fl_engine_event(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                    enum fl_inv_event event, struct fl_err *err);

/* Back into the queue; gives up the slot without being sent. */
int fl_engine_requeue(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                      struct fl_err *err);
int fl_engine_park(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv, struct fl_err *err);

/* Whether a cancel must be sent to the node or just noted. */
enum fl_inv_event fl_engine_choose_cancel(const struct fl_inv *inv);

/* Sends, stops, expires what the command's marks and counts ask for, then saves the command. */
int fl_engine_step(struct fl_engine *e, struct fl_cmd *cmd, struct fl_err *err);

/* Publishes that the command has more to do. */
int fl_engine_wake(struct fl_engine *e, const char *command_id);

/* Turns the command's targets into invocations, a batch at a time. */
int fl_engine_resolve(struct fl_engine *e, struct fl_cmd *cmd, bool *ret_more, struct fl_err *err);
