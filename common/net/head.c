/* head.c - see head.h. */
#include "common/net/head.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

/* tchar of RFC 9110 §5.6.2 */
static bool is_token_char(char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
           (ch && strchr("!#$%&'*+-.^_`|~", ch));
}

static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!is_token_char(*s))
            return false;
    return true;
}

static bool is_blank(char ch)
{
    return ch == ' ' || ch == '\t';
}

/* The line at *text, NUL-terminated in place, and *text moved behind its CRLF; NULL if there is
 * none or it holds a control character. */
static char *next_line(char **text, char *end)
{
    char *line = *text, *p = line;

    while (p < end && *p != '\r') {
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
            return NULL;
        p++;
    }
    if (end - p < 2 || p[1] != '\n')
        return NULL;
    *p = '\0';
    *text = p + 2;
    return line;
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

static int parse_version(const char *s, int *ret_minor)
{
    if (strncmp(s, "HTTP/", 5) || !is_digit(s[5]) || s[6] != '.' || !is_digit(s[7]) || s[8])
        return -EINVAL;
    if (s[5] != '1')
        return -EPROTONOSUPPORT;
    *ret_minor = s[7] - '0';
    return 0;
}

static int parse_target(char *target, struct fl_head *head)
{
    char *query, *p;

    if (!strncasecmp(target, "http://", 7) || !strncasecmp(target, "https://", 8)) {
        p = strstr(target, "://") + 3;
        p += strcspn(p, "/?");
        /* "http://host?x" has an empty path: put one where the authority was. */
        if (*p != '/')
            *--p = '/';
        target = p;
    }
    if (*target != '/' && strcmp(target, "*"))
        return -EINVAL;
    query = strchr(target, '?');
    if (query)
        *query++ = '\0';
    head->path = target;
    head->query = query ? query : "";
    return 0;
}

static int parse_request_line(char *line, struct fl_head *head)
{
    char *target = strchr(line, ' '), *version;
    int r;

    if (!target)
        return -EINVAL;
    *target++ = '\0';
    version = strchr(target, ' ');
    if (!version)
        return -EINVAL;
    *version++ = '\0';
    if (!is_token(line))
        return -EINVAL;
    r = parse_version(version, &head->minor);
    if (r < 0)
        return r;
    head->method = line;
    return parse_target(target, head);
}

static int parse_status_line(char *line, struct fl_head *head)
{
    char *status = strchr(line, ' ');
    int r;

    if (!status)
        return -EINVAL;
    *status++ = '\0';
    r = parse_version(line, &head->minor);
    if (r < 0)
        return r;
    for (int i = 0; i < 3; i++) {
        if (!is_digit(status[i]))
            return -EINVAL;
        head->status = head->status * 10 + (status[i] - '0');
    }
    return status[3] == '\0' || status[3] == ' ' ? 0 : -EINVAL;
}

static struct fl_head_field *find(const struct fl_head *head, const char *name)
{
    for (size_t i = 0; i < head->n_fields; i++)
        if (!strcasecmp(head->fields[i].name, name))
            return &head->fields[i];
    return NULL;
}

static int parse_field(char *line, struct fl_arena *arena, struct fl_head *head)
{
    char *value = strchr(line, ':'), *end;
    struct fl_head_field *known;

    if (!value)
        return -EINVAL;
    *value++ = '\0';
    if (!is_token(line)) /* a folded line begins with a blank and ends up here too */
        return -EINVAL;
    while (is_blank(*value))
        value++;
    for (end = value + strlen(value); end > value && is_blank(end[-1]); end--)
        end[-1] = '\0';

    known = find(head, line);
    if (known) {
        known->value = fl_arena_printf(arena, "%s,%s", known->value, value);
        return known->value ? 0 : -ENOMEM;
    }
    if (head->n_fields == FL_HEAD_MAX_FIELDS)
        return -E2BIG;
    head->fields[head->n_fields++] = (struct fl_head_field){ .name = line, .value = value };
    return 0;
}

static int parse(char *text, size_t len, int (*start_line)(char *, struct fl_head *),
                 struct fl_arena *arena, struct fl_head *ret_head)
{
    struct fl_head head = { 0 };
    char *end = text + len, *line;
    int r;

    head.fields = fl_arena_calloc(arena, FL_HEAD_MAX_FIELDS, sizeof(*head.fields));
    if (!head.fields)
        return -ENOMEM;
    line = next_line(&text, end);
    if (!line)
        return -EINVAL;
    r = start_line(line, &head);
    while (r == 0) {
        line = next_line(&text, end);
        if (!line)
            return -EINVAL;
        if (!*line)
            break;
        r = parse_field(line, arena, &head);
    }
    if (r < 0)
        return r;
    *ret_head = head;
    return 0;
}

size_t fl_head_length(const char *text, size_t len, size_t searched)
{
    size_t from = searched > 3 ? searched - 3 : 0;
    const char *end;

    if (len < 4)
        return 0;
    end = memmem(text + from, len - from, "\r\n\r\n", 4);
    return end ? (size_t)(end - text) + 4 : 0;
}

int fl_head_parse_request(char *text, size_t len, struct fl_arena *arena, struct fl_head *ret_head)
{
    return parse(text, len, parse_request_line, arena, ret_head);
}

int fl_head_parse_response(char *text, size_t len, struct fl_arena *arena, struct fl_head *ret_head)
{
    return parse(text, len, parse_status_line, arena, ret_head);
}

const char *fl_head_get(const struct fl_head *head, const char *name)
{
    const struct fl_head_field *field = find(head, name);

    return field ? field->value : NULL;
}

bool fl_head_has_token(const char *list, const char *token)
{
    size_t want = strlen(token);

    while (list && *list) {
        size_t n;

        list += strspn(list, ", \t");
        n = strcspn(list, ", \t");
        if (n == want && !strncasecmp(list, token, n))
            return true;
        list += n;
    }
    return false;
}
