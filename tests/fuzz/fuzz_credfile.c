/* A credentials file: what is put in is found, once, and putting it in again changes nothing. */
#include <string.h>
#include "common/aws/credfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each name that is told is inside the text. */
static void on_section(void *arg, const char *name, size_t len)
{
    const char *text = arg;

    if (name < text || name + len > text + strlen(text))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fl_credfile_entry entries[] = { { "key", "value" }, { "longer_key", "=" } };
    fl_autofree char *text = strndup((const char *)data, size);
    fl_autofree char *once = NULL;
    fl_autofree char *twice = NULL;
    fl_autofree char *found = NULL;
    fl_autofree char *before = NULL;
    fl_autofree char *nested = NULL;

    if (!text)
        return 0;
    fl_credfile_get(text, "default", "key", &before);
    fl_credfile_get_nested(text, "default", "ssm", "key", &nested);
    fl_credfile_each(text, on_section, text);
    if (fl_credfile_set(text, "default", entries, 2, &once) < 0)
        return 0;
    if (fl_credfile_set(once, "default", entries, 2, &twice) < 0 || strcmp(once, twice) != 0)
        abort();
    /* a section in the config file's spelling may say otherwise further down */
    if (!strstr(text, "profile") &&
        (fl_credfile_get(once, "default", "key", &found) < 0 || strcmp(found, "value") != 0))
        abort();
    return 0;
}
