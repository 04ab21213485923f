/* Lines between fairlead-agent-key and who asks it: a request in JSON, to a key process whose
 * folder does not exist, and an answer. What is refused is refused in words; what is answered
 * comes out of its line as it went in. */
#include <string.h>
#include "agent/key/ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_answer(const struct fl_key_answer *answer)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_KEY_MAX_LINE_BYTES);
    fl_autobuf struct fl_buf line = FL_BUF(FL_KEY_MAX_LINE_BYTES);
    struct fl_key_answer got;

    if (fl_json_encode(&fl_shape_key_answer, answer, &line) < 0)
        return; /* too long: the process ends */
    if (fl_json_decode(&fl_shape_key_answer, line.data, line.len, 0, &arena, &got, NULL) < 0 ||
        memchr(line.data, '\n', line.len) || !same(got.error, answer->error) ||
        !same(got.authorization, answer->authorization) || !same(got.host, answer->host) ||
        !same(got.body, answer->body))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16 * FL_KEY_MAX_LINE_BYTES);
    struct fl_key key = { .state_dir = "/proc/self/nowhere" };
    struct fl_key_request req;
    struct fl_key_answer answer = { 0 };
    struct fl_err err = { 0 };
    int r;

    if (size > FL_KEY_MAX_LINE_BYTES)
        return 0;
    if (fl_json_decode(&fl_shape_key_answer, (const char *)data, size, 0, &arena, &answer, NULL) ==
        0)
        check_answer(&answer);
    answer = (struct fl_key_answer){ 0 };
    r = fl_json_decode(&fl_shape_key_request, (const char *)data, size, 0, &arena, &req, &err);
    if (r == 0)
        r = fl_key_run(&key, &req, &arena, &answer, &err);
    fl_key_done(&key);
    if (r == 0)
        check_answer(&answer);
    else if (!err.text[0])
        abort();
    return 0;
}
