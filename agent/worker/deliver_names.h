/* deliver_names.h - what outputs are called where they are delivered to (protocol 4 §2.4, §4.3).
 * Pure. All results live in the arena; NULL without memory.
 */
#pragma once
#include "common/base/arena.h"

/* Without ':'. A NULL text is NULL. */
char *fl_name_without_colons(const char *text, struct fl_arena *arena);

/* "<prefix>/<command>/<node>/<action>", as replies tell it: keys begin with it. */
char *fl_name_s3_prefix(const char *prefix, const char *command_id, const char *node_id,
                        const char *action, struct fl_arena *arena);

/* "<prefix>/<step>/<file>"; a step without a name has no part of its own. */
char *fl_name_s3_key(const char *s3_prefix, const char *step, const char *file,
                     struct fl_arena *arena);

/* "<command>/<node>/<step>/<file>" */
char *fl_name_log_stream(const char *command_id, const char *node_id, const char *step,
                         const char *file, struct fl_arena *arena);

/* The `id` of a step of schema 1 among its properties, of the first if they are a list; NULL for
 * none. */
char *fl_name_property_id(const char *inputs_json, struct fl_arena *arena);
