/* fingerprint.c - see fingerprint.h. */
#include "agent/lib/fingerprint.h"
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include "agent/lib/md5.h"
#include "agent/lib/vault.h"
#include "common/aws/crypto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/rand.h"
#include "common/codec/codec.h"

#define ITEM               "InstanceFingerprint"
#define MAX_ITEM_BYTES     (64u << 10)
#define MAX_OUTPUT_BYTES   (4u << 20) /* of one of the listing programs */
#define PROGRAM_TIMEOUT_MS 10000
#define TRIES              3
#define TRY_PAUSE_S        5

struct stored {
    char *fingerprint;
    struct fl_strmap hashes;
    int64_t threshold;
};

static const struct fl_field stored_fields[] = {
    FL_FIELD(struct stored, fingerprint, "fingerprint", FL_ALWAYS),
    FL_FIELD(struct stored, hashes, "hardwareHash", FL_ALWAYS),
    FL_FIELD(struct stored, threshold, "similarityThreshold", FL_ALWAYS),
};
static const struct fl_shape stored_shape = FL_SHAPE(struct stored, ITEM, stored_fields);

/* ---- gathering ---- */

static char *read_machine_id(struct fl_arena *arena)
{
    static const char *const files[] = { "/etc/machine-id", "/var/lib/dbus/machine-id" };

    for (size_t i = 0; i < FL_ARRAY_LEN(files); i++) {
        fl_autofree char *text = NULL;

        /* With its trailing newline: the official agent compares the raw text. */
        if (fl_file_read(files[i], 4096, &text, NULL, NULL) == 0 && *text)
            return fl_arena_strdup(arena, text);
    }
    return fl_arena_strdup(arena, "");
}

static int read_with_deadline(int fd, struct fl_buf *out)
{
    int64_t deadline = fl_mono_ms() + PROGRAM_TIMEOUT_MS;

    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int64_t left = deadline - fl_mono_ms();
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return -ETIMEDOUT;
        if (fl_buf_reserve(out, 4096) < 0)
            return -EMSGSIZE;
        n = read(fd, out->data + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        out->len += (size_t)n;
    }
}

/* Standard output of a program; an error if it cannot be run, fails, or takes too long. */
static int run(const char *const argv[], struct fl_buf *out)
{
    posix_spawn_file_actions_t actions;
    int fds[2], status, r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    r = -posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    if (r == 0) {
        r = read_with_deadline(fds[0], out);
        if (r < 0)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
            r = -EIO;
    }
    close(fds[0]);
    return r;
}

static char *hash_output(struct fl_arena *arena, const char *const argv[])
{
    fl_autobuf struct fl_buf out = FL_BUF(MAX_OUTPUT_BYTES);
    fl_autofree char *text = NULL;
    uint8_t digest[FL_MD5_BYTES];

    if (run(argv, &out) < 0)
        return fl_arena_strdup(arena, "");
    fl_md5(out.data, out.len, digest);
    text = fl_base64_encode(digest, sizeof(digest));
    return fl_arena_strdup(arena, text ? text : "");
}

static char *read_hostname(struct fl_arena *arena)
{
    char host[256] = "";

    gethostname(host, sizeof(host) - 1);
    return fl_arena_strdup(arena, host);
}

static char *find_ipv4(struct fl_arena *arena, const struct ifaddrs *all)
{
    char text[INET_ADDRSTRLEN] = "";

    for (const struct ifaddrs *i = all; i && !text[0]; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK))
            inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, text,
                      sizeof(text));
    return fl_arena_strdup(arena, text);
}

static char *find_mac(struct fl_arena *arena, const struct ifaddrs *all)
{
    static const uint8_t none[6];

    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        const struct sockaddr_ll *ll = (const void *)i->ifa_addr;
        const uint8_t *m;

        if (!ll || ll->sll_family != AF_PACKET || ll->sll_halen != 6 ||
            memcmp(ll->sll_addr, none, 6) == 0)
            continue;
        m = ll->sll_addr;
        return fl_arena_printf(arena, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
                               m[5]);
    }
    return fl_arena_strdup(arena, "");
}

static const struct {
    const char *key;
    const char *argv[5];
} listings[] = {
    { "bios-hash", { "/usr/sbin/dmidecode", "-t", "bios", NULL } },
    { "disk-info", { "ls", "-l", "/dev/disk/by-uuid", NULL } },
    { "memory-hash", { "/usr/sbin/dmidecode", "-t", "memory", NULL } },
    { "processor-hash", { "/usr/sbin/dmidecode", "-t", "processor", NULL } },
    { "system-hash", { "/usr/sbin/dmidecode", "-t", "system", NULL } },
};

/* The record lists them by name, as encoding/json writes a Go map. */
static int by_key(const void *a, const void *b)
{
    const struct fl_strmap_entry *x = a, *y = b;

    return strcmp(x->key, y->key);
}

static void add(struct fl_strmap *m, struct fl_arena *arena, const char *key, char *value)
{
    m->v[m->n++] = (struct fl_strmap_entry){ fl_arena_strdup(arena, key), value };
}

static int gather(struct fl_arena *arena, struct fl_strmap *ret_hashes)
{
    struct ifaddrs *all = NULL;
    struct fl_strmap m = { fl_arena_calloc(arena, FL_ARRAY_LEN(listings) + 4, sizeof(*m.v)), 0 };

    if (!m.v)
        return -ENOMEM;
    if (getifaddrs(&all) < 0)
        all = NULL;
    add(&m, arena, "machine-id", read_machine_id(arena));
    add(&m, arena, "hostname-info", read_hostname(arena));
    add(&m, arena, "ipaddress-info", find_ipv4(arena, all));
    add(&m, arena, "macaddr-info", find_mac(arena, all));
    freeifaddrs(all);
    for (size_t i = 0; i < FL_ARRAY_LEN(listings); i++)
        add(&m, arena, listings[i].key, hash_output(arena, listings[i].argv));
    for (size_t i = 0; i < m.n; i++)
        if (!m.v[i].key || !m.v[i].value)
            return -ENOMEM;
    qsort(m.v, m.n, sizeof(*m.v), by_key);
    *ret_hashes = m;
    return 0;
}

/* ---- comparing ---- */

static const char *lookup(const struct fl_strmap *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->v[i].key, key) == 0)
            return m->v[i].value ? m->v[i].value : "";
    return "";
}

static bool same(const struct fl_strmap *a, const struct fl_strmap *b, const char *key)
{
    return strcmp(lookup(a, key), lookup(b, key)) == 0;
}

static bool similar(const struct stored *old, const struct fl_strmap *now)
{
    int64_t matches = 0;

    if (old->threshold == -1)
        return true;
    if (old->hashes.n == 0 || now->n == 0 || !same(&old->hashes, now, "machine-id"))
        return false;
    if (same(&old->hashes, now, "ipaddress-info"))
        return true;
    for (size_t i = 0; i < now->n; i++)
        matches += same(&old->hashes, now, now->v[i].key);
    return 100 * matches / (int64_t)now->n >= old->threshold;
}

/* ---- the record ---- */

/* 0 with fingerprint NULL if there is no usable record: a damaged one counts as none, as a new
 * identity is what follows either way. */
static int load(const char *state_dir, struct fl_arena *arena, struct stored *ret,
                struct fl_err *err)
{
    fl_autofree char *text = NULL;
    int r = fl_vault_item_load(state_dir, ITEM, &text, err);

    *ret = (struct stored){ 0 };
    if (r < 0 || !text || !*text)
        return r;
    if (fl_json_decode(&stored_shape, text, strlen(text), FL_DECODE_NOCASE, arena, ret, NULL) < 0 ||
        !fl_uuid_valid(ret->fingerprint))
        *ret = (struct stored){ 0 };
    return 0;
}

static int save(const char *state_dir, const struct stored *s, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_ITEM_BYTES);

    if (fl_json_encode(&stored_shape, s, &text) < 0)
        return fl_err_set(err, -ENOMEM, NULL, ITEM ": out of memory");
    return fl_vault_item_store(state_dir, ITEM, text.data, err);
}

int fl_fingerprint_get(const char *state_dir, char *uuid, bool *ret_changed, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct stored s;
    struct fl_strmap now;
    bool had, ok = false;
    int r;

    r = load(state_dir, &arena, &s, err);
    if (r < 0)
        return r;
    had = s.fingerprint != NULL;
    for (int i = 0; !ok && i < (had ? TRIES : 1); i++) {
        /* Interfaces may still be coming up. */
        if (i > 0)
            sleep(TRY_PAUSE_S);
        r = gather(&arena, &now);
        if (r < 0)
            return fl_err_set(err, r, NULL, "fingerprint: out of memory");
        ok = had && similar(&s, &now);
    }
    if (!ok) {
        char fresh[FL_UUID_BYTES];

        fl_uuid4(fresh);
        s = (struct stored){ fresh, now, had ? s.threshold : FL_FINGERPRINT_THRESHOLD };
        r = save(state_dir, &s, err);
        if (r < 0)
            return r;
        strcpy(uuid, fresh);
    } else {
        snprintf(uuid, FL_UUID_BYTES, "%s", s.fingerprint);
    }
    if (ret_changed)
        *ret_changed = had && !ok;
    return 0;
}

int fl_fingerprint_set_threshold(const char *state_dir, int threshold, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct stored s;
    int r;

    r = load(state_dir, &arena, &s, err);
    if (r < 0)
        return r;
    if (!s.fingerprint)
        return fl_err_set(err, -ENOENT, NULL,
                          "%s: no fingerprint is stored yet; register this machine first",
                          state_dir);
    s.threshold = threshold;
    return save(state_dir, &s, err);
}

int fl_fingerprint_clear(const char *state_dir, struct fl_err *err)
{
    return fl_vault_item_store(state_dir, ITEM, "", err);
}
