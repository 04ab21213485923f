/* member.c - see member.h. */
#include "common/codec/member.h"
#include <math.h>

#define SECRET_DEPTH 8 /* a shape may contain itself */

bool fl_member_present(const struct fl_field *f, const void *in)
{
    const void *member = (const char *)in + f->offset;
    bool zero_too = !(f->flags & FL_OMIT_ZERO);

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
    case FL_KIND_RAW:
    case FL_KIND_STRUCT:
    case FL_KIND_BYTES:
        return *(void *const *)member != NULL;
    case FL_KIND_BOOL:
        return zero_too || *(const bool *)member;
    case FL_KIND_I32:
        return zero_too || *(const int32_t *)member != 0;
    case FL_KIND_I64:
        return zero_too || *(const int64_t *)member != 0;
    case FL_KIND_DOUBLE:
        return zero_too || *(const double *)member != 0;
    case FL_KIND_OPT_INT:
        return ((const struct fl_opt_int *)member)->set;
    case FL_KIND_OPT_BOOL:
        return ((const struct fl_opt_bool *)member)->set;
    case FL_KIND_TIME:
        return ((const struct fl_time *)member)->ms != 0;
    case FL_KIND_STRS:
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return ((const struct fl_strs *)member)->n > 0; /* all four: pointer, then count */
    case FL_KIND_LIST:
        return *(const size_t *)((const char *)in + f->count_offset) > 0;
    case FL_KIND__N:
        break;
    }
    abort();
}

int fl_member_put_scalar(const struct fl_field *f, const void *in, struct fl_buf *out)
{
    const void *member = (const char *)in + f->offset;
    double d;
    int r;

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_BOOL:
        r = fl_buf_puts(out, *(const bool *)member ? "true" : "false");
        break;
    case FL_KIND_OPT_BOOL:
        r = fl_buf_puts(out, ((const struct fl_opt_bool *)member)->v ? "true" : "false");
        break;
    case FL_KIND_I32:
        r = fl_buf_printf(out, "%d", *(const int32_t *)member);
        break;
    case FL_KIND_I64:
        r = fl_buf_printf(out, "%lld", (long long)*(const int64_t *)member);
        break;
    case FL_KIND_OPT_INT:
        r = fl_buf_printf(out, "%lld", (long long)((const struct fl_opt_int *)member)->v);
        break;
    case FL_KIND_DOUBLE:
        d = *(const double *)member;
        r = isfinite(d) ? fl_buf_printf(out, "%.17g", d) : fl_buf_puts(out, "0");
        break;
    default:
        return 0;
    }
    return r < 0 ? r : 1;
}

static bool is_secret(const struct fl_shape *shape, int depth)
{
    for (size_t i = 0; depth > 0 && i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        if (f->flags & FL_SECRET || (f->shape && is_secret(f->shape, depth - 1)))
            return true;
    }
    return false;
}

bool fl_shape_secret(const struct fl_shape *shape)
{
    return is_secret(shape, SECRET_DEPTH);
}
