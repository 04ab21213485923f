/* manifest.h - what a package document says, and which of its files is for this node (protocol 4
 * §5.4). Pure. */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

struct fl_package_node {
    const char *platform; /* "debian": fl_package_platform */
    const char *version;  /* "12.5" */
    const char *arch;     /* "x86_64" */
};

struct fl_package_choice {
    char *version;  /* of the package; safe as a file's name */
    char *file;     /* name of the zip file */
    char *sha256;   /* 64 lower-case digits */
    char *location; /* URL, or NULL: it is an attachment */
};

/* All memory of `arena`. -EINVAL: not such a manifest, or one without checksum; -ENOENT: no file of
 * it is for the node. */
int fl_package_choose(const char *text, const struct fl_package_node *node, struct fl_arena *arena,
                      struct fl_package_choice *ret_choice, struct fl_err *err);

struct fl_package_platform {
    const char *prefix; /* of the name in os-release, any letter case */
    const char *name, *family, *manager;
};
/* Never NULL: an unknown platform is called by words of its own. */
const struct fl_package_platform *fl_package_platform(const char *os_name);

/* [A-Za-z0-9._-]{1,128} that is neither . nor .. */
bool fl_package_name_safe(const char *s);
