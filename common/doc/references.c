/* references.c - {{ name }} in a document that is checked: what it names must be declared. */
#include "common/doc/check_priv.h"

#include <string.h>

#define NAME_CHARS     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define NAME_MAX_BYTES 256

bool fl_has_reference(const char *text)
{
    const char *open = strstr(text, "{{");

    return open && strstr(open, "}}");
}

/* The name of the next reference from *at on, which moves behind it; 0: there is none. What merely
 * looks alike, such as {{.Names}} for docker, is no reference. */
static size_t next_name(const char **at, char name[NAME_MAX_BYTES])
{
    const char *s;

    while ((s = strstr(*at, "{{"))) {
        size_t len;

        *at = s + 2;
        s += 2 + strspn(s + 2, " \t\r\n\f");
        len = strspn(s, NAME_CHARS "-.:/");
        if (len == 0 || len >= NAME_MAX_BYTES || !strchr(NAME_CHARS, s[0]) ||
            strncmp(s + len + strspn(s + len, " \t\r\n\f"), "}}", 2) != 0)
            continue;
        memcpy(name, s, len);
        name[len] = '\0';
        *at = s + len;
        return len;
    }
    return 0;
}

static bool is_declared(const struct fl_check *c, const char *where, const char *name)
{
    return json_object_get(json_object_get(c->root, where), name);
}

static int check_parameter(struct fl_check *c, const char *name)
{
    if (is_declared(c, "parameters", name))
        return 0;
    return fl_check_bad(c, "{{ %.100s }} refers to a parameter that is not declared", name);
}

/* Prefixes of an Automation's references, with what is behind the colon; protocol 6 §4.1. */
static int automation_prefix(struct fl_check *c, const char *prefix, const char *rest)
{
    if (strcmp(prefix, "variable") == 0 && !is_declared(c, "variables", rest))
        return fl_check_bad(c, "{{ variable:%.100s }} refers to a variable that is not declared",
                            rest);
    if (strcmp(prefix, "ssm") == 0)
        return fl_check_bad(c, "{{ ssm:%.100s }} is allowed only in a parameter's default", rest);
    return 0;
}

static int check_automation(struct fl_check *c, char *name)
{
    char *mark = strpbrk(name, ".:");
    char kind = mark ? *mark : '\0';

    if (!mark)
        return check_parameter(c, name);
    *mark = '\0';
    if (kind == ':')
        return automation_prefix(c, name, mark + 1);
    if (json_object_get(c->steps, name))
        return 0;
    return fl_check_bad(c, "{{ %.100s.%.100s }} refers to a step that does not exist", name,
                        mark + 1);
}

static int check_text(struct fl_check *c, const char *text)
{
    char name[NAME_MAX_BYTES];
    int r = 0;

    while (r == 0 && next_name(&text, name) > 0) {
        if (c->type == FL_DOC_AUTOMATION)
            r = check_automation(c, name);
        else if (name[strspn(name, NAME_CHARS)] == '\0') /* not ssm:name, not item.name */
            r = check_parameter(c, name);
    }
    return r;
}

int fl_check_references(struct fl_check *c, const json_t *v)
{
    if (json_is_string(v))
        return check_text(c, json_string_value(v));
    return fl_check_each(c, v, fl_check_references);
}
