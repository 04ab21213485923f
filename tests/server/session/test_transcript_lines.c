/* Lines of a transcript's file: wherever readers stop and others go on, they are the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "server/session/transcript_lines.h"

#define ID  "alice-0a1b2c3d4e5f6a7b8"
#define KEY "0123456789abcdef0123456789abcdef"

static const uint8_t *key = (const uint8_t *)KEY;

static int make_file(const struct fl_buf *file)
{
    char path[] = "/tmp/fl-lines-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(fl_fd_pwrite_all(fd, file->data, file->len, 0), 0);
    return fd;
}

static void put_block(struct fl_buf *file, struct fl_tf_end *end, const struct fl_buf *body)
{
    assert_int_equal(fl_tf_block(key, 1, body->data, body->len, file, end), 0);
}

static int put_line(void *arg, const struct fl_tl_line *line)
{
    return fl_buf_printf(arg, "%s%lld %s\n", line->errors ? "!" : "", (long long)line->wall_ms,
                         line->text);
}

/* With a new reader after every `step` bytes. */
static void read_by(int fd, uint64_t end, uint64_t step, struct fl_buf *out)
{
    struct fl_tl_place place = { 0 };
    int r;

    do {
        struct fl_tl_reader rd;

        assert_int_equal(fl_tl_open(&rd, fd, key, ID, &place, put_line, out, NULL), 0);
        r = fl_tl_read(&rd, end, step, NULL);
        assert_true(r >= 0);
        if (r == 0)
            assert_int_equal(fl_tl_flush(&rd), 0);
        place = fl_tl_where(&rd);
        fl_tl_done(&rd);
    } while (r > 0);
    assert_int_equal(place.bytes, end);
    assert_int_equal(place.line[0], end);
    assert_int_equal(place.line[1], end);
}

static void what_lines_are(void **state)
{
    static const struct {
        char kind;
        const char *text;
    } said[] = {
        { FL_TF_OUTPUT, "$ " },
        { FL_TF_INPUT, "secret\r" }, /* kept, but not shown: no line */
        { FL_TF_ERRORS, "no such " },
        { FL_TF_OUTPUT, "rm -rf /\x1b[1mtm" },
        { FL_TF_ERRORS, "file\n" },
        { FL_TF_OUTPUT, "p\x1b[0m\r\n\r\n" },
        { FL_TF_SIZE, "80x24" },
        { FL_TF_OUTPUT, "$ " },
    };
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20), text = FL_BUF(1 << 20);
    struct fl_tf_end end;
    int fd;

    (void)state;
    fl_tf_start(ID, &file, &end);
    for (size_t i = 0; i < FL_ARRAY_LEN(said); i++) {
        fl_autobuf struct fl_buf body = FL_BUF(1000);

        fl_tf_record(&body, said[i].kind, (int64_t)i, said[i].text, strlen(said[i].text));
        put_block(&file, &end, &body);
    }
    fd = make_file(&file);
    for (uint64_t step = 1; step <= end.bytes; step += 60) {
        fl_buf_reset(&text);
        read_by(fd, end.bytes, step, &text);
        assert_string_equal(text.data, "!4 no such file\n5 $ rm -rf /tmp\n5 \n7 $\n");
    }
    close(fd);
}

static uint32_t rnd(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*seed >> 33);
}

/* What a terminal may be sent, cut anywhere. */
static void random_body(uint64_t *seed, struct fl_buf *body)
{
    static const char *const parts[] = { "a",     "word ",   "\n",      "\r\n",  "\r",
                                         "\b",    "\x1b[2D", "\x1b[9C", "\x1b",  "\x1b[31mx",
                                         "\x1b[", "K",       "é",       "\xc3",  "\x1b]0;",
                                         "\a",    "\t",      "€uro",    "\x1b[H" };
    for (uint32_t records = rnd(seed) % 4; records > 0; records--) {
        fl_autobuf struct fl_buf data = FL_BUF(10000);

        for (uint32_t n = rnd(seed) % 8; n > 0; n--)
            fl_buf_puts(&data, parts[rnd(seed) % FL_ARRAY_LEN(parts)]);
        fl_tf_record(body, rnd(seed) % 4 ? FL_TF_OUTPUT : FL_TF_ERRORS, rnd(seed) % 100,
                     data.data ? data.data : "", data.len);
    }
}

static void pieces_are_the_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        fl_autobuf struct fl_buf file = FL_BUF(1 << 20), whole = FL_BUF(1 << 20);
        struct fl_tf_end end;
        uint64_t s = seed;
        int fd;

        fl_tf_start(ID, &file, &end);
        for (int i = 0; i < 60; i++) {
            fl_autobuf struct fl_buf body = FL_BUF(100000);

            random_body(&s, &body);
            put_block(&file, &end, &body);
        }
        fd = make_file(&file);
        read_by(fd, end.bytes, end.bytes, &whole);
        for (uint64_t step = 1; step < 2000; step += 1 + step / 2) {
            fl_autobuf struct fl_buf pieces = FL_BUF(1 << 20);

            read_by(fd, end.bytes, step, &pieces);
            if (whole.len != pieces.len || memcmp(whole.data, pieces.data, whole.len) != 0)
                fail_msg("seed %llu, step %llu:\n%s\n---\n%s", (unsigned long long)seed,
                         (unsigned long long)step, whole.data, pieces.data);
        }
        close(fd);
    }
}

/* A line that goes on for ever does not keep readers at its beginning. */
static void a_line_without_an_end(void **state)
{
    fl_autobuf struct fl_buf file = FL_BUF(1 << 24), text = FL_BUF(1 << 24);
    fl_autobuf struct fl_buf body = FL_BUF(FL_TF_BODY_MAX_BYTES);
    fl_autofree char *data = malloc(100000);
    struct fl_tl_place place = { 0 };
    struct fl_tl_reader rd;
    struct fl_tf_end end;
    int fd, r;

    (void)state;
    memset(data, '\r', 100000);
    data[0] = 'x';
    fl_tf_start(ID, &file, &end);
    fl_tf_record(&body, FL_TF_OUTPUT, 1, data, 100000);
    for (int i = 0; i < 50; i++)
        put_block(&file, &end, &body);
    fd = make_file(&file);
    do {
        assert_int_equal(fl_tl_open(&rd, fd, key, ID, &place, put_line, &text, NULL), 0);
        r = fl_tl_read(&rd, end.bytes, 1, NULL);
        place = fl_tl_where(&rd);
        assert_true(place.bytes - place.line[0] <= FL_TL_LINE_BYTES);
        fl_tl_done(&rd);
    } while (r > 0);
    assert_int_equal(r, 0);
    assert_int_equal(place.bytes, end.bytes);
    assert_string_equal(text.data, "1 x\n1 x\n1 x\n1 x\n");
    close(fd);
}

static void what_is_wrong(void **state)
{
    fl_autobuf struct fl_buf file = FL_BUF(1 << 20), body = FL_BUF(1000), text = FL_BUF(1000);
    const struct fl_tl_place inside = { 30, { 30, 30 } };
    struct fl_tl_place start = { 0 };
    struct fl_tl_reader rd;
    struct fl_tf_end end;
    int fd;

    (void)state;
    fl_tf_start(ID, &file, &end);
    fl_tf_record(&body, FL_TF_OUTPUT, 1, "one\n", 4);
    put_block(&file, &end, &body);
    put_block(&file, &end, &body);
    file.data[file.len - 34] ^= 1;
    fd = make_file(&file);
    assert_int_equal(fl_tl_open(&rd, fd, key, ID, &inside, put_line, &text, NULL), -EBADMSG);
    assert_int_equal(fl_tl_open(&rd, fd, key, ID, &start, put_line, &text, NULL), 0);
    assert_int_equal(fl_tl_read(&rd, end.bytes, SIZE_MAX, NULL), -EBADMSG);
    assert_string_equal(text.data, "1 one\n"); /* of the block before */
    fl_tl_done(&rd);
    assert_int_equal(ftruncate(fd, 22 + 20 + FL_TF_RECORD_BYTES + 4 + FL_TF_MAC_BYTES), 0);
    assert_int_equal(fl_tl_open(&rd, fd, key, ID, &start, put_line, &text, NULL), 0);
    assert_int_equal(fl_tl_read(&rd, end.bytes, SIZE_MAX, NULL), -ENODATA);
    fl_tl_done(&rd);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lines_are),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(a_line_without_an_end),
        cmocka_unit_test(what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
