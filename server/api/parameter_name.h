/* parameter_name.h - names, ARNs, selectors, paths and labels of parameters; protocol 6 §2.2, §3.7.
 *
 * A parameter is known by its id: its name without a leading slash, so that "a" and "/a" are the
 * same. Ids are ASCII. Pure functions.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

#define FL_PARAMETER_LEVELS_MAX 15
#define FL_PARAMETER_ARN_MAX    1011 /* bytes of the ARN, the name in it */

/* The id of a name: points into it. */
const char *fl_parameter_id(const char *name);

/* May a parameter be made with this name? 0, or -EINVAL or -EACCES named after what is wrong.
 * `arn_prefix`: "arn:aws:ssm:<region>:<account>:parameter/". */
int fl_parameter_name_check(const char *name, const char *arn_prefix, struct fl_err *err);

/* Is it the form of a name, without ARN and selector? 0 or -EINVAL named ValidationException. */
int fl_parameter_name_form(const char *name, struct fl_err *err);

/* What a Get names: a name or ARN, and perhaps ":3" or ":label" behind it. */
struct fl_parameter_ref {
    const char *id;
    const char *selector; /* ":3", ":label"; NULL: none, which is the latest version */
    const char *label;    /* NULL: a number, or none */
    int64_t version;      /* of a number; INT64_MAX for any that is too large */
};

/* Strings in the arena. 0; -EINVAL named ValidationException; -ENOMEM. */
int fl_parameter_ref_parse(const char *text, const char *arn_prefix, struct fl_arena *arena,
                           struct fl_parameter_ref *ret_ref, struct fl_err *err);

/* All parameters below a path: those with after < id < before, byte by byte. */
struct fl_parameter_path {
    const char *after; /* "app/" for "/app" and "/app/", "" for "/" */
    const char *before;
};
extern const struct fl_parameter_path fl_parameter_path_all; /* "/" */

/* As above. */
int fl_parameter_path_parse(const char *path, struct fl_arena *arena,
                            struct fl_parameter_path *ret_path, struct fl_err *err);

/* Is `id` below it, and, unless `recursive`, directly? */
bool fl_parameter_path_holds(const struct fl_parameter_path *path, const char *id, bool recursive);

/* [A-Za-z0-9_.-], no digit first, and neither "aws" nor "ssm" in any case. */
bool fl_parameter_label_valid(const char *label);
