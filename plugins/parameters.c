/* parameters.c - see parameters.h. */
#include "plugins/parameters.h"

static const struct fl_field in_fields[] = {
    FL_FIELD(struct fl_get_parameters_in, names, "Names", FL_ALWAYS),
    FL_FIELD(struct fl_get_parameters_in, with_decryption, "WithDecryption", FL_ALWAYS),
};
const struct fl_shape fl_shape_get_parameters_in =
    FL_SHAPE(struct fl_get_parameters_in, "GetParameters", in_fields);

#define F(member, key, flags) FL_FIELD(struct fl_parameter, member, key, flags)
static const struct fl_field parameter_fields[] = {
    F(name, "Name", FL_REQUIRED),
    F(type, "Type", FL_REQUIRED),
    F(value, "Value", FL_REQUIRED | FL_SECRET),
    F(selector, "Selector", 0),
    F(version, "Version", 0),
};
#undef F
static const struct fl_shape parameter_shape =
    FL_SHAPE(struct fl_parameter, "Parameter", parameter_fields);

static const struct fl_field out_fields[] = {
    FL_FIELD_LIST(struct fl_get_parameters_out, parameters, n_parameters, "Parameters", 0,
                  &parameter_shape),
    FL_FIELD(struct fl_get_parameters_out, invalid, "InvalidParameters", 0),
};
const struct fl_shape fl_shape_get_parameters_out =
    FL_SHAPE(struct fl_get_parameters_out, "GetParametersResult", out_fields);
