/* What the agent reads from its state folder: registration record, fingerprint record, pending key,
 * cached credentials, manifest. The first byte says which the rest is. */
#include <string.h>
#include "agent/lib/credcache.h"
#include "agent/lib/fingerprint.h"
#include "agent/lib/vault.h"
#include "common/base/file.h"
#include "tests/fuzz/memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char state_dir[] = "/tmp/fl-fuzz-vault.XXXXXX";
static char path[MEMFILE_PATH_BYTES];
static int fd = -1;

static void link_to_memory(const char *name)
{
    char at[128];

    snprintf(at, sizeof(at), "%s/%s", state_dir, name);
    if (symlink(path, at) < 0)
        abort();
}

static void remove_state(void)
{
    fl_dir_remove(state_dir, NULL);
}

static void set_up(void)
{
    char dir[128];

    fd = memfile_new(path);
    if (!mkdtemp(state_dir))
        abort();
    atexit(remove_state);
    snprintf(dir, sizeof(dir), "%s/Vault/Store", state_dir);
    if (fl_dir_make(dir, 0700, NULL) < 0)
        abort();
    snprintf(dir, sizeof(dir), "%s/runtimeconfig", state_dir);
    if (fl_dir_make(dir, 0700, NULL) < 0)
        abort();
    link_to_memory("Vault/Store/RegistrationKey");
    link_to_memory("Vault/Store/RegistrationKey.pending");
    link_to_memory("Vault/Store/Item");
    link_to_memory("runtimeconfig/credentials.json");
}

static void read_manifest(const uint8_t *data, size_t size)
{
    char at[128];
    char *text = NULL;

    /* A path of the input's own would be followed: only keys that are not looked for, then. */
    if (memmem(data, size, "Item", 4) || memmem(data, size, "\\", 1))
        return;
    snprintf(at, sizeof(at), "%s/Vault/Manifest", state_dir);
    if (symlink(path, at) < 0)
        abort();
    if (fl_vault_item_load(state_dir, "Item", &text, NULL) == 0)
        free(text);
    unlink(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 << 20);
    struct fl_registration reg = { 0 };
    struct fl_credcache cache;
    struct fl_err err = { 0 };
    int64_t ms;
    char *key, *text = NULL;

    if (size == 0)
        return 0;
    if (fd < 0)
        set_up();
    memfile_set(fd, data + 1, size - 1);
    switch (data[0]) {
    case 'r':
        if (fl_vault_load(state_dir, true, &arena, &reg, &err) < 0 && !err.text[0])
            abort();
        if (reg.node_id && (!reg.region || !reg.private_key))
            abort();
        if (reg.key_created)
            (void)fl_vault_date_parse(reg.key_created, &ms);
        break;
    case 'p':
        (void)fl_vault_pending_load(state_dir, &arena, &key, &err);
        break;
    case 'c':
        if (fl_credcache_load(state_dir, &arena, &cache, &err) == 0 && cache.node_id &&
            !cache.session_token)
            abort();
        break;
    case 'm':
        read_manifest(data + 1, size - 1);
        break;
    case 'd':
        text = strndup((const char *)data + 1, size - 1);
        (void)fl_vault_date_parse(text, &ms);
        free(text);
        break;
    default:
        break;
    }
    return 0;
}
