/* What downloads read of strangers: the first line is the URL of an object (or a document's name),
 * the rest an answer that lists keys. What is taken apart is harmless, and a URL made of it is
 * taken apart to the same. */
#include <stdlib.h>
#include <string.h>
#include "plugins/document_ref.h"
#include "plugins/download_content/place.h"
#include "plugins/download_content/s3_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_url(const char *text, struct fl_arena *arena)
{
    struct fl_s3_path p = { 0 }, again = { 0 };
    struct fl_err err = { 0 };
    char *url;

    if (fl_s3_path_parse(text, arena, &p, &err) < 0) {
        if (strcmp(err.text, "invalid S3 path parameter") != 0)
            abort();
        return;
    }
    url = fl_s3_path_url(&p, p.region, p.key, arena);
    if (!url)
        return;
    if (fl_s3_path_parse(url, arena, &again, NULL) < 0 || strcmp(p.bucket, again.bucket) != 0 ||
        strcmp(p.key, again.key) != 0 || strcmp(p.region, again.region) != 0)
        abort();
}

static void read_name(const char *text, struct fl_arena *arena)
{
    struct fl_get_document_in in = { 0 };
    char *bare;

    if (fl_document_ref_parse(text, arena, &in, &bare) == 0 && !fl_place_path_valid(bare))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16 << 20);
    const char *end = memchr(data, '\n', size);
    size_t line = end ? (size_t)(end - (const char *)data) : size;
    char *text = fl_arena_memdup(&arena, data, line);
    const char *xml = end ? end + 1 : "";
    size_t len = end ? size - line - 1 : 0, at = 0;
    char *key;

    if (!text)
        return 0;
    read_url(text, &arena);
    read_name(text, &arena);
    while (fl_s3_list_next(xml, len, &at, &arena, &key) == 1)
        if (!*key || at > len)
            abort();
    return 0;
}
