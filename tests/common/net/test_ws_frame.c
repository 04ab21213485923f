#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/net/ws_frame.h"

#define MAX_BYTES 64

/* Frames of a server (unmasked), and what must come out of them: first letters of the ops in order,
 * then an error if any. */
static const struct {
    const char *frames;
    size_t len;
    const char *ops; /* t, b, c(lose), p(ing), o (pong) */
    int error;
} cases[] = {
#define F(bytes) bytes, sizeof(bytes) - 1
    { F("\x81\x05hello"), "t", 0 },
    { F("\x82\x00"), "b", 0 },
    { F("\x81\x02hi\x82\x01x\x88\x02\x03\xe8"), "tbc", 0 },
    { F("\x01\x03hel\x80\x02lo"), "t", 0 },
    { F("\x01\x03hel\x89\x01!\x00\x00\x8a\x00\x80\x02lo"), "pot", 0 }, /* control frames between */
    { F("\x82\x7e\x00\x05hello"), "b", 0 },                            /* longer length form */
    { F("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello"), "b", 0 },
    { F("\x81\x05hel"), "", 0 },         /* not whole */
    { F("\xc1\x05hello"), "", -EPROTO }, /* reserved bit: no extension was agreed */
    { F("\x83\x00"), "", -EPROTO },      /* reserved op */
    { F("\x8b\x00"), "", -EPROTO },
    { F("\x80\x02lo"), "", -EPROTO },         /* continuation of nothing */
    { F("\x01\x01x\x81\x01y"), "", -EPROTO }, /* a message inside another */
    { F("\x09\x01!"), "", -EPROTO },          /* fragmented ping */
    { F("\x89\x7e\x00\x7e"), "", -EPROTO },   /* ping of 126 bytes */
    { F("\x81\x85mask....."), "", -EPROTO },  /* masked by a server */
    { F("\x82\x41"), "", -EMSGSIZE },         /* 65 bytes announced */
    { F("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "", -EMSGSIZE },
    { F("\x02\x3f"
        "123456789012345678901234567890123456789012345678901234567890123\x80\x02xx"),
      "", -EMSGSIZE }, /* 63 + 2 */
#undef F
};

static char letter(int op)
{
    switch (op) {
    case FL_WS_OP_TEXT:
        return 't';
    case FL_WS_OP_BINARY:
        return 'b';
    case FL_WS_OP_CLOSE:
        return 'c';
    case FL_WS_OP_PING:
        return 'p';
    default:
        return 'o';
    }
}

static void frames(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        for (size_t step = 1; step < 20; step += 9) {
            struct fl_ws_reader r;
            uint8_t data[128];
            char ops[16] = "";
            size_t at = 0;
            int op = 0;

            memcpy(data, cases[i].frames, cases[i].len);
            fl_ws_reader_init(&r, false, MAX_BYTES);
            while (at < cases[i].len && op >= 0) {
                size_t used = 0;

                op = fl_ws_reader_feed(&r, data + at, FL_MIN(step, cases[i].len - at), &used);
                at += used;
                if (op > 0)
                    ops[strlen(ops)] = letter(op);
            }
            fl_ws_reader_done(&r);
            assert_string_equal(ops, cases[i].ops);
            assert_int_equal(op < 0 ? op : 0, cases[i].error);
        }
    }
}

static void round_trips(void **state)
{
    static const size_t lengths[] = { 0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 100000 };
    static const uint8_t mask[4] = { 1, 0x80, 0xff, 7 };

    for (size_t i = 0; i < FL_ARRAY_LEN(lengths); i++) {
        for (int masked = 0; masked < 2; masked++) {
            size_t len = lengths[i], used = 0, at = 0;
            uint8_t *frame = malloc(len + FL_WS_FRAME_HEAD_MAX_BYTES);
            size_t n = fl_ws_frame_head(frame, FL_WS_OP_BINARY, len, masked ? mask : NULL);
            struct fl_ws_reader r;
            int op = 0;

            for (size_t k = 0; k < len; k++)
                frame[n + k] = (uint8_t)(k * 31);
            if (masked)
                fl_ws_mask(frame + n, len, mask, 0);
            fl_ws_reader_init(&r, masked, len);
            for (; at < n + len && !op; at += used) /* odd pieces, so that masks turn */
                op = fl_ws_reader_feed(&r, frame + at, FL_MIN((size_t)997, n + len - at), &used);
            assert_int_equal(op, FL_WS_OP_BINARY);
            assert_int_equal(r.message.len, len);
            for (size_t k = 0; k < len; k++)
                assert_int_equal((uint8_t)r.message.data[k], (uint8_t)(k * 31));
            fl_ws_reader_done(&r);
            free(frame);
        }
    }
}

static void unmasked_client_is_refused(void **state)
{
    uint8_t frame[] = "\x81\x02hi";
    struct fl_ws_reader r;
    size_t used;

    fl_ws_reader_init(&r, true, MAX_BYTES);
    assert_int_equal(fl_ws_reader_feed(&r, frame, sizeof(frame) - 1, &used), -EPROTO);
    fl_ws_reader_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(unmasked_client_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
