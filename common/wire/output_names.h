/* output_names.h - what a command's settings make of a bucket's keys and of a log group's name: the
 * agent puts outputs there, and the plane lets it (protocol 4 §4.3).
 *
 * Pure. Results live in the arena; NULL without memory.
 */
#pragma once
#include "common/base/arena.h"

/* OutputS3KeyPrefix as it stands in keys: with a '/' at its end, or empty. Empty, "." and ".."
 * parts go, as in the official agent's path.Join and its cleaning of URLs. NULL counts as "". */
char *fl_output_prefix(const char *prefix, struct fl_arena *arena);

/* The group asked for, or "/aws/ssm/<document>" without characters that no group may have. */
char *fl_output_log_group(const char *group, const char *document, struct fl_arena *arena);
