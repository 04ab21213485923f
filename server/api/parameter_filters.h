/* parameter_filters.h - ParameterFilters of DescribeParameters and GetParametersByPath. */
#pragma once
#include "server/api/parameter_name.h"
#include "server/op.h"

#define FL_PARAMETER_FILTERS_MAX 50

enum fl_parameter_filter_use { FL_FILTER_DESCRIBE = 1, FL_FILTER_BY_PATH = 2 };

/* ParameterStringFilter, as requests have it. */
struct fl_parameter_filter {
    char *key, *option;
    struct fl_strs values;
};
extern const struct fl_shape fl_parameter_filter_shape;

/* One of them, checked. */
struct fl_parameter_cond {
    const struct fl_parameter_key *key;
    enum { FL_MATCH_EQUALS, FL_MATCH_BEGINS, FL_MATCH_CONTAINS, FL_MATCH_BELOW } match;
    bool recursive;
    const char *tag; /* its key; NULL: no tag */
    const struct fl_strs *values;
    struct fl_parameter_path *paths; /* one for each value; NULL: no paths */
};

struct fl_parameter_conds {
    struct fl_parameter_cond v[FL_PARAMETER_FILTERS_MAX];
    size_t n;
    const struct fl_strs *labels; /* of the filter Label, which is for the caller; NULL: none */
};

/* 0; -EINVAL named InvalidFilterKey, InvalidFilterOption, InvalidFilterValue or
 * ValidationException; -ENOMEM. What is checked points into `filters` and the arena. */
int fl_parameter_filters_check(const struct fl_parameter_filter *filters, size_t n,
                               enum fl_parameter_filter_use use, struct fl_arena *arena,
                               struct fl_parameter_conds *ret_conds, struct fl_err *err);

/* `row` of the view parameter_info meets all of them: 1, 0 or a negative errno. */
int fl_parameter_meets(struct fl_call *call, const struct fl_parameter_conds *conds,
                       struct fl_cursor *row, struct fl_err *err);
