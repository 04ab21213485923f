/* fleet_files.c - `fairlead ls`, `cat`, `tail`: files of a node. */
#include "cli/fleet_files.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "cli/fleet.h"
#include "cli/term.h"
#include "common/aws/crypto.h"

#define ARENA_BYTES   (1 << 20)
#define CHUNK_BYTES   16384           /* what the node reads for one answer */
#define CAT_MAX_BYTES (1 << 20)       /* 64 commands */
#define TAIL_MAX      (CAT_MAX_BYTES) /* of the last lines */
#define TAIL_LINES    10
#define FAILURES_MAX  10 /* of tail -f in a row */
#define POSITION_MAX  (INT64_C(1) << 62)

/* ---- ls ---- */

struct entry {
    char *name, *mode, *owner, *group, *written;
    int64_t length;
    char size_text[FL_SIZE_BYTES];
    const char *size_cell;
};
#define F(member, key) FL_FIELD(struct entry, member, key, 0)
static const struct fl_field entry_fields[] = {
    F(name, "Name"),   F(mode, "Mode"),     F(owner, "Owner"),
    F(group, "Group"), F(length, "Length"), F(written, "LastWriteTimeUTC"),
};
#undef F
static const struct fl_shape entry_shape = FL_SHAPE(struct entry, "file", entry_fields);

#define C(title, member) FL_COLUMN(title, struct entry, member)
static const struct fl_column entry_columns[] = {
    C("MODE", mode),       C("OWNER", owner),
    C("GROUP", group),     FL_COLUMN_RIGHT("SIZE", struct entry, size_cell),
    C("WRITTEN", written), C("NAME", name),
};
#undef C

/* A member that a row does not have is as good as empty. */
static const char *text_of(const char *s)
{
    return s ? s : "";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(text_of(((const struct entry *)a)->name),
                  text_of(((const struct entry *)b)->name));
}

static int by_size(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->length == y->length ? by_name(a, b) : x->length < y->length ? 1 : -1;
}

/* Dates of this form are in order where their texts are. */
static int by_time(const void *a, const void *b)
{
    int r = strcmp(text_of(((const struct entry *)b)->written),
                   text_of(((const struct entry *)a)->written));

    return r ? r : by_name(a, b);
}

static const struct fl_fleet_order orders[] = { { "name", by_name },
                                                { "size", by_size },
                                                { "time", by_time } };

struct ls_options {
    bool all;
    const char *sort;
    const char *named; /* no option: the end of the path, which is shown if it is a file */
};
static const struct fl_opt ls_options[] = {
    FL_OPT(struct ls_options, all, 'a', "all", NULL, "also names that begin with a dot"),
    FL_OPT(struct ls_options, sort, 's', "sort", "name|size|time",
           "in this order, the largest or newest first; by name without", FL_COMPLETE_WORDS),
};

extern const struct fl_command fl_cmd_ls;

static bool keep_entry(const void *options, const void *item)
{
    const struct ls_options *o = options;
    const struct entry *e = item;

    return e->name && (o->all || *e->name != '.' || strcmp(e->name, o->named) == 0);
}

static void fill_entry(void *item)
{
    struct entry *e = item;

    fl_size((double)e->length, e->size_text);
    e->size_cell = e->size_text;
}

static const struct fl_fleet_list entry_list = {
    .shape = &entry_shape,
    .columns = entry_columns,
    .n_columns = FL_ARRAY_LEN(entry_columns),
    .orders = orders,
    .n_orders = FL_ARRAY_LEN(orders),
    .keep = keep_entry,
    .fill = fill_entry,
};

static int run_ls(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_fleet_param path = { "Path", NULL };
    const struct fl_fleet_ask ask = { "GetFileSystemContent", &path, 1, false };
    struct ls_options o = *(const struct ls_options *)options;
    const struct fl_fleet_order *order = fl_fleet_order(&entry_list, o.sort);
    struct fl_fleet_node node;
    struct fl_err err = { 0 };
    int r;

    if (!order)
        return fl_usage(&fl_cmd_ls, "--sort: name, size or time, not \"%s\"", o.sort);
    r = fl_fleet_find_path(cli, args->v[0], &arena, &node, &path.value, &err);
    if (r == 0) {
        o.named = strrchr(path.value, '/') + 1;
        r = fl_fleet_print(cli, &node, &ask, &entry_list, order, &o, 0, &err);
    }
    return r < 0 ? fl_fleet_fail(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_ls = {
    .name = "ls",
    .args = "NODE:/PATH",
    .summary = "List a directory of a node",
    .text = "Of a file it tells that file. Times are UTC. A byte of a name that is not UTF-8 is "
            "shown as U+FFFD; --json then also has the name in hexadecimal, NameHex.",
    FL_OPTIONS(struct ls_options, ls_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_NODE_PATH,
    .run = run_ls,
};

/* ---- pieces of a file ---- */

struct piece {
    int64_t offset, length, size, inode;
    char *content; /* base64 */
    uint8_t *bytes;
    size_t n_bytes;
};
#define F(member, key) FL_FIELD(struct piece, member, key, FL_REQUIRED)
static const struct fl_field piece_fields[] = {
    F(offset, "Offset"), F(length, "Length"),   F(size, "Size"),
    F(inode, "Inode"),   F(content, "Content"),
};
#undef F
static const struct fl_shape piece_shape = FL_SHAPE(struct piece, "file", piece_fields);

struct file {
    struct fl_cli *cli;
    struct fl_fleet_node node;
    const char *path;
    bool quiet; /* read again and again */
};

static int decode_piece(const json_t *data, struct piece *ret, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    const json_t *row = json_array_get(json_object_get(data, "results"), 0);
    int r = fl_json_decode_value(&piece_shape, row, 0, &arena, ret, err);

    if (r == 0)
        r = fl_base64_decode(ret->content, &ret->bytes, &ret->n_bytes);
    ret->content = NULL;
    if (r == 0 && (ret->offset < 0 || ret->offset > POSITION_MAX || ret->length < 0 ||
                   ret->n_bytes != (size_t)ret->length))
        r = -EBADMSG;
    return r < 0 ? fl_err_set(err, -EREMOTE, NULL, "the node's answer is no piece of a file") : 0;
}

/* From a position, below zero from the end. The caller frees ret->bytes, also after an error. */
static int read_piece(const struct file *f, int64_t at, struct piece *ret, struct fl_err *err)
{
    char token[24];
    struct fl_fleet_param params[] = { { "Path", f->path }, { "NextToken", token } };
    const struct fl_fleet_ask ask = { "GetFileContent", params, FL_ARRAY_LEN(params), f->quiet };
    json_t *data = NULL;
    int r;

    *ret = (struct piece){ 0 };
    snprintf(token, sizeof(token), "%lld", (long long)at);
    r = fl_fleet_call(f->cli, &f->node, &ask, &data, err);
    if (r == 0)
        r = decode_piece(data, ret, err);
    if (r == 0 && at >= 0 && ret->offset != at)
        r = fl_err_set(err, -EREMOTE, NULL, "the node's answer is another piece of the file");
    json_decref(data);
    return r;
}

static int put_bytes(const void *bytes, size_t n)
{
    fl_progress("%s", "");
    fwrite(bytes, 1, n, stdout);
    return fl_flush();
}

/* ---- cat ---- */

struct cat_options {
    struct fl_number limit;
};
static const struct fl_opt cat_options[] = {
    FL_OPT(struct cat_options, limit, 'l', "limit", "BYTES", "so many bytes at the most"),
};

static int cat_file(const struct file *f, const struct fl_number *limit, struct fl_err *err)
{
    int64_t most = limit->set ? limit->v : CAT_MAX_BYTES;
    int64_t at = 0, inode = 0;
    bool more = true;

    while (more && at < most) {
        struct piece p;
        int r = read_piece(f, at, &p, err);

        if (r == 0 && !limit->set && p.size > CAT_MAX_BYTES)
            r = fl_err_set(err, -EREMOTE, NULL,
                           "%s: has %lld bytes, and each %d take a command: --limit takes so many",
                           f->path, (long long)p.size, CHUNK_BYTES);
        if (r == 0 && at > 0 && p.inode != inode)
            r = fl_err_set(err, -EREMOTE, NULL, "%s: was replaced while it was read", f->path);
        if (r == 0)
            r = put_bytes(p.bytes, FL_MIN(p.n_bytes, (size_t)(most - at)));
        inode = p.inode;
        at += p.length;
        more = p.length > 0 && at < p.size;
        free(p.bytes);
        if (r < 0)
            return r;
    }
    return 0;
}

static int run_cat(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct cat_options *o = options;
    int status = FL_EXIT_OK;

    for (size_t i = 0; i < args->n && status != FL_EXIT_INTERRUPTED; i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
        struct file f = { .cli = cli };
        struct fl_err err = { 0 };
        int r = fl_fleet_find_path(cli, args->v[i], &arena, &f.node, &f.path, &err);

        if (r == 0)
            r = cat_file(&f, &o->limit, &err);
        if (r < 0)
            status = fl_fleet_fail(r, &err);
    }
    return status;
}

const struct fl_command fl_cmd_cat = {
    .name = "cat",
    .args = "NODE:/PATH...",
    .summary = "Print files of nodes",
    .text = "The bytes are printed as they are. Each 16 KiB take a command, so a file of more than "
            "1 MiB is refused unless --limit says how much of it is wanted; \"fairlead run\" with "
            "an output to S3 is the way for large ones.",
    FL_OPTIONS(struct cat_options, cat_options),
    .min_args = 1,
    .max_args = FL_ARGS_ANY,
    .complete = FL_COMPLETE_NODE_PATH,
    .run = run_cat,
};

/* ---- tail ---- */

size_t fl_last_lines(const char *text, size_t len, size_t lines, size_t *ret_lines)
{
    size_t at = len, n = 0;

    while (at > 0 && n < lines) {
        const char *end = memrchr(text, '\n', at - 1);

        at = end ? (size_t)(end - text) + 1 : 0;
        n++;
    }
    *ret_lines = n;
    return at;
}

struct tail_options {
    bool follow;
    struct fl_number lines;
    struct fl_seconds interval;
};
static const struct fl_opt tail_options[] = {
#define O(...) FL_OPT(struct tail_options, __VA_ARGS__)
    O(follow, 'f', "follow", NULL, "go on with what is written, until Ctrl-C"),
    O(lines, 'n', "lines", "N", "the last N lines; 10 without"),
    O(interval, 'i', "interval", "TIME", "with --follow: look so often; 2s without"),
#undef O
};

extern const struct fl_command fl_cmd_tail;

/* Reads backwards until there are as many lines, prints them; *ret_last is the place to go on. */
static int print_last(const struct file *f, size_t lines, struct piece *ret_last,
                      struct fl_err *err)
{
    fl_autobuf struct fl_buf all = FL_BUF(TAIL_MAX);
    fl_autobuf struct fl_buf joined = FL_BUF(TAIL_MAX);
    struct piece p;
    size_t start = 0, n = 0;
    int r = read_piece(f, -CHUNK_BYTES, &p, err);

    *ret_last = p;
    ret_last->bytes = NULL;
    if (r == 0)
        r = fl_buf_append(&all, p.bytes, p.n_bytes);
    free(p.bytes);
    while (r == 0) {
        int64_t at = FL_MAX(p.offset - CHUNK_BYTES, 0);
        size_t want;

        start = fl_last_lines(all.data ? all.data : "", all.len, lines, &n);
        if (start > 0 || p.offset == 0 || all.len + CHUNK_BYTES > TAIL_MAX)
            break;
        want = (size_t)(p.offset - at);
        r = read_piece(f, at, &p, err);
        if (r == 0 && (p.inode != ret_last->inode || p.n_bytes < want))
            r = fl_err_set(err, -EREMOTE, NULL, "%s: was replaced while it was read", f->path);
        fl_buf_reset(&joined);
        if (r == 0)
            r = fl_buf_append(&joined, p.bytes, want);
        if (r == 0)
            r = fl_buf_append(&joined, all.data ? all.data : "", all.len);
        if (r == 0) {
            struct fl_buf before = all;

            all = joined;
            joined = before;
        }
        free(p.bytes);
    }
    return r < 0 ? r : put_bytes(all.data ? all.data + start : "", all.len - start);
}

/* What was written behind `last`; true if there is more. */
static int print_new(const struct file *f, struct piece *last, bool *ret_more, struct fl_err *err)
{
    int64_t at = last->offset + last->length;
    struct piece p;
    int r = read_piece(f, at, &p, err);

    *ret_more = false;
    if (r == 0 && (p.inode != last->inode || p.size < at)) {
        fprintf(stderr, "fairlead: %s: %s\n", f->path,
                p.inode != last->inode ? "another file is in its place" : "is shorter now");
        *last = (struct piece){ .inode = p.inode };
        *ret_more = true;
    } else if (r == 0) {
        r = put_bytes(p.bytes, p.n_bytes);
        *ret_more = p.n_bytes > 0 && p.offset + p.length < p.size;
        *last = p;
        last->bytes = NULL;
    }
    free(p.bytes);
    return r;
}

/* Nobody reads any more: what would be printed next would find out, but may be long in coming. */
static bool reader_is_gone(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO };

    return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP));
}

/* A file that is away for a while is being replaced; that is told once. */
static int follow(const struct file *f, struct piece *last, int64_t interval_s, struct fl_err *err)
{
    unsigned failures = 0;
    const bool never = false;

    for (;;) {
        bool more = false;
        int r = print_new(f, last, &more, err);

        if (r == -EREMOTE && ++failures == 1)
            fl_cli_fail(err);
        if (r < 0 && (r != -EREMOTE || failures == FAILURES_MAX))
            return r;
        if (r == 0)
            failures = 0;
        if (reader_is_gone())
            return -EPIPE;
        if (!more)
            fl_cli_wait(f->cli, &never, (uint32_t)(1000 * interval_s));
    }
}

static int run_tail(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    const struct tail_options *o = options;
    size_t lines = o->lines.set ? (size_t)o->lines.v : TAIL_LINES;
    int64_t interval_s = o->interval.set ? FL_MIN(FL_MAX(o->interval.v, 1), 3600) : 2;
    struct file f = { .cli = cli };
    struct fl_err err = { 0 };
    struct piece last;
    int r = fl_fleet_find_path(cli, args->v[0], &arena, &f.node, &f.path, &err);

    if (r == 0)
        r = print_last(&f, lines, &last, &err);
    f.quiet = true;
    if (r == 0 && o->follow)
        r = follow(&f, &last, interval_s, &err);
    return r < 0 ? fl_fleet_fail(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_tail = {
    .name = "tail",
    .args = "NODE:/PATH",
    .summary = "Print the last lines of a file of a node",
    .text = "With --follow each look at the file is a command, and shows in \"fairlead command "
            "list\". A file that was replaced, or is shorter than before, is read from its "
            "beginning. At most 1 MiB of last lines is printed.",
    FL_OPTIONS(struct tail_options, tail_options),
    .min_args = 1,
    .max_args = 1,
    .complete = FL_COMPLETE_NODE_PATH,
    .run = run_tail,
};
