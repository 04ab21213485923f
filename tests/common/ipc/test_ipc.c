#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "common/ipc/ipc.h"

struct hello {
    char *text;
    int64_t n;
};
static const struct fl_field hello_fields[] = {
    FL_FIELD(struct hello, text, "text", FL_REQUIRED),
    FL_FIELD(struct hello, n, "n", 0),
};
static const struct fl_shape hello_shape = FL_SHAPE(struct hello, "hello", hello_fields);

static struct fl_loop *loop;
static struct fl_ipc *a, *b;
static int raw = -1; /* a's peer when the test plays it by hand */
static int received, closed, why;
static struct fl_err close_err;
static int kept_fd = -1;
static uint32_t last_id;

static int on_hello(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct hello *h = msg->in;

    received++;
    last_id = msg->id;
    if (msg->n_fds) {
        kept_fd = msg->fds[0];
        msg->fds[0] = -1;
    }
    if (strcmp(h->text, "free") == 0)
        a = fl_ipc_free(a);
    if (strcmp(h->text, "refuse") == 0)
        return fl_err_set(err, -EPERM, NULL, "no");
    if (h->n == received || strcmp(h->text, "free") == 0)
        fl_loop_stop(loop);
    return 0;
}

static const struct fl_ipc_row rows[] = {
    { .type = 1, .name = "HELLO", .shape = &hello_shape, .phases = 1, .handler = on_hello },
    { .type = 2, .name = "LATER", .shape = &hello_shape, .phases = 2, .handler = on_hello },
    { .type = 3, .name = "OTHER_WAY", .shape = &hello_shape, .phases = 1, .handler = NULL },
};

static void on_close(void *arg, int r, const struct fl_err *err)
{
    closed++;
    why = r;
    close_err = *err;
    fl_loop_stop(loop);
}

static int setup(void **state)
{
    int fds[2];

    received = closed = why = 0;
    kept_fd = -1;
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fl_ipc_new(loop, fds[0], rows, FL_ARRAY_LEN(rows), on_close, NULL, &a), 0);
    if (*state) {
        raw = fds[1];
        b = NULL;
    } else {
        raw = -1;
        assert_int_equal(fl_ipc_new(loop, fds[1], rows, FL_ARRAY_LEN(rows), on_close, NULL, &b), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    a = fl_ipc_free(a);
    b = fl_ipc_free(b);
    if (raw >= 0)
        close(raw);
    if (kept_fd >= 0)
        close(kept_fd);
    loop = fl_loop_free(loop);
    return 0;
}

static void messages_and_descriptors_arrive(void **state)
{
    int null = open("/dev/null", O_RDONLY);
    struct stat st;

    for (int i = 1; i <= 500; i++)
        assert_int_equal(fl_ipc_send(b, 1, (uint32_t)i, &(struct hello){ "hi", 501 }, NULL, 0), 0);
    assert_int_equal(fl_ipc_send(b, 1, 77, &(struct hello){ "fd", 501 }, &null, 1), 0);
    close(null);
    fl_loop_run(loop);
    assert_int_equal(received, 501);
    assert_int_equal(last_id, 77);
    assert_int_equal(fstat(kept_fd, &st), 0);
    assert_true(S_ISCHR(st.st_mode));
    assert_int_equal(closed, 0);
}

static void large_frames_and_limits(void **state)
{
    char *big = malloc(FL_IPC_MAX_FRAME_BYTES + 1);

    memset(big, 'x', FL_IPC_MAX_FRAME_BYTES);
    big[FL_IPC_MAX_FRAME_BYTES] = '\0';
    assert_int_equal(fl_ipc_send(b, 1, 1, &(struct hello){ big, 1 }, NULL, 0), -EMSGSIZE);
    big[FL_IPC_MAX_FRAME_BYTES - 64] = '\0';
    assert_int_equal(fl_ipc_send(b, 1, 1, &(struct hello){ big, 1 }, NULL, 0), 0);
    fl_loop_run(loop);
    assert_int_equal(received, 1);
    for (int i = 0; i < 100; i++)
        if (fl_ipc_send(b, 1, 1, &(struct hello){ big, 0 }, NULL, 0) == -ENOBUFS)
            break;
    assert_in_range(fl_ipc_queued(b), FL_IPC_MAX_QUEUE_BYTES / 2, FL_IPC_MAX_QUEUE_BYTES);
    free(big);
}

static void wrong_messages_end_the_peer(void **state)
{
    static const struct {
        uint16_t type;
        const char *text, *says;
    } cases[] = {
        { 2, "x", "LATER is not allowed now" },
        { 3, "x", "type 3 is not for this end" },
        { 1, "refuse", "no" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        assert_int_equal(
            fl_ipc_send(b, cases[i].type, 1, &(struct hello){ (char *)cases[i].text, 0 }, NULL, 0),
            0);
        fl_loop_run(loop);
        assert_true(why < 0);
        assert_non_null(strstr(close_err.text, cases[i].says));
        teardown(state);
        setup(state);
    }
}

static void garbage_ends_the_peer(void **state)
{
    static const struct {
        uint32_t len;
        uint16_t type, n_fds;
        uint32_t id;
        char data[8];
        const char *says;
    } cases[] = {
        { 4, 1, 0, 1, "\x05\0\0\0", "HELLO is malformed" },
        { 0xffffffff, 1, 0, 1, "", "over the limit" },
        { 4, 9, 0, 1, "", "type 9" },
        { 4, 1, 1, 1, "", "without its descriptors" },
        { 4, 1, 100, 1, "", "over the limit" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        assert_int_equal(write(raw, &cases[i], 16), 16);
        fl_loop_run(loop);
        assert_int_equal(closed, 1);
        assert_non_null(strstr(close_err.text, cases[i].says));
        teardown(state);
        setup(state);
    }
}

static void end_of_file_is_orderly(void **state)
{
    close(raw);
    raw = -1;
    fl_loop_run(loop);
    assert_int_equal(closed, 1);
    assert_int_equal(why, 0);
    assert_int_equal(fl_ipc_send(a, 1, 1, &(struct hello){ "x", 0 }, NULL, 0), -EPIPE);
}

static void may_be_freed_in_its_handler(void **state)
{
    assert_int_equal(fl_ipc_send(b, 1, 1, &(struct hello){ "free", 0 }, NULL, 0), 0);
    fl_loop_run(loop);
    assert_null(a);
    assert_int_equal(received, 1);
}

int main(void)
{
    static int by_hand = 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_and_descriptors_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(large_frames_and_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_messages_end_the_peer, setup, teardown),
        cmocka_unit_test_prestate_setup_teardown(garbage_ends_the_peer, setup, teardown, &by_hand),
        cmocka_unit_test_prestate_setup_teardown(end_of_file_is_orderly, setup, teardown, &by_hand),
        cmocka_unit_test_setup_teardown(may_be_freed_in_its_handler, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
