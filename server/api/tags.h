/* tags.h - tags of every kind of resource: one table in the store, one struct on the wire.
 *
 * `type` is a name of the API's ResourceTypeForTagging ("ManagedInstance", "Document", …) or
 * "Activation"; `id` is the resource's id in that type.
 */
#pragma once
#include "server/op.h"

#define FL_TAGS_MAX 50 /* of one resource; protocol 6 §3.1 */

struct fl_tag {
    char *key;
    char *value;
};

/* {Key 1-128, Value 0-256} with the model's character set; protocol 6 §3.1. */
extern const struct fl_shape fl_tag_shape;

/* Limits of a list of tags and of a tag's key, for rows of other shapes. */
#define FL_TAG_PATTERN  "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$"
#define FL_TAG_LIST_MAX 1000

/* Adds or overwrites. -EINVAL named TooManyTagsError when the resource would then have more than
 * FL_TAGS_MAX (the caller returns it, so that nothing stays written). */
int fl_tags_put(struct fl_call *call, const char *type, const char *id, const struct fl_tag *tags,
                size_t n, struct fl_err *err);

/* All tags of a resource, by key; memory of call->arena. */
int fl_tags_list(struct fl_call *call, const char *type, const char *id, struct fl_tag **ret_tags,
                 size_t *ret_n, struct fl_err *err);

/* Copies all tags of one resource to another, or removes all of one. */
int fl_tags_copy(struct fl_call *call, const char *from_type, const char *from_id,
                 const char *to_type, const char *to_id, struct fl_err *err);
int fl_tags_drop(struct fl_call *call, const char *type, const char *id, struct fl_err *err);

/* One resource with its tags, for a policy. Appends to `res`, which starts as zeroes and is grown
 * by nothing else; the ARN is kept, not copied. */
int fl_resources_add(struct fl_call *call, struct fl_resources *res, const char *arn,
                     const char *type, const char *id, struct fl_err *err);
