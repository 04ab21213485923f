/* pack.c - structs as packed binary between our own processes. See codec.h.
 *
 * Members stand in table order without names: fixed-width values as they are in memory, strings as
 * u32 length + 1 (0 = NULL) and bytes, lists and maps as u32 count, structures as a presence byte.
 * Reading checks every length against what is left, so a count cannot ask for more memory than it
 * brings.
 */
#include "common/codec/codec.h"
#include <errno.h>
#include <string.h>

#define MAX_DEPTH 32

#define TRY(call)            \
    do {                     \
        int try_r_ = (call); \
        if (try_r_ < 0)      \
            return try_r_;   \
    } while (0)

struct reader {
    const char *p;
    size_t left;
    struct fl_arena *arena;
    int depth;
};

/* Bytes of the plain kinds, by kind; 0 for the others. The optional kinds have padding: packed by
 * hand. */
static const size_t plain_size[FL_KIND__N] = {
    [FL_KIND_I32] = sizeof(int32_t),
    [FL_KIND_I64] = sizeof(int64_t),
    [FL_KIND_DOUBLE] = sizeof(double),
    [FL_KIND_TIME] = sizeof(struct fl_time),
};

/* ---- writing ---- */

static int put_u32(struct fl_buf *out, size_t v)
{
    uint32_t n = (uint32_t)v;

    return v >= UINT32_MAX ? -EMSGSIZE : fl_buf_append(out, &n, sizeof(n));
}

static int put_byte(struct fl_buf *out, bool v)
{
    char b = v;

    return fl_buf_append(out, &b, 1);
}

static int put_bytes(struct fl_buf *out, const char *s, size_t len)
{
    if (!s)
        return put_u32(out, 0);
    if (len >= UINT32_MAX)
        return -EMSGSIZE;
    TRY(put_u32(out, len + 1));
    return fl_buf_append(out, s, len);
}

static int put_str(struct fl_buf *out, const char *s)
{
    return put_bytes(out, s, s ? strlen(s) : 0);
}

static int put_strs(struct fl_buf *out, const struct fl_strs *l)
{
    TRY(put_u32(out, l->n));
    for (size_t i = 0; i < l->n; i++)
        TRY(put_str(out, l->v[i]));
    return 0;
}

static int put_map(struct fl_buf *out, const struct fl_field *f, const void *member)
{
    const struct fl_strmap *strs = member;
    const struct fl_listmap *lists = member;
    const struct fl_intmap *ints = member;

    TRY(put_u32(out, strs->n));
    for (size_t i = 0; i < strs->n; i++) {
        if (f->kind == FL_KIND_LISTMAP) {
            TRY(put_str(out, lists->v[i].key));
            TRY(put_strs(out, &lists->v[i].values));
        } else if (f->kind == FL_KIND_INTMAP) {
            TRY(put_str(out, ints->v[i].key));
            TRY(fl_buf_append(out, &ints->v[i].value, sizeof(int64_t)));
        } else {
            TRY(put_str(out, strs->v[i].key));
            TRY(put_str(out, strs->v[i].value));
        }
    }
    return 0;
}

static int put_field(struct fl_buf *out, const struct fl_field *f, const char *in)
{
    const void *member = in + f->offset;
    const struct fl_opt_int *oi = member;
    const struct fl_opt_bool *ob = member;

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
        return put_str(out, *(char *const *)member);
    case FL_KIND_RAW:
        return put_str(out, ((const struct fl_raw *)member)->text);
    case FL_KIND_BOOL:
        return put_byte(out, *(const bool *)member);
    case FL_KIND_OPT_BOOL:
        TRY(put_byte(out, ob->set));
        return put_byte(out, ob->v);
    case FL_KIND_OPT_INT:
        TRY(put_byte(out, oi->set));
        return fl_buf_append(out, &oi->v, sizeof(oi->v));
    case FL_KIND_I32:
    case FL_KIND_I64:
    case FL_KIND_DOUBLE:
    case FL_KIND_TIME:
        return fl_buf_append(out, member, plain_size[f->kind]);
    case FL_KIND_STRS:
        return put_strs(out, member);
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return put_map(out, f, member);
    case FL_KIND_STRUCT:
        TRY(put_byte(out, *(void *const *)member != NULL));
        return *(void *const *)member ? fl_pack_encode(f->shape, *(void *const *)member, out) : 0;
    case FL_KIND_LIST: {
        size_t n = *(const size_t *)(in + f->count_offset);
        const char *items = *(char *const *)member;

        TRY(put_u32(out, n));
        for (size_t i = 0; i < n; i++)
            TRY(fl_pack_encode(f->shape, items + i * f->shape->size, out));
        return 0;
    }
    case FL_KIND_BYTES:
        return put_bytes(out, *(char *const *)member, *(const size_t *)(in + f->count_offset));
    case FL_KIND__N:
        break;
    }
    abort();
}

int fl_pack_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out)
{
    for (size_t i = 0; i < shape->n_fields; i++)
        TRY(put_field(out, &shape->fields[i], in));
    return 0;
}

/* ---- reading ---- */

static int decode(struct reader *r, const struct fl_shape *shape, void *out);

static int get(struct reader *r, void *out, size_t n)
{
    if (r->left < n)
        return -EBADMSG;
    memcpy(out, r->p, n);
    r->p += n;
    r->left -= n;
    return 0;
}

static int get_bool(struct reader *r, bool *ret)
{
    unsigned char b;

    TRY(get(r, &b, 1));
    if (b > 1)
        return -EBADMSG;
    *ret = b;
    return 0;
}

/* A count of elements that each take at least `min_bytes` of what is left. */
static int get_count(struct reader *r, size_t min_bytes, size_t *ret)
{
    uint32_t n;

    TRY(get(r, &n, sizeof(n)));
    if (n > r->left / min_bytes)
        return -EBADMSG;
    *ret = n;
    return 0;
}

static int get_bytes(struct reader *r, char **ret, size_t *ret_n)
{
    uint32_t n;

    TRY(get(r, &n, sizeof(n)));
    *ret = NULL;
    *ret_n = 0;
    if (n == 0)
        return 0;
    n--;
    if (n > r->left)
        return -EBADMSG;
    *ret = fl_arena_memdup(r->arena, r->p, n);
    *ret_n = n;
    r->p += n;
    r->left -= n;
    return *ret ? 0 : -EMSGSIZE;
}

static int get_str(struct reader *r, char **ret)
{
    size_t n;

    TRY(get_bytes(r, ret, &n));
    return *ret && memchr(*ret, '\0', n) ? -EBADMSG : 0;
}

/* A string that may not be absent: list elements, map keys and values. */
static int get_some_str(struct reader *r, char **ret)
{
    TRY(get_str(r, ret));
    return *ret ? 0 : -EBADMSG;
}

static int get_strs(struct reader *r, struct fl_strs *out)
{
    size_t n;

    TRY(get_count(r, 4, &n));
    out->v = fl_arena_calloc(r->arena, n, sizeof(*out->v));
    if (!out->v)
        return -EMSGSIZE;
    for (; out->n < n; out->n++)
        TRY(get_some_str(r, &out->v[out->n]));
    return 0;
}

/* Maps of all three kinds: an entry is a key, then what the kind says. */
static int get_map(struct reader *r, enum fl_kind kind, void *member)
{
    static const struct {
        size_t bytes, packed_min;
    } entries[FL_KIND__N] = {
        [FL_KIND_STRMAP] = { sizeof(struct fl_strmap_entry), 8 },
        [FL_KIND_LISTMAP] = { sizeof(struct fl_listmap_entry), 8 },
        [FL_KIND_INTMAP] = { sizeof(struct fl_intmap_entry), 12 },
    };
    struct fl_strmap *map = member; /* the three differ only in their entries */
    char *entry;
    size_t n;

    TRY(get_count(r, entries[kind].packed_min, &n));
    entry = fl_arena_calloc(r->arena, n, entries[kind].bytes);
    if (!entry)
        return -EMSGSIZE;
    map->v = (void *)entry;
    for (; map->n < n; map->n++, entry += entries[kind].bytes) {
        TRY(get_some_str(r, (char **)(void *)entry)); /* the key comes first in each */
        if (kind == FL_KIND_LISTMAP)
            TRY(get_strs(r, &((struct fl_listmap_entry *)(void *)entry)->values));
        else if (kind == FL_KIND_INTMAP)
            TRY(get(r, &((struct fl_intmap_entry *)(void *)entry)->value, sizeof(int64_t)));
        else
            TRY(get_some_str(r, &((struct fl_strmap_entry *)(void *)entry)->value));
    }
    return 0;
}

static int get_struct(struct reader *r, const struct fl_shape *shape, void **ret)
{
    bool there;

    TRY(get_bool(r, &there));
    if (!there) {
        *ret = NULL;
        return 0;
    }
    *ret = fl_arena_alloc(r->arena, shape->size);
    return *ret ? decode(r, shape, *ret) : -EMSGSIZE;
}

static int get_list(struct reader *r, const struct fl_shape *shape, void **ret, size_t *ret_n)
{
    char *items;
    size_t n;

    /* An element of a shape without members takes no bytes: such lists do not exist. */
    if (shape->n_fields == 0)
        return -EBADMSG;
    TRY(get_count(r, 1, &n));
    items = fl_arena_calloc(r->arena, n, shape->size);
    if (!items)
        return -EMSGSIZE;
    for (size_t i = 0; i < n; i++)
        TRY(decode(r, shape, items + i * shape->size));
    *ret = items;
    *ret_n = n;
    return 0;
}

static int get_field(struct reader *r, const struct fl_field *f, char *out)
{
    void *member = out + f->offset;

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
        return get_str(r, member);
    case FL_KIND_RAW:
        return get_str(r, &((struct fl_raw *)member)->text);
    case FL_KIND_BOOL:
        return get_bool(r, member);
    case FL_KIND_OPT_BOOL:
        TRY(get_bool(r, &((struct fl_opt_bool *)member)->set));
        return get_bool(r, &((struct fl_opt_bool *)member)->v);
    case FL_KIND_OPT_INT:
        TRY(get_bool(r, &((struct fl_opt_int *)member)->set));
        return get(r, &((struct fl_opt_int *)member)->v, sizeof(int64_t));
    case FL_KIND_I32:
    case FL_KIND_I64:
    case FL_KIND_DOUBLE:
    case FL_KIND_TIME:
        return get(r, member, plain_size[f->kind]);
    case FL_KIND_STRS:
        return get_strs(r, member);
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return get_map(r, (enum fl_kind)f->kind, member);
    case FL_KIND_STRUCT:
        return get_struct(r, f->shape, member);
    case FL_KIND_LIST:
        return get_list(r, f->shape, member, (size_t *)(out + f->count_offset));
    case FL_KIND_BYTES:
        return get_bytes(r, member, (size_t *)(out + f->count_offset));
    case FL_KIND__N:
        break;
    }
    abort();
}

static int decode(struct reader *r, const struct fl_shape *shape, void *out)
{
    if (++r->depth > MAX_DEPTH)
        return -EBADMSG;
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        TRY(get_field(r, f, out));
        if ((f->flags & FL_REQUIRED) && f->kind == FL_KIND_STR &&
            !*(char **)((char *)out + f->offset))
            return -EBADMSG;
    }
    r->depth--;
    return 0;
}

int fl_pack_decode(const struct fl_shape *shape, const void *data, size_t len,
                   struct fl_arena *arena, void *out)
{
    struct reader r = { .p = data, .left = len, .arena = arena };

    memset(out, 0, shape->size);
    TRY(decode(&r, shape, out));
    return r.left ? -EBADMSG : 0;
}
