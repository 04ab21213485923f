/* parameter_filters.c - see parameter_filters.h. */
#include "server/api/parameter_filters.h"

#include <errno.h>
#include <string.h>
#include "server/api/parameters.h"

#define TAG_PREFIX "tag:"

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_parameter_filter, key, "Key", FL_REQUIRED,
             .limits = { .min = 1,
                         .max = 132,
                         .pattern = "tag:.+|Name|Type|KeyId|Path|Label|Tier|DataType" }),
    FL_FIELD(struct fl_parameter_filter, option, "Option", 0, .limits = { .min = 1, .max = 10 }),
    FL_FIELD(struct fl_parameter_filter, values, "Values", 0, .limits = { .min = 1, .max = 50 },
             .elem = { .min = 1, .max = 1024 }),
};
const struct fl_shape fl_parameter_filter_shape =
    FL_SHAPE(struct fl_parameter_filter, "ParameterStringFilter", filter_fields);

/* ---- what may be asked ---- */
struct option {
    const char *name;
    int match;
    bool recursive;
};

#define EQUALS                           \
    {                                    \
        "Equals", FL_MATCH_EQUALS, false \
    }
#define BEGINS                               \
    {                                        \
        "BeginsWith", FL_MATCH_BEGINS, false \
    }

/* The first is the default. */
static const struct option equals[] = { EQUALS, { 0 } };
static const struct option begins[] = { EQUALS, BEGINS, { 0 } };
static const struct option contains[] = {
    EQUALS, BEGINS, { "Contains", FL_MATCH_CONTAINS, false }, { 0 }
};
static const struct option paths[] = { { "OneLevel", FL_MATCH_BELOW, false },
                                       { "Recursive", FL_MATCH_BELOW, true },
                                       { 0 } };

struct fl_parameter_key {
    const char *name; /* ending in a colon: the key goes on behind it */
    unsigned uses;
    int col;
    const struct option *options;
};

#define BOTH (FL_FILTER_DESCRIBE | FL_FILTER_BY_PATH)
static const struct fl_parameter_key keys[] = {
    { "Name", FL_FILTER_DESCRIBE, FL_PARAMETER_NAME, contains },
    { "Type", BOTH, FL_PARAMETER_TYPE, begins },
    { "KeyId", BOTH, FL_PARAMETER_KEY_ID, begins },
    { "Path", FL_FILTER_DESCRIBE, FL_PARAMETER_ID, paths },
    { "Tier", FL_FILTER_DESCRIBE, FL_PARAMETER_TIER, begins },
    { "DataType", FL_FILTER_DESCRIBE, FL_PARAMETER_DATA_TYPE, begins },
    { "Label", FL_FILTER_BY_PATH, -1, equals },
    { TAG_PREFIX, FL_FILTER_DESCRIBE, -1, begins },
};
#undef BOTH

static const struct fl_parameter_key *find_key(const char *name, unsigned use)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(keys); i++) {
        size_t len = strlen(keys[i].name);
        bool prefix = keys[i].name[len - 1] == ':';

        if ((keys[i].uses & use) && (prefix ? strncmp(name, keys[i].name, len) == 0 && name[len]
                                            : strcmp(name, keys[i].name) == 0))
            return &keys[i];
    }
    return NULL;
}

static const struct option *find_option(const struct option *options, const char *name)
{
    for (; options->name; options++)
        if (!name || strcmp(options->name, name) == 0)
            return options;
    return NULL;
}

/* ---- checking ---- */
static int parse_paths(struct fl_parameter_cond *cond, struct fl_arena *arena, struct fl_err *err)
{
    cond->paths = fl_arena_calloc(arena, cond->values->n, sizeof(*cond->paths));
    if (!cond->paths)
        return fl_err_nomem(err);
    for (size_t i = 0; i < cond->values->n; i++) {
        struct fl_err why = { 0 };
        int r = fl_parameter_path_parse(cond->values->v[i], arena, &cond->paths[i], &why);

        if (r < 0)
            return fl_err_set(err, r, r == -EINVAL ? "InvalidFilterValue" : NULL, "%s",
                              fl_err_text(&why));
    }
    return 0;
}

static int check_one(const struct fl_parameter_filter *f, enum fl_parameter_filter_use use,
                     struct fl_arena *arena, struct fl_parameter_cond *cond, struct fl_err *err)
{
    const struct fl_parameter_key *key = f->key ? find_key(f->key, use) : NULL;
    const struct option *option;

    if (!key)
        return fl_err_set(err, -EINVAL, "InvalidFilterKey",
                          "The filter key \"%s\" is not valid here.", f->key ? f->key : "");
    option = find_option(key->options, f->option);
    if (!option)
        return fl_err_set(err, -EINVAL, "InvalidFilterOption",
                          "The option \"%s\" is not valid for the filter key \"%s\".", f->option,
                          f->key);
    *cond = (struct fl_parameter_cond){
        .key = key,
        .match = option->match,
        .recursive = option->recursive,
        .values = &f->values,
    };
    if (strcmp(key->name, TAG_PREFIX) == 0)
        cond->tag = f->key + strlen(TAG_PREFIX);
    else if (f->values.n == 0)
        return fl_err_set(err, -EINVAL, "InvalidFilterValue", "The filter \"%s\" needs a value.",
                          f->key);
    return option->match == FL_MATCH_BELOW ? parse_paths(cond, arena, err) : 0;
}

int fl_parameter_filters_check(const struct fl_parameter_filter *filters, size_t n,
                               enum fl_parameter_filter_use use, struct fl_arena *arena,
                               struct fl_parameter_conds *ret_conds, struct fl_err *err)
{
    ret_conds->n = 0;
    ret_conds->labels = NULL;
    if (n > FL_PARAMETER_FILTERS_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException", "At most %d filters are allowed.",
                          FL_PARAMETER_FILTERS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct fl_parameter_cond cond;
        int r = check_one(&filters[i], use, arena, &cond, err);

        if (r < 0)
            return r;
        for (size_t j = 0; j < i; j++)
            if (strcmp(filters[i].key, filters[j].key) == 0)
                return fl_err_set(err, -EINVAL, "InvalidFilterKey",
                                  "The filter key \"%s\" stands more than once.", filters[i].key);
        if (cond.key->col < 0 && !cond.tag)
            ret_conds->labels = cond.values;
        else
            ret_conds->v[ret_conds->n++] = cond;
    }
    return 0;
}

/* ---- matching ---- */
static bool text_meets(const struct fl_parameter_cond *cond, const char *text)
{
    bool found = false;

    for (size_t i = 0; text && i < cond->values->n && !found; i++) {
        const char *want = cond->values->v[i];

        switch (cond->match) {
        case FL_MATCH_EQUALS:
            found = strcmp(text, want) == 0;
            break;
        case FL_MATCH_BEGINS:
            found = strncmp(text, want, strlen(want)) == 0;
            break;
        case FL_MATCH_CONTAINS:
            found = strstr(text, want) != NULL;
            break;
        case FL_MATCH_BELOW:
            found = fl_parameter_path_holds(&cond->paths[i], text, cond->recursive);
            break;
        }
    }
    return found;
}

/* "a" and "/a" are one name. */
static bool name_equals(const struct fl_parameter_cond *cond, const char *id)
{
    for (size_t i = 0; i < cond->values->n; i++)
        if (strcmp(fl_parameter_id(cond->values->v[i]), id) == 0)
            return true;
    return false;
}

static int tag_meets(struct fl_call *call, const struct fl_parameter_cond *cond, const char *id,
                     struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_tag_value, &c, err, FL_T(call->account),
                        FL_T(call->region), FL_T(FL_PARAMETER_TAG_TYPE), FL_T(id), FL_T(cond->tag));

    if (r >= 0)
        r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    return cond->values->n == 0 || text_meets(cond, fl_sql_text(c, 0));
}

int fl_parameter_meets(struct fl_call *call, const struct fl_parameter_conds *conds,
                       struct fl_cursor *row, struct fl_err *err)
{
    const char *id = fl_sql_text(row, FL_PARAMETER_ID);
    int r = 1;

    for (size_t i = 0; i < conds->n && r > 0; i++) {
        const struct fl_parameter_cond *cond = &conds->v[i];

        if (cond->tag)
            r = tag_meets(call, cond, id, err);
        else if (cond->key->col == FL_PARAMETER_NAME && cond->match == FL_MATCH_EQUALS)
            r = name_equals(cond, id);
        else
            r = text_meets(cond, fl_sql_text(row, cond->key->col));
    }
    return r;
}
