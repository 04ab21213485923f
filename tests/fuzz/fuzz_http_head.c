/* Heads of requests and responses: whatever parses has all its strings, and none holds a line
 * break. */
#include <string.h>
#include "common/net/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *s)
{
    if (!s || s[strcspn(s, "\r\n")])
        abort();
}

static void parse(const uint8_t *data, size_t size,
                  int (*parser)(char *, size_t, struct fl_arena *, struct fl_head *))
{
    struct fl_arena arena;
    struct fl_head head = { 0 };
    char *text;

    fl_arena_init(&arena, 1 << 17);
    text = fl_arena_memdup(&arena, data, size);
    if (text && parser(text, size, &arena, &head) == 0) {
        for (size_t i = 0; i < head.n_fields; i++) {
            check(head.fields[i].name);
            check(head.fields[i].value);
            if (!fl_head_get(&head, head.fields[i].name))
                abort();
            fl_head_has_token(head.fields[i].value, "close");
        }
        if (head.method) {
            check(head.method);
            check(head.path);
            check(head.query);
        } else if (head.status < 0 || head.status > 999) {
            abort();
        }
    }
    fl_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = fl_head_length((const char *)data, size, 0);

    if (!len || len > 1 << 15)
        return 0;
    parse(data, len, fl_head_parse_request);
    parse(data, len, fl_head_parse_response);
    return 0;
}
