/* sample.h - a shape with every kind, shared by the codec tests and fuzzers. */
#pragma once
#include "common/codec/codec.h"

struct sample_tag {
    char *key;
    char *value;
};

struct sample {
    char *name;
    bool on;
    int32_t small;
    int64_t big;
    double ratio;
    struct fl_opt_int maybe;
    struct fl_opt_bool flag;
    struct fl_time when;
    struct fl_raw raw;
    struct fl_strs list;
    struct fl_strmap map;
    struct fl_listmap lists;
    struct fl_intmap counts;
    struct sample_tag *one;
    struct sample_tag *tags;
    size_t n_tags;
};

extern const struct fl_shape sample_shape;
