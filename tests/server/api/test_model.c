/* Every operation's shapes against the public service model: names, types, required members,
 * limits, patterns, enums. This program writes the shapes as JSON; check_model.py compares. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "server/api/registry.h"
#include "server/pattern.h"
#include "tests/runmode.h"

#define DEPTH_MAX       8 /* a recursive shape is written so deep */
#define OUTPUT_MAX      (8 * 1024 * 1024)
#define CHECKER         "tests/server/api/check_model.py"
#define CHECKER_SKIPPED 77 /* no model is installed */

static const char *const kinds[FL_KIND__N] = {
    [FL_KIND_STR] = "string",       [FL_KIND_BOOL] = "boolean",     [FL_KIND_I32] = "integer",
    [FL_KIND_I64] = "integer",      [FL_KIND_DOUBLE] = "double",    [FL_KIND_OPT_INT] = "integer",
    [FL_KIND_OPT_BOOL] = "boolean", [FL_KIND_TIME] = "timestamp",   [FL_KIND_RAW] = "any",
    [FL_KIND_STRS] = "strings",     [FL_KIND_STRMAP] = "strmap",    [FL_KIND_LISTMAP] = "listmap",
    [FL_KIND_INTMAP] = "intmap",    [FL_KIND_STRUCT] = "structure", [FL_KIND_LIST] = "structures",
};

static void put_limits(struct fl_buf *out, const char *name, const struct fl_limits *l)
{
    fl_buf_printf(out, ",\"%s\":{\"min\":%lld,\"max\":%lld", name, (long long)l->min,
                  (long long)l->max);
    if (l->pattern) {
        fl_buf_puts(out, ",\"pattern\":");
        fl_json_quote(out, l->pattern, strlen(l->pattern));
    }
    if (l->enums) {
        fl_buf_puts(out, ",\"enum\":[");
        for (size_t i = 0; l->enums[i]; i++)
            fl_buf_printf(out, "%s\"%s\"", i ? "," : "", l->enums[i]);
        fl_buf_puts(out, "]");
    }
    fl_buf_puts(out, "}");
}

static void put_shape(struct fl_buf *out, const struct fl_shape *shape, int depth)
{
    fl_buf_puts(out, "{");
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        fl_buf_printf(out, "%s\"%s\":{\"kind\":\"%s\",\"required\":%s", i ? "," : "", f->key,
                      kinds[f->kind], f->flags & FL_REQUIRED ? "true" : "false");
        put_limits(out, "self", &f->limits);
        put_limits(out, "elem", &f->elem);
        put_limits(out, "map_key", &f->map_key);
        if (f->shape && depth < DEPTH_MAX) {
            fl_buf_puts(out, ",\"members\":");
            put_shape(out, f->shape, depth + 1);
        }
        fl_buf_puts(out, "}");
    }
    fl_buf_puts(out, "}");
}

static void put_ops(struct fl_buf *out)
{
    bool first = true;

    fl_buf_puts(out, "{");
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++) {
        if (strcmp((*t)->service, "ssm") != 0)
            continue;
        for (size_t i = 0; i < (*t)->n_ops; i++) {
            const struct fl_op *op = &(*t)->ops[i];

            fl_buf_printf(out, "%s\"%s\":{\"in\":", first ? "" : ",\n", op->name);
            put_shape(out, op->in, 0);
            fl_buf_puts(out, ",\"out\":");
            put_shape(out, op->out, 0);
            fl_buf_puts(out, "}");
            first = false;
        }
    }
    fl_buf_puts(out, "}\n");
}

static void shapes_are_the_models(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char path[256], command[512];
    fl_autobuf struct fl_buf out = FL_BUF(OUTPUT_MAX);
    fl_autofd int fd = -1;
    int status;

    (void)state;
    if (access(CHECKER, R_OK) != 0)
        skip_because("not run from the root of the source");
    put_ops(&out);
    assert_true(out.len > 0 && out.len < OUTPUT_MAX);
    snprintf(path, sizeof(path), "%.200s/shapes-XXXXXX", tmp ? tmp : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fl_fd_write_all(fd, out.data, out.len), 0);
    snprintf(command, sizeof(command), "/usr/bin/python3 " CHECKER " %s", path);
    status = system(command);
    unlink(path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHECKER_SKIPPED)
        skip_because("no model is installed");
    assert_int_equal(status, 0);
}

static void check_patterns(const struct fl_shape *shape, int depth)
{
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];
        const char *const patterns[] = { f->limits.pattern, f->elem.pattern, f->map_key.pattern };

        for (size_t p = 0; p < FL_ARRAY_LEN(patterns); p++)
            if (patterns[p] && fl_pattern_check(patterns[p]) < 0)
                fail_msg("%s.%s: %s", shape->name, f->key, patterns[p]);
        if (f->shape && depth < DEPTH_MAX)
            check_patterns(f->shape, depth + 1);
    }
}

static void every_pattern_compiles(void **state)
{
    (void)state;
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++)
        for (size_t i = 0; i < (*t)->n_ops; i++)
            check_patterns((*t)->ops[i].in, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_the_models),
        cmocka_unit_test(every_pattern_compiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
