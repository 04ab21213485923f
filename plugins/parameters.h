/* parameters.h - Parameter Store's GetParameters, for whoever on the node needs values. */
#pragma once
#include "common/codec/codec.h"

struct fl_get_parameters_in {
    struct fl_strs names;
    bool with_decryption;
};
struct fl_parameter {
    char *name, *type, *value, *selector;
    int64_t version;
};
struct fl_get_parameters_out {
    struct fl_parameter *parameters;
    size_t n_parameters;
    struct fl_strs invalid;
};
extern const struct fl_shape fl_shape_get_parameters_in, fl_shape_get_parameters_out;
