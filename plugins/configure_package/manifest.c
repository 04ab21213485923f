/* manifest.c - see manifest.h. */
#include "plugins/configure_package/manifest.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "common/codec/json_load.h"

#define ANY        "_any"
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

/* The longer ones first where one begins like another. */
static const struct fl_package_platform platforms[] = {
    { "Amazon", "amazon", "rhel", "yum" },
    { "Ubuntu", "ubuntu", "debian", "apt" },
    { "Debian", "debian", "debian", "apt" },
    { "Raspbian", "raspbian", "debian", "apt" },
    { "Red Hat", "redhat", "rhel", "yum" },
    { "CentOS", "centos", "rhel", "yum" },
    { "Rocky", "rocky", "rhel", "yum" },
    { "AlmaLinux", "almalinux", "rhel", "yum" },
    { "Oracle", "oracle", "rhel", "yum" },
    { "Fedora", "fedora", "rhel", "dnf" },
    { "SLES", "suse", "suse", "zypper" },
    { "SUSE", "suse", "suse", "zypper" },
    { "openSUSE Leap", "opensuseleap", "suse", "zypper" },
    { "openSUSE", "opensuse", "suse", "zypper" },
    { "Bottlerocket", "bottlerocket", "bottlerocket", "" },
    { "", "linux", "", "" },
};

const struct fl_package_platform *fl_package_platform(const char *os_name)
{
    const struct fl_package_platform *p = platforms;

    while (strncasecmp(os_name ? os_name : "", p->prefix, strlen(p->prefix)) != 0)
        p++;
    return p;
}

bool fl_package_name_safe(const char *s)
{
    size_t len = strlen(s);

    return len > 0 && len <= 128 && strspn(s, NAME_CHARS) == len && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

static const char *string_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* ---- which file ---- */

/* "12.*" covers "12.5" and "12": how many signs of it are said, 0 if it covers not. */
static size_t covers(const char *pattern, const char *version)
{
    size_t len = strlen(pattern);

    if (len < 3 || strcmp(pattern + len - 2, ".*") != 0 ||
        strncmp(pattern, version, len - 2) != 0 ||
        (version[len - 2] != '.' && version[len - 2] != '\0'))
        return 0;
    return len;
}

static json_t *longest_cover(json_t *versions, const char *version)
{
    json_t *value, *found = NULL;
    size_t best = 0;
    const char *key;

    json_object_foreach(versions, key, value) if (covers(key, version) > best)
    {
        best = covers(key, version);
        found = value;
    }
    return found;
}

/* The file's name of the first way that leads to one. */
static const char *find_file(json_t *packages, const struct fl_package_node *node)
{
    const char *const platform_keys[] = { node->platform, ANY };
    const char *const arch_keys[] = { node->arch, ANY };

    for (size_t p = 0; p < FL_ARRAY_LEN(platform_keys); p++) {
        json_t *versions = json_object_get(packages, platform_keys[p]);
        json_t *const archs[] = {
            json_object_get(versions, node->version),
            longest_cover(versions, node->version),
            json_object_get(versions, ANY),
            json_object_get(versions, "*"),
        };

        for (size_t v = 0; v < FL_ARRAY_LEN(archs); v++)
            for (size_t a = 0; a < FL_ARRAY_LEN(arch_keys); a++) {
                const char *file = string_of(json_object_get(archs[v], arch_keys[a]), "file");

                if (file)
                    return file;
            }
    }
    return NULL;
}

static int take_checksum(const json_t *file, struct fl_arena *arena, char **ret)
{
    const char *hex = string_of(json_object_get(file, "checksums"), "sha256");
    char *copy = hex && strlen(hex) == 64 ? fl_arena_strdup(arena, hex) : NULL;

    for (char *c = copy; c && *c; c++) {
        if (fl_hex_value(*c) < 0)
            return -EINVAL;
        *c = "0123456789abcdef"[fl_hex_value(*c)];
    }
    *ret = copy;
    return copy ? 0 : -EINVAL;
}

int fl_package_choose(const char *text, const struct fl_package_node *node, struct fl_arena *arena,
                      struct fl_package_choice *ret_choice, struct fl_err *err)
{
    json_t *root fl_autojson = fl_json_load_text(text, 0, NULL);
    const char *schema = string_of(root, "schemaVersion");
    const char *version = string_of(root, "version");
    const char *name, *location;
    json_t *file;

    if (!json_is_object(root))
        return fl_err_set(err, -EINVAL, NULL, "manifest: not a JSON object");
    if (!schema || strcmp(schema, "2.0") != 0)
        return fl_err_set(err, -EINVAL, NULL, "manifest: schemaVersion is not 2.0");
    if (!version || !fl_package_name_safe(version))
        return fl_err_set(err, -EINVAL, NULL, "manifest: a version that cannot be used");
    name = find_file(json_object_get(root, "packages"), node);
    if (!name)
        return fl_err_set(err, -ENOENT, NULL,
                          "no manifest entry for platform %s, version %s, architecture %s",
                          node->platform, node->version, node->arch);
    file = json_object_get(json_object_get(root, "files"), name);
    if (!file)
        return fl_err_set(err, -EINVAL, NULL, "manifest: file %.200s is not among its files", name);
    if (take_checksum(file, arena, &ret_choice->sha256) < 0)
        return fl_err_set(err, -EINVAL, NULL, "manifest: file %.200s has no sha256", name);
    location = string_of(file, "downloadLocation");
    ret_choice->version = fl_arena_strdup(arena, version);
    ret_choice->file = fl_arena_strdup(arena, name);
    ret_choice->location = location && *location ? fl_arena_strdup(arena, location) : NULL;
    return ret_choice->version && ret_choice->file ? 0 : fl_err_nomem(err);
}
