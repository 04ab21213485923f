/* The text of a signature: refused, or what it says is written as it was read. */
#include <stdlib.h>
#include <string.h>
#include "common/doc/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    fl_autobuf struct fl_buf again = FL_BUF(FL_SIGNATURE_MAX_BYTES);
    char *text = fl_arena_memdup(&arena, data, size);
    struct fl_signature s;
    struct fl_err err = { 0 };
    if (!text)
        return 0;
    if (fl_signature_parse(text, &arena, &s, &err) < 0) {
        if (err.code == 0 || !err.text[0])
            abort();
        return 0;
    }
    if (fl_signature_format(&s, &again, &err) < 0 || strcmp(again.data, text) != 0)
        abort();
    if (s.not_after_s <= s.not_before_s || strlen(s.nonce) != FL_SIGNATURE_NONCE_BYTES - 1)
        abort();
    (void)fl_signature_targets(&s, "mi-1", (char *[]){ (char[]){ "web" } }, 1);
    return 0;
}
