/* codec.h - one table a struct: JSON and packed binary, both directions, and the model's
 * constraints.
 *
 * A `struct fl_shape` lists the members of a C struct. From that one table come decoding (JSON or
 * packed), encoding, constraint checks and their error texts, form decoding and XML encoding
 * (form.h, xml.h). Rows take their kind from the member's C type, so a row cannot disagree with its
 * struct:
 *
 *   char *                  string (NUL-terminated UTF-8; NULL = absent)
 *   bool, int32_t, int64_t, double        plain values; absent = false / 0
 *   struct fl_opt_int, struct fl_opt_bool values that know whether they were given
 *   struct fl_time          timestamp; JSON number, epoch seconds with up to 3 decimals; ms 0 =
 * absent struct fl_strs          list of strings struct fl_strmap        map string -> string
 *   struct fl_listmap       map string -> list of strings
 *   struct fl_intmap        map string -> integer
 *   struct fl_raw           any JSON value, kept as compact JSON text; NULL = absent
 *   T * + shape             structure (NULL = absent); FL_FIELD_STRUCT
 *   T * + count + shape     list of structures; FL_FIELD_LIST
 *   char * + count          any bytes; FL_FIELD_BYTES; packed only (no JSON, forms or XML)
 *
 * Decoded memory belongs to the arena given. Unknown members are ignored, null means absent, the
 * last of duplicate keys wins.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_opt_int {
    bool set;
    int64_t v;
};
struct fl_opt_bool {
    bool set;
    bool v;
};
struct fl_time {
    int64_t ms;
};
struct fl_raw {
    char *text;
};
struct fl_strs {
    char **v;
    size_t n;
};
struct fl_strmap_entry {
    char *key;
    char *value;
};
struct fl_strmap {
    struct fl_strmap_entry *v;
    size_t n;
};
struct fl_listmap_entry {
    char *key;
    struct fl_strs values;
};
struct fl_listmap {
    struct fl_listmap_entry *v;
    size_t n;
};
struct fl_intmap_entry {
    char *key;
    int64_t value;
};
struct fl_intmap {
    struct fl_intmap_entry *v;
    size_t n;
};

enum fl_kind {
    FL_KIND_STR,
    FL_KIND_BOOL,
    FL_KIND_I32,
    FL_KIND_I64,
    FL_KIND_DOUBLE,
    FL_KIND_OPT_INT,
    FL_KIND_OPT_BOOL,
    FL_KIND_TIME,
    FL_KIND_RAW,
    FL_KIND_STRS,
    FL_KIND_STRMAP,
    FL_KIND_LISTMAP,
    FL_KIND_INTMAP,
    FL_KIND_STRUCT,
    FL_KIND_LIST,
    FL_KIND_BYTES,
    FL_KIND__N,
};

enum {
    FL_REQUIRED = 1,  /* absent on decode is an error (unless FL_DECODE_LAX) / a violation */
    FL_ALWAYS = 2,    /* encode even if absent or empty: "" , 0, [] or {} */
    FL_OMIT_ZERO = 4, /* plain bool/int/double: leave out when 0 */
    FL_SECRET = 8,    /* the value stands in no error text, and in memory no longer than needed */
};

/* Limits of one value. Lengths are characters for strings, elements for lists and maps; zero `max`
 * means no limit. For numbers they bound the value (checked when either is non-zero). */
struct fl_limits {
    int64_t min, max;
    const char *pattern;      /* regular expression that the whole value must match */
    const char *const *enums; /* NULL-terminated list of allowed values */
};

struct fl_shape;

struct fl_field {
    const char *key; /* JSON member */
    uint16_t kind;
    uint16_t flags;
    uint32_t offset;
    uint32_t count_offset;        /* FL_KIND_LIST, FL_KIND_BYTES: the size_t that counts */
    const struct fl_shape *shape; /* FL_KIND_STRUCT, FL_KIND_LIST */
    struct fl_limits limits;      /* of the value itself */
    struct fl_limits elem;        /* of list elements or map values (strings in them) */
    struct fl_limits map_key;     /* of map keys */
};

struct fl_shape {
    const char *name; /* stands in error texts */
    size_t size;
    const struct fl_field *fields;
    size_t n_fields;
};

/* clang-format off */
#define FL_KIND_OF(type, member)                                                                   \
    _Generic(((type *)0)->member,                                                                  \
        char *: FL_KIND_STR, const char *: FL_KIND_STR, bool: FL_KIND_BOOL,                        \
        int32_t: FL_KIND_I32, int64_t: FL_KIND_I64, double: FL_KIND_DOUBLE,                        \
        struct fl_opt_int: FL_KIND_OPT_INT, struct fl_opt_bool: FL_KIND_OPT_BOOL,                  \
        struct fl_time: FL_KIND_TIME, struct fl_raw: FL_KIND_RAW,                                  \
        struct fl_strs: FL_KIND_STRS, struct fl_strmap: FL_KIND_STRMAP,                            \
        struct fl_listmap: FL_KIND_LISTMAP, struct fl_intmap: FL_KIND_INTMAP)
/* clang-format on */

/* Rows. Further designated initialisers may follow the flags:
 *     FL_FIELD(struct x, comment, "Comment", 0, .limits = { .max = 100 }) */
#define FL_FIELD(type, member, json_key, field_flags, ...)                           \
    {                                                                                \
        .key = (json_key), .kind = FL_KIND_OF(type, member), .flags = (field_flags), \
        .offset = offsetof(type, member) __VA_OPT__(, ) __VA_ARGS__                  \
    }
#define FL_FIELD_STRUCT(type, member, json_key, field_flags, member_shape, ...)             \
    {                                                                                       \
        .key = (json_key), .kind = FL_KIND_STRUCT, .flags = (field_flags),                  \
        .offset = offsetof(type, member), .shape = (member_shape)__VA_OPT__(, ) __VA_ARGS__ \
    }
#define FL_FIELD_LIST(type, member, count, json_key, field_flags, member_shape, ...) \
    {                                                                                \
        .key = (json_key), .kind = FL_KIND_LIST, .flags = (field_flags),             \
        .offset = offsetof(type, member), .count_offset = offsetof(type, count),     \
        .shape = (member_shape)__VA_OPT__(, ) __VA_ARGS__                            \
    }
#define FL_FIELD_BYTES(type, member, count, json_key, field_flags)               \
    {                                                                            \
        .key = (json_key), .kind = FL_KIND_BYTES, .flags = (field_flags),        \
        .offset = offsetof(type, member), .count_offset = offsetof(type, count), \
    }
#define FL_SHAPE(type, shape_name, field_table)                              \
    {                                                                        \
        .name = (shape_name), .size = sizeof(type), .fields = (field_table), \
        .n_fields = FL_ARRAY_LEN(field_table)                                \
    }
/* Has it, or a structure in it, a member that is FL_SECRET? */
bool fl_shape_secret(const struct fl_shape *shape);

/* A structure without members, for operations that take or return nothing. */
extern const struct fl_shape fl_shape_empty;

enum {
    /* what Go's decoder does: member names match in any letter case, null elements of lists and
     * maps are empty */
    FL_DECODE_NOCASE = 1,
    FL_DECODE_LAX = 2, /* missing required members are left to fl_shape_check */
};

/* Decodes JSON text into *out (shape->size bytes, zeroed first). 0; -EBADMSG for text that is not
 * one JSON object, -EINVAL for a member of the wrong type or missing ("PutParameter.Name:
 * missing"), -EMSGSIZE/-ENOMEM for the arena's limit. A NUL inside a string becomes U+FFFD. */
int fl_json_decode(const struct fl_shape *shape, const char *text, size_t len, unsigned flags,
                   struct fl_arena *arena, void *out, struct fl_err *err);

/* The same from a parsed jansson value (a json_t *, not consumed). */
int fl_json_decode_value(const struct fl_shape *shape, const void *json, unsigned flags,
                         struct fl_arena *arena, void *out, struct fl_err *err);

/* Appends one compact JSON object. Members stand in table order; invalid UTF-8 becomes U+FFFD. */
int fl_json_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out);

/* Appends a JSON string with quotes. */
int fl_json_quote(struct fl_buf *out, const char *s, size_t len);

/* Packed binary, for ipc and journals between our own processes: strict, bounded, host byte order.
 * Decoding accepts exactly what encoding makes: -EBADMSG otherwise. Strings keep every byte but
 * cannot hold NUL; FL_FIELD_BYTES holds it, and gets one more behind its end. */
int fl_pack_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out);
int fl_pack_decode(const struct fl_shape *shape, const void *data, size_t len,
                   struct fl_arena *arena, void *out);

/* True if the whole of `value` matches `pattern`; supplied by whoever has a regex engine. */
typedef bool (*fl_pattern_fn)(void *arg, const char *pattern, const char *value);

/* Checks limits and required members. 0, or -EINVAL with AWS's text in `err`:
 *   "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member
 * must have value less than or equal to 50" `match` may be NULL: patterns are then not checked. */
int fl_shape_check(const struct fl_shape *shape, const void *in, fl_pattern_fn match, void *arg,
                   struct fl_err *err);
