/* The text of a public key as registration receives it: what is accepted is written back the same.
 */
#include <string.h>
#include "common/aws/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *text = strndup((const char *)data, size);
    fl_autofree char *again = NULL;
    struct fl_rsa *key = NULL;
    struct fl_err err;

    if (!text || fl_rsa_from_public_text(text, &key, &err) < 0)
        return 0;
    if (fl_rsa_public_text(key, &again) < 0 || strcmp(text, again) != 0)
        abort();
    if (fl_rsa_verify(key, "x", 1, text) == 0)
        abort();
    fl_rsa_free(key);
    return 0;
}
