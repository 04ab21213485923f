/* What callers name parameters by. The first byte says what the rest is: 'r' a name, ARN or either
 * with a selector; 'p' a path; 'n' a name to make; 'f' ParameterFilters of DescribeParameters in
 * JSON, 'b' of GetParametersByPath. What is taken lies where it says it does; what is not is
 * refused with a name and in words. */
#include <errno.h>
#include <string.h>
#include "server/api/parameter_filters.h"
#include "server/api/parameter_name.h"

#define PREFIX "arn:aws:ssm:local:123456789012:parameter/"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct filters {
    struct fl_parameter_filter *v;
    size_t n;
};
static const struct fl_field filters_fields[] = {
    FL_FIELD_LIST(struct filters, v, n, "ParameterFilters", 0, &fl_parameter_filter_shape),
};
static const struct fl_shape filters_shape = FL_SHAPE(struct filters, "filters", filters_fields);

static void check_error(int r, const struct fl_err *err)
{
    if (r < 0 && (!err->name || !err->text[0]))
        abort();
}

static void check_ref(const char *text, struct fl_arena *arena)
{
    struct fl_parameter_ref ref;
    struct fl_err err = { 0 };
    int r = fl_parameter_ref_parse(text, PREFIX, arena, &ref, &err);

    check_error(r, &err);
    if (r < 0)
        return;
    if (!ref.id[0] || strchr(ref.id, ':') || ref.id[0] == '/' || !strstr(text, ref.id))
        abort();
    if (ref.selector ? ref.selector[0] != ':' || (ref.label && ref.version) : !!ref.label)
        abort();
    if (ref.label && strcmp(ref.selector + 1, ref.label) != 0)
        abort();
}

static void check_path(const char *text, struct fl_arena *arena)
{
    struct fl_parameter_path path;
    struct fl_err err = { 0 };
    int r = fl_parameter_path_parse(text, arena, &path, &err);
    char *below;

    check_error(r, &err);
    if (r < 0)
        return;
    below = fl_arena_printf(arena, "%sx", path.after);
    if (strcmp(path.after, path.before) >= 0 || strcmp(below, path.after) <= 0 ||
        strcmp(below, path.before) >= 0 || !fl_parameter_path_holds(&path, below, false) ||
        fl_parameter_path_holds(&path, path.after, true))
        abort();
}

/* A name that may be made is found by the same name, and by its ARN. */
static void check_name(const char *text, struct fl_arena *arena)
{
    struct fl_parameter_ref by_name, by_arn;
    struct fl_err err = { 0 };
    int r = fl_parameter_name_check(text, PREFIX, &err);
    char *arn = fl_arena_printf(arena, PREFIX "%s", fl_parameter_id(text));

    check_error(r, &err);
    if (r < 0)
        return;
    if (fl_parameter_ref_parse(text, PREFIX, arena, &by_name, NULL) < 0 ||
        fl_parameter_ref_parse(arn, PREFIX, arena, &by_arn, NULL) < 0 || by_name.selector ||
        strcmp(by_name.id, by_arn.id) != 0 || strlen(arn) > FL_PARAMETER_ARN_MAX)
        abort();
}

static void check_filters(const char *text, enum fl_parameter_filter_use use,
                          struct fl_arena *arena)
{
    struct fl_parameter_conds conds;
    struct fl_err err = { 0 };
    struct filters in;
    int r;

    if (fl_json_decode(&filters_shape, text, strlen(text), FL_DECODE_LAX, arena, &in, NULL) < 0)
        return;
    r = fl_parameter_filters_check(in.v, in.n, use, arena, &conds, &err);
    check_error(r, &err);
    if (r == 0 && conds.n + !!conds.labels != in.n)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 24);
    fl_autofree char *text = NULL;

    if (size == 0 || size > 1 << 16)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    if (!text)
        return 0;
    switch (data[0]) {
    case 'r':
        check_ref(text, &arena);
        break;
    case 'p':
        check_path(text, &arena);
        break;
    case 'n':
        check_name(text, &arena);
        break;
    case 'f':
        check_filters(text, FL_FILTER_DESCRIBE, &arena);
        break;
    case 'b':
        check_filters(text, FL_FILTER_BY_PATH, &arena);
        break;
    }
    return 0;
}
