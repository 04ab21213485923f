/* parameter_name.c - see parameter_name.h. */
#include "server/api/parameter_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LETTERS    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS     "0123456789"
#define NAME_CHARS LETTERS DIGITS "_.-/"
#define LAST_ID    "\x7f" /* behind every id */

const char *fl_parameter_id(const char *name)
{
    return name[0] == '/' ? name + 1 : name;
}

/* ---- names ---- */

static int invalid(struct fl_err *err, const char *text)
{
    return fl_err_set(err, -EINVAL, "ValidationException", "%s", text);
}

int fl_parameter_name_form(const char *name, struct fl_err *err)
{
    size_t len = strlen(name);

    if (len == 0 || name[strspn(name, NAME_CHARS)])
        return invalid(err, "A parameter name is made of the letters a-z and A-Z, digits, and the "
                            "symbols . - _, in parts that slashes divide.");
    if (name[0] != '/' && strchr(name, '/'))
        return invalid(err, "A parameter name with a slash in it must begin with a slash.");
    if (name[len - 1] == '/' || strstr(name, "//"))
        return invalid(err, "No part of a parameter name may be empty.");
    return 0;
}

static unsigned levels(const char *id)
{
    unsigned n = 1;

    for (; *id; id++)
        n += *id == '/';
    return n;
}

int fl_parameter_name_check(const char *name, const char *arn_prefix, struct fl_err *err)
{
    const char *id = fl_parameter_id(name);
    int r = fl_parameter_name_form(name, err);

    if (r < 0)
        return r;
    if (strncasecmp(id, "aws/", 4) == 0)
        return fl_err_set(err, -EACCES, "AccessDeniedException",
                          "No access to reserved parameter name: %.100s.", name);
    if (strncasecmp(id, "aws", 3) == 0 || strncasecmp(id, "ssm", 3) == 0)
        return invalid(err, "A parameter name may not begin with \"aws\" or \"ssm\", in any case.");
    if (levels(id) > FL_PARAMETER_LEVELS_MAX)
        return fl_err_set(err, -EINVAL, "HierarchyLevelLimitExceededException",
                          "A parameter name can have at most %d levels.", FL_PARAMETER_LEVELS_MAX);
    if (strlen(arn_prefix) + strlen(id) > FL_PARAMETER_ARN_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "A parameter name can be at most %d characters long, with %zu of them "
                          "for the ARN in front of it.",
                          FL_PARAMETER_ARN_MAX, strlen(arn_prefix));
    return 0;
}

/* ---- references ---- */

static int read_selector(char *colon, struct fl_parameter_ref *ref, struct fl_err *err)
{
    const char *text = colon + 1;
    char *end;

    if (text[strspn(text, DIGITS)] == '\0' && *text) {
        errno = 0;
        ref->version = strtoll(text, &end, 10);
        if (errno)
            ref->version = INT64_MAX;
    } else if (fl_parameter_label_valid(text)) {
        ref->label = text;
    } else {
        return invalid(err, "Behind the colon of a parameter name stands a version or a label.");
    }
    return 0;
}

int fl_parameter_ref_parse(const char *text, const char *arn_prefix, struct fl_arena *arena,
                           struct fl_parameter_ref *ret_ref, struct fl_err *err)
{
    struct fl_parameter_ref ref = { 0 };
    bool arn = strncmp(text, "arn:", 4) == 0;
    size_t skip = arn ? strlen(arn_prefix) - 1 : 0; /* the slash before the id stays */
    char *name, *colon;
    int r;

    if (arn && strncmp(text, arn_prefix, skip + 1) != 0)
        return invalid(err, "The ARN is none of a parameter of this account and region.");
    name = fl_arena_strdup(arena, text + skip);
    if (!name)
        return fl_err_nomem(err);
    colon = strchr(name, ':');
    if (colon) {
        ref.selector = fl_arena_strdup(arena, colon);
        if (!ref.selector)
            return fl_err_nomem(err);
        r = read_selector(colon, &ref, err);
        if (r < 0)
            return r;
        *colon = '\0';
    }
    r = fl_parameter_name_form(name, err);
    if (r < 0)
        return r;
    ref.id = fl_parameter_id(name);
    *ret_ref = ref;
    return 0;
}

/* ---- paths ---- */
const struct fl_parameter_path fl_parameter_path_all = { "", LAST_ID };

int fl_parameter_path_parse(const char *path, struct fl_arena *arena,
                            struct fl_parameter_path *ret_path, struct fl_err *err)
{
    size_t len = strlen(path);
    char *name = fl_arena_strdup(arena, path), *after, *before;
    int r;

    if (!name)
        return fl_err_nomem(err);
    if (path[0] != '/')
        return invalid(err, "A path begins with a slash.");
    if (len == 1) {
        *ret_path = fl_parameter_path_all;
        return 0;
    }
    if (name[len - 1] == '/')
        name[len - 1] = '\0';
    r = fl_parameter_name_form(name, err);
    if (r < 0)
        return r;
    if (levels(name + 1) > FL_PARAMETER_LEVELS_MAX)
        return invalid(err, "A path can have at most 15 levels.");
    after = fl_arena_printf(arena, "%s/", name + 1);
    before = fl_arena_printf(arena, "%s%c", name + 1, '/' + 1);
    if (!after || !before)
        return fl_err_nomem(err);
    *ret_path = (struct fl_parameter_path){ after, before };
    return 0;
}

bool fl_parameter_path_holds(const struct fl_parameter_path *path, const char *id, bool recursive)
{
    size_t len = strlen(path->after);

    return strncmp(id, path->after, len) == 0 && id[len] && (recursive || !strchr(id + len, '/'));
}

/* ---- labels ---- */

bool fl_parameter_label_valid(const char *label)
{
    return *label && !strchr(DIGITS, *label) && !label[strspn(label, LETTERS DIGITS "_.-")] &&
           strncasecmp(label, "aws", 3) != 0 && strncasecmp(label, "ssm", 3) != 0;
}
