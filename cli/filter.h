/* filter.h - filters of operations that list, and the lists of values that fill them. */
#pragma once
#include "common/codec/codec.h"

/* InstanceInformationStringFilter, DocumentKeyValuesFilter, ParameterStringFilter. */
struct fl_filter {
    const char *key, *option; /* `option`: of parameters; NULL for the others */
    struct fl_strs values;
};
extern const struct fl_shape fl_filter_shape;

/* One more value, copied into the arena. -ENOMEM. */
int fl_strs_add(struct fl_strs *list, const char *value, struct fl_arena *arena);

/* The same for "VALUE,VALUE": each of them. */
int fl_strs_add_each(struct fl_strs *list, const char *values, struct fl_arena *arena);
