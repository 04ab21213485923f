/* What Git's servers and programs say. Whatever it is, nothing outside of it is read, every step
 * goes on, and what is taken out of it is well-formed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "plugins/download_content/git_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_pack(const char *text, size_t size)
{
    struct fl_git_pack pack = { 0 };
    struct fl_git_pkt pkt;
    size_t at = 0, before = 0;

    while (fl_git_pkt_next(text, size, &at, &pkt) == 1) {
        const char *part;
        size_t len;

        if (at < before + 4 || at > size)
            abort();
        before = at;
        if (fl_git_pack_take(&pack, &pkt, &part, &len, NULL) < 0)
            return;
        if (len > 0 && (part < text || part + len > text + size))
            abort();
    }
}

static void read_tree(const char *text, size_t size)
{
    struct fl_git_entry e;
    size_t at = 0, before = 0;

    while (fl_git_tree_next(text, size, &at, &e) == 1) {
        if (at <= before || at > size || !*e.path || !fl_git_oid_valid(e.oid, strlen(e.oid)))
            abort();
        before = at;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1); /* exactly so long, for the sanitizer */
    char oid[FL_GIT_OID_BYTES];
    struct fl_err err = { 0 };
    int r;

    if (!text)
        return 0;
    memcpy(text, data, size);
    r = fl_git_version(text, size, &err);
    if (r != 0 && r != 2 && r != -EBADMSG && r != -EREMOTEIO)
        abort();
    if (fl_git_find_ref(text, size, "HEAD", oid, &err) == 0 && !fl_git_oid_valid(oid, strlen(oid)))
        abort();
    read_pack(text, size);
    read_tree(text, size);
    free(text);
    return 0;
}
