/* The XML answer of CreateControlChannel: a token that was read survives being written and read. */
#include <string.h>
#include "common/wire/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes and reads; NULL once replaced bytes make the token too long. */
static char *pass_on(const char *token)
{
    fl_autobuf struct fl_buf xml = FL_BUF(1 << 20);
    char *again = NULL;

    if (fl_channel_token_xml("R", token, &xml) < 0)
        abort();
    fl_channel_token_parse(xml.data, xml.len, &again);
    return again;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autofree char *first = NULL;
    fl_autofree char *second = NULL;
    fl_autofree char *third = NULL;

    if (fl_channel_token_parse((const char *)data, size, &first) < 0)
        return 0;
    second = pass_on(first); /* invalid text has been replaced */
    third = second ? pass_on(second) : NULL;
    if (second && (!third || strcmp(second, third) != 0))
        abort();
    return 0;
}
